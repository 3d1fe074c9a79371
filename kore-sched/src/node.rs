//! What the scheduler knows of one node at one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};
use kore_api::schema::quantity;

use crate::resources::Resources;

/// The dense index of a node: the row it has in every column. Valid within one scheduling cycle; an index of a node that
/// is gone is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub u32);

impl NodeIndex {
    /// The row.
    pub fn row(self) -> usize {
        self.0 as usize
    }
}

/// One node at one revision, without its pods. Immutable; a changed node is a new one.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// The node's name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// What it offers to pods: `status.allocatable`.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub pods_allowed: i64,
}

impl NodeInfo {
    /// Reads what matters here of a node.
    pub fn read(node: &Node) -> NodeInfo {
        let spec = node.spec.as_ref();
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let pods = allocatable.and_then(|list| list.get("pods"));
        NodeInfo {
            name: node.metadata.name.as_deref().unwrap_or_default().into(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            annotations: node.metadata.annotations.clone().unwrap_or_default(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: Resources::from_list(allocatable),
            pods_allowed: pods.and_then(|pods| quantity::value(&pods.0).ok()).unwrap_or(0),
        }
    }
}
