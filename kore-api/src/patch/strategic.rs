//! Strategic merge: maps, and the directives that stand in them.
//!
//! | directive | in | does |
//! |---|---|---|
//! | `$patch: replace` | a map | the patch's map stands instead of the object's |
//! | `$patch: delete` | a map | the object's map becomes empty; as an item of a list, the item goes |
//! | `$patch: merge` | a map | nothing: it is what happens anyway |
//! | `$retainKeys: [k]` | a map | what the list does not name goes; the patch may not name anything else |
//! | `$setElementOrder/f: [..]` | a map | orders the merged list `f` |
//! | `$deleteFromPrimitiveList/f: [..]` | a map | takes values out of the list `f` |
//!
//! (Upstream source: the community document on strategic merge patch, and KEP-era proposals on preserving order.)

use serde_json::{Map, Value};

use super::{PatchError, list};
use crate::schema::Schema;

pub(super) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

pub(super) fn apply(schema: &Schema, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(changes) = patch else {
        return Err(PatchError::Malformed { message: "a strategic merge patch is an object".to_owned() });
    };
    let mut members = target.as_object().cloned().unwrap_or_default();
    merge_map(Some(schema), &mut members, changes, "")?;
    Ok(Value::Object(members))
}

pub(super) fn bad(path: &str, directive: &str, message: impl Into<String>) -> PatchError {
    let path = if path.is_empty() { "the object" } else { path };
    PatchError::Directive { path: path.to_owned(), directive: directive.to_owned(), message: message.into() }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

pub(super) fn merge_map(
    schema: Option<&Schema>,
    members: &mut Map<String, Value>,
    changes: &Map<String, Value>,
    path: &str,
) -> Result<(), PatchError> {
    match changes.get(DIRECTIVE).map(|directive| directive.as_str()) {
        None | Some(Some("merge")) => {}
        Some(Some("delete")) => {
            members.clear();
            return Ok(());
        }
        // Merging into nothing takes the rest of the patch as it is, without its directives.
        Some(Some("replace")) => members.clear(),
        Some(_) => {
            return Err(bad(path, DIRECTIVE, format!("is not replace, delete or merge: {}", changes[DIRECTIVE])));
        }
    }
    retain_keys(members, changes, path)?;
    let ordered: Vec<&str> = changes.keys().filter_map(|key| key.strip_prefix(ELEMENT_ORDER)).collect();
    for name in &ordered {
        let order = &changes[&format!("{ELEMENT_ORDER}{name}")];
        let field = schema.and_then(|schema| schema.field(name));
        list::merge_in_order(field.as_ref(), members, name, changes.get(*name), order, &child(path, name))?;
    }
    for (key, change) in changes {
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            list::delete_from(members, name, change, &child(path, name))?;
        } else if !is_directive(key) && !ordered.contains(&key.as_str()) {
            merge_field(schema, members, key, change, path)?;
        }
    }
    Ok(())
}

fn merge_field(
    schema: Option<&Schema>,
    members: &mut Map<String, Value>,
    name: &str,
    change: &Value,
    path: &str,
) -> Result<(), PatchError> {
    if change.is_null() {
        members.remove(name);
        return Ok(());
    }
    let field = schema.and_then(|schema| schema.field(name));
    let path = child(path, name);
    let merged = match (members.remove(name), change) {
        (Some(Value::Object(mut inner)), Value::Object(changes)) if !field.as_ref().is_some_and(Schema::replaces) => {
            merge_map(field.as_ref(), &mut inner, changes, &path)?;
            Value::Object(inner)
        }
        // Merging into nothing honours the directives of the patch and drops its nulls.
        (_, Value::Object(changes)) => {
            let mut inner = Map::new();
            merge_map(field.as_ref(), &mut inner, changes, &path)?;
            Value::Object(inner)
        }
        (Some(Value::Array(items)), Value::Array(changes)) => list::merge(field.as_ref(), items, changes, &path)?,
        (_, Value::Array(changes)) => list::merge(field.as_ref(), Vec::new(), changes, &path)?,
        (_, scalar) => scalar.clone(),
    };
    members.insert(name.to_owned(), merged);
    Ok(())
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) || key.starts_with(DELETE_FROM)
}

fn retain_keys(members: &mut Map<String, Value>, changes: &Map<String, Value>, path: &str) -> Result<(), PatchError> {
    let Some(directive) = changes.get(RETAIN_KEYS) else {
        return Ok(());
    };
    let kept: Option<Vec<&str>> = directive.as_array().and_then(|keys| keys.iter().map(Value::as_str).collect());
    let kept = kept.ok_or_else(|| bad(path, RETAIN_KEYS, "is not a list of names"))?;
    if let Some((name, _)) =
        changes.iter().find(|(name, change)| !change.is_null() && !is_directive(name) && !kept.contains(&name.as_str()))
    {
        return Err(bad(path, RETAIN_KEYS, format!("does not name {name}, which the patch sets")));
    }
    members.retain(|name, _| kept.contains(&name.as_str()));
    Ok(())
}

#[cfg(test)]
mod tests;
