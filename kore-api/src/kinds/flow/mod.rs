//! Which requests wait for which: FlowSchema and PriorityLevelConfiguration.
//!
//! - `schema.rs`: which requests belong together.
//! - `level.rs`: how many of them are served at once.
//! - `mod.rs`: their status.
//!
//! That there are such objects does not mean that requests wait as they say.

mod level;
mod schema;

pub(super) use level::PRIORITY_LEVEL;
pub(super) use schema::FLOW_SCHEMA;

use std::collections::BTreeSet;

use super::field::Field;

/// What the built-in schema and level are called that nothing holds up.
const EXEMPT: &str = "exempt";

fn conditions(object: &Field<'_, '_>) {
    let status = object.get("status");
    let mut seen = BTreeSet::new();
    for condition in status.get("conditions").items() {
        let kind = condition.get("type");
        if !seen.insert(kind.value().as_str()) {
            kind.duplicate();
        }
        if kind.text().is_empty() {
            kind.missing("must not be empty");
        }
    }
}
