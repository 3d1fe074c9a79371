//! Progress where etcd's own cannot be trusted: a marker, written and waited for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Inner;
use super::calls::{GRANT, TXN};
use super::cluster::Failed;
use super::refusal::Refusal;
use super::translate::{revision, signed};
use crate::etcd::wire::{self, CompareResult, CompareTarget, TargetUnion};
use crate::{LeaseId, Result, Revision};

/// How long a marker outlives its writer.
const TTL_SECONDS: i64 = 60;

/// How long a lease is used for new markers.
const USED: Duration = Duration::from_secs(30);

/// Revisions that are remembered to be nothing but markers.
const REMEMBERED: usize = 1024;

/// The markers of one store.
#[derive(Debug, Default)]
pub(super) struct Markers {
    lease: tokio::sync::Mutex<Option<(LeaseId, Instant)>>,
    /// Revisions that hold nothing but a marker: watches that look for progress by themselves do not wake each other.
    own: Mutex<BTreeSet<Revision>>,
}

impl Markers {
    fn remember(&self, revision: Revision) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(revision);
        if own.len() > REMEMBERED {
            own.pop_first();
        }
    }

    /// True when nothing happened from this revision to that, both included, but markers.
    pub(super) fn only(&self, from: Revision, to: Revision) -> bool {
        if to - from >= REMEMBERED as u64 {
            return false;
        }
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        (from..=to).all(|revision| own.contains(&revision))
    }
}

impl Inner {
    /// Writes a marker, and deletes it again if it was not there before. Who watches it is told something.
    pub(super) async fn mark(self: Arc<Inner>, key: Bytes) -> Result<()> {
        let mut lease = self.marker_lease(None).await?;
        let written: wire::TxnResponse = loop {
            let put = wire::PutRequest {
                key: key.clone(),
                value: Bytes::from_static(b"progress"),
                lease: lease as i64,
                ..Default::default()
            };
            // Somebody's key is written as it is.
            let touch =
                wire::PutRequest { key: key.clone(), ignore_value: true, ignore_lease: true, ..Default::default() };
            let request = wire::TxnRequest {
                compare: vec![compare(&key, CompareTarget::Create, TargetUnion::CreateRevision(0))],
                success: vec![op(wire::Request::Put(put))],
                failure: vec![op(wire::Request::Put(touch))],
            };
            match self.cluster.call(TXN, request).await {
                Ok(written) => break written,
                // Nobody wrote a marker for longer than a lease lives, as it seemed from here.
                Err(Failed::Refused(Refusal::LeaseNotFound)) => lease = self.marker_lease(Some(lease)).await?,
                Err(failed) => return Err(failed.plain()),
            }
        };
        let at = revision(&written.header);
        self.markers.remember(at);
        if !written.succeeded {
            return Ok(());
        }
        // Unless somebody has taken it over.
        let delete = wire::DeleteRangeRequest { key: key.clone(), ..Default::default() };
        let request = wire::TxnRequest {
            compare: vec![compare(&key, CompareTarget::Mod, TargetUnion::ModRevision(signed(at)))],
            success: vec![op(wire::Request::DeleteRange(delete))],
            failure: Vec::new(),
        };
        let deleted: wire::TxnResponse = self.cluster.call(TXN, request).await.map_err(Failed::plain)?;
        if deleted.succeeded {
            self.markers.remember(revision(&deleted.header));
        }
        Ok(())
    }

    /// The lease of all markers: one that has half of its time left, other than this one, which is gone.
    async fn marker_lease(&self, gone: Option<LeaseId>) -> Result<LeaseId> {
        let mut lease = self.markers.lease.lock().await;
        if let Some((id, granted)) = *lease
            && granted.elapsed() < USED
            && gone != Some(id)
        {
            return Ok(id);
        }
        let request = wire::LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
        let granted: wire::LeaseGrantResponse = self.cluster.call(GRANT, request).await.map_err(Failed::plain)?;
        let granted = granted.id as u64;
        *lease = Some((granted, Instant::now()));
        Ok(granted)
    }
}

fn op(request: wire::Request) -> wire::RequestOp {
    wire::RequestOp { request: Some(request) }
}

fn compare(key: &Bytes, target: CompareTarget, union: TargetUnion) -> wire::Compare {
    wire::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(union),
    }
}
