//! The borrowed snapshot.

use crate::Time;
use crate::node::{NodeIndex, NodeInfo};
use crate::nodes::Nodes;
use crate::pod::PodInfo;

/// What a plugin may look at during one call: the pod in question and the cluster as it is, assumed pods included.
///
/// It is borrowed for the call. Nothing reached through it can be kept, in the plugin or in its state, because the next
/// cycle changes it in place:
///
/// ```compile_fail
/// use kore_sched::{Ctx, Filter, NodeRef, Plugin, Verdict};
/// use std::sync::Mutex;
///
/// struct Hoarder(Mutex<Option<NodeRef<'static>>>);
/// impl Plugin for Hoarder {
///     type State = ();
///     fn name(&self) -> &'static str { "Hoarder" }
/// }
/// impl Filter for Hoarder {
///     fn filter(&self, _: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
///         *self.0.lock().unwrap() = Some(node); // borrowed data escapes
///         Ok(())
///     }
/// }
/// ```
pub struct Ctx<'a> {
    nodes: &'a Nodes,
    pod: &'a PodInfo,
    now: Time,
}

impl<'a> Ctx<'a> {
    pub(crate) fn new(nodes: &'a Nodes, pod: &'a PodInfo, now: Time) -> Ctx<'a> {
        Ctx { nodes, pod, now }
    }

    /// The pod that is being scheduled.
    pub fn pod(&self) -> &'a PodInfo {
        self.pod
    }

    /// All nodes, with what runs on them.
    pub fn nodes(&self) -> &'a Nodes {
        self.nodes
    }

    /// One node.
    pub fn node(&self, index: NodeIndex) -> NodeRef<'a> {
        NodeRef { nodes: self.nodes, index }
    }

    /// The time, as the engine was told it: since some fixed moment.
    pub fn now(&self) -> Time {
        self.now
    }
}

/// One node of the snapshot.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    nodes: &'a Nodes,
    index: NodeIndex,
}

impl<'a> NodeRef<'a> {
    /// The node's dense index: its row in every column.
    pub fn index(&self) -> NodeIndex {
        self.index
    }

    /// The node's name.
    pub fn name(&self) -> &'a str {
        &self.info().name
    }

    /// Labels, taints and everything else that is not about its pods.
    pub fn info(&self) -> &'a NodeInfo {
        self.nodes.info(self.index)
    }

    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.info().labels.get(key).map(String::as_str)
    }

    /// The pods on it, assumed ones included.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = &'a PodInfo> + use<'a> {
        self.nodes.pods_on(self.index).iter().map(|pod| &**pod)
    }

    /// What it offers of a resource (units of [`Nodes::column`]); zero when it offers none.
    pub fn capacity(&self, resource: &str) -> i64 {
        let column = self.nodes.column(resource);
        column.map_or(0, |column| column.capacity()[self.index.row()])
    }

    /// What its pods have asked for of a resource.
    pub fn used(&self, resource: &str) -> i64 {
        let column = self.nodes.column(resource);
        column.map_or(0, |column| column.used()[self.index.row()])
    }
}
