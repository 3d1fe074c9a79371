//! Strategic merge of lists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::PatchError;
use super::strategic::{DIRECTIVE, bad, merge_map};
use crate::schema::Schema;

/// A list merged as its field says: replaced, joined (scalars), or merged item by item (objects with a merge key).
pub(super) fn merge(
    field: Option<&Schema>,
    items: Vec<Value>,
    changes: &[Value],
    path: &str,
) -> Result<Value, PatchError> {
    if !field.is_some_and(Schema::merges) {
        return Ok(Value::Array(changes.to_vec()));
    }
    let merged = match field.and_then(Schema::merge_key) {
        Some(key) => merge_objects(field, key, items, changes, path)?,
        None => {
            let mut there: BTreeSet<String> = items.iter().map(Value::to_string).collect();
            let mut merged = items;
            merged.extend(changes.iter().filter(|change| there.insert(change.to_string())).cloned());
            merged
        }
    };
    Ok(Value::Array(merged))
}

fn merge_objects(
    field: Option<&Schema>,
    key: &str,
    mut items: Vec<Value>,
    changes: &[Value],
    path: &str,
) -> Result<Vec<Value>, PatchError> {
    let missing = || PatchError::MissingKey { path: path.to_owned(), key: key.to_owned() };
    let mut replace = false;
    let mut ordinary = Vec::new();
    let mut deleted = BTreeSet::new();
    for change in changes {
        let members = change.as_object().ok_or_else(missing)?;
        match members.get(DIRECTIVE).map(Value::as_str) {
            None | Some(Some("merge")) => ordinary.push(members),
            Some(Some("replace")) => replace = true,
            Some(Some("delete")) => {
                deleted.insert(members.get(key).ok_or_else(missing)?.to_string());
            }
            Some(_) => {
                return Err(bad(path, DIRECTIVE, format!("is not replace, delete or merge: {}", members[DIRECTIVE])));
            }
        }
    }
    if replace {
        items.clear();
    }
    if !deleted.is_empty() {
        items.retain(|item| !item.get(key).is_some_and(|value| deleted.contains(&value.to_string())));
    }
    // Looked up, not searched: lists are as long as clients make them.
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if let Some(value) = item.get(key) {
            places.entry(value.to_string()).or_insert(index);
        }
    }
    let element = field.and_then(Schema::element);
    for change in ordinary {
        let value = change.get(key).ok_or_else(missing)?;
        let index = *places.entry(value.to_string()).or_insert_with(|| {
            items.push(Value::Object(Map::new()));
            items.len() - 1
        });
        let members = items[index].as_object_mut().expect("only objects have a merge key");
        merge_map(element.as_ref(), members, change, &format!("{path}[{key}={value}]"))?;
    }
    Ok(items)
}

/// `$deleteFromPrimitiveList`: takes values out of a list of scalars.
pub(super) fn delete_from(
    members: &mut Map<String, Value>,
    name: &str,
    gone: &Value,
    path: &str,
) -> Result<(), PatchError> {
    let gone = gone.as_array().ok_or_else(|| bad(path, "$deleteFromPrimitiveList", "is not a list"))?;
    if let Some(Value::Array(items)) = members.get_mut(name) {
        let gone: BTreeSet<String> = gone.iter().map(Value::to_string).collect();
        items.retain(|item| !gone.contains(&item.to_string()));
    }
    Ok(())
}

/// `$setElementOrder`: merges the list, then orders what the directive names as it says. What only the object has keeps its
/// place relative to the items beside it.
pub(super) fn merge_in_order(
    field: Option<&Schema>,
    members: &mut Map<String, Value>,
    name: &str,
    changes: Option<&Value>,
    order: &Value,
    path: &str,
) -> Result<(), PatchError> {
    let directive = "$setElementOrder";
    let order = order.as_array().ok_or_else(|| bad(path, directive, "is not a list"))?;
    let key = field.and_then(Schema::merge_key);
    // Objects are told apart by their merge key, scalars by themselves.
    let identity = |item: &Value| match key {
        Some(key) => item.get(key).cloned(),
        None => Some(item.clone()),
    };
    let order: Vec<Value> = order
        .iter()
        .map(&identity)
        .collect::<Option<_>>()
        .ok_or_else(|| bad(path, directive, format!("has an item without {}", key.unwrap_or_default())))?;
    let before = match members.get(name) {
        Some(Value::Array(items)) => items.clone(),
        _ => Vec::new(),
    };
    let merged = match changes {
        Some(Value::Null) => {
            members.remove(name);
            return Ok(());
        }
        Some(Value::Array(changes)) => {
            agrees(changes, &order, &identity, path)?;
            match merge(field, before.clone(), changes, path)? {
                Value::Array(items) => items,
                _ => Vec::new(),
            }
        }
        Some(_) => return Err(bad(path, directive, "orders something that is not a list")),
        None if members.contains_key(name) => before.clone(),
        None => return Ok(()),
    };
    let (wanted, stood) = (places(order.iter().map(|item| Some(item.clone()))), places(before.iter().map(&identity)));
    let place_in = |places: &BTreeMap<String, usize>, item: &Value| places.get(&identity(item)?.to_string()).copied();
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place_in(&wanted, item).is_some());
    named.sort_by_cached_key(|item| place_in(&wanted, item));
    let place = |item: &Value| place_in(&stood, item);
    let mut result = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        // An item of the object's own goes first where it stood first.
        while let Some(other) =
            others.next_if(|other| matches!((place(other), place(&item)), (Some(other), Some(item)) if other < item))
        {
            result.push(other);
        }
        result.push(item);
    }
    result.extend(others);
    members.insert(name.to_owned(), Value::Array(result));
    Ok(())
}

/// Where in a list each item stands first.
fn places(identities: impl Iterator<Item = Option<Value>>) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for (index, identity) in identities.enumerate() {
        if let Some(identity) = identity {
            places.entry(identity.to_string()).or_insert(index);
        }
    }
    places
}

/// The items that the patch sets must stand in the order that it demands.
fn agrees(
    changes: &[Value],
    order: &[Value],
    identity: &dyn Fn(&Value) -> Option<Value>,
    path: &str,
) -> Result<(), PatchError> {
    let mut rest = order.iter();
    for change in changes.iter().filter(|change| change.get(DIRECTIVE).is_none()) {
        let wanted = identity(change);
        if !rest.any(|next| Some(next) == wanted.as_ref()) {
            return Err(bad(path, "$setElementOrder", "does not agree with the order of the list in the patch"));
        }
    }
    Ok(())
}
