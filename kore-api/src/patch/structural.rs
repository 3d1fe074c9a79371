//! The merge of an applied configuration: maps merge, and lists as their type says.
//!
//! (Upstream source: the reference on server-side apply, merge strategies, and KEP-555.)

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{Form, ListType, Schema};

/// List keys that may be left out of an item, with the value they then have.
const KEY_DEFAULTS: [(&str, &str); 1] = [("protocol", "TCP")];

pub(super) fn apply(schema: Option<&Schema>, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(applied) = patch else {
        return Err(PatchError::Malformed { message: "an applied configuration is an object".to_owned() });
    };
    let mut members = target.as_object().cloned().unwrap_or_default();
    merge_map(schema, &mut members, applied, "")?;
    Ok(Value::Object(members))
}

fn merge_map(
    schema: Option<&Schema>,
    members: &mut Map<String, Value>,
    applied: &Map<String, Value>,
    path: &str,
) -> Result<(), PatchError> {
    for (name, value) in applied.iter().filter(|(_, value)| !value.is_null()) {
        let field = schema.and_then(|schema| schema.field(name));
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let slot = members.entry(name.clone()).or_insert(Value::Null);
        merge(field.as_ref(), slot, value, &path)?;
    }
    Ok(())
}

fn merge(schema: Option<&Schema>, slot: &mut Value, applied: &Value, path: &str) -> Result<(), PatchError> {
    let is_whole = schema.is_some_and(|schema| schema.is_atomic_map() || schema.form() == Form::Any);
    match (slot, applied) {
        (slot, Value::Object(applied)) if !is_whole => {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let members = slot.as_object_mut().expect("the line above made it an object");
            merge_map(schema, members, applied, path)
        }
        (slot, Value::Array(applied)) => {
            let list_type = schema.map_or(ListType::Atomic, Schema::list_type);
            if !slot.is_array() || list_type == ListType::Atomic {
                *slot = Value::Array(Vec::new());
            }
            let items = slot.as_array_mut().expect("the line above made it a list");
            match list_type {
                ListType::Atomic => items.clone_from(applied),
                ListType::Set => {
                    for value in applied {
                        if !items.contains(value) {
                            items.push(value.clone());
                        }
                    }
                }
                ListType::Map(keys) => {
                    return merge_list(schema.and_then(Schema::element).as_ref(), keys, items, applied, path);
                }
            }
            Ok(())
        }
        (slot, value) => {
            *slot = value.clone();
            Ok(())
        }
    }
}

fn merge_list(
    element: Option<&Schema>,
    keys: &[&str],
    items: &mut Vec<Value>,
    applied: &[Value],
    path: &str,
) -> Result<(), PatchError> {
    for value in applied {
        if let Some(key) = keys.iter().find(|key| key_of(value, key).is_none()) {
            return Err(PatchError::MissingKey { path: path.to_owned(), key: (*key).to_owned() });
        }
        let same = |item: &Value| keys.iter().all(|key| key_of(item, key) == key_of(value, key));
        match items.iter_mut().find(|item| same(item)) {
            Some(item) => merge(element, item, value, path)?,
            None => {
                items.push(Value::Null);
                let added = items.last_mut().expect("the line above put it there");
                merge(element, added, value, path)?;
            }
        }
    }
    Ok(())
}

fn key_of(item: &Value, key: &str) -> Option<Value> {
    item.get(key).filter(|value| !value.is_null()).cloned().or_else(|| {
        KEY_DEFAULTS.iter().find(|(name, _)| *name == key && item.is_object()).map(|(_, value)| Value::from(*value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows() {
        for (api_version, kind, target, applied, expected) in [
            (
                "v1",
                "ConfigMap",
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"data": {"b": "3"}}),
                json!({"data": {"a": "1", "b": "3"}}),
            ),
            (
                "v1",
                "Pod",
                json!({"spec": {"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b"}]}}),
                json!({"spec": {"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c"}]}}),
                json!({"spec": {"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "b"}, {"name": "c"}]}}),
            ),
            // The second key of a port may be left out.
            (
                "v1",
                "Service",
                json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}}),
                json!({"spec": {"ports": [{"port": 53, "name": "dns"}]}}),
                json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "name": "dns"}]}}),
            ),
            (
                "v1",
                "Pod",
                json!({"metadata": {"finalizers": ["a", "b"]}}),
                json!({"metadata": {"finalizers": ["b", "c"]}}),
                json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
            ),
            // Atomic: selectors and node selectors are one value.
            (
                "apps/v1",
                "Deployment",
                json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}}),
                json!({"spec": {"selector": {"matchLabels": {"b": "1"}}}}),
                json!({"spec": {"selector": {"matchLabels": {"b": "1"}}}}),
            ),
            (
                "v1",
                "Pod",
                json!({"spec": {"nodeSelector": {"a": "1"}}}),
                json!({"spec": {"nodeSelector": {"b": "1"}}}),
                json!({"spec": {"nodeSelector": {"b": "1"}}}),
            ),
            (
                "v1",
                "Pod",
                json!({"spec": {"nodeName": "n"}}),
                json!({"spec": {"nodeName": null}}),
                json!({"spec": {"nodeName": "n"}}),
            ),
        ] {
            assert_eq!(apply(Schema::of(api_version, kind).as_ref(), &target, &applied), Ok(expected));
        }
        assert_eq!(
            apply(Schema::of("v1", "Pod").as_ref(), &json!({}), &json!({"spec": {"containers": [{"image": "x"}]}})),
            Err(PatchError::MissingKey { path: "spec.containers".to_owned(), key: "name".to_owned() }),
        );
    }
}
