//! Schemas.

use serde_json::Value;

/// The schema of a type.
#[derive(Clone, Debug)]
pub struct Schema;

impl Schema {
    /// The schema of a built-in kind.
    pub fn of(_api_version: &str, _kind: &str) -> Option<Self> {
        None
    }
}

/// Applies the difference between two typed values to the whole object.
pub fn graft(
    _schema: Option<&Schema>,
    _base_full: &Value,
    _base_typed: &Value,
    new_typed: &Value,
) -> Value {
    new_typed.clone()
}
