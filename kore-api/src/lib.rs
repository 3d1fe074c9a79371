//! kore-api: the API server, the object model and the client, as a library.
//!
//! A server with a kind of one's own beside the built-in ones, and a client that writes and follows:
//!
//! ```
//! use std::sync::Arc;
//!
//! use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
//! use kore_api::auth::User;
//! use kore_api::client::Selection;
//! use kore_api::kinds;
//! use kore_api::object::{Kind, Scope};
//! use kore_api::registry::ResourceInfo;
//! use kore_api::server::Server;
//! use kore_store::MemoryStore;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Backup {
//!     metadata: ObjectMeta,
//!     schedule: String,
//! }
//!
//! impl Kind for Backup {
//!     const GROUP: &'static str = "example.com";
//!     const VERSION: &'static str = "v1";
//!     const KIND: &'static str = "Backup";
//!     const PLURAL: &'static str = "backups";
//!     const SCOPE: Scope = Scope::Namespaced;
//!     fn metadata(&self) -> &ObjectMeta {
//!         &self.metadata
//!     }
//!     fn metadata_mut(&mut self) -> &mut ObjectMeta {
//!         &mut self.metadata
//!     }
//! }
//!
//! # #[cfg(feature = "latest")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = kinds::builtin().with(ResourceInfo::of::<Backup>());
//! let (server, serve) = Server::builder(Arc::new(MemoryStore::default())).registry(registry).open().await?;
//! let client = server.client(User::admin());
//! let (backups, follow) = client.informer::<Backup>(Selection::all());
//!
//! let work = async {
//!     let metadata = ObjectMeta { name: Some("nightly".into()), ..ObjectMeta::default() };
//!     let nightly = Backup { metadata, schedule: "0 3 * * *".into() };
//!     let written = client.namespaced("default").create(&nightly).await?;
//!     // What was written is read.
//!     backups.reached(written.object().revision()).await;
//!     let seen = backups.view(written.key())?.expect("it is there");
//!     assert_eq!(seen.schedule, "0 3 * * *");
//!     Ok(())
//! };
//! // Nothing runs behind your back: the server and the informer are driven here.
//! tokio::select! {
//!     biased;
//!     outcome = work => outcome,
//!     _ = async { tokio::join!(serve, follow) } => unreachable!("both run until they are dropped"),
//! }
//! # }
//! # #[cfg(not(feature = "latest"))] fn main() {}
//! ```
//!
//! [`mod@http`] serves the same over HTTPS to kubectl and every other client; [`client`] is the same code there.
//!
//! | module | holds |
//! |---|---|
//! | [`object`] | what is stored, watched and handed around |
//! | [`error`] | what goes wrong, in the API's own terms |
//! | [`request`] | one request, however it travels |
//! | [`auth`], [`admission`] | who may, and what happens to a write |
//! | [`registry`] | which resources a server has, as data |
//! | [`kinds`] | the resources that are built in |
//! | [`codec`], [`patch`] | encodings and patches |
//! | [`schema`] | the shape of kinds: checking, normal form, grafting typed edits |
//! | [`openapi`] | OpenAPI documents, v3 and v2 |
//! | [`mod@http`] | the API over HTTP, as one `tower::Service` |
//! | [`tls`], [`kubeconfig`], [`remote`] | certificates, where a server is, and the way to it over the network |
//! | [`server`] | answers requests: the verbs, admission, the watch cache |
//! | [`client`] | typed and dynamic access, informers, events |
//! | `simulation` (feature) | whole clusters from a seed: faults, crash points, oracles |

pub mod admission;
pub mod auth;
mod cache;
pub mod client;
pub mod codec;
mod definitions;
pub mod error;
mod facts;
pub mod http;
pub mod kinds;
pub mod kubeconfig;
mod managed;
pub mod object;
pub mod openapi;
pub mod patch;
mod progress;
mod quota;
pub mod registry;
pub mod remote;
pub mod request;
pub mod schema;
pub mod selector;
pub mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod tls;

pub use kore_store::{Clock, Entropy, Revision};
