//! Whether a write carries back the fields that its writer does not know.

use serde_json::{Map, Value};

use super::fields::{self, Place};

/// The fields of `base` that `written` has lost: path and what became of each.
pub(super) fn lost(place: &Place, base: &Value, written: &Value) -> Vec<(String, String)> {
    lost_at("", place, base, written)
}

/// As [`lost`], for one field of the object only, and for all of it that is below.
pub(super) fn lost_below(field: &str, place: &Place, base: &Value, written: &Value) -> Vec<(String, String)> {
    lost_at(field, &place.field(field), &base[field], &written[field])
}

/// As [`lost`], for a part of an object that is at `path`.
pub(super) fn lost_at(path: &str, place: &Place, base: &Value, written: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    compare(place, base, written, path, &mut found);
    found
}

fn compare(place: &Place, base: &Value, written: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match (base, written) {
        (Value::Object(base), Value::Object(written)) => {
            compare_fields(place, base, written, path, found);
        }
        (Value::Array(base), Value::Array(written)) => {
            compare_items(place, base, written, path, found);
        }
        // Replaced by something else altogether.
        _ => {}
    }
}

fn compare_fields(
    place: &Place,
    base: &Map<String, Value>,
    written: &Map<String, Value>,
    path: &str,
    found: &mut Vec<(String, String)>,
) {
    for (name, value) in base {
        let path = fields::field_path(path, name);
        let kept = written.get(name);
        if !fields::is_unknown(name) {
            if let Some(kept) = kept {
                compare(&place.field(name), value, kept, &path, found);
            }
            continue;
        }
        match kept {
            Some(kept) if kept == value => {}
            Some(kept) => found.push((path, format!("has changed from {value} to {kept}"))),
            None => found.push((path, "is gone".into())),
        }
    }
}

fn compare_items(place: &Place, base: &[Value], written: &[Value], path: &str, found: &mut Vec<(String, String)>) {
    let (inner, keys) = (place.item(), place.item_keys());
    for (index, item) in base.iter().enumerate() {
        if !item.is_object() {
            continue;
        }
        let path = fields::item_path(path, &keys, index, item);
        let is_keyed = !keys.is_empty() && keys.iter().any(|key| item.get(*key).is_some());
        let same = |other: &&Value| match is_keyed {
            true => keys.iter().all(|key| other.get(*key) == item.get(*key)),
            false => bare(other) == bare(item),
        };
        // Of several equal items, one must have kept this one's fields.
        let outcomes = written.iter().filter(same).map(|other| {
            let mut lost = Vec::new();
            compare(&inner, item, other, &path, &mut lost);
            lost
        });
        found.extend(outcomes.min_by_key(Vec::len).unwrap_or_default());
    }
}

fn bare(item: &Value) -> Value {
    let mut item = item.clone();
    fields::take_out(&mut item);
    item
}
