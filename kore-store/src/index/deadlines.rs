//! When leases end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::LeaseId;

/// The end of each lease. Not durable: a store that is opened again gives every lease its full time, so that none ends
/// early because the store was down.
#[derive(Default)]
pub(crate) struct Deadlines {
    by_lease: BTreeMap<LeaseId, Timestamp>,
    by_time: BTreeSet<(Timestamp, LeaseId)>,
}

impl Deadlines {
    /// Gives a lease its full time.
    pub(crate) fn set(&mut self, id: LeaseId, ttl: Duration, now: Timestamp) {
        self.remove(id);
        let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
        let end = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        self.by_lease.insert(id, end);
        self.by_time.insert((end, id));
    }

    pub(crate) fn remove(&mut self, id: LeaseId) {
        if let Some(end) = self.by_lease.remove(&id) {
            self.by_time.remove(&(end, id));
        }
    }

    /// What a lease has left; None: it is not there, or has ended.
    pub(crate) fn remaining(&self, id: LeaseId, now: Timestamp) -> Option<Duration> {
        let end = self.by_lease.get(&id)?;
        Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
    }

    /// Takes out the leases that have ended.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<LeaseId> {
        let mut due = Vec::new();
        while let Some((end, id)) = self.by_time.first().copied()
            && end <= now
        {
            self.remove(id);
            due.push(id);
        }
        due
    }

    /// How long until the next lease ends.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Duration> {
        let (end, _) = self.by_time.first()?;
        Some(Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}
