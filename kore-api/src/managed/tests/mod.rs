//! Upstream's tests as tables, and properties that hold for any history.
//!
//! | file | holds |
//! |---|---|
//! | `origins.rs` | that every case of upstream is a row, or is listed with the reason why not |
//! | `types.rs` | types for cases: schemas, versions, conversions |
//! | `merge.rs` | `cases/merge_*.yaml`: histories of applying and updating |

mod merge;
mod origins;
mod types;

use std::path::PathBuf;

use serde_json::Value;

use super::fields_v1;
use super::set::FieldSet;
use crate::codec::{self, Format, Limits};

/// The folder of the tables.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/managed/cases")
}

/// The tables whose names begin with `prefix`.
fn tables(prefix: &str) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = std::fs::read_dir(folder())
        .expect("the tables are there")
        .map(|entry| entry.expect("a folder can be read").file_name().into_string().expect("names are text"))
        .filter(|name| name.starts_with(prefix) && name.ends_with(".yaml"))
        .map(|name| {
            let text = std::fs::read(folder().join(&name)).expect("a table can be read");
            let decoded = codec::decode(Format::Yaml, &text, &Limits::default());
            (name.clone(), decoded.unwrap_or_else(|error| panic!("{name}: {error}")).value)
        })
        .collect();
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

fn cases(table: &Value) -> impl Iterator<Item = (&str, &Value)> {
    table["cases"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|case| (case["case"].as_str().expect("a case has a name"), case))
}

/// A set of fields as the tables write it.
fn set(value: &Value) -> FieldSet {
    fields_v1::read(value.to_string().as_bytes()).unwrap_or_else(|error| panic!("{value}: {error}"))
}
