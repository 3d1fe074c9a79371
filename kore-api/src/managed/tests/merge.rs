//! Histories: who applies and who updates what, and who owns it in the end.

use std::collections::BTreeMap;

use serde_json::Value;

use super::types::Types;
use super::{cases, set, tables};
use crate::managed::check::check;
use crate::managed::conflict::conflicts_text;
use crate::managed::element::same;
use crate::managed::merge::merge;
use crate::managed::owners::{Failure, Owners, Versions as _, Write};
use crate::managed::remove::extract;
use crate::managed::set::FieldSet;

#[test]
fn histories_end_as_upstream_says() {
    let mut failed: Vec<String> = Vec::new();
    let mut count = 0;
    for (name, table) in tables("merge_") {
        for (case, row) in cases(&table) {
            count += 1;
            let outcome =
                if row["conflicts_of"].is_object() { conflicts(row) } else { History::new(&table, row).run(row) };
            if let Err(problem) = outcome {
                failed.push(format!("{name}: {case}: {problem}"));
            }
        }
    }
    assert!(count > 300, "{count} cases");
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
}

struct History {
    types: Types,
    live: Value,
    /// The version in which `live` is.
    version: String,
    owners: Owners<String>,
}

impl History {
    fn new(table: &Value, case: &Value) -> Self {
        Self { types: Types::new(table, case), live: Value::Null, version: String::new(), owners: Owners::new() }
    }

    fn run(mut self, case: &Value) -> Result<(), String> {
        for (index, step) in case["steps"].as_array().into_iter().flatten().enumerate() {
            self.step(step).map_err(|problem| format!("step {index}: {problem}"))?;
        }
        if let Some(expected) = case.get("object") {
            let at = case["api_version"].as_str().unwrap_or(&self.version);
            let live = self.live_at(at);
            if !same(expected, &live) {
                return Err(format!("the object is\n  {live}\nand not\n  {expected}"));
            }
        }
        if let Some(managed) = case.get("managed").and_then(Value::as_object) {
            let shown = |owners: &Owners<String>| format!("{owners:#?}");
            let expected: Vec<(&String, FieldSet, &str, bool)> = managed
                .iter()
                .map(|(name, owned)| {
                    let version = owned["version"].as_str().unwrap();
                    (name, set(&owned["fields"]), version, owned["applied"].as_bool().unwrap())
                })
                .collect();
            let found: Vec<(&String, FieldSet, &str, bool)> = self
                .owners
                .iter()
                .map(|(name, owned)| (name, owned.fields.clone(), &*owned.version, owned.applied))
                .collect();
            let mut expected = expected;
            expected.sort_by_key(|(name, ..)| *name);
            if expected != found {
                return Err(format!("the owners are {} and not {managed:?}", shown(&self.owners)));
            }
        }
        match self.owners.iter().find(|(_, owned)| owned.fields.is_empty()) {
            Some((name, _)) => Err(format!("{name} owns nothing, and is there")),
            None => Ok(()),
        }
    }

    fn live_at(&self, version: &str) -> Value {
        if self.version.is_empty() || self.version == version || self.types.place(version).is_none() {
            return self.live.clone();
        }
        self.types.convert(&self.live, &self.version, version).unwrap().into_owned()
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        if !step["schema"].is_null() {
            self.types.schema = step["schema"].clone();
            return Ok(());
        }
        if let Some(versions) = step["versions"].as_array() {
            self.types.versions = Some(versions.iter().map(|version| version.as_str().unwrap().to_owned()).collect());
            return Ok(());
        }
        let (kind, write) = step.as_object().unwrap().iter().next().unwrap();
        let version = write["version"].as_str().unwrap();
        let manager = write["manager"].as_str().unwrap().to_owned();
        let place = self.types.root(version);
        let problems = check(place, &write["object"], kind == "update");
        let live = self.live_at(version);
        let mut object = write["object"].clone();
        if kind == "extract_apply"
            && let Some(owned) = self.owners.get(&manager)
        {
            let before = extract(place, &live, &owned.fields.leaves());
            object = merge(place, &before, &object).map_err(|problem| problem.to_string())?;
        }
        let writing = Write { versions: &self.types, version, live: &live, manager: manager.clone() };
        let owners = self.owners.clone();
        let outcome = if let Some(problem) = problems.first() {
            Err(Failure::Problem(problem.clone()))
        } else if kind == "update" {
            writing.update(&object, owners).map(|(owners, _)| (Some(object), owners))
        } else {
            writing.apply(&object, owners, write["force"] == true || kind == "extract_apply")
        };
        match outcome {
            Ok((new, owners)) => {
                if write["error"] == true || !write["conflicts"].is_null() {
                    return Err("did not fail".to_owned());
                }
                self.live = new.unwrap_or(live);
                self.version = version.to_owned();
                self.owners = owners;
                Ok(())
            }
            Err(Failure::Problem(_)) if write["error"] == true => Ok(()),
            Err(Failure::Conflicts(found)) if write["conflicts"].is_array() => {
                let expected: BTreeMap<String, FieldSet> = write["conflicts"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|conflict| (conflict["manager"].as_str().unwrap().to_owned(), set(&conflict["fields"])))
                    .collect();
                if found == expected { Ok(()) } else { Err(format!("conflicts {found:?} and not {expected:?}")) }
            }
            Err(failure) => Err(format!("failed: {failure:?}")),
        }
    }
}

/// What conflicts are said to be.
fn conflicts(case: &Value) -> Result<(), String> {
    let of: BTreeMap<&String, FieldSet> =
        case["conflicts_of"].as_object().unwrap().iter().map(|(name, fields)| (name, set(fields))).collect();
    if let Some(expected) = case.get("set") {
        let union = of.values().fold(FieldSet::default(), |union, fields| union.union(fields));
        if union != set(expected) {
            return Err(format!("the union is\n{union}"));
        }
    }
    if let Some(lines) = case["message"].as_array() {
        let mut expected: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
        let listed = of
            .iter()
            .flat_map(|(name, fields)| fields.paths().into_iter().map(move |path| (format!("{name:?}"), path)));
        let text = conflicts_text(&listed.collect::<Vec<_>>());
        let mut found: Vec<&str> = text.lines().collect();
        // In which order upstream lists the paths of one manager is its sets' business.
        expected.sort_unstable();
        found.sort_unstable();
        if found != expected {
            return Err(format!("the message is\n{text}"));
        }
    }
    Ok(())
}
