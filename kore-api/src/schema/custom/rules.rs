//! Rules in CEL (`x-kubernetes-validations`), by kube-cel.

use std::collections::BTreeSet;
use std::fmt;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use crate::error::FieldError;

/// The rules of a kind, compiled.
pub(super) struct Rules {
    compiled: Option<CompiledSchema>,
    /// Those that tell of a field below the one that they are about.
    elsewhere: BTreeSet<String>,
}

impl Rules {
    pub(super) fn read(schema: &Value) -> Self {
        let mut elsewhere = BTreeSet::new();
        let mut count = 0;
        each(schema, &mut |rule| {
            count += 1;
            if rule["fieldPath"].is_string() {
                elsewhere.extend(rule["rule"].as_str().map(str::to_owned));
            }
        });
        Self { compiled: (count > 0).then(|| compile_schema(schema)), elsewhere }
    }

    /// What breaks a rule. Rules about what was before are for changes only. What has not changed may go on breaking a rule.
    pub(super) fn check(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let Some(compiled) = &self.compiled else {
            return Vec::new();
        };
        let Err(found) = Validator::new().validate_compiled(compiled, new, old) else {
            return Vec::new();
        };
        let is_old = |path: &str, rule: &str| {
            let same = || at(new, path).is_some() && old.and_then(|old| at(old, path)) == at(new, path);
            !rule.contains("oldSelf") && !self.elsewhere.contains(rule) && same()
        };
        let told = found.into_vec().into_iter().filter(|error| !is_old(&error.field_path, &error.rule));
        told.map(|error| {
            let (path, message) = (error.field_path.trim_start_matches('.'), error.message);
            let value = at(new, path).cloned().unwrap_or_default();
            match error.reason.as_deref() {
                Some("FieldValueRequired") => FieldError::required(path, message),
                Some("FieldValueForbidden") => FieldError::forbidden(path, message),
                Some("FieldValueDuplicate") => FieldError::duplicate(path, value),
                _ => FieldError::invalid(path, shown(&value), message),
            }
        })
        .collect()
    }
}

/// Large values are not repeated in what a client is told.
fn shown(value: &Value) -> Value {
    match value {
        Value::Object(_) => "object".into(),
        Value::Array(_) => "array".into(),
        value => value.clone(),
    }
}

/// The value at a path such as `spec.list[0].name`.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut here = value;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, indices) = part.split_once('[').map_or((part, ""), |(name, indices)| (name, indices));
        if !name.is_empty() {
            here = here.get(name)?;
        }
        for index in indices.split('[').filter(|index| !index.is_empty()) {
            here = here.get(index.trim_end_matches(']').parse::<usize>().ok()?)?;
        }
    }
    Some(here)
}

/// Every rule of a schema. Schemas are read before, which bounds their depth.
fn each(schema: &Value, visit: &mut impl FnMut(&Value)) {
    match schema {
        Value::Object(members) => {
            for rule in members.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                visit(rule);
            }
            for member in members.values() {
                each(member, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
        _ => {}
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rules")
    }
}
