//! A framework for controllers, and the Kubernetes controllers built on it.
//!
//! A whole program: an API server in the process, and a controller of one's own that puts a ConfigMap into every
//! namespace.
//!
//! ```
//! # #[cfg(not(feature = "latest"))] fn main() {}
//! # #[cfg(feature = "latest")]
//! # mod program {
//! use async_trait::async_trait;
//! use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
//! use kore_api::auth::User;
//! use kore_api::client::Informer;
//! use kore_api::object::{ObjectKey, View};
//! use kore_api::registry::{Registry, ResourceInfo};
//! use kore_api::server::Server;
//! use kore_controller::{Action, Caches, Context, Controller, Error, Reconciler};
//! use kore_store::MemoryStore;
//! use std::sync::Arc;
//!
//! struct Welcome {
//!     maps: Informer<ConfigMap>,
//! }
//!
//! #[async_trait]
//! impl Reconciler for Welcome {
//!     type Kind = Namespace;
//!
//!     async fn reconcile(&self, namespace: View<Namespace>, ctx: &Context) -> Result<Action, Error> {
//!         let key = ObjectKey::namespaced(namespace.object().name(), "welcome");
//!         if self.maps.get(&key).is_none() {
//!             let mut map = ConfigMap::default();
//!             map.metadata.name = Some("welcome".into());
//!             map.metadata.namespace = namespace.metadata.name.clone();
//!             ctx.create(&map).await?;
//!         }
//!         Ok(Action::Done)
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let kinds = Registry::new().with(ResourceInfo::of::<Namespace>()).with(ResourceInfo::of::<ConfigMap>());
//!     let (server, serving) = Server::builder(Arc::new(MemoryStore::default())).registry(kinds).open().await?;
//!     let client = server.client(User::admin());
//!
//!     let mut caches = Caches::new(&client);
//!     let mut controller = Controller::<Namespace>::new("welcome", &client, &mut caches);
//!     let maps = controller.relates::<ConfigMap>(|map| map.namespace().map(ObjectKey::cluster).into_iter().collect());
//!     let (handle, run) = controller.open(Welcome { maps: maps.clone() });
//!
//!     let mut changes = maps.subscribe();
//!     let user = async {
//!         while let Some(change) = changes.next().await {
//!             if change.key == ObjectKey::namespaced("default", "welcome") {
//!                 handle.stop(); // What runs finishes; then `run` ends.
//!             }
//!         }
//!     };
//!     tokio::select! {
//!         () = run => Ok(()),
//!         () = user => unreachable!("the informers run"),
//!         () = caches.run() => unreachable!("informers follow until they are dropped"),
//!         () = serving => unreachable!("the server serves until it is dropped"),
//!     }
//! }
//! # }
//! # #[cfg(feature = "latest")] fn main() { program::main().unwrap() }
//! ```
//!
//! The controllers of Kubernetes, all or some, are one line: [`Controllers`].
//!
//! | module | holds |
//! |---|---|
//! | [`Reconciler`], [`Controller`], [`Context`], [`Caches`] | what a controller is made of |
//! | [`queue`] | the keys to reconcile: a pure value |
//! | [`Controllers`] | the controllers of a control plane, composed by name |
//! | [`deployment`], [`replicaset`] | workloads |
//! | [`endpointslice`] | what stands behind services |
//! | [`namespace`], [`garbagecollector`], [`podgc`] | what goes, and what goes with it |
//! | [`nodelifecycle`], [`tainteviction`] | nodes that fail |
//! | [`serviceaccount`] | default accounts |
//!
//! Every controller is a pure `plan` (what there is, to what to write) and a thin reconcile that carries it out. No plan
//! knows a client, a clock or a task; nothing here talks to a store; controllers know each other only through the API.

mod controllers;
pub mod deployment;
pub mod endpointslice;
mod error;
pub mod garbagecollector;
pub mod namespace;
pub mod nodelifecycle;
mod objects;
pub mod podgc;
pub mod queue;
pub mod replicaset;
mod resources;
mod runtime;
pub mod serviceaccount;
pub mod tainteviction;

pub use controllers::{Controllers, ControllersHandle};
pub use error::Error;
pub use resources::Resources;
pub use runtime::{Action, Caches, Context, Controller, Handle, Reconciler, Statistics};
