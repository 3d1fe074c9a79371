//! One writer of one object: what the server asks of ownership.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::cap::UPDATERS_MAX;
use super::check::check;
use super::compare::compare;
use super::conflict::Conflict;
use super::element::Element;
use super::entry::{Managed, Manager, Operation, write_one};
use super::fields_of::fields_of;
use super::first::write_new;
use super::owners::{Failure, Filter, Versions, Write};
use super::place::Place;
use super::problem::Problem;
use super::remove::extract;
use super::set::FieldSet;
use crate::schema::Schema;

/// The manager that owns what was there before anybody was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager whose conflicts with what it itself applied on the client's side are none.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations together have no more than this.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// A writer, and the part of the object through which it writes.
pub(crate) struct Tracker<'t> {
    pub(crate) versions: &'t dyn Versions,
    /// The version of the API in which it writes, and in which all objects here are.
    pub(crate) version: &'t str,
    pub(crate) manager: &'t str,
    /// Empty: the object itself.
    pub(crate) subresource: &'t str,
    /// RFC 3339, whole seconds.
    pub(crate) now: &'t str,
}

/// What became of an applied configuration.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The object, if it has changed; not in the form in which objects are stored.
    pub(crate) object: Option<Value>,
    /// `metadata.managedFields`.
    pub(crate) managed: Option<Bytes>,
}

/// Why a configuration cannot be applied.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It does not have the form of its type.
    Malformed(Vec<Problem>),
    /// The object there is does not have the form of its type, or its managed fields cannot be read.
    Unreadable(String),
    /// It changes what others own.
    Conflicts(Vec<Conflict>),
}

impl Tracker<'_> {
    /// The managed fields of a new object: what the client says of them (`sent`), and that it is the owner of what it sets.
    pub(crate) fn created(&self, sent: Option<&Value>, new: &Value) -> Option<Bytes> {
        match sent.filter(|_| self.subresource.is_empty()).and_then(read_sent) {
            None => self.created_by_one(new),
            Some(managed) => self.write(&self.update(managed, &Value::Object(Map::new()), new, self.manager)?),
        }
    }

    /// The same where nobody but the manager owns anything, without building what it writes.
    fn created_by_one(&self, new: &Value) -> Option<Bytes> {
        let left_out = match self.versions.filter(self.version) {
            Filter::All => None,
            Filter::Field(name) => Some(*name),
            _ => return self.write(&self.update(Managed::default(), &Value::Object(Map::new()), new, self.manager)?),
        };
        let mut fields = Vec::with_capacity(256);
        match write_new(self.versions.place(self.version)?, new, &UNTRACKED, left_out, &mut fields) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(problem) => {
                tracing::debug!(%problem, "a new object has no managed fields");
                return None;
            }
        }
        let manager = Manager::new(Operation::Update, self.manager, self.version, self.subresource);
        Some(write_one(&manager, self.version, self.now, &fields).into())
    }

    /// The managed fields of a changed object, if they have changed. `live`, `stored`: what there is; `sent`: what the client says,
    /// if it says anything.
    ///
    /// Whoever cannot be read owns nothing: a change is never refused for that.
    pub(crate) fn updated(
        &self,
        live: &Value,
        stored: Option<&Bytes>,
        sent: Option<&Value>,
        new: &Value,
    ) -> Option<Bytes> {
        let of_live = || stored.and_then(|stored| Managed::read(stored).ok()).unwrap_or_default();
        let managed = match sent {
            Some(sent) if self.subresource.is_empty() => {
                if is_reset(sent) {
                    Managed::default()
                } else {
                    read_sent(sent).filter(|managed| !managed.owners.is_empty()).unwrap_or_else(of_live)
                }
            }
            _ => of_live(),
        };
        // Who was never tracked is not tracked from some change on.
        if managed.owners.is_empty() {
            return None;
        }
        match self.update(managed, live, new, self.manager) {
            Some(managed) => self.write(&managed),
            None => stored.cloned(),
        }
    }

    /// Applies a configuration.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn applied(
        &self,
        live: &Value,
        stored: Option<&Bytes>,
        config: &Value,
        force: bool,
    ) -> Result<Applied, Refusal> {
        let unreadable = |error: &dyn std::fmt::Display| Refusal::Unreadable(error.to_string());
        let mut managed = match stored {
            Some(stored) => Managed::read(stored).map_err(|error| unreadable(&error))?,
            None => Managed::default(),
        };
        let Some(place) = self.versions.place(self.version) else {
            return Err(Refusal::Unreadable(format!("there is no version {}", self.version)));
        };
        let problems = check(place, config, false);
        if !problems.is_empty() {
            return Err(Refusal::Malformed(problems));
        }
        if managed.owners.is_empty() {
            let nothing = Value::Object(Map::new());
            managed = self.update(managed, &nothing, live, BEFORE_FIRST_APPLY).unwrap_or_default();
        }
        let manager = Manager::new(Operation::Apply, self.manager, self.version, self.subresource);
        let write = Write { versions: self.versions, version: self.version, live, manager: manager.clone() };
        let outcome = match write.apply(config, managed.owners.clone(), force) {
            Err(Failure::Conflicts(conflicts)) if self.manager == KUBECTL => {
                // What kubectl applied on the client's side is its own.
                let own = self.last_applied(live).unwrap_or_default();
                let rest = conflicts.into_iter().map(|(manager, fields)| (manager, fields.difference(&own)));
                let rest: std::collections::BTreeMap<_, _> = rest.filter(|(_, fields)| !fields.is_empty()).collect();
                if rest.is_empty() {
                    write.apply(config, managed.owners.clone(), true)
                } else {
                    Err(Failure::Conflicts(rest))
                }
            }
            outcome => outcome,
        };
        let (object, owners) = match outcome {
            Ok(outcome) => outcome,
            Err(Failure::Problem(problem)) => return Err(unreadable(&problem)),
            Err(Failure::Conflicts(conflicts)) => {
                let listed = conflicts.into_iter().flat_map(|(manager, fields)| {
                    let paths = fields.paths().into_iter();
                    paths.map(move |path| Conflict { manager: manager.clone(), path })
                });
                return Err(Refusal::Conflicts(listed.collect()));
            }
        };
        managed.owners = owners;
        self.strip(&mut managed, &manager);
        if object.is_some() {
            managed.times.insert(manager, self.now.to_owned());
        }
        let object = if self.manager == KUBECTL { with_last_applied(object, live, config) } else { object };
        Ok(Applied { object, managed: self.write(&managed) })
    }

    /// `None`: the objects do not have the form of their type, and nothing can be said.
    fn update(&self, mut managed: Managed, live: &Value, new: &Value, name: &str) -> Option<Managed> {
        let manager = Manager::new(Operation::Update, name, self.version, self.subresource);
        let write = Write { versions: self.versions, version: self.version, live, manager: manager.clone() };
        match write.update(new, std::mem::take(&mut managed.owners)) {
            Ok((owners, has_set)) => {
                managed.owners = owners;
                self.strip(&mut managed, &manager);
                if has_set && managed.owners.contains_key(&manager) {
                    managed.times.insert(manager, self.now.to_owned());
                }
                managed.cap(UPDATERS_MAX);
                Some(managed)
            }
            Err(failure) => {
                tracing::debug!(?failure, "managed fields stay as they are");
                None
            }
        }
    }

    /// What is never tracked: names and what the server alone writes.
    fn strip(&self, managed: &mut Managed, manager: &Manager) {
        if let Some(owned) = managed.owners.get_mut(manager) {
            owned.fields.subtract(&UNTRACKED);
            if owned.fields.is_empty() {
                managed.owners.remove(manager);
            }
        }
    }

    fn write(&self, managed: &Managed) -> Option<Bytes> {
        managed.write().map(Bytes::from)
    }

    /// The fields that were applied on the client's side, as far as they still are what they were.
    fn last_applied(&self, live: &Value) -> Option<FieldSet> {
        let text = live["metadata"]["annotations"][LAST_APPLIED].as_str()?;
        let applied: Value = serde_json::from_str(text).ok()?;
        if applied["apiVersion"] != *self.version {
            return None;
        }
        let place = self.versions.place(self.version)?;
        let changed = compare(place, &applied, live).ok()?;
        let fields = fields_of(place, &applied).ok()?;
        Some(fields.difference(&changed.modified).difference(&changed.added).difference(&changed.removed))
    }
}

/// What a manager has applied to an object, as far as it still owns it.
pub(crate) fn applied_by(
    schema: Option<&Schema>,
    managed: &[u8],
    object: &Value,
    manager: &str,
    subresource: &str,
) -> Option<Value> {
    let managed = Managed::read(managed).ok()?;
    let owned = managed.owners.get(&Manager::new(Operation::Apply, manager, "", subresource))?;
    Some(extract(Place::of(schema), object, &owned.fields.leaves()))
}

/// Keeps the annotation by which kubectl applies on the client's side up to date, where there is one.
fn with_last_applied(changed: Option<Value>, live: &Value, config: &Value) -> Option<Value> {
    let annotations = |object: &Value| object["metadata"]["annotations"][LAST_APPLIED].as_str().map(str::to_owned);
    let before = match annotations(changed.as_ref().unwrap_or(live)) {
        Some(text) if !text.is_empty() => text,
        _ => return changed,
    };
    let mut config = config.clone();
    if let Some(applied) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        applied.remove(LAST_APPLIED);
    }
    let now = format!("{config}\n");
    if now == before {
        return changed;
    }
    let mut object = changed.unwrap_or_else(|| live.clone());
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.insert(LAST_APPLIED.to_owned(), now.into());
        let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
        if bytes > ANNOTATIONS_BYTES_MAX {
            annotations.remove(LAST_APPLIED);
        }
    }
    Some(object)
}

/// What is wrong with a configuration before anything is compared: it must say of what kind it is, and nothing of managed fields.
pub(crate) fn check_config(config: &Value, version: &str, kind: &str) -> Result<(), String> {
    if !config.is_object() {
        return Err("an applied configuration must be an object".to_owned());
    }
    for (field, expected) in [("apiVersion", version), ("kind", kind)] {
        if config[field].as_str() != Some(expected) {
            return Err(format!("the {field} of an applied {kind} must be {expected:?}, not {}", config[field]));
        }
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err("metadata.managedFields must be nil".to_owned());
    }
    Ok(())
}

/// Fields that nobody owns.
pub(super) static UNTRACKED: LazyLock<FieldSet> = LazyLock::new(|| {
    let field = |name: &'static str| Element::Field(name.into());
    let mut metadata = FieldSet::default();
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        metadata.insert(field(name));
    }
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(field(name));
    }
    set.add_below(field("metadata"), metadata);
    set
});

/// What a client sent as managed fields; `None`: nothing that can be read.
fn read_sent(sent: &Value) -> Option<Managed> {
    Managed::read(&serde_json::to_vec(sent).ok()?).ok()
}

/// Whether a client says that nobody owns anything: an empty list, or one empty entry.
fn is_reset(sent: &Value) -> bool {
    match sent.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([entry]) => {
            entry.as_object().is_some_and(|fields| fields.values().all(|value| value == "" || value.is_null()))
        }
        _ => false,
    }
}
