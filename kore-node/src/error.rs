use std::path::PathBuf;

/// Why an agent cannot be opened. What goes wrong later is retried and shown: in the node's conditions, in pods' status and
/// events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node's name cannot be an object's name.
    #[error(
        "node name {0:?}: must be at most 253 lower-case letters, digits, '-' and '.', and begin and end with a letter or digit"
    )]
    InvalidName(String),
    /// The agent's directory cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The runtime does not answer.
    #[error("the container runtime: {0}")]
    Runtime(#[from] crate::runtime::Error),
}
