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

/// What is wrong with a changed status, as texts.
pub(crate) fn errors_of_status(entry: &'static Entry, new: &Value, old: &Value) -> Vec<String> {
    validate(entry, Transition { new, old: Some(old), subresource: "status" })
}

/// What a writer of an object is warned of.
pub(crate) fn warnings(entry: &'static Entry, new: &Value) -> Vec<String> {
    entry.info().strategy.warnings(&Transition { new, old: None, subresource: "" })
}

/// The cells of an object's row.
pub(crate) fn cells(entry: &'static Entry, object: &Value) -> Vec<Value> {
    entry.info().strategy.cells(object, jiff::Timestamp::UNIX_EPOCH)
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
