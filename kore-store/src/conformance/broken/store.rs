//! What goes wrong when a broken store is called.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;

use super::Fault;
use super::watch::{BrokenWatch, Facts};
use crate::{
    Error, KeyRange, KeyValue, Lease, LeaseId, Op, OpResponse, Range, Ranged, Relation, Result, Revision, Snapshot,
    Status, Store, Txn, TxnResponse, Watch, WatchRequest,
};

/// A store with a fault.
#[derive(Clone, Debug)]
pub struct Broken<S> {
    inner: Arc<S>,
    fault: Fault,
    state: Arc<State>,
}

/// What the store and its watches know.
#[derive(Debug, Default)]
pub(super) struct State {
    reads: AtomicU64,
    writes: AtomicU64,
    /// The last revision that a transaction was answered with.
    pub(super) latest: AtomicU64,
    compacted: AtomicU64,
    /// Of each watch, how many writes there had been when it was last polled.
    polled: Mutex<Vec<Weak<AtomicU64>>>,
}

impl State {
    /// True once in so many.
    fn every(counter: &AtomicU64, nth: u64) -> bool {
        counter.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    pub(super) fn latest(&self) -> Revision {
        self.latest.load(Ordering::Relaxed)
    }

    pub(super) fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Relaxed)
    }

    fn someone_is_stalled(&self) -> bool {
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        polled.retain(|polled| polled.strong_count() > 0);
        let stalled = |polled: &Weak<AtomicU64>| {
            polled.upgrade().is_some_and(|polled| polled.load(Ordering::Relaxed) + 100 < self.writes())
        };
        polled.iter().any(stalled)
    }
}

impl<S: Store> Broken<S> {
    /// This store, with this fault.
    pub fn new(inner: S, fault: Fault) -> Broken<S> {
        Broken { inner: Arc::new(inner), fault, state: Arc::default() }
    }

    /// A transaction, done by the store inside.
    async fn done(&self, txn: Txn) -> Result<TxnResponse> {
        let done = self.inner.txn(txn).await?;
        self.state.latest.fetch_max(done.revision, Ordering::Relaxed);
        Ok(done)
    }

    async fn half_done(&self, txn: Txn) -> Result<TxnResponse> {
        let first = txn.success.first().cloned();
        let done = self.done(txn).await;
        if let (Err(_), Some(first)) = (&done, first) {
            self.done(Txn::new().then(first)).await?;
        }
        done
    }

    /// Reads first, and writes then.
    async fn blind(&self, txn: Txn) -> Result<TxnResponse> {
        let mut before = Vec::new();
        for op in &txn.success {
            if let Op::Range(range) = op {
                before.push(self.inner.range(range.clone()).await?);
            }
        }
        let mut done = self.done(txn).await?;
        if done.succeeded {
            let ranges = done.responses.iter_mut().filter(|response| matches!(response, OpResponse::Range(_)));
            ranges.zip(before).for_each(|(response, before)| *response = OpResponse::Range(before));
        }
        Ok(done)
    }

    /// Does the transaction without those nested in it, and then each of them.
    async fn split(&self, txn: Txn) -> Result<TxnResponse> {
        let is_nested = |op: &Op| matches!(op, Op::Txn(_));
        let mut outer = txn.clone();
        outer.success.retain(|op| !is_nested(op));
        outer.failure.retain(|op| !is_nested(op));
        let mut done = self.done(outer).await?;
        let ops = if done.succeeded { &txn.success } else { &txn.failure };
        for (place, op) in ops.iter().enumerate() {
            if let Op::Txn(nested) = op {
                let nested = Box::pin(self.split(nested.clone())).await?;
                done.revision = done.revision.max(nested.revision);
                done.responses.insert(place, OpResponse::Txn(nested));
            }
        }
        Ok(done)
    }

    async fn twice(&self, mut txn: Txn) -> Result<TxnResponse> {
        match self.done(txn.clone()).await {
            Err(Error::DuplicateKey { .. }) if txn.success.iter().any(|op| matches!(op, Op::Txn(_))) => {
                txn.success.retain(|op| !matches!(op, Op::Txn(_)));
                self.done(txn).await
            }
            done => done,
        }
    }

    /// Writes, lets everybody see it, and finds that the disk has not taken it.
    async fn dirty(&self, txn: Txn) -> Result<TxnResponse> {
        let [Op::Put(put)] = &txn.success[..] else {
            return self.done(txn).await;
        };
        let key = put.key.clone();
        let before = self.inner.get(key.clone()).await?;
        let done = self.done(txn).await?;
        if !done.succeeded || !State::every(&self.state.writes, 7) {
            return Ok(done);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let undo = match before {
            Some(kv) => Op::put(key, kv.value.clone()),
            None => Op::delete(key),
        };
        self.done(Txn::new().then(undo)).await?;
        Err(Error::Unavailable { reason: "the disk failed".into() })
    }

    async fn sticky(&self, mut txn: Txn) -> Result<TxnResponse> {
        for op in &mut txn.success {
            if let Op::Put(put) = op
                && put.lease == 0
            {
                put.lease = self.inner.get(put.key.clone()).await?.map_or(0, |kv| kv.lease);
            }
        }
        self.done(txn).await
    }

    /// A read that is behind.
    async fn stale(&self, mut request: Range) -> Result<Ranged> {
        let current = self.inner.status().await?;
        request.revision = (current.revision - 2).max(current.compacted).max(1);
        let mut found = self.inner.range(request).await?;
        if self.fault == Fault::LyingRead {
            found.revision = current.revision;
        }
        Ok(found)
    }
}

/// Writes one key, whatever it holds.
fn is_put(txn: &Txn) -> bool {
    matches!(txn.success[..], [Op::Put(_)]) && txn.compares.is_empty()
}

#[async_trait]
impl<S: Store> Store for Broken<S> {
    async fn range(&self, mut request: Range) -> Result<Ranged> {
        let state = &self.state;
        let is_limited = request.limit > 0;
        match self.fault {
            Fault::ForgottenHistory => request.revision = 0,
            Fault::DriftingPages if is_limited => request.revision = 0,
            Fault::LooseRange => request.after = None,
            Fault::LostBoundary if request.revision > 0 => {
                let at = state.compacted();
                if request.revision == at {
                    return Err(Error::Compacted { requested: at, at });
                }
            }
            Fault::StaleRead | Fault::LyingRead if request.revision == 0 && State::every(&state.reads, 5) => {
                return self.stale(request).await;
            }
            _ => {}
        }
        let mut found = self.inner.range(request).await?;
        match self.fault {
            Fault::CountedPage if is_limited => found.count = found.kvs.len() as u64,
            Fault::ForgottenVersion => {
                let forget = |kv: &Arc<KeyValue>| Arc::new(KeyValue { version: 1, ..KeyValue::clone(kv) });
                found.kvs = found.kvs.iter().map(forget).collect();
            }
            _ => {}
        }
        Ok(found)
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResponse> {
        match self.fault {
            Fault::HalfDone => return self.half_done(txn).await,
            Fault::BlindReads => return self.blind(txn).await,
            Fault::SplitNested => return self.split(txn).await,
            Fault::NestedTwice => return self.twice(txn).await,
            Fault::DirtyRead => return self.dirty(txn).await,
            Fault::StickyLeases => return self.sticky(txn).await,
            Fault::IgnoredComparison => txn.compares.clear(),
            Fault::LooseRelation => {
                let less = txn.compares.iter_mut().filter(|compare| compare.relation == Relation::Less);
                less.for_each(|compare| compare.relation = Relation::NotEqual);
            }
            Fault::OrphanedKeys => txn.success.iter_mut().for_each(|op| {
                if let Op::Put(put) = op {
                    put.lease = 0;
                }
            }),
            Fault::LostUpdate if is_put(&txn) && State::every(&self.state.writes, 11) => {
                let revision = self.inner.status().await?.revision;
                return Ok(TxnResponse::new(revision, true, vec![OpResponse::Put { previous: None }]));
            }
            Fault::WaitsForWatchers => {
                self.state.writes.fetch_add(1, Ordering::Relaxed);
                if self.state.someone_is_stalled() {
                    return pending().await;
                }
            }
            _ => {}
        }
        let is_write = !txn.is_read_only();
        let mut done = self.done(txn).await?;
        match self.fault {
            Fault::RepeatedRevision if is_write && State::every(&self.state.writes, 3) => done.revision -= 1,
            Fault::BoastfulDeletion => done.responses.iter_mut().for_each(|response| {
                if let OpResponse::Delete { deleted, .. } = response {
                    *deleted = (*deleted).max(1);
                }
            }),
            _ => {}
        }
        Ok(done)
    }

    async fn watch(&self, mut request: WatchRequest) -> Result<Watch> {
        let current = self.inner.status().await?;
        match self.fault {
            Fault::EagerWatch if request.from > current.revision => request.from = 0,
            Fault::SilentGap if request.from > 0 => request.from = request.from.max(current.compacted),
            Fault::SilentProgress => request.progress = false,
            Fault::IgnoredFilters => (request.puts, request.deletions) = (true, true),
            Fault::LooseWatch => request.keys = KeyRange::Prefix(request.keys.start().clone()),
            _ => {}
        }
        let inner = self.inner.watch(request.clone()).await?;
        let polled = Arc::new(AtomicU64::new(self.state.writes()));
        self.state.polled.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&polled));
        let boundary = self.state.compacted();
        let store: Arc<dyn Store> = self.inner.clone();
        let facts = Facts { store, request, begun_at: current.revision, boundary, polled, state: self.state.clone() };
        Ok(Watch::new(BrokenWatch::new(inner, self.fault, facts)))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        if self.fault == Fault::IgnoredCompaction {
            return Ok(());
        }
        self.inner.compact(revision).await?;
        self.state.compacted.store(revision, Ordering::Relaxed);
        Ok(())
    }

    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        self.inner.grant(ttl, id).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        match self.fault {
            Fault::DeafLeases => self.inner.lease(id).await,
            _ => self.inner.keep_alive(id).await,
        }
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        self.inner.revoke(id).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        self.inner.lease(id).await
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        self.inner.leases().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        match self.fault {
            Fault::EmptySnapshot => Ok(Snapshot::new(1, stream::empty())),
            _ => self.inner.snapshot().await,
        }
    }

    async fn compare_and_put(&self, key: Bytes, value: Bytes, expected: Revision) -> Result<Revision> {
        match self.inner.compare_and_put(key, value, expected).await {
            Err(Error::Conflict { key, .. }) if self.fault == Fault::SilentConflict => {
                Err(Error::Conflict { key, current: None })
            }
            answer => answer,
        }
    }
}
