//! Node lifecycle: what becomes of nodes that are not ready or not heard of.
//!
//! - `plan`: conditions and taints of one node
//! - this file keeps the signs of life and carries the plans out
//!
//! A node shows that it lives by renewing its lease in `kube-node-lease` or writing its status. After 40 s of silence its
//! conditions become Unknown, its pods not ready, and it is tainted `node.kubernetes.io/unreachable` (`not-ready` when
//! the node itself says so): NoSchedule at once; NoExecute for at most one node of a zone in 10 s, more slowly or not at
//! all while most of the zone fails, and for none while no node at all is ready. [`tainteviction`](crate::tainteviction) evicts.

pub(crate) mod plan;
#[cfg(test)]
mod tables;

pub use plan::Config;

use crate::objects::pods;
use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kore_api::client::{Client, EventType, Informer};
use kore_api::object::{ObjectKey, View};
use plan::{Readiness, Sign};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";

/// The controller of node lifecycle: a handle, and the future that runs it.
pub fn open(client: &Client, caches: &mut Caches, config: Config) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Node>::new("node-lifecycle-controller", client, caches);
    let leases = controller.relates::<Lease>(|lease| {
        let name = (lease.namespace() == Some(LEASES)).then(|| ObjectKey::cluster(lease.name()));
        name.into_iter().collect()
    });
    let pods = controller.reads::<Pod>();
    let nodes = controller.primary();
    controller.open(NodeLifecycle { config, nodes, leases, pods, memory: Mutex::default() })
}

struct NodeLifecycle {
    config: Config,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    memory: Mutex<Memory>,
}

/// What the controller knows besides the objects; all of it can be lost.
#[derive(Default)]
struct Memory {
    /// By node name.
    signs: BTreeMap<Arc<str>, Sign>,
    /// By node name: the zone, and the last verdict.
    readiness: BTreeMap<Arc<str>, (String, Readiness)>,
    /// By zone: when a node was last given up.
    given_up: BTreeMap<String, Timestamp>,
}

impl NodeLifecycle {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Zone and readiness of every node: the last verdict, or, of those that have had none since the controller was opened, what they
    /// say.
    fn all<'a>(&'a self, memory: &'a Memory) -> impl Iterator<Item = (String, Readiness)> + 'a {
        self.nodes.list().into_iter().filter_map(|node| match memory.readiness.get(&node.key().name) {
            Some(known) => Some(known.clone()),
            None => node.view::<Node>().ok().map(|node| (plan::zone(&node), plan::stated_readiness(&node))),
        })
    }

    /// Whether any node is ready. Known verdicts first: they mostly are enough.
    fn any_ready(&self, memory: &Memory) -> bool {
        memory.readiness.values().any(|(_, is)| *is == Readiness::Ready)
            || self.all(memory).any(|(_, is)| is == Readiness::Ready)
    }

    /// Whether another node of the zone may be given up now.
    fn may_evict(&self, memory: &Memory, zone: &str, now: Timestamp) -> bool {
        let in_zone: Vec<Readiness> = self.all(memory).filter(|(of, _)| of == zone).map(|(_, is)| is).collect();
        let not_ready = in_zone.iter().filter(|is| **is != Readiness::Ready).count();
        let interval = plan::eviction_interval(&self.config, in_zone.len(), not_ready);
        let last = memory.given_up.get(zone);
        interval.is_some_and(|interval| last.is_none_or(|last| now.duration_since(*last).unsigned_abs() >= interval))
    }
}

#[async_trait]
impl Reconciler for NodeLifecycle {
    type Kind = Node;

    async fn reconcile(&self, node: View<Node>, ctx: &Context) -> Result<Action, Error> {
        let (name, now) = (node.key().name.clone(), ctx.now());
        let lease = self.leases.view(&ObjectKey::namespaced(LEASES, name.clone()))?;
        let zone = plan::zone(&node);
        let (plan, before) = {
            let mut memory = self.memory();
            let sign = Sign::observe(memory.signs.get(&name), &node, lease.as_deref(), now);
            let any_ready = self.any_ready(&memory);
            let may_evict = || self.may_evict(&memory, &zone, now);
            let plan = plan::plan(&self.config, &node, &sign, any_ready, &may_evict, now);
            memory.signs.insert(name.clone(), sign);
            let before = memory.readiness.insert(name.clone(), (zone.clone(), plan.readiness));
            (plan, before.map(|(_, before)| before))
        };
        let mut current = node;
        if let Some(status) = plan.status {
            let new = Node { status: Some(status), ..current.to_owned() };
            current = ctx.replace_status(&current, &new).await?;
        }
        if let Some(taints) = plan.taints {
            let mut new = current.to_owned();
            new.spec.get_or_insert_default().taints = Some(taints).filter(|taints| !taints.is_empty());
            let was_given_up = plan::is_given_up(&current);
            current = ctx.replace(&current, &new).await?;
            if plan::is_given_up(&current) && !was_given_up {
                self.memory().given_up.insert(zone, now);
            }
        }
        if plan.readiness == Readiness::Unknown && before != Some(Readiness::Unknown) {
            ctx.event(current.object(), EventType::Normal, "NodeNotReady", "the node is not heard of");
            if let Err(error) = self.unready_pods(&name, ctx).await {
                self.memory().readiness.remove(&name); // So that the next reconcile tries again.
                return Err(error);
            }
        }
        Ok(Action::after(plan.after))
    }

    async fn gone(&self, key: &ObjectKey, _: &Context) -> Result<Action, Error> {
        let mut memory = self.memory();
        memory.signs.remove(&key.name);
        memory.readiness.remove(&key.name);
        Ok(Action::Done)
    }
}

impl NodeLifecycle {
    /// The node's pods take no requests any more, as far as anybody knows.
    async fn unready_pods(&self, node: &str, ctx: &Context) -> Result<(), Error> {
        let mut writes = Vec::new();
        for pod in self.pods.list() {
            let pod: View<Pod> = pod.view()?;
            if pods::node_name(&pod) == node && pods::is_ready(&pod) {
                writes.push(async move {
                    let new = unready(&pod, ctx.now());
                    match ctx.replace_status(&pod, &new).await {
                        Err(error) if error.api().is_some_and(|error| error.is_not_found()) => Ok(()),
                        other => other.map(drop),
                    }
                });
            }
        }
        join_all(writes).await.into_iter().collect()
    }
}

fn unready(pod: &Pod, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    let conditions = pod.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten());
    for condition in conditions.filter(|condition| condition.type_ == "Ready") {
        condition.status = "False".into();
        condition.last_transition_time = Some(Time(now));
    }
    pod
}
