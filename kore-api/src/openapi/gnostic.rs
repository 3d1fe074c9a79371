//! The protobuf form of an OpenAPI v2 document: the messages of gnostic's `openapiv2/OpenAPIv2.proto`, which is the only form that
//! client-go reads.
//!
//! A table says where in a message a JSON member goes; what has no place in it (the document is ours: a mistake) is left out and
//! found by the test.

use serde_json::Value;

use crate::codec::protobuf::Writer;

/// A document as a `Document` message.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

/// A message: its members, and the number of its vendor extensions (`x-…`).
struct Message {
    members: &'static [Member],
    extensions: Option<u32>,
}

/// A JSON member, the number of its field, and its form there.
struct Member(&'static str, u32, Form);

#[derive(Clone, Copy)]
enum Form {
    Text,
    Flag,
    Integer,
    Number,
    /// Any value, as YAML in a message.
    Any,
    /// One value or a list of them, each this.
    Each(&'static Form),
    One(&'static Message),
    /// A message with one field of this number.
    Within(u32, &'static Form),
    /// An object with free keys: entries of name (1) and value (2).
    Map(&'static Form),
    /// A parameter, whose message depends on where it is.
    Parameter,
    /// A schema, or whether there is one.
    SchemaOrFlag,
}

use Form::{Any, Each, Flag, Integer, Map, Number, One, Parameter, SchemaOrFlag, Text, Within};

const TEXTS: Form = Each(&Text);

static DOCUMENT: Message = Message {
    members: &[
        Member("swagger", 1, Text),
        Member("info", 2, One(&INFO)),
        Member("paths", 8, Within(2, &Map(&One(&PATH_ITEM)))),
        Member("definitions", 9, Within(1, &Map(&One(&SCHEMA)))),
        Member("security", 12, Each(&Within(1, &Map(&Within(1, &TEXTS))))),
        Member("securityDefinitions", 13, Within(1, &Map(&Within(2, &One(&API_KEY))))),
    ],
    extensions: Some(16),
};

static INFO: Message =
    Message { members: &[Member("title", 1, Text), Member("version", 2, Text)], extensions: Some(7) };

static API_KEY: Message = Message {
    members: &[Member("type", 1, Text), Member("name", 2, Text), Member("in", 3, Text), Member("description", 4, Text)],
    extensions: Some(5),
};

static PATH_ITEM: Message = Message {
    members: &[
        Member("get", 2, One(&OPERATION)),
        Member("put", 3, One(&OPERATION)),
        Member("post", 4, One(&OPERATION)),
        Member("delete", 5, One(&OPERATION)),
        Member("options", 6, One(&OPERATION)),
        Member("head", 7, One(&OPERATION)),
        Member("patch", 8, One(&OPERATION)),
        Member("parameters", 9, Each(&Within(1, &Parameter))),
    ],
    extensions: Some(10),
};

static OPERATION: Message = Message {
    members: &[
        Member("tags", 1, TEXTS),
        Member("description", 3, Text),
        Member("operationId", 5, Text),
        Member("produces", 6, TEXTS),
        Member("consumes", 7, TEXTS),
        Member("parameters", 8, Each(&Within(1, &Parameter))),
        Member("responses", 9, Within(1, &Map(&Within(1, &One(&RESPONSE))))),
        Member("schemes", 10, TEXTS),
    ],
    extensions: Some(13),
};

static RESPONSE: Message = Message {
    members: &[Member("description", 1, Text), Member("schema", 2, Within(1, &One(&SCHEMA)))],
    extensions: Some(5),
};

static BODY_PARAMETER: Message = Message {
    members: &[
        Member("description", 1, Text),
        Member("name", 2, Text),
        Member("in", 3, Text),
        Member("required", 4, Flag),
        Member("schema", 5, One(&SCHEMA)),
    ],
    extensions: Some(6),
};

static QUERY_PARAMETER: Message = Message {
    members: &[
        Member("required", 1, Flag),
        Member("in", 2, Text),
        Member("description", 3, Text),
        Member("name", 4, Text),
        Member("type", 6, Text),
        Member("format", 7, Text),
        Member("uniqueItems", 20, Flag),
    ],
    extensions: Some(23),
};

static PATH_PARAMETER: Message = Message {
    members: &[
        Member("required", 1, Flag),
        Member("in", 2, Text),
        Member("description", 3, Text),
        Member("name", 4, Text),
        Member("type", 5, Text),
        Member("format", 6, Text),
        Member("uniqueItems", 19, Flag),
    ],
    extensions: Some(22),
};

static SCHEMA: Message = Message {
    members: &[
        Member("$ref", 1, Text),
        Member("format", 2, Text),
        Member("title", 3, Text),
        Member("description", 4, Text),
        Member("default", 5, Any),
        Member("multipleOf", 6, Number),
        Member("maximum", 7, Number),
        Member("exclusiveMaximum", 8, Flag),
        Member("minimum", 9, Number),
        Member("exclusiveMinimum", 10, Flag),
        Member("maxLength", 11, Integer),
        Member("minLength", 12, Integer),
        Member("pattern", 13, Text),
        Member("maxItems", 14, Integer),
        Member("minItems", 15, Integer),
        Member("uniqueItems", 16, Flag),
        Member("maxProperties", 17, Integer),
        Member("minProperties", 18, Integer),
        Member("required", 19, TEXTS),
        Member("enum", 20, Each(&Any)),
        Member("additionalProperties", 21, SchemaOrFlag),
        Member("type", 22, Within(1, &TEXTS)),
        Member("items", 23, Within(1, &One(&SCHEMA))),
        Member("properties", 25, Within(1, &Map(&One(&SCHEMA)))),
    ],
    extensions: Some(31),
};

const IN_BODY: Form = Within(1, &One(&BODY_PARAMETER));
const IN_PATH: Form = Within(2, &Within(4, &One(&PATH_PARAMETER)));
const IN_QUERY: Form = Within(2, &Within(3, &One(&QUERY_PARAMETER)));
const ITS_SCHEMA: Form = Within(1, &One(&SCHEMA));
const WHETHER: Form = Within(2, &Flag);

fn message(shape: &Message, value: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some(Member(_, number, form)) = shape.members.iter().find(|member| member.0 == name) {
            field(&mut writer, *number, *form, value);
        } else if let (Some(number), true) = (shape.extensions, name.starts_with("x-")) {
            entry(&mut writer, number, name, Any, value);
        } else {
            debug_assert!(false, "{name} has no place in an OpenAPI v2 document");
        }
    }
    writer.finish()
}

fn field(writer: &mut Writer, number: u32, form: Form, value: &Value) {
    match form {
        Text => writer.bytes(number, value.as_str().unwrap_or_default().as_bytes()),
        Flag => writer.varint(number, u64::from(value == &Value::Bool(true))),
        Integer => writer.varint(number, value.as_i64().unwrap_or_default().cast_unsigned()),
        Number => writer.double(number, value.as_f64().unwrap_or_default()),
        Any => {
            let mut any = Writer::default();
            // JSON is YAML.
            any.bytes(2, value.to_string().as_bytes());
            writer.bytes(number, &any.finish());
        }
        Each(form) => match value {
            Value::Array(items) => items.iter().for_each(|item| field(writer, number, *form, item)),
            one => field(writer, number, *form, one),
        },
        One(shape) => writer.bytes(number, &message(shape, value)),
        Within(inner, form) => {
            let mut within = Writer::default();
            field(&mut within, inner, *form, value);
            writer.bytes(number, &within.finish());
        }
        Map(form) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                entry(writer, number, name, *form, value);
            }
        }
        Parameter => {
            let form = match value["in"].as_str() {
                Some("body") => IN_BODY,
                Some("path") => IN_PATH,
                _ => IN_QUERY,
            };
            field(writer, number, form, value);
        }
        SchemaOrFlag => field(writer, number, if value.is_boolean() { WHETHER } else { ITS_SCHEMA }, value),
    }
}

fn entry(writer: &mut Writer, number: u32, name: &str, form: Form, value: &Value) {
    let mut entry = Writer::default();
    entry.bytes(1, name.as_bytes());
    field(&mut entry, 2, form, value);
    writer.bytes(number, &entry.finish());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::protobuf::{Reader, Wire};
    use serde_json::json;

    /// All that a message holds below this path of numbers, in order.
    fn found(message: &[u8], path: &[u32]) -> Vec<Vec<u8>> {
        let [first, rest @ ..] = path else { return vec![message.to_vec()] };
        let mut reader = Reader::new("test", message);
        let mut values = Vec::new();
        while let Some((number, wire)) = reader.key().expect("a key") {
            match wire {
                Wire::Bytes => {
                    let inside = reader.bytes(wire).expect("bytes");
                    if number == *first {
                        values.extend(found(inside, rest));
                    }
                }
                Wire::Varint => {
                    let value = reader.varint(wire).expect("a number");
                    if number == *first {
                        values.push(vec![value as u8]);
                    }
                }
                _ => reader.skip(wire).expect("a field"),
            }
        }
        values
    }

    fn texts(message: &[u8], path: &[u32]) -> Vec<String> {
        found(message, path).into_iter().map(|bytes| String::from_utf8(bytes).expect("text")).collect()
    }

    #[test]
    fn fields_are_where_the_proto_says() {
        let document = encode(&json!({
            "swagger": "2.0",
            "info": {"title": "t", "version": "v"},
            "paths": {"/p": {
                "parameters": [{"name": "n", "in": "path", "type": "string", "required": true}],
                "patch": {
                    "parameters": [
                        {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/a"}},
                        {"name": "fieldValidation", "in": "query", "type": "string"},
                    ],
                    "responses": {"200": {"description": "OK", "schema": {"type": "object"}}},
                    "x-kubernetes-group-version-kind": {"group": "", "kind": "K", "version": "v1"},
                },
            }},
            "definitions": {"a": {
                "type": "object",
                "required": ["x", "y"],
                "properties": {"x": {"type": "array", "items": {"type": "string"}}, "y": {"additionalProperties": {"type": "integer"}}},
            }, "empty": {"type": "object", "properties": {}}},
            "security": [{"BearerToken": []}],
        }));
        assert_eq!(texts(&document, &[1]), ["2.0"]);
        assert_eq!(texts(&document, &[2, 2]), ["v"]);
        let patch = found(&document, &[8, 2, 2, 8]).remove(0);
        assert_eq!(texts(&document, &[8, 2, 1]), ["/p"]);
        assert_eq!(texts(&document, &[8, 2, 2, 9, 1, 2, 4, 4]), ["n"]);
        assert_eq!(texts(&patch, &[8, 1, 1, 5, 1]), ["#/definitions/a"]);
        assert_eq!(texts(&patch, &[8, 1, 2, 3, 4]), ["fieldValidation"]);
        assert_eq!(texts(&patch, &[9, 1, 1]), ["200"]);
        assert_eq!(texts(&patch, &[9, 1, 2, 1, 2, 1, 22, 1]), ["object"]);
        assert_eq!(texts(&patch, &[13, 1]), ["x-kubernetes-group-version-kind"]);
        assert_eq!(texts(&patch, &[13, 2, 2]), [r#"{"group":"","kind":"K","version":"v1"}"#]);
        assert_eq!(texts(&document, &[9, 1, 1]), ["a", "empty"]);
        assert_eq!(texts(&document, &[9, 1, 2, 19]), ["x", "y"]);
        assert_eq!(texts(&document, &[9, 1, 2, 25, 1, 1]), ["x", "y"]);
        assert_eq!(texts(&document, &[9, 1, 2, 25, 1, 2, 23, 1, 22, 1]), ["string"]);
        assert_eq!(texts(&document, &[9, 1, 2, 25, 1, 2, 21, 1, 22, 1]), ["integer"]);
        assert_eq!(found(&document, &[9, 1, 2, 25]).len(), 2, "an object without fields says so");
        assert_eq!(texts(&document, &[12, 1, 1]), ["BearerToken"]);
    }
}
