//! Kinds that have another version besides the one as which they are stored.
//!
//! - `mod.rs`: such a version as an entry: its own defaults, and the rules, warnings and columns of the stored one.
//! - `event.rs`: `events.k8s.io/v1`, stored as core `v1`.
//! - `autoscaler.rs`: `autoscaling/v1`, stored as `autoscaling/v2`.

mod autoscaler;
mod event;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::entry::Entry;
use crate::error::FieldError;
use crate::registry::{Convert, Registry, Strategy, Transition};

/// A version beside the stored one.
struct Version {
    entry: &'static Entry,
    stored: &'static Entry,
    convert: fn(Value, &str) -> Value,
    /// What a field that selectors name here is called in the stored version.
    stored_field: fn(&str) -> Option<&'static str>,
}

/// How many there are.
pub(super) const COUNT: usize = 2;

static VERSIONS: [Version; COUNT] = [
    Version {
        entry: &event::EVENT,
        stored: &super::event::EVENT,
        convert: event::convert,
        stored_field: event::stored_field,
    },
    Version {
        entry: &autoscaler::HORIZONTAL_POD_AUTOSCALER,
        stored: &super::autoscaler::HORIZONTAL_POD_AUTOSCALER,
        convert: autoscaler::convert,
        stored_field: |_| None,
    },
];

/// With the other versions of the built-in kinds, and their stored ones able to become these.
pub(super) fn add(registry: Registry) -> Registry {
    VERSIONS.iter().fold(registry, |registry, version| {
        let storage = (version.stored.resource)();
        let stored = version.stored.info();
        let strategy = Beside { version, stored: stored.strategy.clone(), api_version: storage.api_version().into() };
        let beside = version.entry.info().strategy(strategy).stored_as(storage.clone(), Conversion(version));
        registry.with(stored.stored_as(storage, Conversion(version))).with(beside)
    })
}

struct Conversion(&'static Version);

impl Convert for Conversion {
    fn convert(&self, object: Value, to: &str) -> Result<Value, String> {
        Ok((self.0.convert)(object, to))
    }

    fn stored_field(&self, field: &str) -> Option<String> {
        (self.0.stored_field)(field).map(str::to_owned)
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conversion({})", (self.0.entry.resource)())
    }
}

/// Has the rules of the stored version.
struct Beside {
    version: &'static Version,
    stored: Arc<dyn Strategy>,
    api_version: String,
}

impl Beside {
    fn converted(&self, object: &Value) -> Value {
        let mut converted = (self.version.convert)(object.clone(), &self.api_version);
        self.stored.default(&mut converted);
        converted
    }

    fn with<T>(&self, transition: &Transition<'_>, run: impl FnOnce(&Transition<'_>) -> T) -> T {
        let (new, old) = (self.converted(transition.new), transition.old.map(|old| self.converted(old)));
        run(&Transition { new: &new, old: old.as_ref(), subresource: transition.subresource })
    }
}

impl Strategy for Beside {
    fn default(&self, object: &mut Value) {
        self.version.entry.defaults.fill(object);
    }

    fn validate(&self, transition: &Transition<'_>) -> Vec<FieldError> {
        let mut errors = self.version.entry.validate(transition);
        errors.extend(self.with(transition, |transition| self.stored.validate(transition)));
        errors
    }

    fn warnings(&self, transition: &Transition<'_>) -> Vec<String> {
        self.with(transition, |transition| self.stored.warnings(transition))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.stored.cells(&self.converted(object), now)
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beside({})", (self.version.entry.resource)())
    }
}

/// Moves a field, if it is there.
fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(fields) = object.as_object_mut()
        && let Some(value) = fields.remove(from)
    {
        fields.insert(to.to_owned(), value);
    }
}
