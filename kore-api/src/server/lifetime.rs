//! Objects that live for a limited time, events above all: those written at about the same time share a lease of the store, which
//! deletes them when it ends, whether a server runs then or not.

use std::collections::BTreeMap;
use std::time::Duration;

use kore_store::{Error, LeaseId, Store};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::commit::store_failed;
use crate::error::Status;

/// Objects of one lease are written within a part of their lifetime as small as this: they live so much longer at most.
const PARTS: u32 = 20;

/// The leases that new objects are attached to, by lifetime.
#[derive(Default)]
pub(super) struct Lifetimes(Mutex<BTreeMap<Duration, Current>>);

struct Current {
    lease: LeaseId,
    /// When another one is to be granted.
    until: Instant,
}

impl Lifetimes {
    /// A lease that lives for `lifetime` or a little longer; 0 if the store has none: then objects stay.
    pub(super) async fn lease(&self, store: &dyn Store, lifetime: Duration) -> Result<LeaseId, Status> {
        // Held while one is granted, so that it is one for all who write now.
        let mut leases = self.0.lock().await;
        let now = Instant::now();
        if let Some(current) = leases.get(&lifetime).filter(|current| now < current.until) {
            return Ok(current.lease);
        }
        let part = lifetime / PARTS;
        let lease = match store.grant(lifetime + part, 0).await {
            Ok(lease) => lease.id,
            Err(Error::Unsupported { .. }) => 0,
            Err(error) => return Err(store_failed(error)),
        };
        leases.insert(lifetime, Current { lease, until: now + part });
        Ok(lease)
    }

    /// A lease that the store no longer has is not to be used again.
    pub(super) async fn forget(&self, lease: LeaseId) {
        self.0.lock().await.retain(|_, current| current.lease != lease);
    }
}
