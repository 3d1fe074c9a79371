//! The walk that checks an object against its schema.

use serde_json::Value;

use super::checks::{is_of, type_word};
use super::{Custom, CustomForm, CustomItems, CustomList, below};
use crate::error::FieldError;

/// All that is wrong with `new`; of what is as it was in `old`, nothing is told.
pub(super) fn validate(root: &Custom, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(root, new, old, "", &mut errors);
    errors
}

fn node(schema: &Custom, new: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if old == Some(new) || (new.is_null() && schema.nullable) {
        return;
    }
    if let Some(kind) = schema.kind.filter(|kind| !is_of(kind, new)) {
        errors.push(wrong_type(path, kind, new));
        return;
    }
    if let Some(checks) = &schema.checks {
        checks.run(new, path, errors);
    }
    match (&schema.form, new) {
        (CustomForm::Object(object), Value::Object(members)) => {
            if schema.is_embedded {
                embedded(new, path, errors);
            }
            for (name, member) in members {
                if let Some(inner) = object.properties.get(name).or(object.additional.as_deref()) {
                    let old = old.and_then(|old| old.get(name));
                    node(inner, member, old, &below(path, name), errors);
                }
            }
        }
        (CustomForm::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| counterpart(list, item, old));
                node(&list.items, item, old, &format!("{path}[{index}]"), errors);
            }
            unique(list, items, path, errors);
        }
        _ => {}
    }
}

pub(super) fn wrong_type(path: &str, kind: &str, value: &Value) -> FieldError {
    let found = type_word(value);
    FieldError::wrong_type(path, found, format!("{path} in body must be of type {kind}: {found:?}"))
}

/// What an item was before: items have a history where keys tell them apart.
fn counterpart<'o>(list: &CustomItems, item: &Value, old: &'o Value) -> Option<&'o Value> {
    let CustomList::Map(keys) = &list.kind else {
        return None;
    };
    old.as_array()?.iter().find(|other| keys.iter().all(|key| other.get(key) == item.get(key)))
}

/// No two items of a set are the same, nor do two of a map have the same keys.
fn unique(list: &CustomItems, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let identity = |item: &Value| match &list.kind {
        CustomList::Atomic => None,
        CustomList::Set => Some(item.clone()),
        CustomList::Map(keys) => {
            let of_item = |key: &String| item.get(key).map(|value| (key.clone(), value.clone()));
            item.is_object().then(|| Value::Object(keys.iter().filter_map(of_item).collect()))
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(identity) = identity(item)
            && !seen.insert(identity.to_string())
        {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), identity));
        }
    }
}

/// An object of the API within another says what it is.
fn embedded(object: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["apiVersion", "kind"] {
        match &object[field] {
            Value::String(text) if !text.is_empty() => {}
            Value::Null | Value::String(_) => {
                errors.push(FieldError::required(below(path, field), "must not be empty"))
            }
            other => errors.push(wrong_type(&below(path, field), "string", other)),
        }
    }
    if !matches!(object["metadata"], Value::Null | Value::Object(_)) {
        errors.push(wrong_type(&below(path, "metadata"), "object", &object["metadata"]));
    }
}
