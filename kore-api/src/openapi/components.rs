//! The schemas of a document: every type that the kinds of a group version reach.

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::{PathSource, component_of, group_version_kind, reference};
use crate::facts::{self, Field, ListKind, MapKind, Shape, Special, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

pub(super) fn of(sources: &[&PathSource], api_version: &str) -> Map<String, Value> {
    let mut builder =
        Builder { api_version, descriptions: Descriptions::of(sources), done: Map::new(), waiting: Vec::new() };
    for source in sources {
        builder.kind(&source.api_version, &source.kind, source.schema.as_ref());
        builder.list(source);
        for subresource in &source.subresources {
            builder.kind(&subresource.api_version, &subresource.kind, source.schema.as_ref());
        }
    }
    for name in ["DeleteOptions", "Status", "Patch", "ObjectMeta", "ListMeta"] {
        builder.waiting.extend(facts::named(META, name));
    }
    while let Some(found) = builder.waiting.pop() {
        builder.object(found);
    }
    builder.done
}

struct Builder<'a> {
    api_version: &'a str,
    descriptions: Descriptions,
    done: Map<String, Value>,
    waiting: Vec<&'static Type>,
}

impl Builder<'_> {
    fn kind(&mut self, api_version: &str, kind: &str, schema: Option<&Value>) {
        let component = component_of(api_version, kind);
        match facts::kind(api_version, kind) {
            Some(found) => self.waiting.push(found),
            None if self.done.contains_key(&component) => {}
            None => {
                let mut schema = schema
                    .filter(|schema| schema.is_object())
                    .cloned()
                    .unwrap_or_else(|| json!({ "x-kubernetes-preserve-unknown-fields": true }));
                schema["type"] = "object".into();
                schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(api_version, kind)]);
                if !schema["properties"].is_object() {
                    schema["properties"] = json!({});
                }
                self.type_meta(&mut schema["properties"], "ObjectMeta");
                self.done.insert(component, schema);
            }
        }
    }

    fn list(&mut self, source: &PathSource) {
        let kind = format!("{}List", source.kind);
        if let Some(found) = facts::kind(&source.api_version, &kind) {
            self.waiting.push(found);
            return;
        }
        let items = reference(&component_of(&source.api_version, &source.kind));
        let mut list = json!({
            "description": format!("{kind} is a list of {}", source.kind),
            "type": "object",
            "required": ["items"],
            "properties": { "items": { "type": "array", "items": items } },
            "x-kubernetes-group-version-kind": [group_version_kind(&source.api_version, &kind)],
        });
        self.type_meta(&mut list["properties"], "ListMeta");
        self.done.insert(component_of(&source.api_version, &kind), list);
    }

    /// The three fields that every kind has, with the texts of a built-in one.
    fn type_meta(&mut self, properties: &mut Value, metadata: &str) {
        let text = |name: &str| self.descriptions.field(&format!("{META}.Status"), name).unwrap_or_default().to_owned();
        properties["apiVersion"] = json!({ "type": "string", "description": text("apiVersion") });
        properties["kind"] = json!({ "type": "string", "description": text("kind") });
        properties["metadata"] = json!({ "allOf": [reference(&format!("{META}.{metadata}"))] });
        self.waiting.extend(facts::named(META, metadata));
    }

    fn object(&mut self, found: &'static Type) {
        let definition = found.definition();
        if self.done.contains_key(&definition) {
            return;
        }
        let mut schema = match found.special {
            Special::None => json!({ "type": "object" }),
            _ => {
                self.waiting.push(crate::schema::schema_props(found));
                json!({})
            }
        };
        // Before the fields, so that a type that holds itself is met once.
        self.done.insert(definition.clone(), Value::Null);
        if let Some(text) = self.descriptions.of_type(&definition) {
            schema["description"] = text.into();
        }
        let mut properties = Map::new();
        for field in &found.fields {
            let mut property = self.shape(&field.shape);
            attributes(field, &mut property);
            if let Some(text) = self.descriptions.field(&definition, field.name) {
                property["description"] = text.into();
            }
            properties.insert(field.name.to_owned(), property);
        }
        if !properties.is_empty() {
            schema["properties"] = Value::Object(properties);
        }
        let required: Vec<&str> = found.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if found.map == MapKind::Atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        if found.is_kind {
            schema["x-kubernetes-group-version-kind"] =
                json!([group_version_kind(found.package.group_version, found.name)]);
        } else if found.every_group {
            schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(self.api_version, found.name)]);
        }
        self.done.insert(definition, schema);
    }

    fn shape(&mut self, shape: &'static Shape) -> Value {
        let (name, scalar) = match shape {
            Shape::String => return json!({ "type": "string" }),
            Shape::Bytes => return json!({ "type": "string", "format": "byte" }),
            Shape::Bool => return json!({ "type": "boolean" }),
            Shape::Int32 => return json!({ "type": "integer", "format": "int32" }),
            Shape::Int64 => return json!({ "type": "integer", "format": "int64" }),
            Shape::Double => return json!({ "type": "number", "format": "double" }),
            Shape::List(inner) => return json!({ "type": "array", "items": self.shape(inner) }),
            Shape::Map(inner) => {
                return json!({ "type": "object", "additionalProperties": self.shape(inner) });
            }
            Shape::Object(found) => {
                self.waiting.push(found.get());
                return json!({ "allOf": [reference(&found.get().definition())] });
            }
            Shape::Time => {
                ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", json!({ "type": "string", "format": "date-time" }))
            }
            Shape::MicroTime => {
                ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", json!({ "type": "string", "format": "date-time" }))
            }
            Shape::FieldsV1 => ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", json!({ "type": "object" })),
            Shape::Quantity => (
                "io.k8s.apimachinery.pkg.api.resource.Quantity",
                json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            ),
            Shape::IntOrString => (
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
                json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] }),
            ),
            Shape::Raw => ("io.k8s.apimachinery.pkg.runtime.RawExtension", json!({ "type": "object" })),
            Shape::Json => ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", json!({})),
        };
        if !self.done.contains_key(name) {
            let mut scalar = scalar;
            if let Some(text) = self.descriptions.of_type(name) {
                scalar["description"] = text.into();
            }
            self.done.insert(name.to_owned(), scalar);
        }
        json!({ "allOf": [reference(name)] })
    }
}

fn attributes(field: &Field, property: &mut Value) {
    match field.list {
        ListKind::Unstated => {}
        ListKind::Atomic => property["x-kubernetes-list-type"] = "atomic".into(),
        ListKind::Set => property["x-kubernetes-list-type"] = "set".into(),
        ListKind::Map => {
            property["x-kubernetes-list-type"] = "map".into();
            property["x-kubernetes-list-map-keys"] = field.list_keys.to_vec().into();
        }
    }
    let strategies: Vec<&str> = [(field.merge, "merge"), (field.replace, "replace"), (field.retain_keys, "retainKeys")]
        .into_iter()
        .filter_map(|(stated, name)| stated.then_some(name))
        .collect();
    if !strategies.is_empty() {
        property["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    if let Some(key) = field.merge_key {
        property["x-kubernetes-patch-merge-key"] = key.into();
    }
    match field.map {
        MapKind::Unstated => {}
        MapKind::Atomic => property["x-kubernetes-map-type"] = "atomic".into(),
        MapKind::Granular => property["x-kubernetes-map-type"] = "granular".into(),
    }
}
