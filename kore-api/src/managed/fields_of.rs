//! The fields that a value sets.

use serde_json::Value;

use super::element::Element;
use super::place::{Kind, List, Map, Place, Relation};
use super::problem::Problem;
use super::set::FieldSet;

/// Every leaf and every item that a value has.
pub(crate) fn fields_of(place: Place<'_>, value: &Value) -> Result<FieldSet, Problem> {
    visit(place, value).map(|(_, set)| set)
}

/// Whether the value itself is a leaf, and what is below it.
fn visit(place: Place<'_>, value: &Value) -> Result<(bool, FieldSet), Problem> {
    let atom = place.atom();
    match (atom.kind(Some(value)), value) {
        (Kind::Scalar, _) => Ok((true, FieldSet::default())),
        (Kind::Map, _) => {
            let map = atom.map.expect("the kind says so");
            match value {
                _ if map.is_atomic => Ok((true, FieldSet::default())),
                Value::Object(members) => Ok((false, map_fields(map, members)?)),
                _ => Ok((false, FieldSet::default())),
            }
        }
        (Kind::List, _) => {
            let list = atom.list.expect("the kind says so");
            match value {
                _ if matches!(list.relation, Relation::Atomic) => Ok((true, FieldSet::default())),
                Value::Array(items) => Ok((false, list_fields(list, items)?)),
                _ => Ok((false, FieldSet::default())),
            }
        }
        (Kind::Nothing, _) => Err(Problem::here("the type allows no value")),
    }
}

fn map_fields(map: Map<'_>, members: &serde_json::Map<String, Value>) -> Result<FieldSet, Problem> {
    let mut set = FieldSet::default();
    for (name, value) in members {
        let step = map.step(name);
        let declared = map.declared(name);
        let is_declared = declared.is_some();
        // What the type does not know is one value.
        let place = declared.or_else(|| map.element()).unwrap_or(Place::Whole);
        let (is_leaf, below) = visit(place, value).map_err(|problem| problem.within(&step))?;
        let is_nothing = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        if is_leaf || is_nothing || !is_declared {
            set.insert(step.clone());
        }
        set.add_below(step, below);
    }
    Ok(set)
}

fn list_fields(list: List<'_>, items: &[Value]) -> Result<FieldSet, Problem> {
    let steps = steps(list, items)?;
    let mut sorted: Vec<&Element> = steps.iter().collect();
    sorted.sort_unstable();
    let is_repeated = |step: &Element| {
        let at = sorted.partition_point(|other| *other < step);
        sorted.get(at + 1).is_some_and(|next| *next == step)
    };
    let mut set = FieldSet::default();
    for (step, item) in steps.iter().zip(items) {
        set.insert(step.clone());
        // Items that are there more than once are owned as one.
        if !is_repeated(step) {
            let (_, below) = visit(list.element, item).map_err(|problem| problem.within(step))?;
            set.add_below(step.clone(), below);
        }
    }
    Ok(set)
}

/// The elements of the items of a list, in order.
pub(super) fn steps(list: List<'_>, items: &[Value]) -> Result<Vec<Element>, Problem> {
    let step = |(index, item)| list.step(item).map_err(|problem| problem.within(&Element::Index(index)));
    (0..).zip(items).map(step).collect()
}
