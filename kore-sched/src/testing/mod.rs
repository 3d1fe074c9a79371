//! A cluster for tests of policies: no server, no clock, no task.
//!
//! - here: [`Cluster`] and what became of it, [`Schedule`]
//! - `objects`: nodes and pods in a few words
//!
//! ```
//! use kore_sched::testing::{Cluster, node, pod};
//!
//! let schedule = Cluster::new()
//!     .node(node("small").cpu("1"))
//!     .node(node("large").cpu("16"))
//!     .pod(pod("big").cpu("4"))
//!     .schedule();
//! assert_eq!(schedule.node_of("big").as_deref(), Some("large"));
//! assert_eq!(schedule.explain("big").refused_by("small").unwrap().reasons, ["Insufficient cpu"]);
//! ```

mod objects;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::plugins::PrioritySort;
use crate::{Command, Engine, Event, Explanation, Limits, Plugin, PodKey, Points, Profile, Time};

pub use objects::{NodeBuilder, PodBuilder, node, pod};

/// Nodes and pods to be tried with one profile.
pub struct Cluster {
    profile: Profile,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    seed: u64,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new()
    }
}

impl Cluster {
    /// An empty cluster with the default plugins.
    pub fn new() -> Cluster {
        Cluster::with(Profile::default())
    }

    /// An empty cluster with that profile.
    pub fn with(profile: Profile) -> Cluster {
        Cluster { profile, nodes: Vec::new(), pods: Vec::new(), seed: 0 }
    }

    /// An empty cluster in which one plugin decides alone.
    ///
    /// # Panics
    /// When the plugin cannot be in a profile.
    pub fn only<P: Plugin>(plugin: P, at: impl FnOnce(Points<P>) -> Points<P>) -> Cluster {
        let profile = Profile::empty(crate::DEFAULT_SCHEDULER_NAME)
            .plugin(PrioritySort, |at| at.queue_sort())
            .and_then(|profile| profile.plugin(plugin, at));
        Cluster::with(profile.expect("a profile of that plugin"))
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, node: impl Into<Node>) -> Cluster {
        self.nodes.push(node.into());
        self
    }

    /// Adds a pod: one that waits, or one that is on a node already.
    #[must_use]
    pub fn pod(mut self, pod: impl Into<Pod>) -> Cluster {
        self.pods.push(pod.into());
        self
    }

    /// Breaks ties by another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Cluster {
        self.seed = seed;
        self
    }

    /// The engine with all of this in it, nothing scheduled yet.
    ///
    /// # Panics
    /// When the profile is not one a scheduler can have.
    pub fn engine(self) -> Engine {
        let mut profile = self.profile;
        if profile.name() != crate::DEFAULT_SCHEDULER_NAME {
            profile = profile.named(crate::DEFAULT_SCHEDULER_NAME);
        }
        let engine = Engine::new(vec![profile], Limits::default(), self.seed);
        let mut engine = engine.expect("a profile a scheduler can have");
        for node in self.nodes {
            engine.handle(Event::Node(Arc::new(node)), Time::ZERO);
        }
        for pod in self.pods {
            engine.handle(Event::Pod(Arc::new(pod)), Time::ZERO);
        }
        engine
    }

    /// Schedules until nothing more can be done. Every binding succeeds at once.
    ///
    /// # Panics
    /// When the profile is not one a scheduler can have.
    pub fn schedule(self) -> Schedule {
        let mut engine = self.engine();
        let mut messages = BTreeMap::new();
        while engine.step(Time::ZERO) {
            let commands: Vec<Command> = engine.commands().collect();
            for command in commands {
                match command {
                    Command::Bind(assignment) => engine.handle(Event::Bound(assignment), Time::ZERO),
                    Command::Report(report) => {
                        messages.insert(report.pod.key().clone(), report.message);
                    }
                    Command::Evict { .. } => {}
                }
            }
        }
        Schedule { engine: RefCell::new(engine), messages }
    }
}

/// What became of the pods. Pods are named `name` (in namespace `default`) or `namespace/name`.
pub struct Schedule {
    engine: RefCell<Engine>,
    messages: BTreeMap<PodKey, String>,
}

impl Schedule {
    /// The node of a pod.
    pub fn node_of(&self, pod: &str) -> Option<String> {
        let engine = self.engine.borrow();
        engine.node_of(&key(pod)).map(|node| node.to_string())
    }

    /// What users were told of a pod that was not placed.
    pub fn message(&self, pod: &str) -> Option<&str> {
        self.messages.get(&key(pod)).map(String::as_str)
    }

    /// Every plugin's answer about every node.
    ///
    /// # Panics
    /// When there is no such pod.
    pub fn explain(&self, pod: &str) -> Explanation {
        let explanation = self.engine.borrow_mut().explain(&key(pod), Time::ZERO);
        explanation.unwrap_or_else(|| panic!("no pod {pod:?} in the cluster"))
    }
}

fn key(pod: &str) -> PodKey {
    let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
    PodKey::new(namespace, name)
}
