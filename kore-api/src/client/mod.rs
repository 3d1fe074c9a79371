//! Access to an API server, the same in its own process and over the network.
//!
//! - [`Client`], [`Transport`] (`mod.rs`): an identity at a server, and how its requests get there.
//! - [`Api`] (`api.rs`): one resource through its typed view; [`DynamicApi`] (`dynamic.rs`): one resource known at run time.
//! - [`Informer`] (`informer.rs`), [`Changes`] (`changes.rs`): a copy of a collection that follows the server's, and who is told.
//! - [`EventRecorder`] (`events.rs`): tells users what happened to an object.
//! - [`carry_part`] (`part.rs`): making an object from a part of another one.
//! - `graft` (in [`crate::schema`]): why a typed replace keeps the fields that the type does not know.
//!
//! Nothing here knows whether the server is in the same process: only a [`Transport`] does.

mod api;
mod changes;
mod dynamic;
mod events;
mod informer;
mod part;

pub use api::{Api, List};
pub use changes::{Change, Changes};
pub use dynamic::DynamicApi;
pub use events::{EventRecorder, EventType};
pub use informer::{Informer, Selection};
pub use part::carry_part;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kore_store::{Clock, Entropy};

use crate::error::Error;
use crate::object::{Kind, ResourceType};
use crate::request::{DEFAULT_USER_AGENT, Request, Response};

/// How requests get to a server.
///
/// `Server::client` makes clients whose transport is the server itself, and [`Client::new`] takes any other: over HTTP, or
/// one that wraps another to count, delay or break requests.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use kore_api::client::Transport;
/// use kore_api::error::Error;
/// use kore_api::request::{Request, Response};
///
/// /// Counts the requests that go through it.
/// struct Counting<T> {
///     inner: T,
///     requests: AtomicU64,
/// }
///
/// #[async_trait::async_trait]
/// impl<T: Transport> Transport for Counting<T> {
///     async fn call(&self, request: Request) -> Result<Response, Error> {
///         self.requests.fetch_add(1, Ordering::Relaxed);
///         self.inner.call(request).await
///     }
/// }
/// ```
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and returns its answer; the streams in an answer end when the connection does.
    ///
    /// # Errors
    /// [`Error::Status`] is the server's own answer; any other error means that a write may or may not have happened.
    async fn call(&self, request: Request) -> Result<Response, Error>;
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        (**self).call(request).await
    }
}

/// A client as the way to its server, for transports that go around one.
#[async_trait]
impl Transport for Client {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        self.transport.call(request).await
    }
}

/// An identity at an API server. Cloning is cheap and shares the connection.
///
/// The clock and the entropy are the ones that components on top of the client use, so that a whole cluster follows one
/// clock and one seed.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    clock: Clock,
    entropy: Entropy,
    user_agent: Arc<str>,
}

impl Client {
    /// A client over `transport`.
    pub fn new(transport: impl Transport, clock: Clock, entropy: Entropy) -> Self {
        Self { transport: Arc::new(transport), clock, entropy, user_agent: Arc::from(DEFAULT_USER_AGENT) }
    }

    /// The same client under the name of a program: who owns the fields of what it writes (`managedFields`), where a request
    /// names no field manager. `kore` otherwise.
    #[must_use]
    pub fn with_user_agent(&self, name: &str) -> Self {
        Self { user_agent: Arc::from(name), ..self.clone() }
    }

    /// The name of the program, for `managedFields`.
    pub fn user_agent(&self) -> &Arc<str> {
        &self.user_agent
    }

    /// All objects of kind `K`: of all namespaces, or cluster-scoped.
    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::new(self.dynamic(ResourceType::of::<K>()))
    }

    /// The objects of kind `K` in one namespace. For a cluster-scoped kind the namespace is ignored.
    pub fn namespaced<K: Kind>(&self, namespace: &str) -> Api<K> {
        Api::new(self.dynamic(ResourceType::of::<K>()).in_namespace(namespace))
    }

    /// A resource that is known at run time.
    pub fn dynamic(&self, resource: ResourceType) -> DynamicApi {
        DynamicApi::new(self.clone(), Arc::new(resource))
    }

    /// A copy of the selected objects of kind `K` that follows the server's while the returned future runs.
    pub fn informer<K: Kind>(&self, selection: Selection) -> (Informer<K>, impl Future<Output = ()> + Send + use<K>) {
        Informer::new(self.dynamic(ResourceType::of::<K>()), selection)
    }

    /// A recorder of events that name `component` as their source, sent while the returned future runs.
    pub fn recorder(&self, component: &str) -> (EventRecorder, impl Future<Output = ()> + Send + use<>) {
        EventRecorder::new(self.clone(), component)
    }

    /// The wall clock that everything on top of this client follows.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The source of randomness of everything on top of this client.
    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// As [`Transport::call`].
    pub async fn call(&self, request: Request) -> Result<Response, Error> {
        self.transport.call(request).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
