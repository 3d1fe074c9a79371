//! Layers: what is wrapped around a store, written once instead of once a method.
//!
//! - here: [`Around`], the seam, and [`Layered`], the store that goes through it
//! - [`Call`], [`Reply`]: what a layer sees of a request and of its answer
//! - [`through`]: what a layer does to the items of a watch
//! - [`Latency`], [`Faults`], `Metrics` (feature `prometheus-client`): the layers that are here
//!
//! Layers are tower's: whatever stacks a [`Layer`] stacks these.
//!
//! ```
//! use std::time::Duration;
//!
//! use kore_store::layer::{Faults, Latency};
//! use kore_store::{Entropy, MemoryStore, Store};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> kore_store::Result<()> {
//! let store = ServiceBuilder::new()
//!     .layer(Latency::new(Duration::from_millis(500)))
//!     .layer(Faults::new(Entropy::seeded(7)).delay(Duration::from_secs(1)))
//!     .service(MemoryStore::new());
//! store.put("greeting".into(), "hello".into()).await?;
//! # Ok(())
//! # }
//! ```

mod call;
mod faults;
mod latency;
#[cfg(feature = "prometheus-client")]
mod metrics;
#[cfg(test)]
mod tests;
mod through;

use std::time::Duration;

use async_trait::async_trait;
pub use tower_layer::Layer;

use crate::{
    Error, Lease, LeaseId, Range, Ranged, Result, Revision, Snapshot, Status, Store, Txn, TxnResponse, Watch,
    WatchRequest,
};
#[cfg(any(test, feature = "conformance"))]
pub(crate) use call::Compact;
pub use call::{Answer, Call, Reply, Request};
pub use faults::{Fate, Faults, Injected};
pub use latency::Latency;
#[cfg(feature = "prometheus-client")]
pub use metrics::Metrics;
pub use through::through;

/// What is done around every call to a store. Both methods pass everything on unless they are written.
///
/// A call that is not sent has not happened, and the layer answers for it; one that is sent may be sent again, if its
/// type is cloned first. Whoever drops a call drops the future of [`Around::call`] wherever it stands.
///
/// ```
/// use kore_store::layer::{Around, Layer, Layered, Request, through};
/// use kore_store::{Error, MemoryStore, Result, Store, Watch, WatchRequest};
///
/// /// Lets nothing through that could change the store, and no errors out of watches but their end.
/// #[derive(Clone)]
/// struct ReadOnly;
///
/// impl Around for ReadOnly {
///     async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
///         let call = request.call();
///         if call.is_write() {
///             tracing::info!(call = call.name(), "refused");
///             return Err(Error::InvalidRequest { reason: "the store is read-only" });
///         }
///         request.send(store).await
///     }
///
///     fn watch(&self, request: &WatchRequest, watch: Watch) -> Watch {
///         let keys = request.keys.clone();
///         through(watch, move |item| {
///             item.inspect_err(|error| tracing::info!(?keys, %error, "a watch ends"))
///         })
///     }
/// }
///
/// /// Makes it something that `ServiceBuilder` stacks.
/// impl<S> Layer<S> for ReadOnly {
///     type Service = Layered<S, ReadOnly>;
///
///     fn layer(&self, inner: S) -> Self::Service {
///         Layered::new(inner, self.clone())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let inner = MemoryStore::new();
/// let store = ReadOnly.layer(inner.clone());
/// assert!(store.put("a".into(), "1".into()).await.is_err());
/// inner.put("a".into(), "1".into()).await.unwrap();
/// assert!(store.get("a".into()).await.unwrap().is_some());
/// # }
/// ```
pub trait Around: Send + Sync + 'static {
    /// Makes a call, and answers.
    fn call<R: Request, S: Store + ?Sized>(
        &self,
        request: R,
        store: &S,
    ) -> impl Future<Output = Result<R::Answer>> + Send {
        request.send(store)
    }

    /// A watch that was begun, on its way out. [`through`] changes its items.
    fn watch(&self, request: &WatchRequest, watch: Watch) -> Watch {
        let _ = request;
        watch
    }
}

/// A store with something around it. Reading and writing single keys goes through [`Store::range`] and [`Store::txn`]: a
/// layer sees those.
#[derive(Clone, Debug)]
pub struct Layered<S, A> {
    inner: S,
    around: A,
}

impl<S, A> Layered<S, A> {
    /// This store, with this around it.
    pub fn new(inner: S, around: A) -> Layered<S, A> {
        Layered { inner, around }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

#[async_trait]
impl<S: Store, A: Around> Store for Layered<S, A> {
    async fn range(&self, request: Range) -> Result<Ranged> {
        self.around.call(request, &self.inner).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        self.around.call(txn, &self.inner).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        let watch = self.around.call(request.clone(), &self.inner).await?;
        Ok(self.around.watch(&request, watch))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.around.call(call::Compact(revision), &self.inner).await
    }

    async fn status(&self) -> Result<Status> {
        self.around.call(call::AskStatus, &self.inner).await
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        self.around.call(call::Grant { ttl, id }, &self.inner).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        self.around.call(call::KeepAlive(id), &self.inner).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        self.around.call(call::Revoke(id), &self.inner).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        self.around.call(call::AskLease(id), &self.inner).await
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        self.around.call(call::ListLeases, &self.inner).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.around.call(call::TakeSnapshot, &self.inner).await
    }
}

/// How a call ended, in a word: for metrics and logs.
pub(crate) fn outcome<T>(answer: &Result<T>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(Error::Compacted { .. }) => "compacted",
        Err(Error::FutureRevision { .. }) => "future_revision",
        Err(Error::QuotaExceeded { .. }) => "quota_exceeded",
        Err(Error::TooLarge { .. }) => "too_large",
        Err(Error::DuplicateKey { .. } | Error::InvalidRequest { .. }) => "invalid_request",
        Err(Error::Conflict { .. }) => "conflict",
        Err(Error::LeaseNotFound { .. }) => "lease_not_found",
        Err(Error::LeaseExists { .. }) => "lease_exists",
        Err(Error::Unsupported { .. }) => "unsupported",
        Err(Error::Unavailable { .. }) => "unavailable",
        Err(Error::OutcomeUnknown { .. }) => "outcome_unknown",
        Err(_) => "failed",
    }
}

/// How a call ended whose future was dropped.
pub(crate) const CANCELLED: &str = "cancelled";
