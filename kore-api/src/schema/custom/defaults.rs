//! Fills in defaults.

use serde_json::Value;

use super::{Custom, CustomForm};

/// Fills in what is left out, and what is null where null is no value; in what is filled in, too.
pub(super) fn fill(schema: &Custom, value: &mut Value) {
    match (&schema.form, value) {
        (CustomForm::Object(object), Value::Object(members)) => {
            for (name, property) in &object.properties {
                let Some(default) = &property.default else {
                    continue;
                };
                match members.get_mut(name) {
                    None => drop(members.insert(name.clone(), default.clone())),
                    Some(member) if member.is_null() && !property.nullable => *member = default.clone(),
                    Some(_) => {}
                }
            }
            for (name, member) in members.iter_mut() {
                let inner = object.properties.get(name).or(object.additional.as_deref());
                if let Some(inner) = inner {
                    replace_null(inner, member);
                    fill(inner, member);
                }
            }
        }
        (CustomForm::List(list), Value::Array(items)) => {
            for item in items {
                replace_null(&list.items, item);
                fill(&list.items, item);
            }
        }
        _ => {}
    }
}

fn replace_null(schema: &Custom, value: &mut Value) {
    if let (Value::Null, false, Some(default)) = (&*value, schema.nullable, &schema.default) {
        *value = default.clone();
    }
}

/// Drops members that are null where null is no value and nothing stands in for it.
pub(super) fn drop_nulls(schema: &Custom, value: &mut Value) {
    match (&schema.form, value) {
        (CustomForm::Object(object), Value::Object(members)) => {
            let known = |name: &str| object.properties.get(name).or(object.additional.as_deref());
            members.retain(|name, member| {
                let is_value = |inner: &Custom| inner.nullable || matches!(inner.form, CustomForm::Metadata);
                !member.is_null() || known(name).is_none_or(is_value)
            });
            for (name, member) in members.iter_mut() {
                if let Some(inner) = known(name) {
                    drop_nulls(inner, member);
                }
            }
        }
        (CustomForm::List(list), Value::Array(items)) => {
            for item in items {
                drop_nulls(&list.items, item);
            }
        }
        _ => {}
    }
}
