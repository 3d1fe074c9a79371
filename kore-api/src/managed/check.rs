//! Whether a value has the form of its type: what is applied must, since what it does not say right nobody can own.

use serde_json::Value;

use super::element::Element;
use super::place::{Kind, Place, Relation, Scalar};
use super::problem::Problem;

pub(super) const UNDECLARED: &str = "field not declared in schema";

/// What is wrong with a value, the first thing in each object. `duplicates`: whether items of a list may be there more than once.
pub(crate) fn check(place: Place<'_>, value: &Value, duplicates: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    visit(place, value, duplicates, &mut problems);
    problems
}

fn visit(place: Place<'_>, value: &Value, duplicates: bool, problems: &mut Vec<Problem>) {
    let atom = place.atom();
    let kind = atom.kind(Some(value));
    if value.is_null() && kind != Kind::Nothing {
        return;
    }
    match (kind, value) {
        (Kind::Scalar, _) => {
            let scalar = atom.scalar.expect("the kind says so");
            let fits = match scalar {
                Scalar::Any => value.is_number() || value.is_string() || value.is_boolean(),
                Scalar::Number => value.is_number(),
                Scalar::String => value.is_string(),
                Scalar::Bool => value.is_boolean(),
            };
            if !fits {
                let expected = match scalar {
                    Scalar::Any => "a scalar",
                    Scalar::Number => "a number",
                    Scalar::String => "a string",
                    Scalar::Bool => "a boolean",
                };
                problems.push(Problem::here(format!("expected {expected}, got {}", shown(value))));
            }
        }
        (Kind::Map, Value::Object(members)) => {
            let map = atom.map.expect("the kind says so");
            for (name, member) in members {
                let step = map.step(name);
                match map.field(name) {
                    Some(place) => within(&step, problems, |inner| visit(place, member, duplicates, inner)),
                    None => {
                        problems.push(Problem::here(UNDECLARED).within(&step));
                        return;
                    }
                }
            }
        }
        (Kind::List, Value::Array(items)) => {
            let list = atom.list.expect("the kind says so");
            let mut seen: Vec<Element> = Vec::new();
            for (index, item) in (0..).zip(items) {
                let step = match list.relation {
                    Relation::Atomic => Element::Index(index),
                    _ => match list.step(item) {
                        Ok(step) => step,
                        Err(problem) => {
                            problems.push(problem.within(&Element::Index(index)));
                            return;
                        }
                    },
                };
                within(&step, problems, |inner| visit(list.element, item, duplicates, inner));
                seen.push(step);
            }
            seen.sort_unstable();
            if !duplicates {
                let repeated = seen.windows(2).filter(|pair| pair[0] == pair[1]);
                problems.extend(repeated.map(|pair| Problem::here(format!("duplicate entries for key {}", pair[0]))));
            }
        }
        (Kind::Map, _) => problems.push(Problem::here(format!("expected an object, got {}", shown(value)))),
        (Kind::List, _) => problems.push(Problem::here(format!("expected a list, got {}", shown(value)))),
        (Kind::Nothing, _) => problems.push(Problem::here("the type allows no value")),
    }
}

fn within(step: &Element, problems: &mut Vec<Problem>, inner: impl FnOnce(&mut Vec<Problem>)) {
    let mut found = Vec::new();
    inner(&mut found);
    problems.extend(found.into_iter().map(|problem| problem.within(step)));
}

/// A value in a message: no longer than a line.
fn shown(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
