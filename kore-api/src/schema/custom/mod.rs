//! The shape of kinds that are not built in: structural OpenAPI v3 schemas, as CustomResourceDefinitions have them.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`Custom`], a place in a schema; [`KindSchema`], that of a kind |
//! | `read.rs` | how one is read |
//! | `structural.rs` | all that is wrong with one, for who writes a definition |
//! | `prune.rs`, `defaults.rs` | what objects are brought into: fields that are known, defaults filled in |
//! | `validate.rs` | the walk that checks an object |
//! | `checks.rs`, `format.rs` | the checks of one value |
//! | `rules.rs` | the rules in CEL |
//!
//! The source of what each does is upstream's apiextensions-apiserver (`pkg/apiserver/schema`, `pkg/apiserver/validation`).

mod checks;
mod defaults;
mod format;
mod prune;
mod read;
mod rules;
mod structural;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;

use serde_json::Value;

use self::checks::Checks;
use self::rules::Rules;
use crate::error::FieldError;
use crate::managed::Scalar;

pub use read::SchemaProblem;
pub(crate) use structural::structural;

/// The schema of a kind.
#[derive(Debug)]
pub(crate) struct KindSchema {
    /// The root: an object, or anything.
    pub(crate) root: Custom,
    rules: Rules,
}

/// A place in a structural schema.
#[derive(Debug)]
pub(crate) struct Custom {
    pub(crate) form: CustomForm,
    /// The word of its `type`; `None`: none is stated.
    kind: Option<&'static str>,
    nullable: bool,
    /// What stands there when nothing does.
    pub(crate) default: Option<Value>,
    /// Whether it is an object of the API itself.
    is_embedded: bool,
    checks: Option<Box<Checks>>,
}

/// What a value at a place looks like.
#[derive(Debug)]
pub(crate) enum CustomForm {
    /// No type is stated; `preserve`: what is there is kept (`x-kubernetes-preserve-unknown-fields`).
    Anything { preserve: bool },
    /// A string, a number, a boolean, or (`x-kubernetes-int-or-string`) one of them.
    Scalar(Scalar),
    /// An object.
    Object(CustomObject),
    /// A list.
    List(Box<CustomItems>),
    /// What all objects have.
    Metadata,
}

/// An object of a structural schema.
#[derive(Debug, Default)]
pub(crate) struct CustomObject {
    pub(crate) properties: BTreeMap<String, Custom>,
    pub(crate) additional: Option<Box<Custom>>,
    pub(crate) preserve: bool,
    pub(crate) is_atomic: bool,
}

/// A list of a structural schema.
#[derive(Debug)]
pub(crate) struct CustomItems {
    pub(crate) items: Custom,
    pub(crate) kind: CustomList,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CustomList {
    Atomic,
    Set,
    Map(Vec<String>),
}

impl KindSchema {
    /// Reads the schema of a kind: whatever it says of them, `apiVersion`, `kind` and `metadata` are those of every object.
    ///
    /// # Errors
    /// [`SchemaProblem`]: what is not structural, or contradicts itself; and when it is no object's.
    pub(crate) fn read(schema: &Value) -> Result<Self, SchemaProblem> {
        let root = Custom::for_kind(schema)?;
        let rules = Rules::read(schema).map_err(|problem| SchemaProblem::new("x-kubernetes-validations", problem))?;
        Ok(Self { root, rules })
    }

    /// Drops what the schema does not know; the paths of what was dropped, in the order of the object.
    pub(crate) fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.root, object)
    }

    /// Fills in what is left out and has a default, and drops each null where null is no value.
    pub(crate) fn default(&self, object: &mut Value) {
        defaults::fill(&self.root, object);
        defaults::drop_nulls(&self.root, object);
    }

    /// All that is wrong with an object. Of a change, what is wrong with a part that stays as it is is not told (ratcheting).
    pub(crate) fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = validate::validate(&self.root, new, old);
        if errors.is_empty() {
            // Rules rely on types.
            errors = self.rules.check(new, old);
        }
        errors
    }
}

/// `a` and then `b`, as a path.
fn below(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}
