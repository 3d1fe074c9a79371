//! One writer of one object: what the server asks of ownership.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::cap::UPDATERS_MAX;
use super::check::check;
use super::compare::compare;
use super::element::Element;
use super::entry::{Managed, Manager, Operation};
use super::fields_of::fields_of;
use super::owners::{Failure, Versions, Write};
use super::place::Place;
use super::problem::Problem;
use super::remove::extract;
use super::set::{FieldSet, path_text};
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

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) manager: Manager,
    pub(crate) path: Vec<Element>,
}

impl Tracker<'_> {
    /// The managed fields of a new object: what the client says of them (`sent`), and that it is the owner of what it sets.
    pub(crate) fn created(&self, sent: Option<&Value>, new: &Value) -> Option<Bytes> {
        let managed = sent.and_then(read_sent).unwrap_or_default();
        self.write(&self.update(managed, &Value::Object(Map::new()), new, self.manager)?)
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
        let object = match object {
            Some(object) if self.manager == KUBECTL => Some(with_last_applied(object, config)),
            object => object,
        };
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
fn with_last_applied(mut object: Value, config: &Value) -> Value {
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else {
        return object;
    };
    if !annotations.get(LAST_APPLIED).and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
        return object;
    }
    let mut config = config.clone();
    if let Some(applied) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        applied.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), format!("{config}\n").into());
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        annotations.remove(LAST_APPLIED);
    }
    object
}

/// Fields that nobody owns.
static UNTRACKED: LazyLock<FieldSet> = LazyLock::new(|| {
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

/// Conflicts as clients show them: one in a line, more of them by manager.
pub(crate) fn conflicts_text(conflicts: &[(String, Vec<Element>)]) -> String {
    if let [(manager, path)] = conflicts {
        return format!("conflict with {manager}: {}", path_text(path));
    }
    let mut managers: Vec<&String> = conflicts.iter().map(|(manager, _)| manager).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines: Vec<String> = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let paths = conflicts.iter().filter(|(other, _)| other == manager);
        lines.extend(paths.map(|(_, path)| format!("- {}", path_text(path))));
    }
    lines.join("\n")
}
