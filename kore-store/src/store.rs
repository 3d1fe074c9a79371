//! The seam: what a store must do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Compare, Delete, Error, KeyRange, KeyValue, Lease, LeaseId, Op, OpResponse, Put, Range, Ranged, Result, Revision,
    Snapshot, Txn, TxnResponse, Watch, WatchRequest,
};

/// A revisioned key-value store with watch: the contract of etcd v3, as a trait.
///
/// # Contract
///
/// - **Revisions.** Every transaction that writes takes the next revision, shared by all keys it writes. Revisions grow by
///   one, begin at 1 for the empty store, and are never used twice, also not after a crash.
/// - **Durable.** What a call returned, a reader saw or a watcher was told survives a crash, as far as the store promises to
///   survive one at all. A failed call changed nothing, unless it failed with [`Error::OutcomeUnknown`].
/// - **Strictly serializable.** Every call takes effect at one moment between its beginning and its end. A read without a
///   revision sees every write that had been answered when the read began.
/// - **Old revisions** can be read and watched until they are compacted. The compacted revision itself can still be read; a watch
///   from it is told everything, or refused with [`Error::Compacted`] (etcd may have lost what was deleted there).
/// - **Watches** are ordered, complete and atomic: see [`Watch`].
/// - **Cancellation.** Dropping the future of a write leaves open whether it happens, as a lost connection would.
/// - **Bounded.** Requests, transactions and the store as a whole have limits, with an error of their own each.
///
/// # Implementing it
///
/// Range, transaction, watch, compaction and status are required. A store without leases leaves those methods out, and
/// they answer [`Error::Unsupported`]. The module `conformance` (feature `conformance`) checks an implementation against
/// every sentence above. Wrapping a store is as good a reason to implement the trait as storing is:
///
/// ```
/// use kore_store::*;
/// use std::sync::Arc;
///
/// /// Keeps several tenants in one store, each under a prefix of its own, unable to write anywhere else.
/// struct WriteUnder<S> {
///     inner: S,
///     prefix: &'static str,
/// }
///
/// #[async_trait::async_trait]
/// impl<S: Store> Store for WriteUnder<S> {
///     async fn range(&self, request: Range) -> Result<Ranged> {
///         self.inner.range(request).await
///     }
///     async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
///         let mine = |op: &Op| match op {
///             Op::Put(put) => put.key.starts_with(self.prefix.as_bytes()),
///             Op::Delete(delete) => delete.keys.start().starts_with(self.prefix.as_bytes()),
///             _ => true,
///         };
///         if !txn.success.iter().chain(&txn.failure).all(mine) {
///             return Err(Error::InvalidRequest { reason: "the key belongs to another tenant" });
///         }
///         self.inner.txn(txn).await
///     }
///     async fn watch(&self, request: WatchRequest) -> Result<Watch> {
///         self.inner.watch(request).await
///     }
///     async fn compact(&self, revision: Revision) -> Result<()> {
///         self.inner.compact(revision).await
///     }
///     async fn status(&self) -> Result<Status> {
///         self.inner.status().await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let store: Arc<dyn Store> = Arc::new(WriteUnder {
///     inner: MemoryStore::new(),
///     prefix: "/blue/",
/// });
/// store.put("/blue/sky".into(), "wide".into()).await?;
/// assert!(store.put("/red/sky".into(), "evening".into()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kore `Store`",
    note = "the stores in this crate are `MemoryStore` and `DurableStore`; share one as `Arc<dyn Store>`"
)]
pub trait Store: Send + Sync + 'static {
    /// Reads keys, now or at an older revision.
    ///
    /// Errors: [`Compacted`](Error::Compacted), [`FutureRevision`](Error::FutureRevision).
    async fn range(&self, request: Range) -> Result<Ranged>;

    /// Compares, then writes and reads, atomically.
    ///
    /// A comparison that does not hold is no error: see [`TxnResponse::succeeded`]. Errors:
    /// [`TooLarge`](Error::TooLarge), [`QuotaExceeded`](Error::QuotaExceeded), [`DuplicateKey`](Error::DuplicateKey),
    /// [`LeaseNotFound`](Error::LeaseNotFound), [`OutcomeUnknown`](Error::OutcomeUnknown), and those of
    /// [`range`](Store::range).
    async fn txn(&self, txn: Txn) -> Result<TxnResponse>;

    /// Tells what changes, from a revision on.
    ///
    /// Errors: [`Compacted`](Error::Compacted), when the watch is to begin before the oldest revision kept, and perhaps when it is
    /// to begin at it.
    async fn watch(&self, request: WatchRequest) -> Result<Watch>;

    /// Forgets what was overwritten or deleted before `revision`, which becomes the oldest that can be read.
    ///
    /// Errors: [`Compacted`](Error::Compacted), when the store is compacted to there or further already;
    /// [`FutureRevision`](Error::FutureRevision).
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Where the store stands.
    async fn status(&self) -> Result<Status>;

    /// Grants a lease that lives for `ttl` (rounded up to whole seconds, at least one), under this id or, for 0, under one that the store
    /// chooses.
    ///
    /// Errors: [`LeaseExists`](Error::LeaseExists).
    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        let _ = (ttl, id);
        Err(Error::Unsupported { what: "leases" })
    }

    /// Lets a lease live for its full time again.
    ///
    /// Errors: [`LeaseNotFound`](Error::LeaseNotFound).
    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        let _ = id;
        Err(Error::Unsupported { what: "leases" })
    }

    /// Ends a lease and deletes the keys attached to it, at one revision.
    ///
    /// Errors: [`LeaseNotFound`](Error::LeaseNotFound).
    async fn revoke(&self, id: LeaseId) -> Result<()> {
        let _ = id;
        Err(Error::Unsupported { what: "leases" })
    }

    /// What a lease has left, and its keys.
    ///
    /// Errors: [`LeaseNotFound`](Error::LeaseNotFound).
    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        let _ = id;
        Err(Error::Unsupported { what: "leases" })
    }

    /// The ids of all leases, in order.
    async fn leases(&self) -> Result<Vec<LeaseId>> {
        Err(Error::Unsupported { what: "leases" })
    }

    /// Everything the store holds, as of now.
    async fn snapshot(&self) -> Result<Snapshot> {
        Err(Error::Unsupported { what: "snapshots" })
    }

    /// Reads one key now.
    async fn get(&self, key: Bytes) -> Result<Option<Arc<KeyValue>>> {
        Ok(self.range(Range::key(key)).await?.kvs.pop())
    }

    /// Writes one key, whatever it held, and answers with the revision.
    async fn put(&self, key: Bytes, value: Bytes) -> Result<Revision> {
        let txn = Txn::new().then(Op::Put(Put::new(key, value)));
        Ok(self.txn(txn).await?.revision)
    }

    /// Deletes keys, and answers with how many there were.
    async fn delete(&self, keys: KeyRange) -> Result<u64> {
        let txn = Txn::new().then(Op::Delete(Delete::new(keys)));
        let deleted = self.txn(txn).await?.responses.into_iter().next();
        Ok(match deleted {
            Some(OpResponse::Delete { deleted, .. }) => deleted,
            _ => 0,
        })
    }

    /// Writes one key if it was last written by revision `expected`; 0: if it does not exist. Answers with the revision.
    ///
    /// Errors: [`Conflict`](Error::Conflict), with what the key holds now; and those of [`txn`](Store::txn).
    async fn compare_and_put(&self, key: Bytes, value: Bytes, expected: Revision) -> Result<Revision> {
        let put = Op::put(key.clone(), value);
        compare_and(self, key, expected, put).await
    }

    /// Deletes one key if it was last written by revision `expected`. Answers with the revision.
    ///
    /// Errors: [`Conflict`](Error::Conflict), with what the key holds now; and those of [`txn`](Store::txn).
    async fn compare_and_delete(&self, key: Bytes, expected: Revision) -> Result<Revision> {
        let delete = Op::delete(key.clone());
        compare_and(self, key, expected, delete).await
    }
}

/// Does one operation on a key that was last written by this revision.
async fn compare_and<S: Store + ?Sized>(store: &S, key: Bytes, expected: Revision, op: Op) -> Result<Revision> {
    let compare = Compare::mod_revision(key.clone(), expected);
    let done = store.txn(Txn::new().when(compare).then(op).otherwise(Op::get(key.clone()))).await?;
    match done.succeeded {
        true => Ok(done.revision),
        false => Err(Error::Conflict { key, current: done.first_kv().cloned() }),
    }
}

/// A shared store is a store.
#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn range(&self, request: Range) -> Result<Ranged> {
        (**self).range(request).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        (**self).txn(txn).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        (**self).watch(request).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        (**self).compact(revision).await
    }

    async fn status(&self) -> Result<Status> {
        (**self).status().await
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        (**self).grant(ttl, id).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        (**self).keep_alive(id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        (**self).revoke(id).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        (**self).lease(id).await
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        (**self).leases().await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        (**self).snapshot().await
    }

    async fn get(&self, key: Bytes) -> Result<Option<Arc<KeyValue>>> {
        (**self).get(key).await
    }

    async fn put(&self, key: Bytes, value: Bytes) -> Result<Revision> {
        (**self).put(key, value).await
    }

    async fn delete(&self, keys: KeyRange) -> Result<u64> {
        (**self).delete(keys).await
    }

    async fn compare_and_put(&self, key: Bytes, value: Bytes, expected: Revision) -> Result<Revision> {
        (**self).compare_and_put(key, value, expected).await
    }

    async fn compare_and_delete(&self, key: Bytes, expected: Revision) -> Result<Revision> {
        (**self).compare_and_delete(key, expected).await
    }
}

/// Where a store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The current revision.
    pub revision: Revision,
    /// The oldest revision that can be read; 0 when the store has never been compacted.
    pub compacted: Revision,
    /// Bytes held, old versions included.
    pub bytes: u64,
    /// How many bytes it may hold.
    pub quota_bytes: u64,
    /// How many keys exist.
    pub keys: u64,
}

impl Status {
    /// A store at this revision.
    pub fn new(revision: Revision, compacted: Revision) -> Status {
        Status { revision, compacted, ..Status::default() }
    }
}

/// How much a store takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of keys and values that the store may hold, old versions and a fixed cost for each included. Beyond it, writes fail with
    /// [`Error::QuotaExceeded`]. Default: 2 GiB.
    pub quota_bytes: u64,
    /// Bytes of keys and values in one transaction; more is [`Error::TooLarge`]. Default: 1.5 MiB, at most 1 GiB.
    pub request_bytes: usize,
    /// Comparisons and operations in one transaction; more is [`Error::TooLarge`]. Default: 128 each.
    pub txn_ops: usize,
    /// Leases that may exist at a time; more is [`Error::TooLarge`]. Default: 1,000,000.
    pub leases: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { quota_bytes: 2 << 30, request_bytes: 3 << 19, txn_ops: 128, leases: 1_000_000 }
    }
}

impl Limits {
    /// Set [`quota_bytes`](Limits::quota_bytes).
    #[must_use]
    pub fn quota_bytes(mut self, bytes: u64) -> Limits {
        self.quota_bytes = bytes;
        self
    }

    /// Set [`txn_ops`](Limits::txn_ops).
    #[must_use]
    pub fn txn_ops(mut self, ops: usize) -> Limits {
        self.txn_ops = ops;
        self
    }

    /// Set [`leases`](Limits::leases).
    #[must_use]
    pub fn leases(mut self, leases: usize) -> Limits {
        self.leases = leases;
        self
    }

    /// Set [`request_bytes`](Limits::request_bytes).
    #[must_use]
    pub fn request_bytes(mut self, bytes: usize) -> Limits {
        self.request_bytes = bytes;
        self
    }
}
