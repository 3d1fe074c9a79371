//! A store in memory: for tests, and for what may be lost with the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::cursor::Expire;
use crate::index::{Deadlines, Index, check};
use crate::published::{Published, SWEEP};
use crate::waiters::Woken;
use crate::{
    KeyValue, Lease, LeaseId, Limits, Range, Ranged, Result, Revision, Snapshot, Status, Store, Txn, TxnResponse,
    Watch, WatchRequest,
};

/// A store in memory. Clones are handles of the same store.
///
/// It needs no task of its own: leases that have ended are ended by whoever comes next, and by watchers that wait.
///
/// ```
/// use kore_store::{MemoryStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kore_store::Result<()> {
/// let store = MemoryStore::new();
/// let revision = store.put("greeting".into(), "hello".into()).await?;
/// let kv = store.get("greeting".into()).await?.expect("just written");
/// assert_eq!((&kv.value[..], kv.mod_revision), (&b"hello"[..], revision));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    published: Arc<Published>,
    /// Locked before the view, never after.
    deadlines: Mutex<Deadlines>,
    /// Whether there has ever been a lease.
    has_leases: AtomicBool,
    limits: Limits,
}

impl MemoryStore {
    /// An empty store with the default limits.
    pub fn new() -> MemoryStore {
        MemoryStore::with_limits(Limits::default())
    }

    /// An empty store with these limits.
    pub fn with_limits(limits: Limits) -> MemoryStore {
        MemoryStore {
            inner: Arc::new(Inner {
                published: Arc::new(Published::new(Index::new()).expect("an empty index has no gaps")),
                deadlines: Mutex::default(),
                has_leases: AtomicBool::new(false),
                limits,
            }),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Inner {
    fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_lease(&self, id: LeaseId) -> Result<Woken> {
        let ((), woken) = self.published.change_unheard(|index| Ok(((), index.revoke(id)?)))?;
        Ok(woken)
    }
}

impl Expire for Inner {
    fn expire(&self) -> Option<Instant> {
        if !self.has_leases.load(Ordering::Acquire) {
            return None;
        }
        // Held all the while: nobody grants a lease of the same id in between.
        let mut deadlines = self.deadlines();
        let end = |id| self.end_lease(id).expect("a lease that has an end is there");
        let woken: Vec<Woken> = deadlines.take_due(Instant::now(), usize::MAX).into_iter().map(end).collect();
        let next = deadlines.next();
        drop(deadlines);
        woken.into_iter().for_each(Woken::wake);
        next
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn range(&self, request: Range) -> Result<Ranged> {
        self.inner.expire();
        self.inner.published.range(&request)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let inner = &self.inner;
        check(&txn, &inner.limits)?;
        inner.expire();
        let answer = inner.published.change(|index| {
            let applied = index.apply(txn, inner.limits.quota_bytes, &mut |_| ())?;
            Ok((applied.response, applied.batch))
        });
        // What a compaction left because somebody was reading it.
        if inner.published.has_stale() {
            inner.published.sweep(SWEEP);
        }
        answer
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        let expire: Arc<dyn Expire> = self.inner.clone();
        self.inner.published.watch(request, Some(expire))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let published = &self.inner.published;
        published.change(|index| Ok((index.compact(revision)?, None)))?;
        // In steps: others get in between.
        while published.sweep(SWEEP) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn status(&self) -> Result<Status> {
        self.inner.expire();
        self.inner.published.status(&self.inner.limits)
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        let inner = &self.inner;
        inner.expire();
        let ttl_seconds = whole_seconds(ttl);
        let mut deadlines = inner.deadlines();
        let id = inner.published.change(|index| Ok((index.grant(id, ttl_seconds, inner.limits.leases)?, None)))?;
        let ttl = Duration::from_secs(ttl_seconds);
        deadlines.set(id, ttl, Instant::now());
        inner.has_leases.store(true, Ordering::Release);
        drop(deadlines);
        // A waiting watcher may have a nearer end to wait for.
        inner.published.waiters.nudge();
        Ok(Lease::fresh(id, ttl))
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        let inner = &self.inner;
        inner.expire();
        inner.published.keep_alive(&mut inner.deadlines(), id, Instant::now())
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        self.inner.expire();
        let mut deadlines = self.inner.deadlines();
        deadlines.remove(id);
        let woken = self.inner.end_lease(id)?;
        drop(deadlines);
        woken.wake();
        Ok(())
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        let inner = &self.inner;
        inner.expire();
        inner.published.lease(&inner.deadlines(), id, Instant::now())
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        self.inner.expire();
        self.inner.published.leases()
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.inner.published.snapshot()
    }

    async fn get(&self, key: Bytes) -> Result<Option<Arc<KeyValue>>> {
        self.inner.expire();
        self.inner.published.get(&key)
    }
}

/// Seconds, rounded up, at least one.
pub(crate) fn whole_seconds(ttl: Duration) -> u64 {
    let up = u64::from(ttl.subsec_nanos() > 0);
    ttl.as_secs().saturating_add(up).max(1)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake, Waker};

    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::{Compare, Error, KeyRange, Op, Put};

    fn limited(limits: Limits) -> MemoryStore {
        MemoryStore::with_limits(limits)
    }

    #[tokio::test]
    async fn the_quota_refuses_writes_until_there_is_room() {
        let store = limited(Limits::default().quota_bytes(2500));
        let put = |key: usize| store.put(format!("key-{key}").into(), vec![0; 800].into());
        for key in 0..2 {
            put(key).await.unwrap();
        }
        let refused = put(2).await;
        assert!(matches!(refused, Err(Error::QuotaExceeded { quota: 2500, .. })), "{refused:?}");
        assert_eq!(store.get("key-2".into()).await.unwrap(), None);
        // A deletion is let through, but only a compaction makes room.
        store.delete(KeyRange::Key("key-0".into())).await.unwrap();
        assert!(put(2).await.is_err());
        let now = store.put("key-1".into(), Bytes::new()).await.unwrap();
        store.compact(now).await.unwrap();
        put(2).await.unwrap();
    }

    #[tokio::test]
    async fn requests_are_limited() {
        let limits = Limits::default().request_bytes(100).txn_ops(3).leases(1);
        let store = limited(limits);
        store.put("a".into(), vec![0; 99].into()).await.unwrap();
        let large = store.put("a".into(), vec![0; 100].into()).await;
        assert!(matches!(large, Err(Error::TooLarge { size: 101, limit: 100, .. })), "{large:?}");

        let ops = |count: usize| (0..count).fold(Txn::new(), |txn, key| txn.then(Op::put(key.to_string(), "")));
        store.txn(ops(3)).await.unwrap();
        assert!(matches!(store.txn(ops(4)).await, Err(Error::TooLarge { .. })));
        let compares = (0..4).fold(Txn::new(), |txn, _| txn.when(Compare::version("a", 1)));
        assert!(matches!(store.txn(compares).await, Err(Error::TooLarge { .. })));

        store.grant(Duration::from_millis(1), 0).await.unwrap();
        let second = store.grant(Duration::from_secs(1), 0).await;
        assert!(matches!(second, Err(Error::TooLarge { .. })), "{second:?}");
    }

    /// Counts who still holds a value.
    struct Held(#[expect(dead_code, reason = "counted, not read")] Arc<()>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            b"held"
        }
    }

    #[tokio::test]
    async fn a_stalled_watcher_keeps_nothing_alive() {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
        let first = Bytes::from_static(b"first");
        store.put("a".into(), first).await.unwrap();
        assert!(futures::poll!(watch.next()).is_ready());
        let count = Arc::new(());
        for key in 0..100 {
            let value = Bytes::from_owner(Held(count.clone()));
            store.put(format!("key-{}", key % 10).into(), value).await.unwrap();
        }
        assert_eq!(Arc::strong_count(&count), 101);
        store.delete(KeyRange::Prefix("key-".into())).await.unwrap();
        let now = store.put("a".into(), "last".into()).await.unwrap();
        store.compact(now).await.unwrap();
        assert_eq!(Arc::strong_count(&count), 1);
        let told = watch.next().await.unwrap();
        assert!(told.unwrap_err().is_compacted());
    }

    /// A task that ends a lease when it is woken.
    struct Ends {
        store: MemoryStore,
        lease: LeaseId,
    }

    impl Wake for Ends {
        fn wake(self: Arc<Ends>) {
            // An earlier one may have done it.
            drop(self.store.revoke(self.lease).now_or_never().expect("it does not wait"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_woken_by_the_end_of_a_lease_may_end_another() {
        let store = MemoryStore::new();
        let other = store.grant(Duration::from_secs(600), 0).await.unwrap().id;
        let waiting = async |key: &str, seconds: u64| {
            let lease = store.grant(Duration::from_secs(seconds), 0).await.unwrap().id;
            let put = Put::new(key.to_owned(), "").lease(lease);
            store.txn(Txn::new().then(Op::Put(put))).await.unwrap();
            let mut watch = store.watch(WatchRequest::key(key.to_owned())).await.unwrap();
            let waker = Waker::from(Arc::new(Ends { store: store.clone(), lease: other }));
            assert!(watch.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
            (watch, lease)
        };
        let (_revoked, lease) = waiting("revoked", 600).await;
        store.revoke(lease).await.unwrap();
        assert!(store.lease(other).await.is_err());
        let other = store.grant(Duration::from_secs(600), other).await.unwrap().id;
        let (_ended, _) = waiting("ended", 1).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        store.status().await.unwrap();
        assert!(store.lease(other).await.is_err());
    }

    #[tokio::test]
    async fn progress_that_was_asked_for_comes_although_more_keeps_coming() {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
        let mut asked = 0;
        for number in 0..5 {
            asked = store.put("a".into(), number.to_string().into()).await.unwrap();
        }
        watch.request_progress();
        let mut last = 1;
        loop {
            // As much comes as is told.
            store.put("a".into(), "more".into()).await.unwrap();
            match watch.next().await.unwrap().unwrap() {
                crate::Watched::Batch(batch) => {
                    assert_eq!(batch.revision, last + 1);
                    last = batch.revision;
                    assert!(last < asked + 5, "the progress never comes");
                }
                crate::Watched::Progress(told) => break assert_eq!((told >= asked, told), (true, last)),
            }
        }
    }

    #[tokio::test]
    async fn who_has_seen_a_revision_is_told_progress_of_at_least_that() {
        let store = MemoryStore::new();
        let mut watch = store.watch(WatchRequest::key("idle")).await.unwrap();
        assert!(futures::poll!(watch.next()).is_pending());
        let revision = store.put("busy".into(), "b".into()).await.unwrap();
        watch.request_progress();
        let told = watch.next().await.unwrap().unwrap();
        assert_eq!(told, crate::Watched::Progress(revision));
    }
}
