//! A value without some of its fields, or with some of them only.

use serde_json::{Map as JsonMap, Value};

use super::place::{Kind, Place, Relation};
use super::set::FieldSet;

/// `value` without the fields and items in `gone`. What was emptied by that is null.
pub(crate) fn remove(place: Place<'_>, value: &Value, gone: &FieldSet) -> Value {
    let atom = place.atom();
    match (atom.kind(Some(value)), value) {
        (Kind::Scalar, value) => value.clone(),
        (Kind::Map, Value::Object(members)) => {
            let map = atom.map.expect("the kind says so");
            if map.is_atomic {
                return Value::Null;
            }
            let mut kept = JsonMap::new();
            for (name, member) in members {
                let step = map.step(name);
                if gone.contains(&step) {
                    continue;
                }
                let below = gone.below(&step);
                let member = match map.field(name) {
                    Some(place) if !below.is_empty() => remove(place, member, below),
                    _ => member.clone(),
                };
                kept.insert(name.clone(), member);
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Kind::List, Value::Array(items)) => {
            let list = atom.list.expect("the kind says so");
            if matches!(list.relation, Relation::Atomic) {
                return Value::Null;
            }
            let mut kept = Vec::with_capacity(items.len());
            for item in items {
                let Ok(step) = list.step(item) else {
                    kept.push(item.clone());
                    continue;
                };
                if gone.contains(&step) {
                    continue;
                }
                let below = gone.below(&step);
                kept.push(if below.is_empty() { item.clone() } else { remove(list.element, item, below) });
            }
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        _ => Value::Null,
    }
}

/// `value` with nothing but the fields and items in `wanted`. What is owned as one is taken whole; of what holds nothing wanted but
/// is wanted itself, null is left.
pub(crate) fn extract(place: Place<'_>, value: &Value, wanted: &FieldSet) -> Value {
    let atom = place.atom();
    match (atom.kind(Some(value)), value) {
        (Kind::Map, Value::Object(members)) => {
            let map = atom.map.expect("the kind says so");
            if map.is_atomic || members.is_empty() {
                return value.clone();
            }
            let mut taken = JsonMap::new();
            for (name, member) in members {
                let step = map.step(name);
                let below = wanted.below(&step);
                if wanted.contains(&step) || !below.is_empty() {
                    let place = map.field(name).unwrap_or(Place::Whole);
                    taken.insert(name.clone(), extract(place, member, below));
                }
            }
            if taken.is_empty() { Value::Null } else { Value::Object(taken) }
        }
        (Kind::List, Value::Array(items)) => {
            let list = atom.list.expect("the kind says so");
            if matches!(list.relation, Relation::Atomic) || items.is_empty() {
                return value.clone();
            }
            let mut taken = Vec::new();
            for item in items {
                let Ok(step) = list.step(item) else {
                    continue;
                };
                let below = wanted.below(&step);
                if !below.is_empty() {
                    taken.push(extract(list.element, item, below));
                } else if wanted.contains(&step) {
                    taken.push(item.clone());
                }
            }
            if taken.is_empty() { Value::Null } else { Value::Array(taken) }
        }
        (_, value) => value.clone(),
    }
}
