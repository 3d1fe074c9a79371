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
use crate::{EventBatch, LeaseId, Revision};

/// How long a marker outlives its writer.
const TTL_SECONDS: i64 = 60;

/// How long a lease is used for new markers.
const USED: Duration = Duration::from_secs(30);

/// What a marker holds: what nobody else writes.
static VALUE: Bytes = Bytes::from_static(b"kore-store progress 5d1c6f0e-8a53-4c39-9f6b-2f0f6a1f7b7e");

/// Revisions that are remembered to be nothing but markers.
const REMEMBERED: usize = 1024;

/// The markers of one store.
#[derive(Debug, Default)]
pub(super) struct Markers {
    lease: Mutex<Option<(LeaseId, Instant)>>,
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

/// Markers that a watch has come across: neither they nor their deletions are anybody's business.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    /// Written, and not deleted yet. Of more than [`Hidden::LIMIT`] the deletions are told.
    keys: BTreeSet<Bytes>,
}

impl Hidden {
    const LIMIT: usize = 256;

    /// What is left without markers; None: there are none. What is left may be nothing.
    pub(super) fn hide(&mut self, batch: &EventBatch) -> Option<EventBatch> {
        let mut rest = Vec::new();
        for event in batch.events.iter() {
            let hidden = match event.is_deletion() {
                true => self.keys.remove(&event.kv.key),
                false if event.kv.value == VALUE => {
                    self.keys.insert(event.kv.key.clone());
                    true
                }
                false => false,
            };
            if !hidden {
                rest.push(event.clone());
            }
        }
        while self.keys.len() > Hidden::LIMIT {
            self.keys.pop_first();
        }
        (rest.len() < batch.events.len()).then(|| EventBatch::new(batch.revision, rest))
    }
}

impl Inner {
    /// Writes a marker, and deletes it again if it was not there before. Who watches it is told something.
    pub(super) async fn mark(self: Arc<Inner>, key: Bytes) -> Result<(), Failed> {
        let mut lease = self.marker_lease(None).await?;
        let written: wire::TxnResponse = loop {
            let put =
                wire::PutRequest { key: key.clone(), value: VALUE.clone(), lease: lease as i64, ..Default::default() };
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
                Err(failed) => return Err(failed),
            }
        };
        let at = revision(&written.header);
        self.markers.remember(at);
        if !written.succeeded && !was_marker(&written) {
            return Ok(());
        }
        // Unless somebody has taken it over.
        let delete = wire::DeleteRangeRequest { key: key.clone(), ..Default::default() };
        let request = wire::TxnRequest {
            compare: vec![compare(&key, CompareTarget::Mod, TargetUnion::ModRevision(signed(at)))],
            success: vec![op(wire::Request::DeleteRange(delete))],
            failure: Vec::new(),
        };
        let deleted: wire::TxnResponse = self.cluster.call(TXN, request).await?;
        if deleted.succeeded {
            self.markers.remember(revision(&deleted.header));
        }
        Ok(())
    }

    /// The lease of all markers: one that has half of its time left, other than this one, which is gone.
    async fn marker_lease(&self, gone: Option<LeaseId>) -> Result<LeaseId, Failed> {
        let lock = || self.markers.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *lock();
        if let Some((id, granted)) = known
            && granted.elapsed() < USED
            && gone != Some(id)
        {
            return Ok(id);
        }
        let request = wire::LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
        let granted: wire::LeaseGrantResponse = self.cluster.call(GRANT, request).await?;
        let granted = granted.id as u64;
        // Somebody else may have got one too: the other one ends unused.
        *lock() = Some((granted, Instant::now()));
        Ok(granted)
    }
}

/// Whether what was written again was another watch's marker, which is now this one's to delete.
fn was_marker(written: &wire::TxnResponse) -> bool {
    let put = written.responses.first().and_then(|answer| answer.response.as_ref());
    matches!(put, Some(wire::Response::Put(put)) if put.prev_kv.as_ref().is_some_and(|kv| kv.value == VALUE))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, KeyValue};

    fn event(key: &'static str, value: Option<&Bytes>) -> Event {
        let kv = KeyValue {
            key: key.into(),
            value: value.cloned().unwrap_or_default(),
            version: u64::from(value.is_some()),
            ..KeyValue::default()
        };
        Event::new(Arc::new(kv), None)
    }

    fn left(hidden: &mut Hidden, events: Vec<Event>) -> Option<Vec<Bytes>> {
        let left = hidden.hide(&EventBatch::new(7, events))?;
        Some(left.events.iter().map(|event| event.kv.key.clone()).collect())
    }

    #[test]
    fn markers_and_their_deletions_are_hidden_and_nothing_else() {
        let mut hidden = Hidden::default();
        let other = Bytes::from_static(b"v");
        assert_eq!(left(&mut hidden, vec![event("a", Some(&other)), event("b", None)]), None);
        assert_eq!(left(&mut hidden, vec![event("a", Some(&other)), event("m", Some(&VALUE))]), Some(vec!["a".into()]));
        assert_eq!(left(&mut hidden, vec![event("m", Some(&VALUE))]), Some(vec![]));
        assert_eq!(left(&mut hidden, vec![event("a", None), event("m", None)]), Some(vec!["a".into()]));
        assert_eq!(left(&mut hidden, vec![event("m", None)]), None);
    }

    #[test]
    fn only_a_stretch_of_nothing_but_markers_is_one() {
        let markers = Markers::default();
        for revision in [5, 6, 8] {
            markers.remember(revision);
        }
        assert!(markers.only(5, 6) && markers.only(8, 8));
        assert!(!markers.only(5, 8) && !markers.only(4, 5) && !markers.only(0, u64::MAX));
        for revision in 100..100 + REMEMBERED as u64 {
            markers.remember(revision);
        }
        assert!(!markers.only(8, 8));
    }
}
