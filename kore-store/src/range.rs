//! Reading: a range of keys at a revision, and the answer.

use std::sync::Arc;

use bytes::Bytes;

use crate::{KeyRange, KeyValue, Revision};

/// What to read: which keys, at which revision, how many.
///
/// ```
/// use kore_store::Range;
///
/// let first_page = Range::prefix("/pods/").limit(500);
/// let second_page = Range::prefix("/pods/").at(42).start_after("/pods/web-7").limit(500);
/// # let _ = (first_page, second_page);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Range {
    /// Which keys.
    pub keys: KeyRange,
    /// Begin behind this key.
    pub after: Option<Bytes>,
    /// At which revision; 0 is the current one.
    pub revision: Revision,
    /// How many pairs at most; 0 is all.
    pub limit: usize,
    /// Leave the values out.
    pub keys_only: bool,
    /// Leave the pairs out: only count.
    pub count_only: bool,
}

impl Range {
    /// These keys, all of them, now.
    pub fn new(keys: KeyRange) -> Range {
        Range { keys, after: None, revision: 0, limit: 0, keys_only: false, count_only: false }
    }

    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Range {
        Range::new(KeyRange::Key(key.into()))
    }

    /// Every key that begins so.
    pub fn prefix(prefix: impl Into<Bytes>) -> Range {
        Range::new(KeyRange::Prefix(prefix.into()))
    }

    /// Every key from `start` up to, but not including, `end`.
    pub fn interval(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Range {
        Range::new(KeyRange::Interval { start: start.into(), end: Some(end.into()) })
    }

    /// As things were at `revision`; 0 is the current one.
    #[must_use]
    pub fn at(mut self, revision: Revision) -> Range {
        self.revision = revision;
        self
    }

    /// At most so many pairs; 0 is all.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Range {
        self.limit = limit;
        self
    }

    /// Begin behind this key: the next page of a listing whose last key it was.
    #[must_use]
    pub fn start_after(mut self, key: impl Into<Bytes>) -> Range {
        self.after = Some(key.into());
        self
    }

    /// Leave the values out.
    #[must_use]
    pub fn keys_only(mut self) -> Range {
        self.keys_only = true;
        self
    }

    /// Leave the pairs out: only count.
    #[must_use]
    pub fn count_only(mut self) -> Range {
        self.count_only = true;
        self
    }
}

/// What a [`Range`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ranged {
    /// The revision that this is a picture of: the one asked for, or the current one. Ask for the following pages at it.
    pub revision: Revision,
    /// The pairs, in the order of their keys.
    pub kvs: Vec<Arc<KeyValue>>,
    /// True when the limit cut the answer short.
    pub more: bool,
    /// How many keys the request covers at that revision, whatever its limit, those before its start not counted.
    pub count: u64,
}

impl Ranged {
    /// Everything that was asked for, at this revision.
    pub fn new(revision: Revision, kvs: Vec<Arc<KeyValue>>) -> Ranged {
        let count = kvs.len() as u64;
        Ranged { revision, kvs, more: false, count }
    }

    /// A part of what was asked for: there are `count` keys.
    #[must_use]
    pub fn of(mut self, count: u64) -> Ranged {
        self.more = count > self.kvs.len() as u64;
        self.count = count;
        self
    }
}
