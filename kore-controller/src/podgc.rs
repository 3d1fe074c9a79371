//! Pod garbage collection: pods that no node will ever finish.
//!
//! Pods bound to a node that is gone (after 40 s, and after the server has said so), and pods that were deleted before
//! they were bound.

use crate::objects::pods;
use crate::tainteviction::{bound_to, disruption, with_condition};
use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use kore_api::client::{Client, Informer};
use kore_api::object::{ObjectKey, View};
use kore_api::request::Options;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a node must have been gone: it may have been removed and registered anew.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The collector of pods: a handle, and the future that runs it.
pub fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Pod>::new("pod-garbage-collector-controller", client, caches);
    let pods = controller.primary();
    let all = controller.reads::<Node>();
    let nodes = {
        let all = all.clone();
        controller.relates::<Node>(move |node| match all.get(node.key()) {
            Some(_) => Vec::new(),
            None => bound_to(&pods, node.name()),
        })
    };
    controller.open(PodCollector { nodes, missing: Mutex::default() })
}

struct PodCollector {
    nodes: Informer<Node>,
    /// Since when a node that pods are bound to is not there.
    missing: Mutex<BTreeMap<String, Instant>>,
}

/// What is to become of a pod.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is in good hands.
    Keep,
    /// Its node is not there: look again after this long.
    Wait(Duration),
    /// Its node is gone for good, if the server agrees.
    Orphaned,
    /// It was deleted before it was bound: nobody stops it.
    NeverBound,
}

/// Decides; `missing_for`: how long its node has not been there.
fn plan(pod: &Pod, missing_for: Option<Duration>) -> Fate {
    let deleting = pod.metadata.deletion_timestamp.is_some();
    match missing_for {
        _ if pods::node_name(pod).is_empty() && deleting => Fate::NeverBound,
        Some(since) if since >= QUARANTINE => Fate::Orphaned,
        Some(since) => Fate::Wait(QUARANTINE - since),
        None => Fate::Keep,
    }
}

#[async_trait]
impl Reconciler for PodCollector {
    type Kind = Pod;

    async fn reconcile(&self, pod: View<Pod>, ctx: &Context) -> Result<Action, Error> {
        let node = pods::node_name(&pod);
        // A pod gets its full time, too: whoever binds pods to nodes that are not there does not make this spin.
        let age = pod.metadata.creation_timestamp.as_ref();
        let age = age.map(|created| ctx.now().duration_since(created.0).unsigned_abs());
        let missing_for = self.missing_for(node).map(|missing| missing.min(age.unwrap_or(missing)));
        let fate = plan(&pod, missing_for);
        match fate {
            Fate::Keep => return Ok(Action::Done),
            Fate::Wait(delay) => return Ok(Action::After(delay)),
            Fate::NeverBound => {}
            Fate::Orphaned => {
                if ctx.client().api::<Node>().get_opt(node).await?.is_some() {
                    return Ok(Action::After(QUARANTINE));
                }
                if !pods::is_terminated(&pod) {
                    let target = disruption("DeletionByPodGC", "the node is gone", ctx.now());
                    let mut new = with_condition(&pod, target);
                    new.status.get_or_insert_default().phase = Some("Failed".into());
                    ctx.replace_status(&pod, &new).await?;
                }
            }
        }
        ctx.delete(&pod, &Options::default().grace_period_seconds(0)).await?;
        Ok(Action::Done)
    }
}

impl PodCollector {
    /// How long the node of this name has not been there; `None` if it is, or if there is no name.
    fn missing_for(&self, node: &str) -> Option<Duration> {
        if node.is_empty() {
            return None;
        }
        let mut missing = self.missing();
        if self.nodes.get(&ObjectKey::cluster(node)).is_some() {
            missing.remove(node);
            return None;
        }
        let since = missing.entry(node.to_owned()).or_insert_with(Instant::now);
        Some(since.elapsed())
    }

    fn missing(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::{deleting, pod};

    #[test]
    fn fates() {
        let unbound = || {
            let mut pod = pod("a", "web");
            pod.spec = None;
            pod
        };
        let seconds = Duration::from_secs;
        let rows = [
            ("bound", pod("a", "web"), None, Fate::Keep),
            ("its node has just gone", pod("a", "web"), Some(seconds(0)), Fate::Wait(seconds(40))),
            ("its node is gone", pod("a", "web"), Some(seconds(40)), Fate::Orphaned),
            ("on its way out, its node is gone", deleting(pod("a", "web"), 1), Some(seconds(99)), Fate::Orphaned),
            ("not bound yet", unbound(), None, Fate::Keep),
            ("deleted before it was bound", deleting(unbound(), 1), None, Fate::NeverBound),
        ];
        for (what, pod, missing_for, expected) in rows {
            assert_eq!(plan(&pod, missing_for), expected, "{what}");
        }
    }
}
