use std::fmt;

/// What a [`Runtime`](super::Runtime) answers.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong at the runtime boundary. The kind decides what the agent does; the text is for people and reaches
/// pod status and events as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The named thing does not exist. For an image: it cannot be pulled.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `sandbox`, `container` or `image`.
        kind: &'static str,
        /// Its id or name.
        name: String,
    },
    /// The named thing exists (created before) or has happened (started before).
    #[error("{kind} \"{name}\" already exists")]
    AlreadyExists {
        /// `sandbox` or `container`.
        kind: &'static str,
        /// Its id.
        name: String,
    },
    /// This runtime cannot do it, ever.
    #[error("this runtime does not support {0}")]
    Unsupported(String),
    /// It may work later: the agent backs off and tries again.
    #[error("{0}")]
    Transient(String),
    /// The request itself is wrong: trying again changes nothing until the pod changes.
    #[error("{0}")]
    Invalid(String),
    /// The container's program could not be executed, in the words of upstream's runtimes, e.g.
    /// `exec: "foo": executable file not found in $PATH`.
    #[error("{0}")]
    Start(String),
    /// A command ran longer than it was given, and was killed.
    #[error("command {command:?} timed out after {seconds} s")]
    DeadlineExceeded {
        /// The command.
        command: String,
        /// Its time in seconds.
        seconds: u64,
    },
}

impl Error {
    /// [`Error::NotFound`].
    pub fn not_found(kind: &'static str, name: impl fmt::Display) -> Self {
        Error::NotFound { kind, name: name.to_string() }
    }

    /// [`Error::AlreadyExists`].
    pub fn already_exists(kind: &'static str, name: impl fmt::Display) -> Self {
        Error::AlreadyExists { kind, name: name.to_string() }
    }

    /// [`Error::Unsupported`].
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Error::Unsupported(what.to_string())
    }

    /// [`Error::Transient`] for a failed operation on a file.
    pub fn io(doing: &str, path: &std::path::Path, error: impl fmt::Display) -> Self {
        Error::Transient(format!("{doing} {}: {error}", path.display()))
    }

    /// Whether the thing named does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    /// Whether the thing named exists already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Error::AlreadyExists { .. })
    }
}
