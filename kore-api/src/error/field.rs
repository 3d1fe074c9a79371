//! One thing that is wrong with one field.

use std::fmt;

use super::StatusCause;

/// One thing that is wrong with one field of an object, worded as clients of the Kubernetes API expect it.
///
/// ```
/// use kore_api::error::FieldError;
/// let error = FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0");
/// assert_eq!(error.to_string(), "spec.replicas: Invalid value: -1: must be greater than or equal to 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldError {
    /// The path of the field, for example `spec.containers[0].name`.
    pub field: String,
    /// What kind of problem it is.
    pub problem: FieldProblem,
    /// The value at fault as it is shown, where showing it helps.
    pub value: Option<String>,
    /// What would be right.
    pub detail: String,
}

/// The kinds of problem, with upstream's names in [`FieldProblem::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The field must be set.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is none of those allowed.
    NotSupported,
    /// The field may not be set or changed here.
    Forbidden,
    /// The value must be unique and is not.
    Duplicate,
    /// The value is longer than allowed.
    TooLong,
    /// There are more values than allowed.
    TooMany,
    /// The value has the wrong type.
    TypeInvalid,
    /// What the value refers to does not exist.
    NotFound,
}

impl FieldProblem {
    /// The machine-readable reason in a [`StatusCause`].
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

impl FieldError {
    fn new(field: impl Into<String>, problem: FieldProblem, value: Option<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), problem, value, detail: detail.into() }
    }

    /// The field must be set.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldProblem::Required, None, detail)
    }

    /// The value breaks a rule, which `detail` states.
    pub fn invalid(field: impl Into<String>, value: impl Into<serde_json::Value>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldProblem::Invalid, Some(value.into().to_string()), detail)
    }

    /// The value is none of `supported`.
    pub fn not_supported(field: impl Into<String>, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::new(field, FieldProblem::NotSupported, Some(format!("{value:?}")), detail)
    }

    /// The value, of whatever type, is none of `supported`.
    pub(crate) fn unsupported(field: impl Into<String>, value: serde_json::Value, supported: &[String]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::new(field, FieldProblem::NotSupported, Some(value.to_string()), detail)
    }

    /// The field may not be set or changed here.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, FieldProblem::Forbidden, None, detail)
    }

    /// The value must be unique and is not.
    pub fn duplicate(field: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        Self::new(field, FieldProblem::Duplicate, Some(value.into().to_string()), "")
    }

    /// The value is longer than `max_bytes`.
    pub fn too_long(field: impl Into<String>, max_bytes: usize) -> Self {
        Self::new(field, FieldProblem::TooLong, None, format!("may not be more than {max_bytes} bytes"))
    }

    /// There are more than `max` values.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        Self::new(field, FieldProblem::TooMany, Some(count.to_string()), format!("must have at most {max} items"))
    }

    /// The value has the wrong type.
    pub fn wrong_type(
        field: impl Into<String>,
        value: impl Into<serde_json::Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(field, FieldProblem::TypeInvalid, Some(value.into().to_string()), detail)
    }

    /// What the value refers to does not exist.
    pub fn not_found(field: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        Self::new(field, FieldProblem::NotFound, Some(value.into().to_string()), "")
    }

    /// As a cause in a `Status`.
    pub fn cause(&self) -> StatusCause {
        let whole = self.to_string();
        let message = whole[self.field.len()..].trim_start_matches(": ").to_owned();
        StatusCause { reason: self.problem.reason().into(), message, field: self.field.clone() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem.title())?;
        if let Some(value) = &self.value {
            write!(f, ": {value}")?;
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}
