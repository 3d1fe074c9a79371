//! The one index behind both stores: every key with its history, and the leases.
//!
//! Plain synchronous code: no clock, no I/O, no lock. There is one index, and it runs ahead of what is to be seen: it has
//! every version that was evaluated, and [`Shown`] says up to which revision readers may look.
//!
//! - here: the index, reading at a revision
//! - `apply`: transactions and leases; `check`: what no store would take
//! - `history`: the versions of one key, and cutting them off
//! - `tree`: where the histories are
//! - `log`: what happened at each revision, for watchers
//! - `deadlines`: when leases end

mod apply;
mod check;
mod deadlines;
mod history;
mod log;
mod tree;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use crate::{Error, KeyRange, KeyValue, Lease, LeaseId, Range, Ranged, Result, Revision};
pub(crate) use apply::{Applied, Path, Step, Write};
pub(crate) use check::check;
pub(crate) use deadlines::Deadlines;
pub(crate) use history::{History, Size};
pub(crate) use log::Log;
use tree::{Keyed, Tree};

/// Every key with its history, and the leases.
pub(crate) struct Index {
    /// The revision of the last write.
    pub(crate) revision: Revision,
    /// The oldest revision that can be read.
    pub(crate) compacted: Revision,
    keys: Tree<History>,
    pub(crate) leases: Leases,
    /// The highest lease id ever granted by choice of the store.
    pub(crate) last_lease: LeaseId,
    /// What is held, old versions included.
    pub(crate) size: Size,
    /// Keys that exist.
    pub(crate) live: u64,
}

/// The leases that there are. A clone costs nothing: what is changed later is changed in a copy.
pub(crate) type Leases = OrdMap<LeaseId, Attached>;

/// What the index knows of a lease. When it ends is not part of the history: see [`Deadlines`].
#[derive(Clone)]
pub(crate) struct Attached {
    pub(crate) ttl_seconds: u64,
    pub(crate) keys: OrdSet<Bytes>,
}

impl Attached {
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }

    /// The lease as its holder sees it, with its full time.
    pub(crate) fn describe(&self, id: LeaseId) -> Lease {
        Lease::fresh(id, self.ttl()).keys(self.keys.iter().cloned().collect())
    }
}

/// What of an index is to be seen: everything up to a revision.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) live: u64,
    pub(crate) leases: Leases,
    pub(crate) last_lease: LeaseId,
}

/// The revision to read at, for what a request says.
pub(crate) fn readable(requested: Revision, current: Revision, compacted: Revision) -> Result<Revision> {
    match requested {
        0 => Ok(current),
        _ if requested > current => Err(Error::FutureRevision { requested, current }),
        _ if requested < compacted => Err(Error::Compacted { requested, at: compacted }),
        _ => Ok(requested),
    }
}

impl Index {
    /// Nothing, at revision 1.
    pub(crate) fn new() -> Index {
        Index {
            revision: 1,
            compacted: 0,
            keys: Tree::new(),
            leases: OrdMap::new(),
            last_lease: 0,
            size: Size::default(),
            live: 0,
        }
    }

    /// Everything that has been evaluated.
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            revision: self.revision,
            compacted: self.compacted,
            live: self.live,
            leases: self.leases.clone(),
            last_lease: self.last_lease,
        }
    }

    /// Keys of which there is at least one version.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What a key holds at a revision.
    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Option<&Arc<KeyValue>> {
        self.keys.get(key)?.at(at)
    }

    /// Every key's versions, in the order of the keys, from behind a key on.
    pub(crate) fn histories(&self, after: Option<&[u8]>) -> impl Iterator<Item = &History> {
        self.keys.from(after.map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// The pairs of a set of keys at a revision, in order.
    fn visible<'a>(&'a self, keys: &'a KeyRange, at: Revision) -> impl Iterator<Item = &'a Arc<KeyValue>> {
        let stretch = self.keys.from(Bound::Included(keys.start()));
        stretch.take_while(|history| keys.contains(history.key())).filter_map(move |history| history.at(at))
    }

    /// Reads all of a range at a revision.
    fn range(&self, request: &Range, at: Revision) -> Ranged {
        let mut scan = Scan::new(request, at);
        while !self.scan(&mut scan) {}
        scan.found
    }

    /// Reads a stretch of a range; true when that was the last.
    pub(crate) fn scan(&self, scan: &mut Scan<'_>) -> bool {
        let keys = &scan.request.keys;
        if let KeyRange::Key(key) = keys {
            if scan.request.after.as_ref().is_none_or(|after| after < key)
                && let Some(kv) = self.get(key, scan.at)
            {
                scan.take(kv);
            }
            return scan.end();
        }
        let from = match (&scan.reached, &scan.request.after) {
            (Some(reached), _) => Bound::Excluded(&reached.key[..]),
            (None, Some(after)) if after >= keys.start() => Bound::Excluded(&after[..]),
            _ => Bound::Included(&keys.start()[..]),
        };
        let mut reached = None;
        for (looked_at, history) in self.keys.from(from).enumerate() {
            if !keys.contains(history.key()) {
                return scan.end();
            }
            if let Some(kv) = history.at(scan.at) {
                scan.take(kv);
            }
            if looked_at + 1 == STRETCH {
                reached = Some(history.newest().clone());
                break;
            }
        }
        scan.reached = reached;
        scan.reached.is_none() && scan.end()
    }
}

/// Keys that are looked at before a reader lets go of the index for a moment.
const STRETCH: usize = 1024;

/// A range that is being read, stretch by stretch. Since it is read at one revision, what is written meanwhile does not
/// matter; what is compacted meanwhile does: who reads more than one stretch keeps others from sweeping.
pub(crate) struct Scan<'a> {
    request: &'a Range,
    at: Revision,
    pub(crate) found: Ranged,
    /// Where the next stretch begins: behind the key of this.
    reached: Option<Arc<KeyValue>>,
}

impl Scan<'_> {
    pub(crate) fn new(request: &Range, at: Revision) -> Scan<'_> {
        Scan { request, at, found: Ranged { revision: at, ..Ranged::default() }, reached: None }
    }

    fn take(&mut self, kv: &Arc<KeyValue>) {
        let Range { count_only, limit, keys_only, .. } = *self.request;
        self.found.count += 1;
        if !count_only && (limit == 0 || self.found.kvs.len() < limit) {
            self.found.kvs.push(match keys_only {
                true => Arc::new(KeyValue { value: Bytes::new(), ..KeyValue::clone(kv) }),
                false => kv.clone(),
            });
        }
    }

    fn end(&mut self) -> bool {
        self.found.more = !self.request.count_only && self.found.count > self.found.kvs.len() as u64;
        true
    }
}
