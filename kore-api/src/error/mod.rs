//! What goes wrong, in the API's own terms.
//!
//! - [`Status`] (`status.rs`): the answer of a server that says no, as it goes over the wire.
//! - [`FieldError`] (`field.rs`): one thing that is wrong with one field; a `Status` of reason `Invalid` carries all of them.
//! - [`Error`] (`mod.rs`): what a client's call returns, a `Status` or a failure on the way.

mod field;
mod status;

pub use field::{FieldError, FieldProblem};
pub use status::{Reason, Status, StatusCause, StatusDetails};

use crate::object::{MalformedObject, UndecodableView};

/// Why a client's call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said no, and said why.
    #[error("{0}")]
    Status(Box<Status>),
    /// The request or its answer did not get through. A write may or may not have happened.
    #[error("{target}: {problem}")]
    Transport {
        /// What was asked for, for example `GET https://127.0.0.1:6443/api/v1/pods`.
        target: String,
        /// What happened.
        problem: String,
    },
    /// The server sent an object that is no object.
    #[error(transparent)]
    Malformed(#[from] MalformedObject),
    /// The server sent an object that the typed view cannot hold.
    #[error(transparent)]
    Undecodable(#[from] UndecodableView),
    /// A value of the caller's cannot be sent, for example an object without a name.
    #[error("cannot send {what}: {problem}")]
    Unsendable {
        /// The object.
        what: String,
        /// Why not.
        problem: String,
    },
    /// A kubeconfig, certificate or token that cannot be used.
    #[error("{path}: {problem}")]
    Config {
        /// The file or the entry in it.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// The server's answer, if it gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    fn has_reason(&self, reason: Reason) -> bool {
        self.status().is_some_and(|status| status.reason == reason)
    }

    /// The object, or the resource, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.has_reason(Reason::NotFound)
    }

    /// An object of this name exists.
    pub fn is_already_exists(&self) -> bool {
        self.has_reason(Reason::AlreadyExists)
    }

    /// The object has changed since it was read, or a precondition does not hold.
    pub fn is_conflict(&self) -> bool {
        self.has_reason(Reason::Conflict)
    }

    /// The object breaks a rule of its kind.
    pub fn is_invalid(&self) -> bool {
        self.has_reason(Reason::Invalid)
    }

    /// The caller may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.has_reason(Reason::Forbidden)
    }

    /// The revision asked for has been compacted away (410): list again.
    pub fn is_expired(&self) -> bool {
        self.has_reason(Reason::Expired) || self.has_reason(Reason::Gone)
    }

    /// The server has not reached the revision asked for (504): it is behind, or another one than before.
    pub fn is_future_revision(&self) -> bool {
        self.has_cause("ResourceVersionTooLarge")
    }

    /// Whether the namespace an object was to be created in is going away.
    pub fn is_namespace_terminating(&self) -> bool {
        self.has_cause("NamespaceTerminating")
    }

    fn has_cause(&self, reason: &str) -> bool {
        let details = self.status().and_then(|status| status.details.as_ref());
        details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == reason))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}
