//! Leases: keys that disappear unless somebody keeps them.

use std::time::Duration;

use bytes::Bytes;

/// Names a lease; 0 is none.
pub type LeaseId = u64;

/// A lease as it stands. Keys are attached to it by [`Put::lease`](crate::Put::lease); when it expires or is revoked,
/// they are deleted, all at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives after it was granted or last kept alive. In whole seconds, at least one.
    pub ttl: Duration,
    /// How long it has left.
    pub remaining: Duration,
    /// The keys attached to it, in order. Only told by [`Store::lease`](crate::Store::lease).
    pub keys: Vec<Bytes>,
}

impl Lease {
    /// A lease that was granted or kept alive just now.
    pub fn fresh(id: LeaseId, ttl: Duration) -> Lease {
        Lease { id, ttl, remaining: ttl, keys: Vec::new() }
    }

    /// With so much time left.
    #[must_use]
    pub fn remaining(mut self, remaining: Duration) -> Lease {
        self.remaining = remaining;
        self
    }

    /// With these keys attached.
    #[must_use]
    pub fn keys(mut self, keys: Vec<Bytes>) -> Lease {
        self.keys = keys;
        self
    }
}
