//! The OpenAPI v2 document: what clients read that validate by themselves, such as kubectl for a `kind: List`.
//!
//! It is made from the v3 documents, so that both say the same. Where v2 has no words for something (`oneOf`, `nullable`), it
//! says less, never something else.

use serde_json::{Map, Value, json};

use super::PathSource;

const DEFINITIONS: &str = "#/definitions/";
const COMPONENTS: &str = "#/components/schemas/";
const KINDS: &str = "x-kubernetes-group-version-kind";
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
/// What a schema of v2 has besides the extensions.
const KEYWORDS: [&str; 23] = [
    "title",
    "description",
    "default",
    "format",
    "type",
    "properties",
    "additionalProperties",
    "required",
    "items",
    "enum",
    "pattern",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "multipleOf",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
];

/// The one document of all group versions.
pub(super) fn document(sources: &[PathSource]) -> Value {
    let mut versions: Vec<&str> = sources.iter().map(|source| source.api_version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for document in versions.into_iter().filter_map(|version| super::document(sources, version)) {
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            paths.insert(path.clone(), path_item(item));
        }
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            define(&mut definitions, name, self::schema(schema));
        }
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": super::VERSION },
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {
            "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer token authentication" },
        },
        "security": [{ "BearerToken": [] }],
    })
}

/// A type that several documents have is the same in each, but that those of every group (`DeleteOptions`) are a kind of it.
fn define(definitions: &mut Map<String, Value>, name: &str, schema: Value) {
    let Some(known) = definitions.get_mut(name) else {
        definitions.insert(name.to_owned(), schema);
        return;
    };
    if let (Some(kinds), Some(more)) = (known[KINDS].as_array_mut(), schema[KINDS].as_array()) {
        let new: Vec<Value> = more.iter().filter(|kind| !kinds.contains(kind)).cloned().collect();
        kinds.extend(new);
    }
}

fn path_item(item: &Value) -> Value {
    let mut converted = Map::new();
    for (name, value) in item.as_object().into_iter().flatten() {
        if name == "parameters" {
            converted.insert(name.clone(), parameters(value).into());
        } else if METHODS.contains(&&**name) {
            converted.insert(name.clone(), operation(value));
        }
    }
    Value::Object(converted)
}

fn operation(operation: &Value) -> Value {
    let mut converted = operation.clone();
    let mut parameters = parameters(&operation["parameters"]);
    let body = &operation["requestBody"];
    if let Some((types, schema)) = content(&body["content"]) {
        converted["consumes"] = types;
        let required = body["required"] == true;
        parameters.insert(0, json!({ "name": "body", "in": "body", "required": required, "schema": schema }));
    }
    let mut responses = Map::new();
    for (code, response) in operation["responses"].as_object().into_iter().flatten() {
        let mut answer = json!({ "description": response["description"] });
        if let Some((types, schema)) = content(&response["content"]) {
            converted["produces"] = types;
            answer["schema"] = schema;
        }
        responses.insert(code.clone(), answer);
    }
    converted["schemes"] = json!(["https"]);
    converted["parameters"] = parameters.into();
    converted["responses"] = responses.into();
    if let Some(fields) = converted.as_object_mut() {
        fields.remove("requestBody");
    }
    converted
}

/// The media types, and the schema of the first: they all have the same.
fn content(content: &Value) -> Option<(Value, Value)> {
    let content = content.as_object()?;
    let first = schema(&content.values().next()?["schema"]);
    Some((content.keys().cloned().collect::<Vec<_>>().into(), first))
}

/// In v2 a parameter is its own schema.
fn parameters(parameters: &Value) -> Vec<Value> {
    let convert = |parameter: &Value| {
        let mut converted = parameter.as_object()?.clone();
        let inner = schema(&converted.remove("schema")?);
        converted.extend(inner.as_object()?.clone());
        Some(Value::Object(converted))
    };
    parameters.as_array().into_iter().flatten().filter_map(convert).collect()
}

fn schema(from: &Value) -> Value {
    let Some(fields) = from.as_object() else { return from.clone() };
    let reference = from["$ref"].as_str().or_else(|| match from["allOf"].as_array().map(Vec::as_slice) {
        Some([only]) => only["$ref"].as_str(),
        _ => None,
    });
    let free = from["nullable"] == true
        || from["x-kubernetes-preserve-unknown-fields"] == true
        || from["x-kubernetes-int-or-string"] == true;
    let mut converted = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            // A reference has no type of its own; and what v2 cannot describe is anything.
            "type" | "properties" | "items" | "additionalProperties" | "required" | "format"
                if free || reference.is_some() =>
            {
                continue;
            }
            "properties" => map(value),
            "items" => schema(value),
            "additionalProperties" if value.is_object() => schema(value),
            name if KEYWORDS.contains(&name) || name.starts_with("x-") => value.clone(),
            _ => continue,
        };
        converted.insert(name.clone(), value);
    }
    if let Some(reference) = reference {
        converted.insert("$ref".to_owned(), reference.replace(COMPONENTS, DEFINITIONS).into());
    } else if let (Some(choice), None) = (from["oneOf"].as_array(), from.get("type")) {
        // Quantities, and numbers or names: text, which clients let numbers pass for.
        if choice.iter().any(|one| one["type"] == "string") {
            converted.insert("type".to_owned(), "string".into());
        }
    }
    Value::Object(converted)
}

fn map(properties: &Value) -> Value {
    let properties = properties.as_object().into_iter().flatten();
    properties.map(|(name, value)| (name.clone(), schema(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source in v3, expected in v2.
    #[test]
    fn schemas() {
        let pod = "io.k8s.api.core.v1.Pod";
        for (from, expected) in [
            (json!({"$ref": format!("{COMPONENTS}{pod}")}), json!({"$ref": format!("{DEFINITIONS}{pod}")})),
            (
                json!({"allOf": [{"$ref": format!("{COMPONENTS}{pod}")}], "description": "d"}),
                json!({"$ref": format!("{DEFINITIONS}{pod}"), "description": "d"}),
            ),
            (json!({"oneOf": [{"type": "string"}, {"type": "number"}]}), json!({"type": "string"})),
            (
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
                json!({"format": "int-or-string", "type": "string"}),
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "nullable": true}}}}),
                json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
            ),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {}}}),
                json!({"x-kubernetes-preserve-unknown-fields": true}),
            ),
            (
                json!({"type": "object", "additionalProperties": {"allOf": [{"$ref": format!("{COMPONENTS}{pod}")}]}}),
                json!({"type": "object", "additionalProperties": {"$ref": format!("{DEFINITIONS}{pod}")}}),
            ),
            (json!({"type": "object", "not": {"required": ["a"]}, "anyOf": []}), json!({"type": "object"})),
            // A field may be named like a keyword.
            (
                json!({"type": "object", "properties": {"not": {"type": "string"}, "type": {"type": "integer"}}}),
                json!({"type": "object", "properties": {"not": {"type": "string"}, "type": {"type": "integer"}}}),
            ),
        ] {
            assert_eq!(schema(&from), expected, "{from}");
        }
    }
}
