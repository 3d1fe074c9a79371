//! Paths and sets of them: texts, order, algebra.

use std::cmp::Ordering;

use serde_json::Value;

use super::types::Types;
use super::{expect, expect_set, only, run, set, stated, text_of};
use crate::managed::element::{Element, order, same};
use crate::managed::fields_of::fields_of;
use crate::managed::fields_v1;
use crate::managed::set::{FieldSet, Pattern, path_text};

/// How often the types here that contain themselves, in four places each, are written out.
const UNFOLDED: usize = 5;

#[test]
fn paths_and_sets_are_as_upstream_says() {
    run("path_", 270, row);
}

pub(super) fn row(table: &Value, row: &Value) -> Result<(), String> {
    match row["op"].as_str().unwrap_or_default() {
        "path_element" => path_element(row),
        "decode" => decode(row),
        "order" => ordered(row),
        "equal" => equal(row),
        "has" => has(row),
        "paths" => paths(row),
        "set_text" => {
            only(row, "case op set expect")?;
            expect(&*set(stated(row, "set")?).to_string(), text_of(row, "expect")?)
        }
        "path_text" => {
            only(row, "case op path expect")?;
            expect(&*path_text(&path(&row["path"])?), text_of(row, "expect")?)
        }
        "leaves" => {
            only(row, "case op set expect")?;
            expect_set("the set", &set(stated(row, "set")?).leaves(), stated(row, "expect")?)
        }
        "union" => algebra(row, FieldSet::union),
        "intersection" => algebra(row, FieldSet::intersection),
        "difference" => algebra(row, FieldSet::difference),
        "recursive_difference" => algebra(row, FieldSet::recursive_difference),
        "intersection_by_difference" => algebra(row, |left, right| {
            let either = right.difference(left).union(&left.difference(right));
            left.union(right).difference(&either)
        }),
        "ensure_named" => ensure_named(table, row),
        "filter" => filter(row),
        op => Err(format!("the op {op:?} is not known")),
    }
}

/// One step of a path, as `FieldsV1` writes it.
fn element(value: &Value) -> Result<Element, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no path element"))?;
    Element::parse(text)?.ok_or_else(|| format!("{text:?} is of no kind that is known"))
}

pub(super) fn path(value: &Value) -> Result<Vec<Element>, String> {
    value.as_array().ok_or_else(|| format!("{value} is no path"))?.iter().map(element).collect()
}

fn path_element(row: &Value) -> Result<(), String> {
    only(row, "case op text valid canonical unknown")?;
    let text = text_of(row, "text")?;
    match (Element::parse(text), stated(row, "valid")?.as_bool()) {
        (Err(_), Some(false)) => Ok(()),
        (Ok(None), Some(true)) if row["unknown"] == true => Ok(()),
        (Ok(Some(found)), Some(true)) => {
            let mut written = String::new();
            found.write(&mut written);
            expect(&*written, text_of(row, "canonical")?)
        }
        (found, _) => Err(format!("{text:?} is {found:?}")),
    }
}

fn decode(row: &Value) -> Result<(), String> {
    only(row, "case op text canonical error")?;
    match fields_v1::read(text_of(row, "text")?.as_bytes()) {
        Err(_) if row["error"] == true => Ok(()),
        Ok(found) if row["error"] == true => Err(format!("did not fail, but is\n{found}")),
        Err(error) => Err(error.to_string()),
        Ok(found) => {
            let text = fields_v1::text(&found);
            expect(&*text, text_of(row, "canonical")?)?;
            expect(fields_v1::read(text.as_bytes()).ok(), Some(found))
        }
    }
}

/// Of two, the first is the smaller one; or they are equal.
fn ordered(row: &Value) -> Result<(), String> {
    only(row, "case op elements values equal")?;
    let expected = if row["equal"] == true { Ordering::Equal } else { Ordering::Less };
    let both = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([left, right]) => Ok((left.clone(), right.clone())),
        _ => Err(format!("{pair} are not two")),
    };
    if row["elements"].is_null() {
        let (left, right) = both(stated(row, "values")?)?;
        expect(order(&left, &right), expected)?;
        expect(order(&right, &left), expected.reverse())?;
        expect(same(&left, &right), expected.is_eq())
    } else {
        let (left, right) = both(&row["elements"])?;
        let (left, right) = (element(&left)?, element(&right)?);
        expect(left.cmp(&right), expected)?;
        expect(right.cmp(&left), expected.reverse())?;
        expect(left == right, expected.is_eq())
    }
}

fn equal(row: &Value) -> Result<(), String> {
    only(row, "case op left right expect")?;
    let (left, right) = (set(stated(row, "left")?), set(stated(row, "right")?));
    let expected = stated(row, "expect")?.as_bool();
    expect(Some(left == right), expected)?;
    expect(Some(right == left), expected)
}

fn has(row: &Value) -> Result<(), String> {
    only(row, "case op set insert path expect")?;
    let mut found = set(stated(row, "set")?);
    for inserted in row["insert"].as_array().into_iter().flatten() {
        found.insert_path(&path(inserted)?);
    }
    expect(Some(found.contains_path(&path(&row["path"])?)), stated(row, "expect")?.as_bool())
}

/// Each member is met once, and all together are the set.
fn paths(row: &Value) -> Result<(), String> {
    only(row, "case op set size")?;
    let whole = set(stated(row, "set")?);
    let paths = whole.paths();
    expect(Some(whole.len() as u64), row["size"].as_u64())?;
    expect(paths.len(), whole.len())?;
    let mut grown = FieldSet::default();
    for (index, path) in paths.iter().enumerate() {
        expect(grown.len(), index)?;
        expect(grown.contains_path(path), false)?;
        grown.insert_path(path);
        expect(grown.contains_path(path), true)?;
    }
    expect(grown, whole)
}

fn algebra(row: &Value, of: impl Fn(&FieldSet, &FieldSet) -> FieldSet) -> Result<(), String> {
    only(row, "case op left right expect")?;
    let (left, right) = (set(stated(row, "left")?), set(stated(row, "right")?));
    expect_set("the set", &of(&left, &right), stated(row, "expect")?)
}

fn ensure_named(table: &Value, row: &Value) -> Result<(), String> {
    only(row, "case op schema value_schema value before expect")?;
    let mut types = Types::unfolded(table, row, UNFOLDED);
    if let Some(other) = row.get("value_schema") {
        types.schema = other.clone();
    }
    let before = fields_of(types.root(""), stated(row, "value")?).map_err(|problem| problem.to_string())?;
    expect_set("the set of the value", &before, stated(row, "before")?)?;
    types.schema = row["schema"].clone();
    expect_set("with named fields it", &before.with_named_fields(Some(types.root(""))), stated(row, "expect")?)
}

fn filter(row: &Value) -> Result<(), String> {
    only(row, "case op set patterns expect")?;
    let step = |step: &Value| if step == "*" { Ok(None) } else { element(step).map(Some) };
    let mut patterns: Vec<Vec<Option<Element>>> = Vec::new();
    for steps in stated(row, "patterns")?.as_array().into_iter().flatten() {
        patterns.push(steps.as_array().into_iter().flatten().map(step).collect::<Result<_, String>>()?);
    }
    expect_set("what matches", &set(stated(row, "set")?).matching(&pattern(&patterns)), stated(row, "expect")?)
}

/// What begins alike goes on together, and what stands for anything comes first, as upstream puts patterns together.
fn pattern(paths: &[Vec<Option<Element>>]) -> Pattern {
    if paths.iter().any(Vec::is_empty) {
        return Pattern::All;
    }
    let mut firsts: Vec<&Option<Element>> = paths.iter().map(|path| &path[0]).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let below = |first: &Option<Element>| {
        let rest = paths.iter().filter(|path| path[0] == *first).map(|path| path[1..].to_vec());
        pattern(&rest.collect::<Vec<_>>())
    };
    Pattern::Only(firsts.into_iter().map(|first| (first.clone(), below(first))).collect())
}
