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
                published: Arc::new(Published::new(Index::new())),
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

    fn end_lease(&self, id: LeaseId) -> Result<()> {
        self.published.change(|index| Ok(((), index.revoke(id)?)))
    }
}

impl Expire for Inner {
    fn expire(&self) -> Option<Instant> {
        if !self.has_leases.load(Ordering::Acquire) {
            return None;
        }
        let (due, next) = {
            let mut deadlines = self.deadlines();
            let due = deadlines.take_due(Instant::now());
            (due, deadlines.next())
        };
        for id in due {
            // Somebody may have revoked it in the meantime: it is gone either way.
            drop(self.end_lease(id));
        }
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
        published.waiters.nudge();
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
        let id = inner.published.change(|index| Ok((index.grant(id, ttl_seconds, inner.limits.leases)?, None)))?;
        let ttl = Duration::from_secs(ttl_seconds);
        inner.deadlines().set(id, ttl, Instant::now());
        inner.has_leases.store(true, Ordering::Release);
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
        self.inner.deadlines().remove(id);
        self.inner.end_lease(id)
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
    use super::*;
    use crate::{Compare, Error, KeyRange, Op};

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
        assert!(futures::poll!(futures::StreamExt::next(&mut watch)).is_ready());
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
        let told = futures::StreamExt::next(&mut watch).await.unwrap();
        assert!(told.unwrap_err().is_compacted());
    }
}
