//! Keys: one pair at a revision, and sets of keys.

use bytes::Bytes;

use crate::{LeaseId, Revision};

/// A key and what it held at a revision. Immutable, and shared by everyone in the process: the store, its readers and
/// its watchers.
///
/// A deletion is told as a pair with an empty value, `version` and `create_revision` zero, and the deletion's revision as
/// `mod_revision`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision that created the key, the last time it was created.
    pub create_revision: Revision,
    /// The revision that wrote this pair.
    pub mod_revision: Revision,
    /// How often the key has been written since it was created, this write included: the creation is 1.
    pub version: u64,
    /// The lease that the key is attached to; 0 is none.
    pub lease: LeaseId,
}

impl KeyValue {
    /// True for the mark that a deletion leaves.
    pub fn is_deletion(&self) -> bool {
        self.version == 0
    }
}

/// A set of keys: one, all with a prefix, or an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// This key alone.
    Key(Bytes),
    /// Every key that begins so. The empty prefix is every key.
    Prefix(Bytes),
    /// Every key from `start` up to, but not including, `end`; without an end, every key from `start`.
    Interval {
        /// The first key.
        start: Bytes,
        /// The first key that is no longer part of it.
        end: Option<Bytes>,
    },
}

impl KeyRange {
    /// Every key there is.
    pub fn all() -> KeyRange {
        KeyRange::Prefix(Bytes::new())
    }

    /// True when `key` is part of the set.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::Key(only) => key == only,
            KeyRange::Prefix(prefix) => key.starts_with(prefix),
            KeyRange::Interval { start, end } => key >= &start[..] && end.as_ref().is_none_or(|end| key < &end[..]),
        }
    }

    /// The smallest key that can be part of the set.
    pub fn start(&self) -> &Bytes {
        match self {
            KeyRange::Key(start) | KeyRange::Prefix(start) | KeyRange::Interval { start, .. } => start,
        }
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            KeyRange::Key(key) | KeyRange::Prefix(key) => key.len(),
            KeyRange::Interval { start, end } => start.len() + end.as_ref().map_or(0, |end| end.len()),
        }
    }
}

impl From<Bytes> for KeyRange {
    fn from(key: Bytes) -> KeyRange {
        KeyRange::Key(key)
    }
}
