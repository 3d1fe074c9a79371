//! The one index behind both stores: every key with its history, and the leases.
//!
//! Plain synchronous code: no clock, no I/O, no lock. A clone is a snapshot and costs nothing: what is written later is
//! written to a copy of the path that leads to it.
//!
//! - here: the index, reading at a revision
//! - `apply`: transactions and leases
//! - `history`: the versions of one key, and cutting them off
//! - `log`: what happened at each revision, for watchers
//! - `deadlines`: when leases end

mod apply;
mod deadlines;
mod history;
mod log;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use crate::{Error, KeyRange, KeyValue, Lease, LeaseId, Range, Ranged, Result, Revision};
pub(crate) use apply::check;
pub(crate) use deadlines::Deadlines;
pub(crate) use history::History;
pub(crate) use log::Log;

/// Every key with its history, and the leases.
#[derive(Clone)]
pub(crate) struct Index {
    /// The revision of the last write.
    pub(crate) revision: Revision,
    /// The oldest revision that can be read.
    pub(crate) compacted: Revision,
    pub(crate) keys: OrdMap<Bytes, History>,
    pub(crate) leases: OrdMap<LeaseId, Attached>,
    /// The highest lease id ever granted by choice of the store.
    pub(crate) last_lease: LeaseId,
    /// Bytes held, old versions included.
    pub(crate) bytes: u64,
    /// Keys that exist.
    pub(crate) live: u64,
}

/// What the index knows of a lease. When it ends is not part of the history: see [`Deadlines`].
#[derive(Clone)]
pub(crate) struct Attached {
    pub(crate) ttl_seconds: u64,
    pub(crate) keys: OrdSet<Bytes>,
}

impl Attached {
    /// The lease as its holder sees it, with its full time.
    pub(crate) fn describe(&self, id: LeaseId) -> Lease {
        let ttl = Duration::from_secs(self.ttl_seconds);
        Lease::fresh(id, ttl).keys(self.keys.iter().cloned().collect())
    }
}

impl Index {
    /// Nothing, at revision 1.
    pub(crate) fn new() -> Index {
        Index {
            revision: 1,
            compacted: 0,
            keys: OrdMap::new(),
            leases: OrdMap::new(),
            last_lease: 0,
            bytes: 0,
            live: 0,
        }
    }

    /// What a key holds now.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<KeyValue>> {
        self.keys.get(key)?.live()
    }

    pub(crate) fn range(&self, request: &Range) -> Result<Ranged> {
        let at = self.readable(request.revision)?;
        Ok(self.range_at(request, at))
    }

    /// The revision to read at, for what a request says.
    fn readable(&self, requested: Revision) -> Result<Revision> {
        match requested {
            0 => Ok(self.revision),
            _ if requested > self.revision => Err(Error::FutureRevision { requested, current: self.revision }),
            _ if requested < self.compacted => Err(Error::Compacted { requested, at: self.compacted }),
            _ => Ok(requested),
        }
    }

    fn range_at(&self, request: &Range, at: Revision) -> Ranged {
        let limit = match (request.count_only, request.limit) {
            (true, _) => 0,
            (false, 0) => usize::MAX,
            (false, limit) => limit,
        };
        let mut found = Ranged { revision: at, ..Ranged::default() };
        for kv in self.visible(&request.keys, request.after.as_ref(), at) {
            found.count += 1;
            if found.kvs.len() < limit {
                found.kvs.push(match request.keys_only {
                    true => Arc::new(KeyValue { value: Bytes::new(), ..KeyValue::clone(kv) }),
                    false => kv.clone(),
                });
            }
        }
        found.more = !request.count_only && found.count > found.kvs.len() as u64;
        found
    }

    /// The pairs of a set of keys at a revision, in order.
    fn visible<'a>(
        &'a self,
        keys: &'a KeyRange,
        after: Option<&'a Bytes>,
        at: Revision,
    ) -> impl Iterator<Item = &'a Arc<KeyValue>> {
        let from = match after {
            Some(after) if after >= keys.start() => Bound::Excluded(&after[..]),
            _ => Bound::Included(&keys.start()[..]),
        };
        // One key is looked up; everything else is a stretch of the tree that begins at `from`.
        let (one, many) = match keys {
            KeyRange::Key(key) if matches!(from, Bound::Included(_)) => (self.keys.get(&key[..]), None),
            KeyRange::Key(_) => (None, None),
            _ => {
                let stretch = self.keys.range::<_, [u8]>((from, Bound::Unbounded));
                let inside = stretch.take_while(move |(key, _)| keys.contains(key));
                (None, Some(inside.map(|(_, history)| history)))
            }
        };
        one.into_iter().chain(many.into_iter().flatten()).filter_map(move |history| history.at(at))
    }
}
