//! The shape of a kind that is not built in: a structural OpenAPI v3 schema, as far as ownership of fields needs it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::double;
use crate::managed::Scalar;

/// Schemas nested deeper than this are refused.
const DEPTH_MAX: usize = 64;

/// A place in a structural schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Custom {
    /// No type is stated; `preserve`: what is there is kept (`x-kubernetes-preserve-unknown-fields`).
    Anything { preserve: bool },
    /// A string, a number, a boolean, or (`x-kubernetes-int-or-string`) one of them.
    Scalar(Scalar),
    /// An object.
    Object(CustomObject),
    /// A list.
    List(Box<CustomItems>),
    /// What all objects have.
    Metadata,
}

/// An object of a structural schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CustomObject {
    pub(crate) properties: BTreeMap<String, Custom>,
    /// The defaults of its properties.
    pub(crate) defaults: BTreeMap<String, Value>,
    pub(crate) additional: Option<Box<Custom>>,
    pub(crate) preserve: bool,
    pub(crate) is_atomic: bool,
}

/// A list of a structural schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CustomItems {
    pub(crate) items: Custom,
    pub(crate) kind: CustomList,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CustomList {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// A schema that cannot be read: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
#[non_exhaustive]
pub struct SchemaProblem {
    /// The path of the field at fault, from the root of the schema: `properties.spec.items`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

impl Custom {
    /// Reads a structural OpenAPI v3 schema.
    ///
    /// # Errors
    /// [`SchemaProblem`]: what is not structural, or contradicts itself.
    pub(crate) fn read(schema: &Value) -> Result<Self, SchemaProblem> {
        read(schema, &mut Vec::new())
    }

    /// Reads the schema of a kind: whatever it says of them, `apiVersion`, `kind` and `metadata` are those of every object.
    ///
    /// # Errors
    /// As [`Custom::read`], and when it is no object's.
    pub(crate) fn for_kind(schema: &Value) -> Result<Self, SchemaProblem> {
        match Self::read(schema)? {
            Self::Object(mut object) => {
                for name in ["apiVersion", "kind"] {
                    object.properties.insert(name.to_owned(), Self::Scalar(Scalar::String));
                }
                object.properties.insert("metadata".to_owned(), Self::Metadata);
                Ok(Self::Object(object))
            }
            Self::Anything { preserve } => Ok(Self::Anything { preserve }),
            _ => Err(SchemaProblem { path: "type".to_owned(), problem: "must be object".to_owned() }),
        }
    }
}

fn read<'a>(schema: &'a Value, path: &mut Vec<&'a str>) -> Result<Custom, SchemaProblem> {
    let wrong = |path: &[&str], problem: &str| SchemaProblem { path: path.join("."), problem: problem.to_owned() };
    if path.len() > DEPTH_MAX {
        return Err(wrong(path, "the schema is nested too deeply"));
    }
    let Value::Object(schema) = schema else {
        return Err(wrong(path, "a schema must be an object"));
    };
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
    let preserve = flag("x-kubernetes-preserve-unknown-fields");
    if flag("x-kubernetes-int-or-string") {
        return Ok(Custom::Scalar(Scalar::Any));
    }
    Ok(match schema.get("type").map(|kind| kind.as_str().unwrap_or_default()) {
        None => Custom::Anything { preserve },
        Some("string") => Custom::Scalar(Scalar::String),
        Some("boolean") => Custom::Scalar(Scalar::Bool),
        Some("integer" | "number") => Custom::Scalar(Scalar::Number),
        Some("object") => {
            let mut object = CustomObject { preserve, ..CustomObject::default() };
            object.is_atomic = match schema.get("x-kubernetes-map-type").map(|kind| kind.as_str().unwrap_or_default()) {
                None | Some("granular") => false,
                Some("atomic") => true,
                Some(_) => return Err(wrong(path, "x-kubernetes-map-type must be atomic or granular")),
            };
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                path.extend(["properties", name]);
                object.properties.insert(name.clone(), read(property, path)?);
                path.truncate(path.len() - 2);
                if let Some(default) = property.get("default") {
                    object.defaults.insert(name.clone(), plain(default));
                }
            }
            match schema.get("additionalProperties") {
                None | Some(Value::Bool(false)) => {}
                Some(Value::Bool(true)) => object.preserve = true,
                Some(additional) => {
                    path.push("additionalProperties");
                    object.additional = Some(Box::new(read(additional, path)?));
                    path.pop();
                }
            }
            Custom::Object(object)
        }
        Some("array") => {
            let Some(items) = schema.get("items") else {
                return Err(wrong(path, "items must be specified"));
            };
            path.push("items");
            let items = read(items, path)?;
            path.pop();
            let kind = match schema.get("x-kubernetes-list-type").map(|kind| kind.as_str().unwrap_or_default()) {
                None | Some("atomic") => CustomList::Atomic,
                Some("set") => CustomList::Set,
                Some("map") => {
                    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten();
                    let keys: Vec<String> = keys.filter_map(Value::as_str).map(str::to_owned).collect();
                    if keys.is_empty() {
                        return Err(wrong(path, "x-kubernetes-list-map-keys must name the keys of a list of type map"));
                    }
                    CustomList::Map(keys)
                }
                Some(_) => return Err(wrong(path, "x-kubernetes-list-type must be atomic, set or map")),
            };
            Custom::List(Box::new(CustomItems { items, kind }))
        }
        Some(_) => {
            return Err(wrong(path, "type must be one of object, array, string, integer, number and boolean"));
        }
    })
}

/// A number without a fraction has none in keys, however the default is written.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map_or(Value::Null, double),
        value => value.clone(),
    }
}
impl Custom {
    pub(crate) fn prune(&self, _: &mut Value) -> Vec<String> { Vec::new() }
    pub(crate) fn default(&self, _: &mut Value) {}
}
