//! kore-node: the node agent and its container runtimes, as a library.
//!
//! An [`Agent`](agent::Agent) registers a node with an API server and runs the pods that are bound to it: volumes, init containers,
//! probes, hooks, restarts and status are its work. What actually runs containers is a [`Runtime`](runtime::Runtime), which offers
//! primitives only. Two come with this crate: [`NativeRuntime`](native::NativeRuntime) runs processes of the machine, and
//! [`TaskRuntime`](task::TaskRuntime) async functions of the application.
//!
//! | module | holds |
//! |---|---|
//! | [`agent`] | the agent and its configuration |
//! | [`server`] | the node's HTTP service: logs, pods, health |
//! | [`runtime`] | the seam: `Runtime` and `Images`, with a complete implementation as example |
//! | [`conformance`] | what every runtime must do, as a suite to run |
//! | [`native`], [`shim`] | containers as processes, each under a shim that outlives the agent |
//! | [`task`] | containers as async functions, for tests and simulations |
//!
//! Below the surface, `machine` decides what a pod needs next, purely; `env` and `volumes` make what a container sees. Nothing
//! here knows a scheduler, a controller or a proxy: they meet in the API.
//!
//! A whole cluster of one node, without a scheduler: the pod says itself where it runs.
//!
//! ```
//! # #[cfg(feature = "latest")]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use k8s_openapi::api::core::v1::Pod;
//! use kore_api::{auth::User, client::Selection, server::Server};
//! use kore_node::{agent::Agent, task::TaskRuntime};
//!
//! let store = Arc::new(kore_store::MemoryStore::default());
//! let (server, serve) = Server::builder(store).open().await?;
//!
//! let (runtime, containers) = TaskRuntime::builder(*server.clock())
//!     .image("kore.dev/hello:v1", async |task| {
//!         task.log(format!("{} at {}", task.env("GREETING").unwrap_or("hi"), task.address()));
//!         task.stopped().await;
//!         0
//!     })
//!     .open()?;
//! let dir = tempfile::tempdir()?;
//! let client = server.client(User::node("node-1"));
//! let (agent, node) = Agent::builder(client, runtime, "node-1", dir.path()).open().await?;
//! server.nodes().attach(agent.name(), agent.service()); // kubectl logs
//!
//! let admin = server.client(User::admin());
//! let (pods, follow) = admin.informer::<Pod>(Selection::all().namespace("default"));
//! let work = async {
//!     let pod = serde_json::from_str(r#"{
//!         "metadata": {"name": "hello", "namespace": "default"},
//!         "spec": {"nodeName": "node-1", "containers": [{
//!             "name": "app", "image": "kore.dev/hello:v1",
//!             "env": [{"name": "GREETING", "value": "hello"}]
//!         }]}
//!     }"#)?;
//!     admin.namespaced::<Pod>("default").create(&pod).await?;
//!     let mut changes = pods.subscribe();
//!     while let Some(change) = changes.next().await {
//!         let Some(pod) = change.after else { continue };
//!         let phase = pod.view::<Pod>()?.status.as_ref().and_then(|status| status.phase.clone());
//!         if phase.as_deref() == Some("Running") {
//!             break;
//!         }
//!     }
//!     agent.shutdown(std::time::Duration::from_secs(5)).await;
//!     Ok(())
//! };
//! let background = async { tokio::join!(serve, containers, node, follow) };
//! tokio::select! {
//!     biased;
//!     done = work => done,
//!     _ = background => unreachable!("the server runs until it is dropped"),
//! }
//! # }
//! # #[cfg(not(feature = "latest"))] fn main() {}
//! ```

pub mod agent;
pub mod conformance;
mod env;
mod error;
mod identity;
mod log;
mod machine;
pub mod native;
pub mod runtime;
pub mod server;
pub mod shim;
pub mod task;
mod volumes;

pub use error::Error;
