//! The answer of a server that says no.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FieldError;
use crate::object::ResourceType;

/// The answer of a server that says no (`Status` of `meta/v1`): code, reason, message and details, as clients read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
#[non_exhaustive]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason.
    pub reason: Reason,
    /// What a person reads.
    pub message: String,
    /// The object and the fields it is about.
    pub details: Option<StatusDetails>,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StatusDetails {
    /// The name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (plural), or the kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The uid of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Every single thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// How long to wait before trying again; 0: not stated.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StatusCause {
    /// The machine-readable reason, for example `FieldValueInvalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What a person reads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The path of the field.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a server says no: upstream's reasons. [`Reason::code`] is the HTTP status code of each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// A reason this version does not know, or none.
            Unknown,
        }

        impl Reason {
            /// The HTTP status code.
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* Self::Unknown => 500 }
            }

            /// As it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* Self::Unknown => "" }
            }

            fn parse(text: &str) -> Self {
                match text { $(stringify!($name) => Self::$name,)* _ => Self::Unknown }
            }
        }
    };
}

reasons! {
    /// The request makes no sense.
    BadRequest = 400,
    /// Nobody the server knows.
    Unauthorized = 401,
    /// Not allowed.
    Forbidden = 403,
    /// No such object or resource.
    NotFound = 404,
    /// The resource has no such verb.
    MethodNotAllowed = 405,
    /// The client accepts no format that the server has.
    NotAcceptable = 406,
    /// An object of that name exists.
    AlreadyExists = 409,
    /// Changed since it was read, or a precondition failed.
    Conflict = 409,
    /// The revision is gone for good.
    Gone = 410,
    /// The revision or continue token has been compacted away.
    Expired = 410,
    /// The body is larger than allowed.
    RequestEntityTooLarge = 413,
    /// The body's format is not known.
    UnsupportedMediaType = 415,
    /// The object breaks rules of its kind.
    Invalid = 422,
    /// Try later.
    TooManyRequests = 429,
    /// A fault of the server.
    InternalError = 500,
    /// The server cannot answer right now.
    ServiceUnavailable = 503,
    /// The server could not finish in time.
    ServerTimeout = 500,
    /// The request took longer than allowed.
    Timeout = 504,
}

impl Status {
    /// A status of `reason` with a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { code: reason.code(), reason, message: message.into(), details: None }
    }

    fn about(reason: Reason, resource: &ResourceType, name: &str, message: String) -> Self {
        let details = StatusDetails {
            name: name.to_owned(),
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            ..StatusDetails::default()
        };
        Self { details: Some(details), ..Self::new(reason, message) }
    }

    /// No object of this name.
    pub fn not_found(resource: &ResourceType, name: &str) -> Self {
        Self::about(Reason::NotFound, resource, name, format!("{resource} {name:?} not found"))
    }

    /// An object of this name exists.
    pub fn already_exists(resource: &ResourceType, name: &str) -> Self {
        Self::about(Reason::AlreadyExists, resource, name, format!("{resource} {name:?} already exists"))
    }

    /// The object has changed, or a precondition does not hold: `problem` says which.
    pub fn conflict(resource: &ResourceType, name: &str, problem: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {problem}");
        Self::about(Reason::Conflict, resource, name, message)
    }

    /// Not allowed: `problem` says why.
    pub fn forbidden(resource: &ResourceType, name: &str, problem: impl fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {problem}")
        } else {
            format!("{resource} {name:?} is forbidden: {problem}")
        };
        Self::about(Reason::Forbidden, resource, name, message)
    }

    /// The object breaks rules of its kind; all of them are listed.
    pub fn invalid(resource: &ResourceType, name: &str, errors: &[FieldError]) -> Self {
        let listed = match errors {
            [one] => one.to_string(),
            all => format!("[{}]", all.iter().map(FieldError::to_string).collect::<Vec<_>>().join(", ")),
        };
        let kind = if resource.group.is_empty() {
            resource.kind.to_string()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let mut status = Self::about(Reason::Invalid, resource, name, format!("{kind} {name:?} is invalid: {listed}"));
        if let Some(details) = &mut status.details {
            details.kind = resource.kind.to_string();
            details.causes = errors.iter().map(FieldError::cause).collect();
        }
        status
    }

    /// The options of a request (`PatchOptions`) contradict each other, or do not suffice.
    pub fn invalid_options(kind: &'static str, errors: &[FieldError]) -> Self {
        let options = ResourceType {
            group: "meta.k8s.io".into(),
            version: "v1".into(),
            plural: "".into(),
            kind: kind.into(),
            scope: crate::object::Scope::Cluster,
        };
        Self::invalid(&options, "", errors)
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// A fault of the server.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// The shape on the wire.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    kind: String,
    api_version: String,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<StatusDetails>,
    code: u16,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: serde_json::Map::new(),
            status: "Failure".into(),
            message: String::new(),
            reason: String::new(),
            details: None,
            code: 500,
        }
    }
}

impl From<Wire> for Status {
    fn from(wire: Wire) -> Self {
        let reason = Reason::parse(&wire.reason);
        Self { code: wire.code, reason, message: wire.message, details: wire.details }
    }
}

impl From<Status> for Wire {
    fn from(status: Status) -> Self {
        let outcome = if status.code < 400 { "Success" } else { "Failure" };
        Self {
            status: outcome.into(),
            message: status.message,
            reason: status.reason.as_str().into(),
            details: status.details,
            code: status.code,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_goes_over_the_wire_unchanged() {
        let deployments = ResourceType {
            group: "apps".into(),
            version: "v1".into(),
            plural: "deployments".into(),
            kind: "Deployment".into(),
            scope: crate::object::Scope::Namespaced,
        };
        let errors = [
            FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0"),
            FieldError::required("spec.selector", ""),
        ];
        let status = Status::invalid(&deployments, "web", &errors);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, \
             spec.selector: Required value]"
        );
        let wire = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&wire).unwrap(), status);
        assert_eq!(status.code, 422);
        let causes = &status.details.as_ref().unwrap().causes;
        assert_eq!(causes[0].message, "Invalid value: -1: must be greater than or equal to 0");
        assert_eq!(Status::not_found(&deployments, "x").message, "deployments.apps \"x\" not found");
    }
}
