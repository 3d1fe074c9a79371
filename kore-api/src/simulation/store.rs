//! A store that fails.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures::Stream;
use kore_store::{
    Error, Lease, LeaseId, Range, Ranged, Result, Revision, Status, Store, Txn, TxnResponse, Watch, WatchRequest,
    WatchSource, Watched,
};

use super::Faults;
use super::faults::Fate;

/// A store behind [`Faults`]: made by [`Faults::store`].
///
/// Transactions are lost before or after they took effect, reads fail, watches break with
/// [`Unavailable`](kore_store::Error::Unavailable). Leases, compaction and status are only late. Watches are not: the store's own promise is that a
/// reader may be slow, which a server that is slow to poll already tries.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Faults,
}

impl FaultyStore {
    pub(super) fn new(inner: Arc<dyn Store>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

fn unavailable() -> Error {
    Error::Unavailable { reason: "the simulation has it so".into() }
}

#[async_trait]
impl Store for FaultyStore {
    async fn range(&self, request: Range) -> Result<Ranged> {
        let fate = self.faults.draw();
        self.faults.travel().await;
        match fate {
            Fate::Fine => self.inner.range(request).await,
            Fate::RequestLost | Fate::AnswerLost => Err(unavailable()),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let fate = self.faults.draw();
        self.faults.travel().await;
        if fate == Fate::RequestLost {
            return Err(unavailable());
        }
        let is_read_only = txn.is_read_only();
        let answer = self.inner.txn(txn).await;
        self.faults.travel().await;
        match fate {
            Fate::AnswerLost if is_read_only => Err(unavailable()),
            Fate::AnswerLost => Err(Error::OutcomeUnknown { reason: "the simulation has it so".into() }),
            _ => answer,
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        let inner = self.inner.watch(request).await?;
        Ok(Watch::new(BreakingWatch { inner, faults: self.faults.clone(), broken: false }))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.faults.travel().await;
        self.inner.compact(revision).await
    }

    async fn status(&self) -> Result<Status> {
        self.faults.travel().await;
        self.inner.status().await
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        self.faults.travel().await;
        self.inner.grant(ttl, id).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        self.faults.travel().await;
        self.inner.keep_alive(id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        self.faults.travel().await;
        self.inner.revoke(id).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        self.inner.lease(id).await
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        self.inner.leases().await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?})", self.faults)
    }
}

struct BreakingWatch {
    inner: Watch,
    faults: Faults,
    broken: bool,
}

impl Stream for BreakingWatch {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.broken {
            return Poll::Ready(None);
        }
        let item = ready!(Pin::new(&mut self.inner).poll_next(context));
        if self.faults.draw_break().is_some() {
            self.broken = true;
            return Poll::Ready(Some(Err(unavailable())));
        }
        Poll::Ready(item)
    }
}

impl WatchSource for BreakingWatch {
    fn request_progress(mut self: Pin<&mut Self>) {
        self.inner.request_progress();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use kore_store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn what_a_failed_write_says_of_its_outcome_is_true() {
        let inner = Arc::new(MemoryStore::default());
        let faults = Faults::seeded(5).lost_requests(300).lost_answers(300).delay(Duration::from_millis(5));
        let store = faults.store(inner.clone());
        let mut unknown = 0;
        for number in 0..200 {
            let key = format!("/key/{number}");
            let written = store.put(key.clone().into(), "value".into()).await;
            let is_there = inner.get(key.into()).await.unwrap().is_some();
            match written {
                Ok(_) => assert!(is_there),
                Err(Error::OutcomeUnknown { .. }) => unknown += 1,
                Err(error) => assert!(!is_there, "{error}"),
            }
        }
        let injected = faults.injected();
        assert_eq!(unknown, injected.lost_answers);
        assert!(injected.lost_requests > 0 && injected.lost_answers > 0);
        faults.stop();
        for number in 0..50 {
            let key = format!("/later/{number}");
            store.put(key.into(), "value".into()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_watch_tells_everything_in_order_until_it_breaks() {
        let inner = Arc::new(MemoryStore::default());
        let faults = Faults::seeded(5).broken_watches(100);
        let store = faults.store(inner.clone());
        let mut watch = store.watch(WatchRequest::prefix("/").from(1)).await.unwrap();
        for number in 0..200 {
            let key = format!("/key/{number}");
            inner.put(key.into(), "value".into()).await.unwrap();
        }
        let mut expected = 2;
        loop {
            match watch.next().await.expect("it breaks before it ends") {
                Ok(Watched::Batch(batch)) => assert_eq!(batch.revision, expected),
                Ok(_) => continue,
                Err(Error::Unavailable { .. }) => break,
                Err(error) => panic!("{error}"),
            }
            expected += 1;
        }
        assert!(expected < 202 && watch.next().await.is_none());
        assert_eq!(faults.injected().broken_watches, 1);
    }
}
