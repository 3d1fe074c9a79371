//! The merge of an applied value into another: fields are set, never removed.

use std::collections::BTreeMap;

use serde_json::{Map as JsonMap, Value};

use super::element::Element;
use super::fields_of::steps;
use super::place::{Kind, List, Map, Place, Relation};
use super::problem::Problem;

/// `base` with `applied` merged into it. Lists keep the order of `base` where `applied` does not say otherwise.
pub(crate) fn merge(place: Place<'_>, base: &Value, applied: &Value) -> Result<Value, Problem> {
    visit(place, Some(base), Some(applied)).map(Option::unwrap_or_default)
}

fn visit(place: Place<'_>, base: Option<&Value>, applied: Option<&Value>) -> Result<Option<Value>, Problem> {
    let atom = place.atom();
    let leaf = || Ok(applied.or(base).cloned());
    match atom.kind(if applied.is_some() { applied } else { base }) {
        Kind::Scalar => leaf(),
        Kind::Map => {
            let map = atom.map.expect("the kind says so");
            match (members(base), members(applied)) {
                _ if map.is_atomic => leaf(),
                (None, None) => leaf(),
                (base, applied) => merge_map(map, base, applied).map(Some),
            }
        }
        Kind::List => {
            let list = atom.list.expect("the kind says so");
            match (items(base), items(applied)) {
                _ if matches!(list.relation, Relation::Atomic) => leaf(),
                ([], []) => leaf(),
                (base, applied) => merge_list(list, base, applied).map(Some),
            }
        }
        Kind::Nothing => Err(Problem::here("the type allows no value")),
    }
}

/// The fields of an object that has some.
fn members(value: Option<&Value>) -> Option<&JsonMap<String, Value>> {
    value.and_then(Value::as_object).filter(|members| !members.is_empty())
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn merge_map(
    map: Map<'_>,
    base: Option<&JsonMap<String, Value>>,
    applied: Option<&JsonMap<String, Value>>,
) -> Result<Value, Problem> {
    let mut merged = base.cloned().unwrap_or_default();
    for (name, value) in applied.into_iter().flatten() {
        let step = || map.step(name);
        let Some(place) = map.field(name) else {
            return Err(Problem::here(super::check::UNDECLARED).within(&step()));
        };
        let inner = visit(place, base.and_then(|base| base.get(name)), Some(value));
        if let Some(inner) = inner.map_err(|problem| problem.within(&step()))? {
            merged.insert(name.clone(), inner);
        }
    }
    Ok(Value::Object(merged))
}

/// Merges two lists whose items have elements. Shared items stand in the order in which they are applied; an item that is not
/// applied stays behind the one it was behind.
fn merge_list(list: List<'_>, base: &[Value], applied: &[Value]) -> Result<Value, Problem> {
    let (base_steps, applied_steps) = (steps(list, base)?, steps(list, applied)?);
    // Where in the base each element is; an item that is there more than once is replaced, not merged.
    let mut in_base: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (step, item) in base_steps.iter().zip(base) {
        in_base.entry(step).and_modify(|found| *found = None).or_insert(Some(item));
    }
    let mut in_applied: BTreeMap<&Element, usize> = BTreeMap::new();
    for (index, step) in applied_steps.iter().enumerate() {
        if in_applied.insert(step, index).is_some() {
            return Err(Problem::here(format!("duplicate entries for key {step}")));
        }
    }
    let mut shared = applied_steps.iter().filter(|step| in_base.contains_key(step)).peekable();
    let mut merged: Vec<Value> = Vec::with_capacity(base.len().max(applied.len()));
    let mut taken = 0;
    let take = |merged: &mut Vec<Value>, index: usize| {
        let step = &applied_steps[index];
        let item = visit(list.element, in_base.get(step).copied().flatten(), Some(&applied[index]));
        merged.extend(item.map_err(|problem| problem.within(step))?);
        Ok(())
    };
    for (step, item) in base_steps.iter().zip(base) {
        let Some(at) = in_applied.get(step).copied() else {
            merged.push(item.clone());
            continue;
        };
        // Already merged, or to be merged when the one that is applied before it has been.
        if at < taken || shared.peek().is_some_and(|next| *next != step) {
            continue;
        }
        for index in taken..=at {
            take(&mut merged, index)?;
        }
        taken = at + 1;
        shared.next();
    }
    for index in taken..applied.len() {
        take(&mut merged, index)?;
    }
    Ok(Value::Array(merged))
}
