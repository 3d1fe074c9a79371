//! Values against types: what they have, what has changed, what comes of merging and taking away.

use serde_json::Value;

use super::types::Types;
use super::{expect_set, expect_value, only, run, set, stated};
use crate::managed::check::check;
use crate::managed::compare::{Comparison, compare};
use crate::managed::fields_of::fields_of;
use crate::managed::merge::merge;
use crate::managed::owners::Filter;
use crate::managed::place::Place;
use crate::managed::problem::Problem;
use crate::managed::reconcile::reconcile;
use crate::managed::remove::{extract, remove};

#[test]
fn values_against_types_are_as_upstream_says() {
    run("typed_", 450, row);
}

pub(super) fn row(table: &Value, row: &Value) -> Result<(), String> {
    let op = row["op"].as_str().unwrap_or_default();
    if op == "exclude" {
        return exclude(row);
    }
    stated(row, "schema")?;
    let mut types = Types::new(table, row);
    if op == "reconcile" {
        // It had another type when the fields were written.
        types.schema = row["old_schema"].clone();
        fits(types.root(""), &row["value"], false)?;
        types.schema = row["schema"].clone();
    }
    let place = types.root("");
    match op {
        "validate" => validate(place, row),
        "to_set" => to_set(place, row),
        "merge" => merged(place, row),
        "compare" => compared(place, row),
        "remove" => removed(place, row),
        "extract" => extracted(place, row),
        "reversible_extract" => reversible_extract(place, row),
        "reconcile" => reconciled(place, row),
        "typed_round_trip" => round_trip(place, row),
        _ => Err(format!("the op {op:?} is not known")),
    }
}

fn fits(place: Place<'_>, value: &Value, duplicates: bool) -> Result<(), String> {
    check(place, value, duplicates).first().map_or(Ok(()), |problem| Err(format!("{value} does not fit: {problem}")))
}

fn shown(problem: Problem) -> String {
    problem.to_string()
}

fn validate(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema value valid duplicates")?;
    let duplicates = match &row["duplicates"] {
        Value::Null => false,
        Value::String(text) if text == "allowed" => true,
        other => return Err(format!("duplicates: {other}")),
    };
    match (fits(place, stated(row, "value")?, duplicates), stated(row, "valid")?.as_bool()) {
        (Ok(()), Some(true)) | (Err(_), Some(false)) => Ok(()),
        (Err(problem), _) => Err(problem),
        (Ok(()), _) => Err("is valid".to_owned()),
    }
}

fn to_set(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema value fields")?;
    fits(place, &row["value"], true)?;
    expect_set("the set", &fields_of(place, &row["value"]).map_err(shown)?, stated(row, "fields")?)
}

fn merged(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema left right expect error")?;
    let (left, right) = (stated(row, "left")?, stated(row, "right")?);
    let outcome = fits(place, left, true)
        .and_then(|()| fits(place, right, false))
        .and_then(|()| merge(place, left, right).map_err(shown));
    match outcome {
        Err(_) if row["error"] == true => Ok(()),
        Ok(found) if row["error"] == true => Err(format!("did not fail, but is {found}")),
        outcome => expect_value(&outcome?, stated(row, "expect")?),
    }
}

fn compared(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema left right added modified removed")?;
    let (left, right) = (stated(row, "left")?, stated(row, "right")?);
    fits(place, left, true)?;
    fits(place, right, true)?;
    let there = compare(place, left, right).map_err(shown)?;
    let back = compare(place, right, left).map_err(shown)?;
    let (added, modified, removed) = (stated(row, "added")?, stated(row, "modified")?, stated(row, "removed")?);
    for (what, found, expected) in [
        ("what is added", &there.added, added),
        ("what is modified", &there.modified, modified),
        ("what is removed", &there.removed, removed),
        ("what is added on the way back", &back.added, removed),
        ("what is modified on the way back", &back.modified, modified),
        ("what is removed on the way back", &back.removed, added),
    ] {
        expect_set(what, found, expected)?;
    }
    Ok(())
}

/// Which changes are left when some fields are nobody's.
fn exclude(row: &Value) -> Result<(), String> {
    only(row, "case op added modified removed exclude expect")?;
    let filter = match stated(row, "exclude")? {
        Value::Null => Filter::All,
        fields => Filter::Without(set(fields)),
    };
    let [added, modified, removed] = ["added", "modified", "removed"].map(|key| set(&row[key]));
    let left = filter.comparison(Comparison { added, removed, modified });
    let expected = stated(row, "expect")?;
    only(expected, "added modified removed")?;
    expect_set("what is added", &left.added, stated(expected, "added")?)?;
    expect_set("what is modified", &left.modified, stated(expected, "modified")?)?;
    expect_set("what is removed", &left.removed, stated(expected, "removed")?)
}

fn removed(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema value fields expect")?;
    let value = stated(row, "value")?;
    fits(place, value, true)?;
    expect_value(&remove(place, value, &set(stated(row, "fields")?)), stated(row, "expect")?)
}

fn extracted(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema value fields expect")?;
    let value = stated(row, "value")?;
    fits(place, value, true)?;
    expect_value(&extract(place, value, &set(stated(row, "fields")?)), stated(row, "expect")?)
}

/// What is applied can be found again.
fn reversible_extract(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema value applied")?;
    let (value, applied) = (stated(row, "value")?, stated(row, "applied")?);
    fits(place, value, false)?;
    fits(place, applied, false)?;
    let merged = merge(place, value, applied).map_err(shown)?;
    let leaves = fields_of(place, applied).map_err(shown)?.leaves();
    expect_value(&extract(place, &merged, &leaves), applied)
}

fn reconciled(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema old_schema value fields expect same")?;
    fits(place, stated(row, "value")?, false)?;
    match reconcile(place, &set(stated(row, "fields")?)) {
        None if row["same"] == true => Ok(()),
        Some(found) if row["same"] == true => Err(format!("changes to\n{found}")),
        found => expect_set("the set", &found.ok_or("does not change")?, stated(row, "expect")?),
    }
}

/// Upstream turns an object into a typed value, and back. With us a value stays what it is: it fits, and merging it into nothing
/// gives it again.
fn round_trip(place: Place<'_>, row: &Value) -> Result<(), String> {
    only(row, "case op schema value")?;
    let value = stated(row, "value")?;
    fits(place, value, false)?;
    expect_value(&merge(place, &Value::Null, value).map_err(shown)?, value)
}
