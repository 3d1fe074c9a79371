//! Stores that are broken on purpose: a suite that passes them checks nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::{
    Error, EventBatch, KeyValue, Lease, LeaseId, Op, Range, Ranged, Result, Revision, Status, Store, Txn, TxnResponse,
    Watch, WatchRequest, WatchSource, Watched,
};

/// In which way a [`Broken`] store is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A watch tells the keys of one revision one by one.
    SplitTransaction,
    /// A watch leaves out every seventh batch.
    SkippedBatch,
    /// A watch tells every fifth batch twice.
    RepeatedBatch,
    /// A watch tells progress as soon as it is asked, whatever it has told until then.
    EarlyProgress,
    /// A watch begins at the oldest revision there is instead of saying that the one asked for has been compacted.
    SilentGap,
    /// Comparisons are not made.
    IgnoredComparison,
    /// Reads at an old revision see the current one.
    ForgottenHistory,
    /// A refused transaction has done what came before the refusal.
    HalfDone,
    /// A list tells keys that do not belong to it.
    LooseRange,
    /// Leases end, and leave their keys.
    OrphanedKeys,
}

impl Fault {
    /// Every fault, and the check that must reject it.
    pub const ALL: &[(Fault, &str)] = &[
        (Fault::SplitTransaction, "a watch tells every change once, in order, a revision never split"),
        (Fault::SkippedBatch, "a watch tells every change once, in order, a revision never split"),
        (Fault::RepeatedBatch, "a watch tells every change once, in order, a revision never split"),
        (Fault::EarlyProgress, "progress is not told before what it covers"),
        (
            Fault::SilentGap,
            "a watch begins behind the compacted revision, not before, and at it entirely or not at all",
        ),
        (Fault::IgnoredComparison, "of several writers that compare, exactly one wins each round"),
        (Fault::ForgottenHistory, "an old revision is read as it was, a future one is an error"),
        (Fault::HalfDone, "a refused transaction changes nothing"),
        (Fault::LooseRange, "a range selects and orders keys, limits, counts, and leaves out what it is told to"),
        (Fault::OrphanedKeys, "a revoked lease takes its keys with it, and is gone"),
    ];
}

/// A store with a fault.
#[derive(Clone, Debug)]
pub struct Broken<S> {
    inner: S,
    fault: Fault,
}

impl<S: Store> Broken<S> {
    /// This store, with this fault.
    pub fn new(inner: S, fault: Fault) -> Broken<S> {
        Broken { inner, fault }
    }
}

#[async_trait]
impl<S: Store> Store for Broken<S> {
    async fn range(&self, mut request: Range) -> Result<Ranged> {
        match self.fault {
            Fault::ForgottenHistory => request.revision = 0,
            Fault::LooseRange => request.after = None,
            _ => {}
        }
        self.inner.range(request).await
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnResponse> {
        match self.fault {
            Fault::IgnoredComparison => txn.compares.clear(),
            Fault::OrphanedKeys => txn.success.iter_mut().for_each(|op| {
                if let Op::Put(put) = op {
                    put.lease = 0;
                }
            }),
            Fault::HalfDone => {
                let first = txn.success.first().cloned();
                let done = self.inner.txn(txn).await;
                if let (Err(_), Some(first)) = (&done, first) {
                    self.inner.txn(Txn::new().then(first)).await?;
                }
                return done;
            }
            _ => {}
        }
        self.inner.txn(txn).await
    }

    async fn watch(&self, mut request: WatchRequest) -> Result<Watch> {
        let watch = match self.inner.watch(request.clone()).await {
            Err(Error::Compacted { at, .. }) if self.fault == Fault::SilentGap => {
                request.from = at;
                self.inner.watch(request).await?
            }
            watch => watch?,
        };
        let current = self.inner.status().await?.revision;
        Ok(Watch::new(BrokenWatch {
            inner: watch,
            fault: self.fault,
            batches: 0,
            pending: Vec::new(),
            early: None,
            ahead: current + 1_000,
        }))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.compact(revision).await
    }

    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        self.inner.grant(ttl, id).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        self.inner.keep_alive(id).await
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

    async fn get(&self, key: Bytes) -> Result<Option<Arc<KeyValue>>> {
        self.inner.get(key).await
    }
}

struct BrokenWatch {
    inner: Watch,
    fault: Fault,
    batches: usize,
    pending: Vec<EventBatch>,
    early: Option<Revision>,
    ahead: Revision,
}

impl Stream for BrokenWatch {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(progress) = self.early.take() {
                return Poll::Ready(Some(Ok(Watched::Progress(progress))));
            }
            if let Some(batch) = self.pending.pop() {
                return Poll::Ready(Some(Ok(Watched::Batch(batch))));
            }
            let item = std::task::ready!(Pin::new(&mut self.inner).poll_next(context));
            let Some(Ok(Watched::Batch(batch))) = item else {
                return Poll::Ready(item);
            };
            self.batches += 1;
            match self.fault {
                Fault::SplitTransaction => {
                    let one = |event| EventBatch::new(batch.revision, [Clone::clone(event)]);
                    self.pending = batch.events.iter().rev().map(one).collect();
                }
                Fault::SkippedBatch if self.batches.is_multiple_of(7) => {}
                Fault::RepeatedBatch if self.batches.is_multiple_of(5) => {
                    self.pending = vec![batch.clone(), batch];
                }
                _ => self.pending = vec![batch],
            }
        }
    }
}

impl WatchSource for BrokenWatch {
    fn request_progress(mut self: Pin<&mut Self>) {
        match self.fault {
            Fault::EarlyProgress => self.early = Some(self.ahead),
            _ => self.inner.request_progress(),
        }
    }
}
