//! What can go wrong, one enum for the whole crate.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::{KeyValue, LeaseId, Revision};

/// The result of a call to a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store refused or failed.
///
/// Only [`OutcomeUnknown`](Error::OutcomeUnknown) leaves open whether a write happened; after every other error nothing
/// was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The revision asked for has been compacted. What is left begins at `at`: read or watch from there or later.
    #[error("revision {requested} has been compacted: the oldest revision kept is {at}")]
    Compacted {
        /// The revision that was asked for.
        requested: Revision,
        /// The oldest revision that can still be read.
        at: Revision,
    },
    /// The revision asked for has not happened yet.
    #[error("revision {requested} is in the future: the current revision is {current}")]
    FutureRevision {
        /// The revision that was asked for.
        requested: Revision,
        /// The store's current revision.
        current: Revision,
    },
    /// The write would take the store over its byte quota. Deletes and compaction still work and make room.
    #[error("the store holds {used} of {quota} bytes and has no room for {needed} more: delete keys and compact")]
    QuotaExceeded {
        /// Bytes held now, old versions included.
        used: u64,
        /// Bytes this write would have added.
        needed: u64,
        /// The limit, in bytes.
        quota: u64,
    },
    /// A request is over a limit.
    #[error("{what}: {size} is over the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// One transaction may write a key only once.
    #[error("the transaction writes key {key:?} more than once")]
    DuplicateKey {
        /// The key that is written twice.
        key: Bytes,
    },
    /// A key was to be written or deleted as its caller knew it, and has changed since.
    #[error("key {key:?} is not at the revision expected: {}", describe(current))]
    Conflict {
        /// The key.
        key: Bytes,
        /// What it holds now, if it exists.
        current: Option<Arc<KeyValue>>,
    },
    /// The request makes no sense, whatever the store holds.
    #[error("invalid request: {reason}")]
    InvalidRequest {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such lease: never granted, revoked, or expired.
    #[error("lease {id} does not exist")]
    LeaseNotFound {
        /// The lease that was named.
        id: LeaseId,
    },
    /// A lease was to be granted under an id that is taken.
    #[error("lease {id} exists already")]
    LeaseExists {
        /// The id that is taken.
        id: LeaseId,
    },
    /// This store does not offer what was asked.
    #[error("this store does not support {what}")]
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// The store cannot answer, and nothing was changed. A store that has stopped stays so.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: Arc<str>,
    },
    /// The store failed while it made this write durable: it may or may not have happened. Read before trying again.
    #[error("the outcome of the write is unknown: {reason}")]
    OutcomeUnknown {
        /// Why.
        reason: Arc<str>,
    },
    /// Another store has this data directory open, in this process or another one. One that was dropped has it until its last
    /// write has ended, and a process that is just being started, for an instant, with everything else of its parent's.
    #[error("data directory {} is in use by another store", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The data directory was written by a newer version of this crate, or is something else altogether.
    #[error("{}: format {found:?} is not known to this version, which reads up to {supported}", file.display())]
    Format {
        /// The file that states the format.
        file: PathBuf,
        /// What it states.
        found: String,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// A file holds something other than what was written. The store does not open, rather than lose what followed.
    #[error("{} is corrupt at byte {offset}: {reason}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where, in bytes from its beginning.
        offset: u64,
        /// What was found.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

fn describe(current: &Option<Arc<KeyValue>>) -> String {
    match current {
        Some(kv) => format!("it was last written by revision {}", kv.mod_revision),
        None => "it does not exist".into(),
    }
}

impl Error {
    /// True when the revision asked for has been compacted.
    pub fn is_compacted(&self) -> bool {
        matches!(self, Error::Compacted { .. })
    }

    /// True when the store may or may not have done what was asked.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Error::OutcomeUnknown { .. })
    }
}
