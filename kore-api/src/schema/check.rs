//! Checks a value against a shape as upstream's strict decoder does.

use base64::Engine as _;
use serde_json::Value;

use super::{Node, Problem, Schema, SchemaError, normal, quantity};
use crate::facts::{Shape, Special, Type};

/// Upstream's decoder stops counting here.
const ERRORS_MAX: usize = 100;

/// Every unknown field and every value of the wrong type, each with its path; at most 100, in the order of the object.
///
/// `null` is well everywhere: upstream takes it as absence. Whether a required field is there is the business of
/// validation, not of shape.
pub fn check(schema: &Schema, value: &Value) -> Vec<SchemaError> {
    let mut checker = Checker { path: Vec::new(), structs: Vec::new(), errors: Vec::new() };
    checker.node(schema.node(), value);
    checker.errors
}

enum Step<'a> {
    Field(&'a str),
    Key(&'a str),
    Item(usize),
}

struct Checker<'a> {
    path: Vec<Step<'a>>,
    /// The object types entered so far: the innermost names the Go struct of an error.
    structs: Vec<&'static Type>,
    errors: Vec<SchemaError>,
}

impl<'a> Checker<'a> {
    fn node(&mut self, node: Node, value: &'a Value) {
        match node {
            Node::Object(found) => self.object(found, value),
            Node::Shape(shape) => self.shape(shape, value),
        }
    }

    fn object(&mut self, found: &'static Type, value: &'a Value) {
        match (found.special, value) {
            (_, Value::Null) | (Special::SchemaOrBool, Value::Bool(_)) => return,
            (Special::SchemaOrArray, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Item(index), |inner| inner.object(schema_props(found), item));
                }
                return;
            }
            (Special::SchemaOrStrings, Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Item(index), |inner| inner.shape(&Shape::String, item));
                }
                return;
            }
            _ => {}
        }
        let found = if found.special == Special::None { found } else { schema_props(found) };
        let Value::Object(members) = value else {
            return self.wrong_type(value, go_type(found));
        };
        self.structs.push(found);
        for (name, member) in members {
            match found.field(name) {
                Some(field) => self.within(Step::Field(name), |inner| inner.shape(&field.shape, member)),
                None => self.within(Step::Field(name), |inner| inner.report(Problem::UnknownField)),
            }
            if self.errors.len() >= ERRORS_MAX {
                break;
            }
        }
        self.structs.pop();
    }

    fn shape(&mut self, shape: &'static Shape, value: &'a Value) {
        match (shape, value) {
            (_, Value::Null) | (Shape::Raw | Shape::FieldsV1 | Shape::Json, _) => {}
            (Shape::Object(reference), _) => self.object(reference.get(), value),
            (Shape::List(inner), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Item(index), |checker| checker.shape(inner, item));
                    if self.errors.len() >= ERRORS_MAX {
                        break;
                    }
                }
            }
            (Shape::Map(inner), Value::Object(members)) => {
                for (key, member) in members {
                    self.within(Step::Key(key), |checker| checker.shape(inner, member));
                    if self.errors.len() >= ERRORS_MAX {
                        break;
                    }
                }
            }
            (Shape::String, Value::String(_)) | (Shape::Bool, Value::Bool(_)) | (Shape::Double, Value::Number(_)) => {}
            (Shape::Int32, Value::Number(number)) if is_int32(number) => {}
            (Shape::Int64, Value::Number(number)) if number.is_i64() => {}
            (Shape::Int32 | Shape::Int64, Value::Number(number)) => {
                self.wrong(format!("number {number}"), go_shape(shape));
            }
            (Shape::Bytes, Value::String(text)) => {
                if let Err(error) = base64::engine::general_purpose::STANDARD.decode(text) {
                    let at = match error {
                        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                        _ => text.len(),
                    };
                    self.malformed(format!("illegal base64 data at input byte {at}"));
                }
            }
            (Shape::Quantity, Value::String(text)) => {
                if let Err(error) = quantity::canonical(text) {
                    self.malformed(error.to_string());
                }
            }
            (Shape::Quantity, Value::Number(_)) => {}
            (Shape::Quantity, _) => self.malformed(quantity::QuantityError::Malformed.to_string()),
            (Shape::Time | Shape::MicroTime, Value::String(text)) => {
                if normal::canonical_time(text, matches!(shape, Shape::MicroTime)).is_none() {
                    self.malformed(format!("parsing time {text:?} as {:?}: cannot parse", layout(shape)));
                }
            }
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(number)) if is_int32(number) => {}
            // These types decode themselves, and the decoder knows no field inside them.
            (Shape::IntOrString | Shape::Time | Shape::MicroTime, _) => {
                let expected = if matches!(shape, Shape::IntOrString) { "int32" } else { "string" };
                let found = match value {
                    Value::Number(number) if matches!(shape, Shape::IntOrString) => {
                        format!("number {number}")
                    }
                    value => word(value).to_owned(),
                };
                self.report(Problem::WrongType { found, place: String::new(), expected: expected.to_owned() });
            }
            (shape, value) => self.wrong_type(value, go_shape(shape)),
        }
    }

    fn within(&mut self, step: Step<'a>, inner: impl FnOnce(&mut Self)) {
        self.path.push(step);
        inner(self);
        self.path.pop();
    }

    fn wrong_type(&mut self, value: &Value, expected: String) {
        self.wrong(word(value).to_owned(), expected);
    }

    fn wrong(&mut self, found: String, expected: String) {
        let mut place = self.structs.last().map_or(String::new(), |innermost| innermost.name.to_owned());
        for step in &self.path {
            if let Step::Field(name) = step {
                place.push('.');
                place.push_str(name);
            }
        }
        self.report(Problem::WrongType { found, place, expected });
    }

    fn malformed(&mut self, message: String) {
        self.report(Problem::Malformed { message });
    }

    fn report(&mut self, problem: Problem) {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Item(index) => path.push_str(&format!("[{index}]")),
                Step::Field(name) | Step::Key(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
            }
        }
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(SchemaError { path, problem });
        }
    }
}

/// The schema type behind the three types that are a schema or something else.
pub(crate) fn schema_props(found: &'static Type) -> &'static Type {
    crate::facts::named(found.package.definition, "JSONSchemaProps")
        .expect("the schema type lives beside its alternatives")
}

fn is_int32(number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn layout(shape: &Shape) -> &'static str {
    if matches!(shape, Shape::MicroTime) { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" }
}

fn go_type(found: &Type) -> String {
    let package = found.package.definition.rsplit('.').next().unwrap_or_default();
    format!("{package}.{}", found.name)
}

fn go_shape(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Raw => "runtime.RawExtension".to_owned(),
        Shape::FieldsV1 => "v1.FieldsV1".to_owned(),
        Shape::Json => "v1.JSON".to_owned(),
        Shape::List(inner) => format!("[]{}", go_shape(inner)),
        Shape::Map(inner) => format!("map[string]{}", go_shape(inner)),
        Shape::Object(reference) => go_type(reference.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_shapes_in_upstreams_words() {
        let rows: &[(&str, &str, Value, &[&str])] = &[
            (
                "apps/v1",
                "Deployment",
                json!({"spec": {"replicas": "3"}}),
                &["json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"],
            ),
            (
                "apps/v1",
                "Deployment",
                json!({"spec": {"replicas": 3.5}}),
                &["json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32"],
            ),
            (
                "apps/v1",
                "Deployment",
                json!({"spec": {"replicas": 3_000_000_000_u32}}),
                &[
                    "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
                ],
            ),
            (
                "apps/v1",
                "Deployment",
                json!({"spec": []}),
                &["json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"],
            ),
            ("apps/v1", "Deployment", json!([]), &["json: cannot unmarshal array into Go value of type v1.Deployment"]),
            (
                "v1",
                "Pod",
                json!({"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 1}]}]}}),
                &["json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"],
            ),
            (
                "v1",
                "Pod",
                json!({"metadata": {"labels": {"a": true}}}),
                &["json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"],
            ),
            (
                "v1",
                "Pod",
                json!({"spec": {"containers": {}}}),
                &["json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"],
            ),
            (
                "v1",
                "Pod",
                json!({"spec": {"containers": [{"foo": 1}, {"ports": [{"port": 1}]}]}}),
                &["unknown field \"spec.containers[0].foo\"", "unknown field \"spec.containers[1].ports[0].port\""],
            ),
            ("v1", "Pod", json!({"Spec": {}}), &["unknown field \"Spec\""]),
            ("v1", "Pod", json!({"spec": null, "metadata": {"creationTimestamp": null}}), &[]),
            (
                "v1",
                "Service",
                json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 81}]}}),
                &[],
            ),
            (
                "v1",
                "Service",
                json!({"spec": {"ports": [{"targetPort": true}]}}),
                &["json: cannot unmarshal bool into Go value of type int32"],
            ),
            ("v1", "Secret", json!({"data": {"a": "YQ==", "b": "!"}}), &["illegal base64 data at input byte 0"]),
            (
                "v1",
                "Pod",
                json!({"spec": {"overhead": {"cpu": "1", "memory": 5, "x": "1kk"}}}),
                &["unable to parse quantity's suffix"],
            ),
            (
                "v1",
                "Pod",
                json!({"metadata": {"creationTimestamp": "yesterday"}}),
                &["parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse"],
            ),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"items": {"type": "string"}, "additionalProperties": false,
                "properties": {"a": {"x-kubernetes-int-or-string": true, "default": [1]}}, "kind": 1}}}]}}),
                &["unknown field \"spec.versions[0].schema.openAPIV3Schema.kind\""],
            ),
        ];
        for (api_version, kind, value, expected) in rows {
            let schema = Schema::of(api_version, kind).expect(kind);
            let found: Vec<String> = check(&schema, value).iter().map(ToString::to_string).collect();
            assert_eq!(&found, expected, "{value}");
        }
    }

    #[test]
    fn errors_are_bounded() {
        let unknown: serde_json::Map<String, Value> = (0..1000).map(|index| (format!("f{index}"), json!(1))).collect();
        assert_eq!(check(&Schema::of("v1", "Pod").expect("Pod"), &Value::Object(unknown)).len(), ERRORS_MAX);
    }
}
