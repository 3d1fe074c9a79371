//! What differs from kind to kind.

use std::fmt::Debug;

use jiff::Timestamp;
use serde_json::Value;

use super::Claim;
use crate::error::FieldError;
use crate::object::ResourceType;

/// What differs from kind to kind: pure functions of the object as a tree. The generic code calls them in the order in
/// which they stand here; what they need not say has a default.
///
/// Generic to all kinds, and not a strategy's business: the rules of metadata, schema checks, `status` kept apart,
/// `generation` counted up when anything but metadata and status changes, uid, creation time, deletion.
///
/// ```
/// use kore_api::error::FieldError;
/// use kore_api::registry::{Strategy, Transition};
/// use serde_json::{Value, json};
///
/// #[derive(Debug)]
/// struct Backup;
///
/// impl Strategy for Backup {
///     fn default(&self, object: &mut Value) {
///         // What a client sends may have any form.
///         if let Some(spec) = object["spec"].as_object_mut() {
///             spec.entry("keep").or_insert(json!(7));
///         }
///     }
///     fn validate(&self, transition: &Transition<'_>) -> Vec<FieldError> {
///         let keep = &transition.new["spec"]["keep"];
///         match keep.as_i64() {
///             Some(1..) => Vec::new(),
///             _ => vec![FieldError::invalid("spec.keep", keep.clone(), "must be greater than 0")],
///         }
///     }
/// }
/// ```
pub trait Strategy: Debug + Send + Sync + 'static {
    /// Fills in what the writer left out.
    fn default(&self, object: &mut Value) {
        let _ = object;
    }

    /// Makes a new object ready after defaulting: what a client may not choose is set or cleared.
    fn prepare_create(&self, object: &mut Value) {
        let _ = object;
    }

    /// Makes a changed object ready after defaulting: what may not change is carried over from `old`.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        let _ = (object, old);
    }

    /// All that is wrong with a new or changed object.
    fn validate(&self, transition: &Transition<'_>) -> Vec<FieldError> {
        let _ = transition;
        Vec::new()
    }

    /// Warnings for the writer of an object that is valid.
    fn warnings(&self, transition: &Transition<'_>) -> Vec<String> {
        let _ = transition;
        Vec::new()
    }

    /// For how many seconds a deleted object lives on so that its parts can stop, when the request does not say;
    /// `None`: it goes at once.
    fn grace_period_seconds(&self, object: &Value) -> Option<i64> {
        let _ = object;
        None
    }

    /// Notes in the object that its deletion has begun, for those whose deletion takes time (a namespace's `status.phase`).
    fn begin_deletion(&self, object: &mut Value) {
        let _ = object;
    }

    /// Whether an object on its way out must stay although it has no finalizer left (a namespace's `spec.finalizers`).
    fn is_held(&self, object: &Value) -> bool {
        let _ = object;
        false
    }

    /// What the object has, or wants to be given, of which no two objects may have the same. After the server has chosen what
    /// was wanted, the object is defaulted again.
    fn claims(&self, object: &Value) -> Vec<Claim> {
        let _ = object;
        Vec::new()
    }

    /// What field selectors compare with in `field`, one of the resource's selectable fields; `None`: the text of the value that
    /// stands there, the empty text where none stands.
    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        let _ = (object, field);
        None
    }

    /// Finalizers that a new object gets besides its own (`metadata.finalizers`).
    fn finalizers(&self) -> &'static [&'static str] {
        &[]
    }

    /// The resource that the object defines, whose objects go with it (a CustomResourceDefinition's).
    fn defines(&self, object: &Value) -> Option<ResourceType> {
        let _ = object;
        None
    }

    /// The cells of the object's row in a table, one for each of the resource's columns.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let _ = (object, now);
        Vec::new()
    }
}

/// A change that is to be validated.
#[derive(Clone, Copy, Debug)]
pub struct Transition<'a> {
    /// The object as it is to become, defaulted.
    pub new: &'a Value,
    /// The object as it is; `None` for a creation.
    pub old: Option<&'a Value>,
    /// Which part is written: empty for the object itself, or `status`.
    pub subresource: &'a str,
}

/// The strategy of a kind about which nothing is special.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generic;

impl Strategy for Generic {}
