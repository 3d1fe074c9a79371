//! A node's agent writes what is its own node's, and nothing else.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use super::{Admission, Write};
use crate::auth::User;
use crate::error::Status;
use crate::object::{Object, ObjectKey, ResourceType};

const PODS: ResourceType = ResourceType::of::<Pod>();
/// Whose users are agents of nodes, named `system:node:NAME`.
const AGENTS: &str = "system:nodes";
/// The namespace of the nodes' heartbeats.
const HEARTBEATS: &str = "kube-node-lease";

/// A node's agent (group `system:nodes`) writes its own Node, its own Lease in `kube-node-lease`, and the Pods that are bound to its
/// node, and gets tokens of service accounts for those pods. What an authoriser cannot see (the name of what is created, the node of a pod) is looked at here; nobody else is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRestriction;

#[async_trait]
impl Admission for NodeRestriction {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        let Some(node) = node_of(write.user) else {
            return Ok(());
        };
        if (&*write.resource.plural, write.subresource) == ("serviceaccounts", "token") {
            return match problem_of_token(write, node) {
                Some(problem) => Err(Status::forbidden(write.resource, write.name, problem)),
                None => Ok(()),
            };
        }
        let own = match (&*write.resource.group, &*write.resource.plural) {
            ("", "nodes") => write.name == node,
            ("coordination.k8s.io", "leases") => write.namespace == HEARTBEATS && write.name == node,
            ("", "pods") => write.old.is_some_and(|pod| bound_to(pod).as_deref() == Some(node)),
            _ => true,
        };
        if own {
            return Ok(());
        }
        let problem = format!("node {node:?} is not allowed to write what is not its own");
        Err(Status::forbidden(write.resource, write.name, problem))
    }
}

/// The node whose agent this is.
fn node_of(user: &User) -> Option<&str> {
    user.is_in(AGENTS).then(|| user.name.strip_prefix("system:node:").unwrap_or_default())
}

/// A node gets tokens for its own pods, and for nothing that outlives them.
fn problem_of_token(write: &Write<'_>, node: &str) -> Option<&'static str> {
    let bound = &write.object["spec"]["boundObjectRef"];
    let text = |field: &str| bound[field].as_str().filter(|text| !text.is_empty());
    if text("apiVersion") != Some("v1") || text("kind") != Some("Pod") {
        return Some("node requested token not bound to a pod");
    }
    let (Some(name), Some(uid)) = (text("name"), text("uid")) else {
        return Some("node requested token bound to a pod without a name or a uid");
    };
    let pod = write.lookup.cached(&PODS, &ObjectKey::namespaced(write.namespace, name));
    let own = pod.filter(|pod| pod.uid() == uid).and_then(|pod| bound_to(&pod));
    (own.as_deref() != Some(node)).then_some("node requested token bound to a pod scheduled on a different node")
}

fn bound_to(pod: &Object) -> Option<String> {
    #[derive(Deserialize)]
    struct Pod {
        spec: Spec,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        node_name: Option<String>,
    }
    serde_json::from_slice::<Pod>(pod.body()).ok()?.spec.node_name
}
