//! The API server: one entry for every request, whoever sends it and however it travels.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`Server`] |
//! | `builder.rs` | [`Builder`]: what a server is made of |
//! | `core.rs` | what all requests share; which code answers which request |
//! | `routes.rs` | which resources there are at present |
//! | `definitions.rs` | what CustomResourceDefinitions define, while the server runs |
//! | `bootstrap.rs`, `history.rs` | what every server has; how long it remembers |
//! | `local.rs` | the transport of clients in the same process |
//! | `read.rs`, `page.rs`, `watch.rs` | get, list, watch |
//! | `body.rs`, `metadata.rs` | what clients send, and the rules for what all objects have |
//! | `versions.rs` | what is stored as one version is shown as another |
//! | `managed.rs` | who owns which field; server-side apply |
//! | `create.rs`, `update.rs`, `delete.rs` | the writes, each as attempts on what there is |
//! | `commit.rs`, `claims.rs`, `lifetime.rs`, `quota.rs`, `terms.rs` | one write as one transaction of the store |
//! | `scale.rs`, `binding.rs`, `eviction.rs`, `finalize.rs`, `token.rs`, `log.rs` | subresources of their own shape |
//! | `nodes.rs` | [`Nodes`]: the way to the agents of nodes |
//!
//! Nothing here knows a kind: what differs is in the [`crate::registry`]. The exceptions are the subresources that exist for one
//! kind alone, each in its own file.

mod binding;
mod body;
mod bootstrap;
mod builder;
mod claims;
mod commit;
pub(crate) mod core;
mod create;
mod definitions;
mod delete;
mod eviction;
mod finalize;
mod history;
mod lifetime;
mod local;
mod log;
mod managed;
mod metadata;
mod nodes;
mod page;
mod quota;
mod read;
mod routes;
mod scale;
mod terms;
mod token;
mod update;
mod versions;
mod watch;

pub use builder::Builder;
pub use nodes::{NodeBody, NodeService, Nodes};
pub use token::AccountAuthenticator;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use kore_store::{Clock, Entropy, Store};

use self::core::Core;
use crate::auth::{Attributes, Decision, User};
use crate::client::Client;
use crate::error::{Error, Status};
use crate::http;
use crate::registry::Registry;
use crate::request::{Request, Response};

/// An API server. Cloning gives another handle to the same one.
///
/// It answers while the future that [`Builder::open`] returns with it runs; once that is dropped, every request is answered
/// with `ServiceUnavailable`, and watches end.
///
/// ```
/// # #[cfg(feature = "latest")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kore_api::error::Error> {
/// use std::sync::Arc;
/// use k8s_openapi::api::core::v1::ConfigMap;
/// use kore_api::auth::User;
/// use kore_api::server::Server;
/// use kore_store::MemoryStore;
///
/// let (server, run) = Server::builder(Arc::new(MemoryStore::default())).open().await?;
///
/// let work = async {
///     let configs = server.client(User::admin()).namespaced::<ConfigMap>("default");
///     let mut config = ConfigMap::default();
///     config.metadata.name = Some("greeting".into());
///     configs.create(&config).await?;
///     assert!(configs.get("greeting").await?.metadata.uid.is_some());
///     Ok(())
/// };
/// tokio::select! {
///     biased;
///     outcome = work => outcome,
///     () = run => unreachable!("a server runs until it is dropped"),
/// }
/// # }
/// # #[cfg(not(feature = "latest"))] fn main() {}
/// ```
#[derive(Clone)]
pub struct Server {
    core: Arc<Core>,
}

impl Server {
    /// A server over `store`, to be configured.
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder::new(store)
    }

    /// A client in the same process, which is authorised and admitted as `user` and shares the server's objects.
    pub fn client(&self, user: User) -> Client {
        let transport = local::Local::new(self.clone(), user);
        Client::new(transport, self.core.clock, self.core.entropy.clone())
    }

    /// Answers a request of `user`.
    ///
    /// Cancel-safe: a write whose future is dropped has happened as a whole or not at all.
    ///
    /// # Errors
    /// What the client is told when the answer is no.
    pub async fn handle(&self, user: &User, request: Request) -> Result<Response, Status> {
        self.core.handle(user, request).await
    }

    /// Lets the Service `default/kubernetes`, which every pod is told of, lead to this address: where the API is served. (Its slice, in
    /// the words of upstream's `kube-apiserver`.) An unspecified address stands for the loopback one. Without the resource `endpointslices` nothing happens.
    ///
    /// # Errors
    /// What the server says to the write.
    pub async fn advertise(&self, address: SocketAddr) -> Result<(), Error> {
        bootstrap::advertise(self, address).await
    }

    /// Waits until requests are answered: the store is there, and the caches have caught up with it.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn ready(&self) -> Result<(), Status> {
        self.core.catch_up().await.map(drop)
    }

    /// The resources of this server at present: those that it was opened with, and those that are defined meanwhile.
    pub fn registry(&self) -> Arc<Registry> {
        self.core.resources.now().registry.clone()
    }

    /// Knows service accounts by the tokens that this server issues; `None`: it issues none, see [`Builder::account_tokens`].
    pub fn account_authenticator(&self) -> Option<AccountAuthenticator> {
        let tokens = self.core.account_tokens.clone()?;
        Some(AccountAuthenticator::new(self.core.clone(), tokens))
    }

    /// The way to the agents of nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.core.nodes
    }

    /// The wall clock.
    pub fn clock(&self) -> &Clock {
        &self.core.clock
    }

    /// The source of randomness.
    pub fn entropy(&self) -> &Entropy {
        &self.core.entropy
    }
}

#[async_trait]
impl http::Core for Server {
    async fn handle(&self, user: &User, request: Request) -> Result<Response, Status> {
        self.core.handle(user, request).await
    }

    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.core.decide(attributes).await
    }

    async fn refresh(&self) {
        // When it cannot, what is known has to do.
        if let Err(status) = self.core.serve_definitions().await {
            tracing::debug!(%status, "what is defined is not known for certain");
        }
    }

    fn registry(&self) -> Arc<Registry> {
        self.core.resources.now().registry.clone()
    }

    fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    fn clock(&self) -> Clock {
        self.core.clock
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} resources)", self.registry().iter().count())
    }
}
