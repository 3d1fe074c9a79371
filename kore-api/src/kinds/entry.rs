//! One built-in kind as data, and the one strategy that does what an entry says.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::field::{Field, check};
use super::row::Row;
use super::shape::{PLAIN, Shape};
use crate::error::FieldError;
use crate::object::ResourceType;
use crate::registry::{Claim, Column, NameRule, ResourceInfo, ScalePaths, Strategy, Transition};

/// One built-in kind. What an entry does not say is as in [`Entry::of`].
pub(crate) struct Entry {
    pub(crate) resource: fn() -> ResourceType,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) names: NameRule,
    pub(crate) has_generation: bool,
    pub(crate) unconditional_update: bool,
    pub(crate) create_on_update: bool,
    pub(crate) has_status: bool,
    pub(crate) status_on_create: bool,
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) scale: Option<&'static ScalePaths>,
    pub(crate) subresources: &'static [&'static str],
    pub(crate) selectable_fields: &'static [&'static str],
    pub(crate) columns: &'static [Title],
    pub(crate) defaults: &'static Shape,
    pub(crate) prepare_create: fn(&mut Value),
    pub(crate) prepare_update: fn(&mut Value, &Value),
    pub(crate) rules: Rules,
    pub(crate) warnings: fn(&Field<'_, '_>) -> Vec<String>,
    pub(crate) grace_period_seconds: fn(&Value) -> Option<i64>,
    pub(crate) begin_deletion: fn(&mut Value),
    pub(crate) is_held: fn(&Value) -> bool,
    pub(crate) claims: fn(&Value) -> Vec<Claim>,
    pub(crate) selectable: fn(&Value, &str) -> Option<String>,
    pub(crate) defines: fn(&Value) -> Option<ResourceType>,
    pub(crate) cells: fn(&Row<'_>) -> Vec<Value>,
}

/// The rules of a kind, by what is written.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Of every object, new or changed.
    pub(crate) always: fn(&Field<'_, '_>),
    /// Of a new object, besides.
    pub(crate) create: fn(&Field<'_, '_>),
    /// Of a change: new, old.
    pub(crate) change: fn(&Field<'_, '_>, &Field<'_, '_>),
    /// Of a changed status: new, old.
    pub(crate) status: fn(&Field<'_, '_>, &Field<'_, '_>),
    /// Of conditions changed by the `approval` subresource: new, old.
    pub(crate) approval: fn(&Field<'_, '_>, &Field<'_, '_>),
}

/// A column: title, type, what it shows, priority (1: only with `-o wide`).
pub(crate) struct Title(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str, pub(crate) i32);

/// The column every table begins with.
pub(crate) const NAME: Title =
    Title("Name", "string", "The object's name, unique among objects of its kind in its namespace.", 0);
/// How old the object is.
pub(crate) const AGE: Title = Title("Age", "string", "How long ago the object was created.", 0);

/// When the object was made, in full: for kinds of which there is nothing else to show.
pub(crate) const CREATED_AT: Title = Title("Created At", "date", "When the object was created.", 0);

/// The cells of [`NAME`] and [`CREATED_AT`].
pub(crate) fn dated(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.text("/metadata/creationTimestamp").into()]
}

/// A flag is `false` for field selectors where it is absent.
pub(crate) fn flag(value: &Value) -> Option<String> {
    Some((value == true).to_string())
}

/// No rules.
pub(crate) const ANYTHING: Rules =
    Rules { always: |_| {}, create: |_| {}, change: |_, _| {}, status: |_, _| {}, approval: |_, _| {} };

impl Entry {
    /// A kind about which nothing is special.
    pub(crate) const fn of(resource: fn() -> ResourceType) -> Self {
        Self {
            resource,
            short_names: &[],
            categories: &[],
            names: NameRule::Subdomain,
            has_generation: false,
            unconditional_update: true,
            create_on_update: false,
            status_on_create: false,
            has_status: true,
            time_to_live: None,
            scale: None,
            subresources: &[],
            selectable_fields: &[],
            columns: &[NAME, AGE],
            defaults: &PLAIN,
            prepare_create: |_| {},
            prepare_update: |_, _| {},
            rules: ANYTHING,
            warnings: |_| Vec::new(),
            grace_period_seconds: |_| None,
            begin_deletion: |_| {},
            is_held: |_| false,
            claims: |_| Vec::new(),
            selectable: |_, _| None,
            defines: |_| None,
            cells: |row| vec![row.name(), row.age()],
        }
    }

    /// All that its rules say of a change.
    pub(crate) fn validate(&self, transition: &Transition<'_>) -> Vec<FieldError> {
        let Rules { always, create, change, status, approval } = self.rules;
        let before = transition.old.unwrap_or(&Value::Null);
        check(transition.new, before, |new, old| match (transition.subresource, transition.old) {
            ("", None) => {
                always(new);
                create(new);
            }
            ("", Some(_)) => {
                always(new);
                change(new, old);
            }
            ("status", _) => status(new, old),
            ("approval", _) => approval(new, old),
            _ => {}
        })
    }

    /// The entry in the registry's form.
    pub(crate) fn info(&'static self) -> ResourceInfo {
        let mut info = ResourceInfo::new((self.resource)())
            .short_names(self.short_names)
            .categories(self.categories)
            .strategy(BuiltIn(self));
        info.names = self.names;
        info.has_generation = self.has_generation;
        info.unconditional_update = self.unconditional_update;
        info.create_on_update = self.create_on_update;
        info.status_on_create = self.status_on_create;
        info.has_status = self.has_status;
        info.time_to_live = self.time_to_live;
        info.scale = self.scale.cloned();
        info.subresources = self.subresources.to_vec();
        info.selectable_fields = self.selectable_fields.iter().map(|field| (*field).into()).collect();
        info.columns = self.columns.iter().map(Title::column).collect();
        info
    }
}

impl Title {
    fn column(&self) -> Column {
        let Self(name, kind, description, priority) = *self;
        Column {
            name: name.to_owned(),
            kind: kind.into(),
            format: if name == "Name" { "name" } else { "" }.into(),
            description: description.to_owned(),
            priority,
        }
    }
}

/// Does what an entry says.
struct BuiltIn(&'static Entry);

impl Strategy for BuiltIn {
    fn default(&self, object: &mut Value) {
        self.0.defaults.fill(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        (self.0.prepare_create)(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        (self.0.prepare_update)(object, old);
    }

    fn validate(&self, transition: &Transition<'_>) -> Vec<FieldError> {
        self.0.validate(transition)
    }

    fn warnings(&self, transition: &Transition<'_>) -> Vec<String> {
        let mut warnings = Vec::new();
        if transition.subresource.is_empty() {
            check(transition.new, &Value::Null, |new, _| warnings = (self.0.warnings)(new));
        }
        warnings
    }

    fn grace_period_seconds(&self, object: &Value) -> Option<i64> {
        (self.0.grace_period_seconds)(object)
    }

    fn begin_deletion(&self, object: &mut Value) {
        (self.0.begin_deletion)(object);
    }

    fn is_held(&self, object: &Value) -> bool {
        (self.0.is_held)(object)
    }

    fn claims(&self, object: &Value) -> Vec<Claim> {
        (self.0.claims)(object)
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        (self.0.selectable)(object, field)
    }

    fn defines(&self, object: &Value) -> Option<ResourceType> {
        (self.0.defines)(object)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.0.cells)(&Row { object, now })
    }
}

impl fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuiltIn({})", (self.0.resource)())
    }
}
