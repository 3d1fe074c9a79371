//! A typed edit that keeps what the type does not know.
//!
//! A typed client reads an object into a struct, changes the struct, and writes it back. Fields that the struct has not
//! learnt yet would be lost. Here the edit is taken as the difference between the struct as read and the struct as
//! changed, and that difference is made to the full object.

use serde_json::{Map, Value};

use super::Schema;

/// The full object with the difference from `base_typed` to `new_typed` made to it.
///
/// * `base_full`: the object as it was read, with every field;
/// * `base_typed`: the same object after a round trip through the typed struct;
/// * `new_typed`: the changed struct, serialised.
///
/// What did not change keeps the form it had in `base_full`. A field that the struct knows and the edit removed is removed,
/// with everything below. A list item is found again by the list's keys (from `schema`, where it is known), else by being
/// equal, else by its place between items that were found and by likeness; only an item that was removed takes its
/// unknown fields along.
///
/// ```
/// use kore_api::schema::graft;
/// use serde_json::json;
///
/// let base_full = json!({"spec": {"replicas": 1, "newFeature": true}, "list": [{"a": 1, "x": 1}, {"a": 2, "x": 2}]});
/// let base_typed = json!({"spec": {"replicas": 1}, "list": [{"a": 1}, {"a": 2}]});
/// let new_typed = json!({"spec": {"replicas": 5}, "list": [{"a": 2}]});
/// assert_eq!(
///     graft(None, &base_full, &base_typed, &new_typed),
///     json!({"spec": {"replicas": 5, "newFeature": true}, "list": [{"a": 2, "x": 2}]}),
/// );
/// ```
pub fn graft(schema: Option<&Schema>, base_full: &Value, base_typed: &Value, new_typed: &Value) -> Value {
    if base_typed == new_typed {
        return base_full.clone();
    }
    match (base_full, base_typed, new_typed) {
        (Value::Object(full), Value::Object(base), Value::Object(new)) => {
            Value::Object(object(schema, full, base, new))
        }
        (Value::Array(full), Value::Array(base), Value::Array(new)) if full.len() == base.len() => {
            Value::Array(list(schema, full, base, new))
        }
        _ => new_typed.clone(),
    }
}

fn object(
    schema: Option<&Schema>,
    full: &Map<String, Value>,
    base: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = Map::new();
    for (name, value) in full {
        let grafted = match (base.get(name), new.get(name)) {
            // The struct does not know the field, or knows it as absent (null, empty): it stays as it was.
            (None, None) => value.clone(),
            (Some(_), None) => continue,
            (known, Some(edited)) => {
                let nothing = empty_like(value);
                graft(schema.and_then(|schema| schema.field(name)).as_ref(), value, known.unwrap_or(&nothing), edited)
            }
        };
        merged.insert(name.clone(), grafted);
    }
    for (name, edited) in new {
        // What the round trip adds by itself is no edit.
        if !full.contains_key(name) && base.get(name) != Some(edited) {
            merged.insert(name.clone(), edited.clone());
        }
    }
    merged
}

fn empty_like(value: &Value) -> Value {
    match value {
        Value::Object(_) => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

fn list(schema: Option<&Schema>, full: &[Value], base: &[Value], new: &[Value]) -> Vec<Value> {
    let mut keys = schema.map(Schema::item_keys).unwrap_or_default();
    if keys.is_empty() && has_own_names(base) && has_own_names(new) {
        keys.push("name");
    }
    let item_schema = schema.and_then(Schema::element);
    let origins = origins(&keys, base, new);
    new.iter()
        .zip(origins)
        .map(|(edited, origin)| match origin {
            Some(index) => graft(item_schema.as_ref(), &full[index], &base[index], edited),
            None => edited.clone(),
        })
        .collect()
}

/// Whether every item is an object with a name that no other has.
fn has_own_names(items: &[Value]) -> bool {
    let mut names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
    names.sort_unstable();
    names.len() == items.len() && names.windows(2).all(|pair| pair[0] != pair[1])
}

/// For each new item the base item it came from, each base item at most once.
fn origins(keys: &[&str], base: &[Value], new: &[Value]) -> Vec<Option<usize>> {
    let mut origins = vec![None; new.len()];
    let mut taken = vec![false; base.len()];
    let mut settle = |taken: &mut Vec<bool>, same: &dyn Fn(&Value, &Value) -> bool| {
        let mut from = 0;
        for (edited, origin) in new.iter().zip(origins.iter_mut()).filter(|(_, origin)| origin.is_none()) {
            // Searching on from the last find keeps the order among duplicates, and makes the common case linear.
            let found = (from..base.len()).chain(0..from).find(|index| !taken[*index] && same(&base[*index], edited));
            if let Some(index) = found {
                taken[index] = true;
                *origin = Some(index);
                from = index + 1;
            }
        }
    };
    if !keys.is_empty() {
        settle(&mut taken, &|old, edited| {
            old.is_object()
                && edited.is_object()
                && keys.iter().all(|key| old.get(key) == edited.get(key))
                && old.get(keys[0]).is_some()
        });
        // Where keys decide, an item whose key is new is a new item.
        if base.iter().chain(new).all(|item| item.get(keys[0]).is_some()) {
            return origins;
        }
    }
    settle(&mut taken, &|old, edited| old == edited);
    by_likeness(base, new, &mut origins, &mut taken);
    origins
}

/// Settles what equality left open: an edited item is most like the item it was made from.
fn by_likeness(base: &[Value], new: &[Value], origins: &mut [Option<usize>], taken: &mut [bool]) {
    let open: Vec<usize> = (0..new.len()).filter(|index| origins[*index].is_none()).collect();
    let free: Vec<usize> = (0..base.len()).filter(|index| !taken[*index]).collect();
    // The product is bounded; lists that were rewritten beyond it are matched by position.
    if open.len() == free.len() || open.len() * free.len() > 65_536 {
        for (edited, old) in open.into_iter().zip(free) {
            if same_form(&base[old], &new[edited]) {
                origins[edited] = Some(old);
                taken[old] = true;
            }
        }
        return;
    }
    let mut pairs: Vec<(u32, usize, usize)> = Vec::new();
    for edited in open {
        pairs.extend(
            free.iter().map(|old| (likeness(&base[*old], &new[edited]), edited, *old)).filter(|(score, ..)| *score > 0),
        );
    }
    pairs.sort_by_key(|(score, edited, old)| (std::cmp::Reverse(*score), edited.abs_diff(*old), *edited));
    for (_, edited, old) in pairs {
        if origins[edited].is_none() && !taken[old] {
            origins[edited] = Some(old);
            taken[old] = true;
        }
    }
}

fn same_form(old: &Value, edited: &Value) -> bool {
    (old.is_object() && edited.is_object()) || (old.is_array() && edited.is_array())
}

/// How much two items have in common: equal members count, and those that name things count most.
fn likeness(old: &Value, edited: &Value) -> u32 {
    match (old, edited) {
        (Value::Object(old), Value::Object(edited)) => old
            .iter()
            .filter_map(|(name, value)| edited.get(name).map(|other| (name, value, other)))
            .map(|(name, value, other)| match (value == other, name.as_str()) {
                (true, "name" | "key" | "type" | "uid" | "ip" | "id") => 16,
                (true, _) => 4,
                // The same field with another value still says what sort of item it is.
                (false, _) => 1,
            })
            .sum(),
        (Value::Array(old), Value::Array(edited)) => 1 + old.iter().filter(|item| edited.contains(item)).count() as u32,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
