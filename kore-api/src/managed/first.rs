//! The fields of a new object, written at once: most objects are made and hardly changed, and a set of what all is new need not be
//! built to be written down. It says what comparing the object with nothing says.

use serde_json::{Map as JsonMap, Value};

use super::FieldSet;
use super::element::{Element, same};
use super::fields_of::steps;
use super::place::{Kind, List, Map, Place, Relation};
use super::problem::Problem;
use super::set::EMPTY;

/// Appends what is owned of a new object as `FieldsV1`: all but what is in `untracked`, and the field `left_out` with what is in it. Whether
/// anything is owned.
pub(crate) fn write_new(
    place: Place<'_>,
    object: &Value,
    untracked: &FieldSet,
    left_out: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<bool, Problem> {
    let (Some(map), Value::Object(members)) = (place.atom().map.filter(|map| !map.is_atomic), object) else {
        return Err(Problem::here("an object must be a map of fields"));
    };
    Writer { out, text: String::new() }.map(map, members, true, untracked, left_out)
}

struct Writer<'w> {
    out: &'w mut Vec<u8>,
    text: String,
}

impl Writer<'_> {
    /// Writes a child by what `inner` writes of it, or nothing if that is nothing.
    fn child(
        &mut self,
        step: &Element,
        inner: impl FnOnce(&mut Self) -> Result<bool, Problem>,
    ) -> Result<bool, Problem> {
        let before = self.out.len();
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.text.clear();
        step.write(&mut self.text);
        super::fields_v1::write_text(&self.text, self.out);
        self.out.push(b':');
        let wrote = inner(self).map_err(|problem| problem.within(step))?;
        if !wrote {
            self.out.truncate(before);
        }
        Ok(wrote)
    }

    /// Writes what is owned of a value and below it; `before`: what stood there, if anything did. Whether anything is owned.
    fn value(&mut self, place: Place<'_>, value: &Value, before: Option<&Value>) -> Result<bool, Problem> {
        let atom = place.atom();
        match (atom.kind(Some(value)), value) {
            (Kind::Map, Value::Object(members)) if !members.is_empty() => {
                let map = atom.map.expect("the kind says so");
                if !map.is_atomic {
                    return self.map(map, members, before.is_some(), &EMPTY, None);
                }
            }
            (Kind::List, Value::Array(items)) if !items.is_empty() => {
                let list = atom.list.expect("the kind says so");
                if !matches!(list.relation, Relation::Atomic) {
                    return self.list(list, items, before.is_some());
                }
            }
            (Kind::Nothing, _) => return Err(Problem::here("the type allows no value")),
            _ => {}
        }
        self.out.extend_from_slice(b"{}");
        Ok(before.is_none_or(|before| !same(before, value)))
    }

    fn open(&mut self, was_there: bool) {
        self.out.extend_from_slice(if was_there { b"{" } else { b"{\".\":{}" });
    }

    /// A map, which is owned itself unless it was there. What is in `hidden` is not owned itself, and not at all if nothing below it
    /// is hidden.
    fn map(
        &mut self,
        map: Map<'_>,
        members: &JsonMap<String, Value>,
        was_there: bool,
        hidden: &FieldSet,
        left_out: Option<&str>,
    ) -> Result<bool, Problem> {
        self.open(was_there);
        let mut wrote = !was_there;
        // What is always there is new in a map that is.
        let mut fields: Vec<(&str, &Value)> = Vec::with_capacity(members.len());
        fields.extend(members.iter().map(|(name, value)| (&**name, value)));
        for (name, nothing) in map.always_there().filter(|(name, _)| !was_there && !members.contains_key(*name)) {
            fields.push((name, nothing));
        }
        if !fields.is_sorted_by_key(|(name, _)| *name) {
            fields.sort_unstable_by_key(|(name, _)| *name);
        }
        for (name, value) in fields {
            if left_out == Some(name) {
                continue;
            }
            let (step, place, stand_in) = map.look(name);
            // What the type does not know is one value.
            let place = place.unwrap_or(Place::Whole);
            let before = stand_in.filter(|_| was_there);
            wrote |= match (hidden.contains(&step), hidden.below(&step), place.atom().map, value) {
                (false, ..) => self.child(&step, |writer| writer.value(place, value, before))?,
                (true, below, Some(inner), Value::Object(members)) if !below.is_empty() => {
                    self.child(&step, |writer| writer.map(inner, members, true, below, None))?
                }
                _ => false,
            };
        }
        self.out.push(b'}');
        Ok(wrote)
    }

    /// A list whose items are told apart.
    fn list(&mut self, list: List<'_>, items: &[Value], was_there: bool) -> Result<bool, Problem> {
        self.open(was_there);
        let mut found: Vec<(Element, &Value)> = steps(list, items)?.into_iter().zip(items).collect();
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        for same in found.chunk_by(|(left, _), (right, _)| left == right) {
            let (step, item) = &same[0];
            self.child(step, |writer| match same {
                [_] => writer.value(list.element, item, None),
                // Items that are there more than once are owned as one.
                _ => {
                    writer.out.extend_from_slice(b"{}");
                    Ok(true)
                }
            })?;
        }
        self.out.push(b'}');
        Ok(true)
    }
}
