//! A scheduler, and the framework to write one's own: the Kubernetes scheduler as a library.
//!
//! A policy is a few lines. This one prefers nodes that run few pods, and is tried on a cluster that exists only in the test:
//!
//! ```
//! use kore_sched::testing::{Cluster, node, pod};
//! use kore_sched::{Ctx, NodeRef, Plugin, Profile, Score};
//!
//! struct Quiet;
//!
//! impl Plugin for Quiet {
//!     type State = ();
//!     fn name(&self) -> &'static str { "Quiet" }
//! }
//!
//! impl Score for Quiet {
//!     fn score(&self, _: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
//!         100 - (node.pods().len() as i64).min(100)
//!     }
//! }
//!
//! # fn main() -> Result<(), kore_sched::ProfileError> {
//! let profile = Profile::default().plugin(Quiet, |at| at.score(5))?;
//!
//! let schedule = Cluster::with(profile)
//!     .node(node("busy")).node(node("quiet"))
//!     .pod(pod("a").on("busy")).pod(pod("b").on("busy"))
//!     .pod(pod("new"))
//!     .schedule();
//!
//! assert_eq!(schedule.node_of("new").as_deref(), Some("quiet"));
//! assert_eq!(schedule.explain("new").score("busy", "Quiet").unwrap().raw, 98);
//! # Ok(())
//! # }
//! ```
//!
//! And this is a scheduler at work, beside an API server in the same process:
//!
//! ```
//! use std::sync::Arc;
//! use k8s_openapi::api::core::v1::{Node, Pod};
//! use kore_api::auth::User;
//! use kore_api::client::Selection;
//! use kore_api::server::Server;
//! use kore_sched::testing::{node, pod};
//! use kore_sched::{Config, Scheduler};
//! use kore_store::MemoryStore;
//!
//! # #[cfg(feature = "latest")]
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), kore_api::error::Error> {
//!     let (server, serve) = Server::builder(Arc::new(MemoryStore::default())).open().await?;
//!     let (_scheduler, schedule) =
//!         Scheduler::open(server.client(User::new("system:kube-scheduler")), Config::default());
//!
//!     let admin = server.client(User::admin());
//!     let (pods, follow) = admin.informer::<Pod>(Selection::all());
//!     let work = async {
//!         let machine = node("machine").build();
//!         let mut offering = admin.api::<Node>().create(&machine).await?;
//!         // What a node offers, its agent says.
//!         let mut registered = offering.to_owned();
//!         registered.status = machine.status;
//!         offering = admin.api::<Node>().replace_status(&offering, &registered).await?;
//!
//!         let web = pod("web").cpu("100m").edit(|pod| {
//!             pod.spec.as_mut().unwrap().containers[0].image = Some("web:1".into());
//!         });
//!         admin.namespaced::<Pod>("default").create(&web.build()).await?;
//!
//!         let mut changes = pods.subscribe();
//!         while let Some(change) = changes.next().await {
//!             let Some(object) = change.after else { continue };
//!             if let Some(node) = object.view::<Pod>()?.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
//!                 println!("{} runs on {node}", change.key);
//!                 assert_eq!(node, offering.object().name());
//!                 break;
//!             }
//!         }
//!         Ok(())
//!     };
//!     tokio::select! {
//!         biased;
//!         done = work => done,
//!         _ = async { tokio::join!(serve, schedule, follow) } => unreachable!("they run until they are dropped"),
//!     }
//! }
//! # #[cfg(not(feature = "latest"))] fn main() {}
//! ```
//!
//! # The parts
//! - the framework: one trait an extension point ([`Filter`], [`Score`], …), registered in a [`Profile`]
//! - [`plugins`]: the default plugins, with the semantics of kube-scheduler 1.37
//! - [`Engine`]: the pure core; takes [`Event`]s and the time, returns [`Command`]s
//! - [`Scheduler`]: the thin driver between the API and the engine
//! - [`testing`]: a cluster for tests of policies
//!
//! The engine holds dense columns of node state with indexes over them ([`Nodes`]), which plugins see borrowed, through
//! [`Ctx`]. A plugin may say what its answers [depend on](Depends); when all of a profile's depend on a pod's
//! [class](PodClass) and one node at most, answers are remembered for the class, and the cost of a pod is that of the nodes
//! that changed. A plugin that says nothing still works: its profile looks at every node for every pod.

mod driver;
mod engine;
mod framework;
mod node;
mod node_set;
mod nodes;
mod pod;
mod resources;
mod selector;

pub mod plugins;
pub mod testing;

/// Time as the engine is told it: since some moment that stays the same, never going back.
pub type Time = std::time::Duration;

/// The `spec.schedulerName` of pods that state none.
pub const DEFAULT_SCHEDULER_NAME: &str = "default-scheduler";

pub use driver::{Config, Scheduler};
pub use engine::{
    Assignment, BindFailure, Command, Engine, Event, Explanation, Limits, NodeAnswer, NodeVerdict, PluginScore,
    QueuePlace, Refused, Report,
};
pub use framework::{
    Bind, BindAnswer, Binding, Candidates, ClusterEvent, Code, Ctx, Depends, Enqueue, Filter, Hint, Interest,
    MAX_PERMIT_WAIT, NodeRef, Permission, Permit, Plugin, Points, PostBind, PostFilter, PreBind, PreEnqueue, PreFilter,
    PreScore, Profile, ProfileError, QueueSort, Queued, Recourse, Refusal, Rejection, Reserve, Score, Scoring, Verdict,
    normalize_to_largest,
};
pub use node::{NodeIndex, NodeInfo};
pub use node_set::NodeSet;
pub use nodes::{Column, Nodes};
pub use pod::{HostPort, PodClass, PodInfo, PodKey, Toleration};
pub use resources::Resources;
pub use selector::{Operator, Requirement, Term};
