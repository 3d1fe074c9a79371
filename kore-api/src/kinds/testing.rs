//! What the tests of the kinds share.

use serde_json::Value;

use super::entry::Entry;
use crate::registry::Transition;

/// What is wrong with a new object, as texts.
pub(crate) fn errors(entry: &'static Entry, new: &Value) -> Vec<String> {
    validate(entry, Transition { new, old: None, subresource: "" })
}

/// What is wrong with a changed object, as texts.
pub(crate) fn errors_of_change(entry: &'static Entry, new: &Value, old: &Value) -> Vec<String> {
    validate(entry, Transition { new, old: Some(old), subresource: "" })
}

fn validate(entry: &'static Entry, transition: Transition<'_>) -> Vec<String> {
    entry.info().strategy.validate(&transition).iter().map(ToString::to_string).collect()
}

/// `base` with the values of `changes` merged into it, as by a merge patch.
pub(crate) fn with(base: &Value, changes: &Value) -> Value {
    let mut merged = base.clone();
    json_patch::merge(&mut merged, changes);
    merged
}
