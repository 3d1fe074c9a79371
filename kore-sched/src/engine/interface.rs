//! What goes into the engine and what comes out.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::framework::Rejection;
use crate::framework::erased::State;
use crate::pod::{PodInfo, PodKey};

/// The limits of an [`Engine`](super::Engine). Start from the default and change what is to differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The back-off after a pod's first attempt; it doubles with each. 1 s.
    pub initial_back_off: Duration,
    /// The longest back-off. 10 s.
    pub max_back_off: Duration,
    /// A pod that waited for an event for so long is tried anyway. 5 min.
    pub unschedulable_flush: Duration,
    /// Events kept for pods that are being bound. When there are more, those pods are tried again if their binding fails,
    /// whatever happened. 16,384.
    pub in_flight_events: usize,
    /// Answers remembered for classes of pods, in nodes times classes: 8 bytes for each scoring plugin. The class asked
    /// about longest ago is forgotten first. 2^20.
    pub remembered_rows: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            initial_back_off: Duration::from_secs(1),
            max_back_off: Duration::from_secs(10),
            unschedulable_flush: Duration::from_secs(300),
            in_flight_events: 1 << 14,
            remembered_rows: 1 << 20,
        }
    }
}

/// Something the engine is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A node as it is now.
    Node(Arc<Node>),
    /// The node of that name is gone.
    NodeGone(String),
    /// A pod as it is now.
    Pod(Arc<Pod>),
    /// The pod is gone.
    PodGone(PodKey),
    /// A [`Command::Bind`] was done.
    Bound(Assignment),
    /// A [`Command::Bind`] could not be done.
    BindFailed(Assignment, BindFailure),
    /// A pod that waits for a permission has that plugin's.
    Allowed {
        /// The pod.
        pod: PodKey,
        /// The plugin that had it wait.
        plugin: String,
    },
    /// A pod that waits for a permission will not get it.
    Denied {
        /// The pod.
        pod: PodKey,
        /// The plugin that had it wait.
        plugin: String,
        /// Why.
        reason: String,
    },
    /// Something happened to another resource that pods may wait for.
    Other {
        /// The resource, such as `persistentvolumeclaims`.
        resource: Arc<str>,
    },
}

/// Why a pod could not be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindFailure {
    /// The pod is gone, or somebody else bound it: the pod's own event says so, or will.
    Overtaken,
    /// A plugin refused.
    Refused {
        /// The plugin.
        plugin: &'static str,
        /// Why.
        rejection: Rejection,
    },
    /// It failed.
    Failed {
        /// Why.
        message: String,
    },
}

/// Something the engine wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Bind a pod to a node, and answer with [`Event::Bound`] or [`Event::BindFailed`]. The engine counts the pod there
    /// already.
    Bind(Assignment),
    /// Tell users that a pod could not be placed.
    Report(Report),
    /// Evict pods, so that a pod has room on a node.
    Evict {
        /// The pod that needs the room.
        pod: Arc<PodInfo>,
        /// The node.
        node: Arc<str>,
        /// The pods to evict.
        victims: Vec<PodKey>,
    },
}

/// A pod that could not be placed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// Upstream's word for it: `Unschedulable` or `SchedulerError`.
    pub reason: &'static str,
    /// What users are told.
    pub message: String,
}

/// A pod with the node it is promised to, and what its plugins remember of it.
pub struct Assignment {
    pub(crate) pod: Arc<PodInfo>,
    pub(crate) node: Arc<str>,
    pub(crate) profile: usize,
    pub(crate) states: Vec<State>,
}

impl Assignment {
    /// The pod.
    pub fn pod(&self) -> &Arc<PodInfo> {
        &self.pod
    }

    /// The node's name.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }
}

impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.pod.key(), self.node)
    }
}
