//! Why a patch cannot be made.

/// Why a patch cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The patch is not of the form its syntax demands (400).
    #[error("the patch is malformed: {message}")]
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// The patch has too many operations, or copies and moves too much (413).
    #[error("the patch has {what} {count}, more than the limit of {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A strategic merge patch for a kind without a known shape: custom resources take merge patches (415).
    #[error("a strategic merge patch needs a built-in kind; use a merge patch")]
    NoSchema,
    /// An operation of a JSON patch does not fit the object: its path is not there (422).
    #[error("operation {index} ({operation}) of the JSON patch does not fit the object at {path:?}: {message}")]
    Operation {
        /// The index of the operation, from 0.
        index: usize,
        /// `add`, `remove`, `replace`, `move`, `copy`.
        operation: &'static str,
        /// The JSON pointer.
        path: String,
        /// Why.
        message: String,
    },
    /// A `test` operation of a JSON patch found another value (422).
    #[error("operation {index} of the JSON patch: testing path {path:?} failed")]
    Test {
        /// The index of the operation, from 0.
        index: usize,
        /// The JSON pointer.
        path: String,
    },
    /// A directive of a strategic merge patch is unknown or malformed (400).
    #[error("{path}: {directive} {message}")]
    Directive {
        /// Where in the object.
        path: String,
        /// The directive: `$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`.
        directive: String,
        /// What is wrong with it.
        message: String,
    },
    /// An item of a list lacks the field by which the list merges (400).
    #[error("{path}: an item does not contain declared merge key: {key}")]
    MissingKey {
        /// The list.
        path: String,
        /// The merge key.
        key: String,
    },
}

impl PatchError {
    /// The HTTP status that upstream answers with: 400, 413, 415 or 422.
    pub fn status(&self) -> u16 {
        match self {
            PatchError::Malformed { .. } | PatchError::Directive { .. } | PatchError::MissingKey { .. } => 400,
            PatchError::TooLarge { .. } => 413,
            PatchError::NoSchema => 415,
            PatchError::Operation { .. } | PatchError::Test { .. } => 422,
        }
    }
}
