//! What has changed between two values of a type.

use std::collections::BTreeMap;

use serde_json::{Map as JsonMap, Value};

use super::element::{Element, same};
use super::fields_of::steps;
use super::place::{Kind, List, Map, Place, Relation};
use super::problem::Problem;
use super::set::FieldSet;

/// The fields that differ between two values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// In the second only.
    pub(crate) added: FieldSet,
    /// In the first only.
    pub(crate) removed: FieldSet,
    /// In both, and not the same.
    pub(crate) modified: FieldSet,
}

impl Comparison {
    /// Whether nothing has changed.
    pub(crate) fn is_same(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    fn attach(&mut self, step: Element, found: Found) {
        let Found { added, removed, modified, below } = found;
        for (set, is_member, children) in [
            (&mut self.added, added, below.added),
            (&mut self.removed, removed, below.removed),
            (&mut self.modified, modified, below.modified),
        ] {
            if is_member {
                set.insert(step.clone());
            }
            if !children.is_empty() {
                set.add_below(step.clone(), children);
            }
        }
    }
}

/// What has changed from one value to another.
pub(crate) fn compare(place: Place<'_>, before: &Value, after: &Value) -> Result<Comparison, Problem> {
    visit(place, Some(before), Some(after)).map(|found| found.below)
}

/// What was found at one place: of itself, and below it.
#[derive(Default)]
struct Found {
    added: bool,
    removed: bool,
    modified: bool,
    below: Comparison,
}

fn visit(place: Place<'_>, before: Option<&Value>, after: Option<&Value>) -> Result<Found, Problem> {
    let mut found = Found::default();
    let atom = place.atom();
    let kinds = match (before, after) {
        (_, None) => [Some(atom.kind(before)), None],
        (None, _) => [Some(atom.kind(after)), None],
        // Of different kinds: each is looked at as what it is.
        (Some(_), Some(_)) => {
            let (was, is) = (atom.kind(before), atom.kind(after));
            [(was != is).then_some(was), Some(is)]
        }
    };
    for kind in kinds.into_iter().flatten() {
        let is_leaf = match kind {
            Kind::Scalar => true,
            Kind::Map => visit_map(atom.map.expect("the kind says so"), before, after, &mut found.below)?,
            Kind::List => visit_list(atom.list.expect("the kind says so"), before, after, &mut found.below)?,
            Kind::Nothing => return Err(Problem::here("the type allows no value")),
        };
        if is_leaf && let (Some(before), Some(after)) = (before, after) {
            found.modified |= !same(before, after);
        }
    }
    // What is new or gone as a whole is so itself, leaf or not.
    found.added = before.is_none();
    found.removed = after.is_none();
    Ok(found)
}

/// Whether the map is a leaf here: atomic, or empty on both sides.
fn visit_map(
    map: Map<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
    out: &mut Comparison,
) -> Result<bool, Problem> {
    let (before, after) = (before.and_then(Value::as_object), after.and_then(Value::as_object));
    let is_empty = |members: Option<&JsonMap<String, Value>>| members.is_none_or(JsonMap::is_empty);
    if map.is_atomic || (is_empty(before) && is_empty(after)) {
        return Ok(true);
    }
    for (name, value) in before.into_iter().flatten() {
        let other = member(map, after, name);
        if other != Some(value) {
            visit_field(map, name, Some(value), other, out)?;
        }
    }
    for (name, value) in after.into_iter().flatten() {
        if !before.is_some_and(|before| before.contains_key(name)) {
            visit_field(map, name, member(map, before, name), Some(value), out)?;
        }
    }
    if before.is_none() || after.is_none() {
        let stated = before.or(after).expect("one of them holds something");
        for (name, nothing) in map.always_there().filter(|(name, _)| !stated.contains_key(*name)) {
            visit_field(map, name, before.map(|_| nothing), after.map(|_| nothing), out)?;
        }
    }
    Ok(false)
}

/// A field; what is always there is empty, not absent, in an object that is there.
fn member<'v>(map: Map<'_>, members: Option<&'v JsonMap<String, Value>>, name: &str) -> Option<&'v Value> {
    members?.get(name).or_else(|| map.stand_in(name))
}

fn visit_field(
    map: Map<'_>,
    name: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    out: &mut Comparison,
) -> Result<(), Problem> {
    let step = map.step(name);
    // What the type does not know is one value.
    let place = map.field(name).unwrap_or(Place::Whole);
    let found = visit(place, before, after).map_err(|problem| problem.within(&step))?;
    out.attach(step, found);
    Ok(())
}

fn visit_list(
    list: List<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
    out: &mut Comparison,
) -> Result<bool, Problem> {
    let (before, after) = (items(before), items(after));
    if matches!(list.relation, Relation::Atomic) || (before.is_empty() && after.is_empty()) {
        return Ok(true);
    }
    // By element: the items before, the items after. More than one where items are there more than once.
    let mut found: BTreeMap<Element, [Vec<&Value>; 2]> = BTreeMap::new();
    for (side, items) in [before, after].into_iter().enumerate() {
        for (step, item) in steps(list, items)?.into_iter().zip(items) {
            found.entry(step).or_default()[side].push(item);
        }
    }
    for (step, [before, after]) in found {
        let compared = match (&before[..], &after[..]) {
            ([], []) => continue,
            ([old], [new]) if old == new => continue,
            ([] | [_], [] | [_]) => visit(list.element, before.first().copied(), after.first().copied()),
            ([_, _, ..], [_, _, ..]) => {
                let is_same = before.len() == after.len() && before.iter().zip(&after).all(|(old, new)| same(old, new));
                Ok(Found { modified: !is_same, ..Found::default() })
            }
            // They were one for all who look, and have become items of their own.
            ([_, _, ..], rest) => alone(list.element, None, rest.first().copied(), |found| found.removed = true),
            (rest, [_, _, ..]) => alone(list.element, rest.first().copied(), None, |found| found.added = true),
        };
        out.attach(step.clone(), compared.map_err(|problem| problem.within(&step))?);
    }
    Ok(false)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The single item on the one side of what is there many times on the other.
fn alone(
    place: Place<'_>,
    before: Option<&Value>,
    after: Option<&Value>,
    mark: impl FnOnce(&mut Found),
) -> Result<Found, Problem> {
    let mut found = match (before, after) {
        (None, None) => Found::default(),
        (before, after) => visit(place, before, after)?,
    };
    mark(&mut found);
    Ok(found)
}
