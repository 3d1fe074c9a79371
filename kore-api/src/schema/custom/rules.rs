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

/// The parser goes down a stack for every bracket and every choice: a rule may have so many within each other.
const NESTING_MAX: usize = 8;

/// Why an expression cannot be compiled at all.
pub(super) fn too_deep(expression: &str) -> Option<String> {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in expression.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            // The rest of a choice is within it.
            b'?' => deepest += 1,
            _ => continue,
        }
        deepest = deepest.max(depth);
    }
    (deepest > NESTING_MAX).then(|| format!("compilation failed: nested more than {NESTING_MAX} deep"))
}

impl Rules {
    /// The rules of a schema.
    ///
    /// # Errors
    /// Of a rule that cannot be compiled at all.
    pub(super) fn read(schema: &Value) -> Result<Self, String> {
        let mut problem = None;
        let mut elsewhere = BTreeSet::new();
        let mut count = 0;
        each(schema, &mut |rule| {
            count += 1;
            for expression in ["rule", "messageExpression"] {
                problem = problem.take().or_else(|| too_deep(rule[expression].as_str().unwrap_or_default()));
            }
            if rule["fieldPath"].is_string() {
                elsewhere.extend(rule["rule"].as_str().map(str::to_owned));
            }
        });
        match problem {
            Some(problem) => Err(problem),
            None => Ok(Self { compiled: (count > 0).then(|| compile_schema(schema)), elsewhere }),
        }
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
