//! What holds of any history: whoever applies and updates whatever, of whatever type.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::random::{How, NAMES, Step, history};
use crate::managed::element::{Element, same};
use crate::managed::entry::{Managed, Manager, Operation};
use crate::managed::fields_of::fields_of;
use crate::managed::merge::merge;
use crate::managed::owners::{Failure, Owners, Versions, Write};
use crate::managed::reconcile::reconcile;
use crate::managed::set::{FieldSet, path_text};
use crate::managed::{Filter, Place, Problem, fields_v1};
use crate::schema::Custom;

const VERSION: &str = "v1";

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ownership_holds_in_any_history((schema, steps) in history(false)) {
        History::new(schema, false).run(&steps).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn ownership_holds_of_what_is_empty_too((schema, steps) in history(true)) {
        History::new(schema, true).run(&steps).map_err(TestCaseError::fail)?;
    }
}

/// A kind of one version.
struct Kind(Custom);

impl Versions for Kind {
    fn place(&self, _: &str) -> Option<Place<'_>> {
        Some(Place::Custom(&self.0))
    }

    fn convert<'v>(&self, object: &'v Value, _: &str, _: &str) -> Result<Cow<'v, Value>, Problem> {
        Ok(Cow::Borrowed(object))
    }

    fn filter(&self, _: &str) -> &Filter {
        &Filter::All
    }
}

type Leaves = BTreeMap<Vec<Element>, Value>;

struct History {
    schema: Value,
    kind: Kind,
    /// Whether there may be containers that are empty, or null.
    empties: bool,
    live: Value,
    owners: Owners<Manager>,
}

impl History {
    fn new(schema: Value, empties: bool) -> Self {
        let kind = Kind(Custom::read(&schema).expect("the schema is structural"));
        Self { schema, kind, empties, live: json!({}), owners: Owners::new() }
    }

    fn run(mut self, steps: &[Step]) -> Result<(), String> {
        for (index, (how, name, value)) in steps.iter().enumerate() {
            let done = match how {
                How::Apply => self.apply(name, value, false),
                How::Force => self.apply(name, value, true),
                How::Replace => self.update(name, value.clone()),
                How::Change => {
                    let merged = self.fine(merge(self.place(), &self.live, value));
                    merged.and_then(|new| self.update(name, new))
                }
            };
            let done = done.and_then(|()| self.check());
            done.map_err(|problem| format!("step {index}: {problem}\nof {}", self.schema))?;
        }
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        Place::Custom(&self.kind.0)
    }

    fn fine<T>(&self, outcome: Result<T, Problem>) -> Result<T, String> {
        outcome.map_err(|problem| format!("failed: {problem} with {}", self.live))
    }

    fn fields(&self, value: &Value) -> Result<FieldSet, String> {
        self.fine(fields_of(self.place(), value))
    }

    fn write(&self, operation: Operation, name: &str) -> Write<'_, Manager> {
        let manager = Manager::new(operation, name, VERSION, "");
        Write { versions: &self.kind, version: VERSION, live: &self.live, manager }
    }

    /// Found without the core: what `new` says, and the object does not say or says otherwise.
    fn changed(&self, new: &Value) -> Vec<Vec<Element>> {
        let leaves = |value: &Value| {
            let mut found = Leaves::new();
            leaves_of(&self.schema, value, &mut Vec::new(), &mut found);
            found
        };
        let before = leaves(&self.live);
        let is_new = |path: &[Element], value: &Value| match before.get(path) {
            Some(old) => !same(old, value),
            None => at(&self.live, path).is_none(),
        };
        leaves(new).into_iter().filter(|(path, value)| is_new(path, value)).map(|(path, _)| path).collect()
    }

    /// Nobody but the manager owns any of these.
    fn only_of(owners: &Owners<Manager>, manager: &Manager, changed: &[Vec<Element>]) -> Result<(), String> {
        for (other, owned) in owners.iter().filter(|(other, _)| *other != manager) {
            if let Some(path) = changed.iter().find(|path| owned.fields.contains_path(path)) {
                return Err(format!("{} has changed, and {other:?} still owns it", path_text(path)));
            }
        }
        Ok(())
    }

    fn update(&mut self, name: &str, new: Value) -> Result<(), String> {
        let write = self.write(Operation::Update, name);
        let outcome = write.update(&new, self.owners.clone());
        let (owners, has_set) = outcome.map_err(|failure| format!("an update failed: {failure:?}"))?;
        let changed = self.changed(&new);
        if has_set == changed.is_empty() {
            return Err(format!("{has_set} does not say whether anything was set: {new}"));
        }
        Self::only_of(&owners, &write.manager, &changed)?;
        let owned = owners.get(&write.manager).map(|owned| owned.fields.clone()).unwrap_or_default();
        if let Some(path) = changed.iter().find(|path| !owned.contains_path(path)) {
            return Err(format!("{} has changed, and who changed it does not own it", path_text(path)));
        }
        self.live = new;
        self.owners = owners;
        Ok(())
    }

    fn apply(&mut self, name: &str, config: &Value, force: bool) -> Result<(), String> {
        let write = self.write(Operation::Apply, name);
        let merged = self.fine(merge(self.place(), &self.live, config))?;
        let changed = self.changed(&merged);
        let mut conflicts: BTreeMap<Manager, FieldSet> = BTreeMap::new();
        for (manager, owned) in self.owners.iter().filter(|(manager, _)| **manager != write.manager) {
            for path in changed.iter().filter(|path| owned.fields.contains_path(path)) {
                conflicts.entry(manager.clone()).or_default().insert_path(path);
            }
        }
        let (new, owners) = match write.apply(config, self.owners.clone(), force) {
            // Nothing has changed then.
            Err(Failure::Conflicts(found)) if !force && !found.is_empty() && found == conflicts => return Ok(()),
            Err(failure) => return Err(format!("applying {config} to {} failed: {failure:?}", self.live)),
            Ok(_) if !force && !conflicts.is_empty() => {
                return Err(format!("there are no conflicts, but {conflicts:?}"));
            }
            Ok(outcome) => outcome,
        };
        // Where nothing is left there is null; an object that is stored is one.
        let new = new.map_or_else(|| self.live.clone(), |new| if new.is_null() { json!({}) } else { new });
        let fields = self.fields(config)?;
        let owned = owners.get(&write.manager);
        let has_applied = owned.is_none_or(|owned| owned.applied);
        if !has_applied || owned.map(|owned| owned.fields.clone()).unwrap_or_default() != fields {
            return Err(format!("{config} was applied, and {owned:?} is owned"));
        }
        if !same(&without_empties(&self.fine(merge(self.place(), &new, config))?), &without_empties(&new)) {
            return Err(format!("{config} was applied, and is not in {new}"));
        }
        Self::only_of(&owners, &write.manager, &self.changed(&new))?;
        self.pruned(&write.manager, &fields, &merged, &new)?;
        self.live = new;
        self.owners = owners;
        // A container that has lost all that was in it is null, and not what a configuration says that has it empty; whoever owns the
        // empty one is in conflict with that then. (So it is upstream.)
        if self.empties { Ok(()) } else { self.applied_again(name, config) }
    }

    /// The second time nothing changes.
    fn applied_again(&self, name: &str, config: &Value) -> Result<(), String> {
        match self.write(Operation::Apply, name).apply(config, self.owners.clone(), false) {
            Ok((None, owners)) if owners == self.owners => Ok(()),
            outcome => {
                Err(format!("{config}, applied again to {}, is {outcome:?} and not {:?}", self.live, self.owners))
            }
        }
    }

    /// What only the manager owned and no longer applies is gone; what others own is still there, and so is what was nobody's.
    fn pruned(&self, manager: &Manager, fields: &FieldSet, merged: &Value, new: &Value) -> Result<(), String> {
        let named = |set: &FieldSet| set.with_named_fields(Some(self.place()));
        let others = self.owners.iter().filter(|(other, _)| *other != manager);
        let others = others.fold(FieldSet::default(), |all, (_, owned)| all.union(&owned.fields));
        let last = named(&self.owners.get(manager).map(|owned| owned.fields.clone()).unwrap_or_default());
        let kept = named(&others.union(fields));
        for path in last.paths() {
            if !kept.contains_path(&path) && at(new, &path).is_some() {
                return Err(format!("{} is nobody's any more, and is still there: {new}", path_text(&path)));
            }
        }
        // A part goes with the item or key that it is in, when nobody owns that.
        let all = named(&self.fields(merged)?);
        for path in others.paths() {
            let is_held = |end: usize| kept.contains_path(&path[..end]) || !all.contains_path(&path[..end]);
            if (1..path.len()).all(is_held) && at(new, &path).is_none() {
                return Err(format!("{} is somebody's, and is gone: {new}", path_text(&path)));
            }
        }
        for path in self.fields(&self.live)?.paths() {
            let is_given_up = |end: usize| last.contains_path(&path[..end]) && !kept.contains_path(&path[..end]);
            if at(new, &path).is_none() && !(1..=path.len()).any(is_given_up) {
                return Err(format!("{} was not to be removed, and is gone: {new}", path_text(&path)));
            }
        }
        Ok(())
    }

    /// What holds after every step.
    fn check(&self) -> Result<(), String> {
        for (manager, owned) in &self.owners {
            let paths = owned.fields.paths();
            if paths.is_empty() {
                return Err(format!("{manager:?} owns nothing, and is there"));
            }
            if let Some(path) = paths.iter().find(|path| at(&self.live, path).is_none()) {
                return Err(format!("{manager:?} owns {}, which is not in {}", path_text(path), self.live));
            }
            let text = fields_v1::text(&owned.fields);
            if fields_v1::read(text.as_bytes()).ok().as_ref() != Some(&owned.fields) {
                return Err(format!("{text} is not read as it was written"));
            }
            if let Some(other) = reconcile(self.place(), &owned.fields) {
                return Err(format!("the type has not changed, and {text} becomes\n{other}"));
            }
        }
        let managed = Managed { owners: self.owners.clone(), times: BTreeMap::new() };
        let read = managed.write().map_or_else(|| Ok(Managed::default()), |text| Managed::read(&text));
        if read.as_ref().ok() != Some(&managed) {
            return Err(format!("{managed:?} is read as {read:?}"));
        }
        let outcome = self.write(Operation::Update, NAMES[0]).update(&self.live, self.owners.clone());
        if outcome != Ok((self.owners.clone(), false)) {
            return Err(format!("an update without a change is {outcome:?} and not {:?}", self.owners));
        }
        Ok(())
    }
}

/// The leaves of a value: what is owned as one, and whatever holds nothing.
fn leaves_of(schema: &Value, value: &Value, path: &mut Vec<Element>, found: &mut Leaves) {
    match (value, schema["x-kubernetes-list-type"].as_str()) {
        (Value::Object(members), _) if schema["x-kubernetes-map-type"] != "atomic" && !members.is_empty() => {
            for (name, member) in members {
                let inner = schema.get("additionalProperties").unwrap_or_else(|| &schema["properties"][name]);
                path.push(Element::Field(Cow::Owned(name.clone())));
                leaves_of(inner, member, path, found);
                path.pop();
            }
        }
        (Value::Array(items), Some(kind)) if !items.is_empty() => {
            for item in items {
                if kind == "set" {
                    path.push(Element::Item(item.clone()));
                    found.insert(path.clone(), item.clone());
                } else {
                    path.push(Element::key(vec![(Cow::Borrowed("k"), item["k"].clone())]));
                    leaves_of(&schema["items"], item, path, found);
                }
                path.pop();
            }
        }
        _ => drop(found.insert(path.clone(), value.clone())),
    }
}

/// What is at a path, null or not.
fn at<'v>(value: &'v Value, path: &[Element]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match step {
        Element::Field(name) => value.get(&**name),
        Element::Key(keys) => {
            let has = |item: &Value, name: &str, key: &Value| item.get(name).is_some_and(|found| same(found, key));
            value.as_array()?.iter().find(|item| keys.iter().all(|(name, key)| has(item, name, key)))
        }
        Element::Item(scalar) => value.as_array()?.iter().find(|item| same(item, scalar)),
        Element::Index(index) => value.get(usize::try_from(*index).ok()?),
    })
}

/// Without fields that hold nothing.
fn without_empties(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let inner = members.iter().map(|(name, member)| (name.clone(), without_empties(member)));
            let is_empty = |value: &Value| value.is_null() || *value == json!({}) || *value == json!([]);
            inner.filter(|(_, member)| !is_empty(member)).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(without_empties).collect(),
        value => value.clone(),
    }
}
