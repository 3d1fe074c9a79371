//! Which pods to delete when there are too many: the least valuable first.
//!
//! In order: not bound before bound; pending before unknown before running; not ready before ready; the lower
//! `controller.kubernetes.io/pod-deletion-cost` first; on the more crowded node first; ready for the shorter time first,
//! by orders of magnitude (KEP-2185); more restarts first; younger first, by orders of magnitude; then by uid.

use crate::objects::pods;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Deref;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods of `active` to delete, in order. `related` are the pods that crowd nodes.
pub(crate) fn victims<P: Deref<Target = Pod> + Clone>(
    active: &[P],
    related: &[P],
    count: usize,
    now: Timestamp,
) -> Vec<P> {
    let mut crowds: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *crowds.entry(pods::node_name(pod)).or_default() += 1;
    }
    let mut ranked: Vec<(Value<'_>, &P)> = active.iter().map(|pod| (Value::of(pod, &crowds, now), pod)).collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0));
    ranked.into_iter().take(count).map(|(_, pod)| pod.clone()).collect()
}

/// What a pod is worth keeping for; the fields in the order in which they decide.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Value<'a> {
    bound: bool,
    phase: u8,
    ready: bool,
    cost: i32,
    crowd: Reverse<usize>,
    ready_for: Age,
    restarts: Reverse<(i32, i32)>,
    age: Age,
    uid: &'a str,
}

impl<'a> Value<'a> {
    fn of(pod: &'a Pod, crowds: &BTreeMap<&str, usize>, now: Timestamp) -> Self {
        let node = pods::node_name(pod);
        let ready = pods::is_ready(pod);
        Value {
            bound: !node.is_empty(),
            phase: match pods::phase(pod) {
                "Running" => 2,
                "Unknown" => 1,
                _ => 0,
            },
            ready,
            cost: deletion_cost(pod),
            crowd: Reverse(crowds.get(node).copied().unwrap_or(0)),
            ready_for: if ready { age(pods::ready_since(pod), now) } else { Age::default() },
            restarts: Reverse(restarts(pod)),
            age: age(pod.metadata.creation_timestamp.as_ref().map(|time| time.0), now),
            uid: pod.metadata.uid.as_deref().unwrap_or(""),
        }
    }
}

/// The binary order of magnitude of a duration in nanoseconds; a time that is not known counts as the youngest.
type Age = Option<u32>;

fn age(since: Option<Timestamp>, now: Timestamp) -> Age {
    let nanoseconds = since.map(|since| now.duration_since(since).as_nanos())?;
    Some(u128::try_from(nanoseconds).ok().and_then(u128::checked_ilog2).map_or(0, |magnitude| magnitude + 1))
}

fn deletion_cost(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The most restarts of any container, and of any sidecar.
fn restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else {
        return (0, 0);
    };
    let most =
        |statuses: &mut dyn Iterator<Item = &ContainerStatus>| statuses.map(|s| s.restart_count).max().unwrap_or(0);
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars: Vec<&str> = init.filter(is_sidecar).map(|container| container.name.as_str()).collect();
    let mut init = status.init_container_statuses.iter().flatten().filter(|s| sidecars.contains(&s.name.as_str()));
    (most(&mut status.container_statuses.iter().flatten()), most(&mut init))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::*;

    fn on(mut pod: Pod, node: &str) -> Pod {
        pod.spec.get_or_insert_default().node_name = (!node.is_empty()).then(|| node.into());
        pod
    }
    fn cost(mut pod: Pod, cost: &str) -> Pod {
        pod.metadata.annotations.get_or_insert_default().insert(DELETION_COST.into(), cost.into());
        pod
    }
    fn restarted(mut pod: Pod, count: i32) -> Pod {
        let container = ContainerStatus { restart_count: count, ..ContainerStatus::default() };
        pod.status.get_or_insert_default().container_statuses = Some(vec![container]);
        pod
    }
    fn created(mut pod: Pod, seconds: i64) -> Pod {
        pod.metadata.creation_timestamp = Some(time(seconds));
        pod
    }

    /// Each row: the pod that goes, the pod that stays.
    #[test]
    fn order() {
        let p = |name| pod(name, "web");
        let running = |name| ready(p(name), 0);
        let rows = [
            ("not bound before bound", on(running("a"), ""), p("b")),
            ("pending before running", p("b"), phase(p("a"), "Running")),
            ("pending before unknown", p("b"), phase(p("a"), "Unknown")),
            ("unknown before running", phase(p("b"), "Unknown"), phase(p("a"), "Running")),
            ("not ready before ready", phase(p("b"), "Running"), running("a")),
            ("cheap before dear", cost(running("b"), "-5"), cost(running("a"), "3")),
            ("a cost that is no number is 0", cost(running("b"), "-1"), cost(running("a"), "much")),
            ("cost before crowd", cost(on(running("b"), "n2"), "-1"), running("a")),
            ("ready for a shorter time", ready(p("b"), 900), ready(p("a"), 10)),
            ("the same order of magnitude is the same", ready(p("a"), 10), ready(p("b"), 20)),
            ("more restarts", restarted(running("b"), 3), restarted(running("a"), 1)),
            ("younger", created(running("b"), 900), created(running("a"), 10)),
            ("by uid in the end", running("a"), running("b")),
        ];
        for (what, goes, stays) in rows {
            let third = on(running("third"), "n1");
            let related = [&goes, &stays, &third];
            for active in [[&goes, &stays], [&stays, &goes]] {
                let victims = victims(&active, &related, 1, at(1000));
                assert_eq!(victims[0].metadata.name, goes.metadata.name, "{what}");
            }
        }
    }

    #[test]
    fn crowded_nodes_first() {
        let all: Vec<Pod> = [("a", "n1"), ("b", "n2"), ("c", "n2")]
            .iter()
            .map(|(name, node)| on(ready(pod(name, "web"), 0), node))
            .collect();
        let sibling = on(ready(pod("d", "old"), 0), "n1");
        let sibling2 = on(ready(pod("e", "old"), 0), "n1");
        let active: Vec<&Pod> = all.iter().collect();
        let mut related = active.clone();
        assert_eq!(victims(&active, &related, 1, at(9))[0].metadata.name.as_deref(), Some("b"));
        related.extend([&sibling, &sibling2]);
        assert_eq!(victims(&active, &related, 1, at(9))[0].metadata.name.as_deref(), Some("a"), "siblings crowd too");
    }
}
