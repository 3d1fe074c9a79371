//! Taint eviction: pods leave a node whose NoExecute taints they do not tolerate, or tolerate no longer.
//!
//! `tolerationSeconds` counts from when the taint was added (`timeAdded`), so that a restart of the controller does not
//! give pods more time.

use crate::nodelifecycle::plan::NO_EXECUTE;
use crate::objects::pods;
use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kore_api::client::{Client, EventType, Informer};
use kore_api::object::{Object, ObjectKey, View};
use kore_api::request::Options;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The controller of taint evictions: a handle, and the future that runs it.
pub fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Pod>::new("taint-eviction-controller", client, caches);
    let pods = controller.primary();
    let nodes = controller
        .relates::<Node>(move |node| if evicting(node).is_empty() { Vec::new() } else { bound_to(&pods, node.name()) });
    controller.open(TaintEviction { nodes, undated: Mutex::default() })
}

/// The pods bound to this node.
pub(crate) fn bound_to(pods: &Informer<Pod>, node: &str) -> Vec<ObjectKey> {
    let is_bound = |pod: &Object| pod.view::<Pod>().is_ok_and(|pod| pods::node_name(&pod) == node);
    pods.list().iter().filter(|pod| is_bound(pod)).map(|pod| pod.key().clone()).collect()
}

fn evicting(node: &Object) -> Vec<Taint> {
    let taints = node.view::<Node>().ok().and_then(|node| node.spec.as_ref()?.taints.clone());
    taints.into_iter().flatten().filter(|taint| taint.effect == NO_EXECUTE).collect()
}

struct TaintEviction {
    nodes: Informer<Node>,
    /// When a taint that does not say since when was first seen, by node and key.
    undated: Mutex<BTreeMap<(String, String), Timestamp>>,
}

#[async_trait]
impl Reconciler for TaintEviction {
    type Kind = Pod;

    async fn reconcile(&self, pod: View<Pod>, ctx: &Context) -> Result<Action, Error> {
        let node = pods::node_name(&pod);
        if node.is_empty() || !pods::is_active(&pod) {
            return Ok(Action::Done);
        }
        let Some(found) = self.nodes.get(&ObjectKey::cluster(node)) else {
            return Ok(Action::Done);
        };
        let taints = self.dated(node, evicting(&found), ctx.now());
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone()).unwrap_or_default();
        match plan(&tolerations, &taints, bound_at(&pod)) {
            None => Ok(Action::Done),
            Some(at) if at > ctx.now() => {
                let delay = at.duration_since(ctx.now());
                Ok(Action::After(Duration::try_from(delay).expect("later than now")))
            }
            Some(_) => evict(&pod, ctx).await.map(|()| Action::Done),
        }
    }
}

impl TaintEviction {
    /// The taints with the time since when they count.
    fn dated(&self, node: &str, taints: Vec<Taint>, now: Timestamp) -> Vec<(Taint, Timestamp)> {
        let mut undated = self.undated.lock().unwrap_or_else(PoisonError::into_inner);
        undated.retain(|(of, key), _| of != node || taints.iter().any(|taint| taint.key == *key));
        let mut since = |taint: &Taint| match &taint.time_added {
            Some(time) => time.0,
            None => *undated.entry((node.to_owned(), taint.key.clone())).or_insert(now),
        };
        taints.into_iter().map(|taint| (taint.clone(), since(&taint))).collect()
    }
}

async fn evict(pod: &View<Pod>, ctx: &Context) -> Result<(), Error> {
    let message = "the node has a taint that the pod does not tolerate";
    let target = disruption("DeletionByTaintManager", message, ctx.now());
    if pods::condition(pod, &target.type_).is_none_or(|condition| condition.status != "True") {
        ctx.replace_status(pod, &with_condition(pod, target)).await?;
    }
    ctx.event(pod.object(), EventType::Normal, "TaintManagerEviction", "evicted: the node is tainted");
    ctx.delete(pod, &Options::default()).await
}

/// The condition that says why a pod was taken away.
pub(crate) fn disruption(reason: &str, message: &str, now: Timestamp) -> PodCondition {
    PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    }
}

/// The pod with this condition in place of one of the same type.
pub(crate) fn with_condition(pod: &Pod, condition: PodCondition) -> Pod {
    let mut pod = pod.clone();
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|other| other.type_ != condition.type_);
    conditions.push(condition);
    pod
}

/// Since when a pod has been bound, as far as it says.
fn bound_at(pod: &Pod) -> Timestamp {
    let scheduled = pods::condition(pod, "PodScheduled").and_then(|condition| condition.last_transition_time.as_ref());
    scheduled.or(pod.metadata.creation_timestamp.as_ref()).map_or(Timestamp::MIN, |time| time.0)
}

/// When a pod with these tolerations, bound at `bound`, has to leave a node with these taints; `None`: it may stay. What it bears
/// with for a time, it bears with from when both were there: a pod that is put onto a tainted node has its time there, too.
fn plan(tolerations: &[Toleration], taints: &[(Taint, Timestamp)], bound: Timestamp) -> Option<Timestamp> {
    let leaves = |(taint, since): &(Taint, Timestamp)| {
        let mut tolerated = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if tolerated.peek().is_none() {
            return Some(Timestamp::MIN);
        }
        let seconds = tolerated.filter_map(|toleration| toleration.toleration_seconds).min()?;
        Some((*since).max(bound).saturating_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX))
    };
    taints.iter().filter_map(leaves).min()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let is = |field: &Option<String>, value: &str| field.as_deref().unwrap_or("") == value;
    let effect = is(&toleration.effect, "") || is(&toleration.effect, &taint.effect);
    let key = is(&toleration.key, "") || is(&toleration.key, &taint.key);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            is(&toleration.value, taint.value.as_deref().unwrap_or("")) && !is(&toleration.key, "")
        }
        Some(_) => false,
    };
    effect && key && value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::at;

    fn taint(key: &str, value: &str) -> Taint {
        let value = Some(value.to_string()).filter(|value| !value.is_empty());
        Taint { key: key.into(), effect: NO_EXECUTE.into(), value, time_added: None }
    }

    /// key, operator, value, effect, seconds
    fn toleration(key: &str, operator: &str, value: &str, effect: &str, seconds: Option<i64>) -> Toleration {
        let text = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
        Toleration {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            toleration_seconds: seconds,
        }
    }

    #[test]
    fn when_pods_leave() {
        let t = toleration;
        let now = Some(Timestamp::MIN);
        let rows = [
            ("no taint", vec![], vec![], None),
            ("no toleration", vec![], vec![taint("a", "")], now),
            ("tolerated for ever", vec![t("a", "Exists", "", "", None)], vec![taint("a", "x")], None),
            (
                "tolerated for a time",
                vec![t("a", "Exists", "", "NoExecute", Some(30))],
                vec![taint("a", "")],
                Some(at(130)),
            ),
            ("for no time", vec![t("a", "Exists", "", "", Some(-5))], vec![taint("a", "")], Some(at(100))),
            (
                "the shortest counts",
                vec![t("a", "Exists", "", "", Some(30)), t("", "Exists", "", "", Some(20))],
                vec![taint("a", "")],
                Some(at(120)),
            ),
            (
                "one with a time, one without",
                vec![t("a", "Exists", "", "", Some(30)), t("a", "Exists", "", "", None)],
                vec![taint("a", "")],
                Some(at(130)),
            ),
            ("another effect", vec![t("a", "Exists", "", "NoSchedule", None)], vec![taint("a", "")], now),
            ("another value", vec![t("a", "Equal", "y", "", None)], vec![taint("a", "x")], now),
            ("the same value, operator by default", vec![t("a", "", "x", "", None)], vec![taint("a", "x")], None),
            ("one of two", vec![t("a", "Exists", "", "", None)], vec![taint("a", ""), taint("b", "")], now),
            ("everything", vec![t("", "Exists", "", "", None)], vec![taint("a", ""), taint("b", "")], None),
        ];
        for (what, tolerations, taints, expected) in rows {
            let taints: Vec<(Taint, Timestamp)> = taints.into_iter().map(|taint| (taint, at(100))).collect();
            assert_eq!(plan(&tolerations, &taints, at(50)), expected, "{what}");
        }
        // Bound after the taint came: what it bears with, it bears with from then on.
        let taints = [(taint("a", ""), at(100))];
        assert_eq!(plan(&[t("a", "Exists", "", "", Some(30))], &taints, at(200)), Some(at(230)));
        assert_eq!(plan(&[], &taints, at(200)), now);
    }
}
