//! Where two runs first differ, for a reader.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::Entry;

/// How many common changes before the first difference are shown.
const BEFORE: usize = 5;
/// How many differing fields of an object are shown.
const FIELDS_MAX: usize = 20;

/// The first difference between two logs. Displays as what led to it, and as the fields that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The last changes that both have.
    before: Vec<String>,
    /// How many changes are the same.
    same: usize,
    left: Option<String>,
    right: Option<String>,
    fields: Vec<String>,
}

impl Difference {
    pub(super) fn incomplete(problem: String) -> Self {
        Self { before: Vec::new(), same: 0, left: Some(problem), right: None, fields: Vec::new() }
    }

    pub(super) fn between(left: &[Entry], right: &[Entry]) -> Option<Self> {
        if left == right {
            return None;
        }
        let same = left.iter().zip(right).take_while(|(one, other)| one == other).count();
        let (one, other) = (left.get(same), right.get(same));
        let mut fields = Vec::new();
        let is_same =
            |one: &Entry, other: &Entry| one.resource == other.resource && one.object.key() == other.object.key();
        if let (Some(one), Some(other)) = (one, other)
            && is_same(one, other)
        {
            let values = (one.object.to_value(), other.object.to_value());
            differing("", &values.0, &values.1, &mut fields);
        }
        let shown = &left[same.saturating_sub(BEFORE)..same];
        Some(Self {
            before: shown.iter().map(Entry::to_string).collect(),
            same,
            left: one.map(Entry::to_string),
            right: other.map(Entry::to_string),
            fields,
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the first {} changes are the same:", self.same)?;
        for line in &self.before {
            writeln!(f, "    {line}")?;
        }
        let or_end = |line: &Option<String>| line.clone().unwrap_or_else(|| "(nothing more)".into());
        writeln!(f, "  < {}", or_end(&self.left))?;
        writeln!(f, "  > {}", or_end(&self.right))?;
        for field in self.fields.iter().take(FIELDS_MAX) {
            writeln!(f, "      {field}")?;
        }
        Ok(())
    }
}

fn differing(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        _ if one == other => {}
        (Value::Object(left), Value::Object(right)) => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let of = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
                differing(&format!("{path}.{name}"), &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differing(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ => found.push(format!("{path}: {one} < > {other}")),
    }
}
