//! Upstream's tests as tables, and properties that hold for any history.
//!
//! | file | holds |
//! |---|---|
//! | `origins.rs` | that every case of upstream is a row, or is listed with the reason why not |
//! | `types.rs` | types for cases: schemas, versions, conversions |
//! | `first.rs` | the fields of a new object, both ways |
//! | `merge.rs` | `cases/merge_*.yaml`: histories of applying and updating |
//! | `typed.rs`, `path.rs` | `cases/typed_*.yaml`: values against types; `cases/path_*.yaml`: paths, and sets of them |
//! | `managers.rs` | `cases/manager_*.yaml`: managed fields; `field_manager.rs`, `scale.rs`: those that take a writer |
//! | `properties.rs`, `algebra.rs` | what holds of any history, and of any sets; `random.rs`: histories |

mod algebra;
mod field_manager;
mod first;
mod managers;
mod merge;
mod origins;
mod path;
mod properties;
mod random;
mod scale;
mod typed;
mod types;

use std::fmt::Debug;
use std::path::PathBuf;

use serde_json::Value;

use super::element::same;
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

/// Runs every row of the tables whose names begin with `prefix`, at least so many, and fails with all that is wrong.
fn run(prefix: &str, at_least: usize, row: impl Fn(&Value, &Value) -> Result<(), String>) {
    let mut failed: Vec<String> = Vec::new();
    let mut count = 0;
    for (name, table) in tables(prefix) {
        if let Err(problem) = only(&table, "origin schemas cases uncovered") {
            failed.push(format!("{name}: {problem}"));
        }
        for (case, found) in cases(&table) {
            count += 1;
            if let Err(problem) = row(&table, found) {
                failed.push(format!("{name}: {case}: {problem}"));
            }
        }
    }
    assert!(count >= at_least, "{count} rows");
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_table_is_run() {
    let prefixes = ["merge_", "typed_", "path_", "manager_"];
    let names = tables("").into_iter().map(|(name, _)| name);
    let missed: Vec<String> = names.filter(|name| !prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// That an object has no keys but these: one that nobody knows would be left out in silence.
fn only(object: &Value, known: &str) -> Result<(), String> {
    let members = object.as_object().ok_or_else(|| format!("{object} is no object"))?;
    match members.keys().find(|key| !known.split(' ').any(|other| other == *key)) {
        Some(key) => Err(format!("the key {key:?} is not known")),
        None => Ok(()),
    }
}

/// What a row says under a key, which may be null.
fn stated<'r>(row: &'r Value, key: &str) -> Result<&'r Value, String> {
    row.get(key).ok_or_else(|| format!("{key} is missing"))
}

fn text_of<'r>(row: &'r Value, key: &str) -> Result<&'r str, String> {
    row[key].as_str().ok_or_else(|| format!("{key} is no text"))
}

fn expect<T: PartialEq + Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} and not {expected:?}")) }
}

fn expect_value(found: &Value, expected: &Value) -> Result<(), String> {
    if same(found, expected) { Ok(()) } else { Err(format!("the value is\n  {found}\nand not\n  {expected}")) }
}

fn expect_set(what: &str, found: &FieldSet, expected: &Value) -> Result<(), String> {
    if *found == set(expected) {
        Ok(())
    } else {
        Err(format!("{what} is\n  {}\nand not\n  {expected}", fields_v1::text(found)))
    }
}
