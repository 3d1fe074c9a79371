//! Reads a structural OpenAPI v3 schema.

use serde_json::{Map, Value};

use super::checks::Checks;
use super::{Custom, CustomForm, CustomItems, CustomList, CustomObject};
use crate::managed::Scalar;
use crate::schema::double;

/// Schemas nested deeper than this are refused.
const DEPTH_MAX: usize = 64;

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

impl SchemaProblem {
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl Custom {
    /// Reads a structural OpenAPI v3 schema.
    ///
    /// # Errors
    /// [`SchemaProblem`]: what is not structural, or contradicts itself.
    pub(crate) fn read(schema: &Value) -> Result<Self, SchemaProblem> {
        read(schema, &mut Vec::new())
    }

    pub(super) fn for_kind(schema: &Value) -> Result<Self, SchemaProblem> {
        let mut root = Self::read(schema)?;
        match &mut root.form {
            CustomForm::Object(object) => {
                for name in ["apiVersion", "kind"] {
                    object.properties.insert(name.to_owned(), Self::of(CustomForm::Scalar(Scalar::String)));
                }
                object.properties.insert("metadata".to_owned(), Self::of(CustomForm::Metadata));
                Ok(root)
            }
            CustomForm::Anything { .. } => Ok(root),
            _ => Err(SchemaProblem::new("type", "must be object")),
        }
    }

    fn of(form: CustomForm) -> Self {
        Self { form, kind: None, nullable: false, default: None, is_embedded: false, checks: None }
    }
}

fn read<'a>(schema: &'a Value, path: &mut Vec<&'a str>) -> Result<Custom, SchemaProblem> {
    let wrong = |path: &[&str], problem: &str| SchemaProblem::new(path.join("."), problem);
    if path.len() > DEPTH_MAX {
        return Err(wrong(path, "the schema is nested too deeply"));
    }
    let Value::Object(schema) = schema else {
        return Err(wrong(path, "a schema must be an object"));
    };
    let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
    let kind = schema.get("type").map(|kind| kind.as_str().unwrap_or_default()).filter(|kind| !kind.is_empty());
    let form = match kind {
        _ if flag("x-kubernetes-int-or-string") => CustomForm::Scalar(Scalar::Any),
        None => CustomForm::Anything { preserve: flag("x-kubernetes-preserve-unknown-fields") },
        Some("string") => CustomForm::Scalar(Scalar::String),
        Some("boolean") => CustomForm::Scalar(Scalar::Bool),
        Some("integer" | "number") => CustomForm::Scalar(Scalar::Number),
        Some("object") => CustomForm::Object(object(schema, path)?),
        Some("array") => CustomForm::List(Box::new(list(schema, path)?)),
        Some(_) => {
            return Err(wrong(path, "type must be one of object, array, string, integer, number and boolean"));
        }
    };
    let is_int_or_string = flag("x-kubernetes-int-or-string");
    let checks = Checks::read(schema).map_err(|problem| wrong(path, &problem))?;
    Ok(Custom {
        form,
        kind: if is_int_or_string { Some("integer,string") } else { kind.and_then(word) },
        nullable: flag("nullable"),
        default: schema.get("default").map(plain),
        is_embedded: flag("x-kubernetes-embedded-resource"),
        checks: checks.map(Box::new),
    })
}

/// The words of types.
pub(super) fn word(kind: &str) -> Option<&'static str> {
    ["object", "array", "string", "integer", "number", "boolean"].into_iter().find(|word| *word == kind)
}

fn object<'a>(schema: &'a Map<String, Value>, path: &mut Vec<&'a str>) -> Result<CustomObject, SchemaProblem> {
    let preserve = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let mut object = CustomObject { preserve, ..CustomObject::default() };
    object.is_atomic = match schema.get("x-kubernetes-map-type").map(|kind| kind.as_str().unwrap_or_default()) {
        None | Some("granular") => false,
        Some("atomic") => true,
        Some(_) => {
            return Err(SchemaProblem::new(path.join("."), "x-kubernetes-map-type must be atomic or granular"));
        }
    };
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.extend(["properties", name]);
        object.properties.insert(name.clone(), read(property, path)?);
        path.truncate(path.len() - 2);
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
    Ok(object)
}

fn list<'a>(schema: &'a Map<String, Value>, path: &mut Vec<&'a str>) -> Result<CustomItems, SchemaProblem> {
    let wrong = |path: &[&str], problem: &str| SchemaProblem::new(path.join("."), problem);
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
    Ok(CustomItems { items, kind })
}

/// A number without a fraction has none in keys, however the default is written.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map_or(Value::Null, double),
        value => value.clone(),
    }
}
