//! What goes wrong in controllers.

use kore_api::object::UndecodableView;

/// Why a reconcile failed, or why controllers cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server said no, or could not be reached.
    #[error(transparent)]
    Api(#[from] kore_api::error::Error),
    /// An object does not decode as its kind.
    #[error(transparent)]
    Undecodable(#[from] UndecodableView),
    /// A list of controllers names one that there is not.
    #[error("{name:?} is not a controller; known are: {known}")]
    UnknownController {
        /// What the list says.
        name: String,
        /// The names there are, separated by commas.
        known: String,
    },
    /// Whatever else a reconciler of one's own fails with.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps an error of a reconciler's own.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Other(error.into())
    }

    /// The API server's answer, if this is one.
    pub fn api(&self) -> Option<&kore_api::error::Error> {
        match self {
            Error::Api(error) => Some(error),
            _ => None,
        }
    }
}
