//! Whole clusters from a seed: faults on the way, crashes after any write, and a record of everything that happened.
//!
//! - [`Faults`] (`faults.rs`, `watch.rs`): requests and answers that are lost or late, watches that break, between a client and its
//!   server. Between a server and its store: [`kore_store::layer::Faults`].
//! - [`CrashPoint`] (`crash.rs`): ends a component right after its n-th write.
//! - [`EventLog`], [`World`] (`log.rs`, `difference.rs`, `world.rs`): every change of every resource in order; two runs compared, and invariants
//!   checked at every change.
//! - [`Newer`] (`newer/`): a server that knows more fields than its clients, and holds them to keeping those.
//!
//! All of it goes around a [`Client`](crate::client::Client), and components are whatever futures their
//! `open` returns: nothing here knows one. Time comes from tokio, whose clock a test pauses, and chance from a seed.
//!
//! ```
//! # #[cfg(feature = "latest")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), kore_api::error::Error> {
//! use std::sync::Arc;
//! use std::time::Duration;
//! use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
//! use kore_api::auth::User;
//! use kore_api::registry::{Registry, ResourceInfo};
//! use kore_api::server::Server;
//! use kore_api::simulation::{EventLog, Faults};
//! use kore_store::{Entropy, MemoryStore};
//!
//! let registry = Registry::new().with(ResourceInfo::of::<Namespace>()).with(ResourceInfo::of::<ConfigMap>());
//! let store = Arc::new(MemoryStore::default());
//! let (server, run) = Server::builder(store).registry(registry).entropy(Entropy::seeded(1)).open().await?;
//! let admin = server.client(User::admin());
//! let (log, record) = EventLog::open(&admin, &server.registry());
//!
//! // A client whose answers are lost, every second one.
//! let faults = Faults::seeded(7).lost_answers(500).delay(Duration::from_millis(20));
//! let work = async {
//!     let configs = faults.client(&admin).namespaced::<ConfigMap>("default");
//!     for number in 0..20 {
//!         let mut config = ConfigMap::default();
//!         config.metadata.name = Some(format!("config-{number}"));
//!         // Whether it came to be or not: trying again finds out.
//!         while let Err(error) = configs.create(&config).await {
//!             if error.is_already_exists() { break }
//!         }
//!     }
//!     log.reached(server.client(User::admin()).api::<ConfigMap>().list(&Default::default()).await?.revision).await;
//!     Ok(())
//! };
//! let outcome = tokio::select! {
//!     biased;
//!     outcome = work => outcome,
//!     _ = async { futures::join!(run, record) } => unreachable!("both run until they are dropped"),
//! };
//! assert!(faults.injected().lost_answers > 0);
//! let made = log.entries().iter().filter(|entry| entry.object.kind() == "ConfigMap").count();
//! assert_eq!(made, 20);
//! # outcome
//! # }
//! # #[cfg(not(feature = "latest"))] fn main() {}
//! ```

mod crash;
mod difference;
mod faults;
mod log;
mod newer;
mod watch;
mod world;

pub use crash::CrashPoint;
pub use difference::Difference;
pub use faults::{Faults, Injected};
pub use log::{Entry, EventKind, EventLog};
pub use newer::{Newer, Violation};
pub use world::{Broken, World};
