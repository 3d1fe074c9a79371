//! Managed fields: reading and writing them, how many there are, what conflicts say.

use std::borrow::Cow;
use std::cell::RefCell;

use serde_json::{Value, json};

use super::path::path;
use super::{expect, expect_value, field_manager, only, run, scale, set, stated, text_of, typed};
use crate::managed::conflict::Conflict;
use crate::managed::entry::{Managed, Manager};
use crate::managed::fields_of::fields_of;
use crate::managed::owners::{Owned, Owners, Versions, Write};
use crate::managed::{Filter, Place, Problem, applied_by, conflict_status};
use crate::schema::{Schema, canonical_time};

#[test]
fn managed_fields_are_as_upstream_says() {
    run("manager_", 150, row);
}

fn row(table: &Value, row: &Value) -> Result<(), String> {
    match row["op"].as_str().unwrap_or_default() {
        "decode" | "path_element" => super::path::row(table, row),
        "typed_round_trip" => typed::row(table, row),
        "field_manager" => field_manager::row(table, row),
        "scale_to_subresource" => scale::to_subresource(row),
        "scale_to_parent" => scale::to_parent(row),
        "extract_into" => extract_into(row),
        "cap" => cap(row),
        "conflict_status" => conflicts(row),
        "decode_managed" => decode(row),
        "round_trip_managed" => round_trip(row),
        "identifier" => identifier(row),
        "sort_managed" => sorted(row),
        "convert" => convert(row),
        op => Err(format!("the op {op:?} is not known")),
    }
}

/// Entries as they are read; null is for nobody.
pub(super) fn read(entries: &Value) -> Result<Managed, String> {
    match entries {
        Value::Null => Ok(Managed::default()),
        entries => Managed::read(entries.to_string().as_bytes()).map_err(|error| error.to_string()),
    }
}

/// Entries as they are written; for nobody there are none.
fn written(managed: &Managed) -> Value {
    managed.write().map_or_else(|| json!([]), |text| serde_json::from_slice(&text).expect("what is written is JSON"))
}

/// The type of the table is a part of a built-in one, which is taken instead.
fn extract_into(row: &Value) -> Result<(), String> {
    only(row, "case op schema object managed_fields manager subresource expect")?;
    expect(text_of(row, "schema")?, "deployment")?;
    let managed = stated(row, "managed_fields")?.to_string();
    let (manager, subresource) = (text_of(row, "manager")?, row["subresource"].as_str().unwrap_or_default());
    let deployment = Schema::of("apps/v1", "Deployment");
    let found = applied_by(deployment.as_ref(), managed.as_bytes(), stated(row, "object")?, manager, subresource);
    expect_value(&found.unwrap_or_else(|| json!({})), stated(row, "expect")?)
}

fn cap(row: &Value) -> Result<(), String> {
    only(row, "case op limit managed_fields expect")?;
    let mut managed = read(stated(row, "managed_fields")?)?;
    let limit = usize::try_from(row["limit"].as_u64().ok_or("no limit")?).map_err(|error| error.to_string())?;
    // The second time there is nothing left to do.
    for _ in 0..2 {
        managed.cap(limit);
        expect_value(&written(&managed), stated(row, "expect")?)?;
    }
    Ok(())
}

/// Upstream writes into conflicts when the other manager wrote, if its identity says so; outside of this test none does.
fn conflicts(row: &Value) -> Result<(), String> {
    only(row, "case op conflicts expect")?;
    let mut expected = stated(row, "expect")?.to_string();
    let mut found: Vec<Conflict> = Vec::new();
    for conflict in stated(row, "conflicts")?.as_array().into_iter().flatten() {
        only(conflict, "manager path")?;
        let identity = &conflict["manager"];
        only(identity, "manager operation apiVersion subresource time")?;
        if let Some(time) = identity["time"].as_str() {
            expected = expected.replace(&format!(" at {time}"), "");
        }
        let text = |key: &str| identity[key].as_str().unwrap_or_default().to_owned();
        let operation = serde_json::from_value(identity["operation"].clone()).map_err(|error| error.to_string())?;
        let (name, version, subresource) = (text("manager"), text("apiVersion"), text("subresource"));
        let manager = Manager { operation, name, version, subresource };
        found.push(Conflict { manager, path: path(&conflict["path"])? });
    }
    let status = serde_json::to_value(conflict_status(&found)).map_err(|error| error.to_string())?;
    let expected: Value = serde_json::from_str(&expected).map_err(|error| error.to_string())?;
    only(&expected, "status code reason message details")?;
    for (key, value) in expected.as_object().into_iter().flatten() {
        expect_value(&status[key], value)?;
    }
    Ok(())
}

fn decode(row: &Value) -> Result<(), String> {
    only(row, "case op managed_fields error")?;
    match (read(stated(row, "managed_fields")?), stated(row, "error")?.as_bool()) {
        (Ok(_), Some(false)) | (Err(_), Some(true)) => Ok(()),
        (Ok(found), _) => Err(format!("did not fail, but is {found:?}")),
        (Err(error), _) => Err(error),
    }
}

fn round_trip(row: &Value) -> Result<(), String> {
    only(row, "case op managed_fields")?;
    let entries = stated(row, "managed_fields")?;
    let again = written(&read(entries)?);
    if entries.is_null() { expect_value(&again, &json!([])) } else { expect_value(&again, entries) }
}

/// What tells one manager from another.
fn identifier(row: &Value) -> Result<(), String> {
    only(row, "case op entry expect")?;
    let mut entry = stated(row, "entry")?.clone();
    entry["fieldsType"] = "FieldsV1".into();
    let managed = read(&json!([entry]))?;
    let manager = managed.owners.keys().next().ok_or("nobody is there")?;
    let mut found = json!({"manager": manager.name, "operation": manager.operation});
    for (key, text) in [("apiVersion", &manager.version), ("subresource", &manager.subresource)] {
        if !text.is_empty() {
            found[key] = text.as_str().into();
        }
    }
    expect_value(&found, stated(row, "expect")?)
}

/// Upstream sorts a list in which one manager may stand twice, and ours is a map: who stands there again gets a subresource of
/// its own, the last thing that is sorted by.
fn sorted(row: &Value) -> Result<(), String> {
    const AGAIN: &str = "again-";
    only(row, "case op managed_fields expect")?;
    let mut entries = stated(row, "managed_fields")?.as_array().cloned().unwrap_or_default();
    let mut seen: Vec<[Value; 3]> = Vec::new();
    for (index, entry) in entries.iter_mut().enumerate() {
        only(entry, "manager operation subresource time")?;
        let identity = ["manager", "operation", "subresource"].map(|key| entry[key].clone());
        let is_again = seen.contains(&identity);
        seen.push(identity);
        if is_again {
            entry["subresource"] = format!("{AGAIN}{index}").into();
        }
        entry["apiVersion"] = "v1".into();
        entry["fieldsType"] = "FieldsV1".into();
        entry["fieldsV1"] = json!({"f:a": {}});
    }
    // A time is of whole seconds with us.
    let shown = |entry: &Value| -> [Option<String>; 4] {
        let text = |key: &str| entry[key].as_str().map(str::to_owned);
        let time = text("time").and_then(|time| canonical_time(&time, false));
        [text("manager"), text("operation"), time, text("subresource").filter(|name| !name.starts_with(AGAIN))]
    };
    let list = |entries: &Value| entries.as_array().into_iter().flatten().map(shown).collect::<Vec<_>>();
    expect(list(&written(&read(&entries.into())?)), list(stated(row, "expect")?))
}

/// A kind whose objects look at each version as the row says.
struct Conversions<'r> {
    to: &'r Value,
    asked: RefCell<Vec<(String, String)>>,
}

impl Versions for Conversions<'_> {
    fn place(&self, _: &str) -> Option<Place<'_>> {
        Some(Place::Deduced)
    }

    fn convert<'v>(&self, _: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem> {
        self.asked.borrow_mut().push((from.to_owned(), to.to_owned()));
        let found = self.to.get(to).ok_or_else(|| Problem::here(format!("there is no way to {to}")))?;
        Ok(Cow::Owned(found.clone()))
    }

    fn filter(&self, _: &str) -> &Filter {
        &Filter::All
    }
}

/// Upstream converts by way of a type converter. Here the rules ask whoever knows the versions: for what there is and what there will
/// be, at each other version at which somebody owns something, and not at all where there is no other.
fn convert(row: &Value) -> Result<(), String> {
    only(row, "case op object conversions to expect")?;
    let conversions = Conversions { to: stated(row, "conversions")?, asked: RefCell::default() };
    let (live, to, expected) = (stated(row, "object")?, text_of(row, "to")?, stated(row, "expect")?);
    let version = text_of(live, "apiVersion")?;
    let place = Place::Deduced;
    let fields = fields_of(place, expected).map_err(|problem| problem.to_string())?;
    let owned = Owned { fields, version: to.to_owned(), applied: true };
    let owners: Owners<&str> = [("owner", owned.clone())].into_iter().collect();
    let mut new = live.clone();
    new["added"] = true.into();
    let write = Write { versions: &conversions, version, live, manager: "writer" };
    let (after, _) = write.update(&new, owners).map_err(|failure| format!("{failure:?}"))?;
    // Whatever was converted is what was expected, since nothing of it is gone.
    expect(after.get("owner"), Some(&owned))?;
    let (asked, way) = (conversions.asked.into_inner(), (version.to_owned(), to.to_owned()));
    expect(asked, if version == to { Vec::new() } else { vec![way.clone(), way] })?;
    let added = set(&json!({"f:added": {}}));
    expect(after.get("writer").map(|writer| &writer.fields), Some(&added))
}
