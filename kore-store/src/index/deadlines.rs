//! When leases end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::LeaseId;

/// The longest time that a lease is given: about 100 years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The end of each lease. Not durable: a store that is opened again gives every lease its full time, so that none ends
/// early because the store was down. Told from monotonic time: a clock that is set does not end leases.
#[derive(Default)]
pub(crate) struct Deadlines {
    by_lease: BTreeMap<LeaseId, Instant>,
    by_time: BTreeSet<(Instant, LeaseId)>,
}

impl Deadlines {
    /// Gives a lease its full time.
    pub(crate) fn set(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.remove(id);
        let end = now + ttl.min(LONGEST);
        self.by_lease.insert(id, end);
        self.by_time.insert((end, id));
    }

    pub(crate) fn remove(&mut self, id: LeaseId) {
        if let Some(end) = self.by_lease.remove(&id) {
            self.by_time.remove(&(end, id));
        }
    }

    /// What a lease has left; None: it is not there, or has ended.
    pub(crate) fn remaining(&self, id: LeaseId, now: Instant) -> Option<Duration> {
        let end = self.by_lease.get(&id)?;
        end.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Takes out leases that have ended, up to `limit` of them.
    pub(crate) fn take_due(&mut self, now: Instant, limit: usize) -> Vec<LeaseId> {
        let mut due = Vec::new();
        while let Some((end, id)) = self.by_time.first().copied()
            && end <= now
            && due.len() < limit
        {
            self.remove(id);
            due.push(id);
        }
        due
    }

    /// When the next lease ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(end, _)| *end)
    }
}
