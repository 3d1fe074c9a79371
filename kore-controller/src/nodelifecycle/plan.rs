//! What silence and conditions of a node come to: pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

/// How long nodes may be silent, and how often to look at one that is not ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// A node that neither renews its lease nor writes its status for this long is not known to work. Default 40 s.
    pub grace: Duration,
    /// The same for a node that has never said anything, from its creation on. Default 60 s.
    pub startup_grace: Duration,
    /// At most one node of a zone is given up (its pods evicted) in this time. Default 10 s.
    pub eviction_interval: Duration,
    /// How often a node that is not ready is looked at again. Default 5 s.
    pub recheck: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            grace: Duration::from_secs(40),
            startup_grace: Duration::from_secs(60),
            eviction_interval: Duration::from_secs(10),
            recheck: Duration::from_secs(5),
        }
    }
}

/// The last sign of life of a node, and when this controller saw it: by its own clock, so that the node's may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sign {
    renewed: Option<Timestamp>,
    reported: Option<Timestamp>,
    seen: Timestamp,
}

impl Sign {
    /// The sign now: the last one, unless lease or status say something new.
    pub(crate) fn observe(last: Option<&Sign>, node: &Node, lease: Option<&Lease>, now: Timestamp) -> Sign {
        let renewed = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
        let reported = condition(node, READY).and_then(|ready| Some(ready.last_heartbeat_time.as_ref()?.0));
        match last {
            Some(last) if last.renewed == renewed && last.reported == reported => last.clone(),
            _ => Sign { renewed, reported, seen: now },
        }
    }

    fn is_none(&self) -> bool {
        self.renewed.is_none() && self.reported.is_none()
    }
}

/// What to write, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The status, if it changes.
    pub(crate) status: Option<NodeStatus>,
    /// The taints, if they change.
    pub(crate) taints: Option<Vec<Taint>>,
    pub(crate) readiness: Readiness,
    pub(crate) after: Option<Duration>,
}

/// The condition Ready of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// True.
    Ready,
    /// False: the node itself says so.
    NotReady,
    /// Unknown: the node is silent.
    Unknown,
    /// The node has never said.
    Unsaid,
}

pub(crate) const READY: &str = "Ready";
/// The conditions that a node's agent reports, and that nobody knows while it is silent.
const REPORTED: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];
pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
pub(crate) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep further pods away while they are True, and their taints.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
pub(crate) const NO_SCHEDULE: &str = "NoSchedule";
/// The effect that evicts.
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// Decides. `may_evict`: whether a node that is not ready may be given up now; a node that is already, stays so only as
/// long as `any_ready`: when no node at all is ready, it is more likely the control plane that is cut off.
pub(crate) fn plan(
    config: &Config,
    node: &Node,
    sign: &Sign,
    any_ready: bool,
    may_evict: &dyn Fn() -> bool,
    now: Timestamp,
) -> Plan {
    let (since, grace) = if sign.is_none() {
        let created = node.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        (created, config.startup_grace)
    } else {
        (sign.seen, config.grace)
    };
    let silent_for = now.duration_since(since);
    let left = SignedDuration::try_from(grace).expect("seconds") - silent_for;
    let is_silent = !left.is_positive();
    let before = node.status.clone().unwrap_or_default();
    let mut status = before.clone();
    if is_silent {
        forget(node, &mut status, now);
    }
    let readiness = readiness(&status);
    let wanted = taints(node, &status, readiness, any_ready, may_evict, now);
    let existing = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let left = Duration::try_from(left).unwrap_or_default();
    Plan {
        status: (status != before).then_some(status),
        taints: (wanted != existing).then_some(wanted),
        readiness,
        after: Some(if readiness == Readiness::Ready { left } else { config.recheck }),
    }
}

/// What the node's conditions say.
pub(crate) fn stated_readiness(node: &Node) -> Readiness {
    node.status.as_ref().map_or(Readiness::Unsaid, readiness)
}

/// Whether the node's pods are being evicted for its sake.
pub(crate) fn is_given_up(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.into_iter().any(|taint| taint.effect == NO_EXECUTE && matches!(taint.key.as_str(), NOT_READY | UNREACHABLE))
}

/// How long to wait between giving up two nodes of a zone with so many nodes, so many of them not ready; `None`: none is
/// given up. When more than half of a zone fails at once (and something is still ready in it), it is more likely the
/// network: large zones go on slowly, small ones wait.
pub(crate) fn eviction_interval(config: &Config, nodes: usize, not_ready: usize) -> Option<Duration> {
    let partly = not_ready > 2 && not_ready < nodes && not_ready * 100 >= nodes * 55;
    match (partly, nodes > 50) {
        (false, _) => Some(config.eviction_interval),
        (true, true) => Some(config.eviction_interval * 10),
        (true, false) => None,
    }
}

/// The zone a node is in: nodes of different zones are given up independently.
pub(crate) fn zone(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str);
    format!("{}/{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn readiness(status: &NodeStatus) -> Readiness {
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == READY);
    match ready.map(|ready| ready.status.as_str()) {
        None => Readiness::Unsaid,
        Some("True") => Readiness::Ready,
        Some("False") => Readiness::NotReady,
        Some(_) => Readiness::Unknown,
    }
}

/// Sets every condition that the node's agent reports to Unknown.
fn forget(node: &Node, status: &mut NodeStatus, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    for type_ in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("the node's agent has stopped reporting".into());
                condition.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: type_.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("the node's agent has never reported".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
}

/// The node's taints: those of others as they are, and ours as the conditions say.
fn taints(
    node: &Node,
    status: &NodeStatus,
    readiness: Readiness,
    any_ready: bool,
    may_evict: &dyn Fn() -> bool,
    now: Timestamp,
) -> Vec<Taint> {
    let existing = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let existing: Vec<&Taint> = existing.collect();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let key = match readiness {
        Readiness::NotReady => Some(NOT_READY),
        Readiness::Unknown => Some(UNREACHABLE),
        Readiness::Ready => None,
        // Somebody registered it as not ready; that stands until it says otherwise.
        Readiness::Unsaid => existing.iter().any(|taint| taint.key == NOT_READY).then_some(NOT_READY),
    };
    if let Some(key) = key {
        wanted.push((key, NO_SCHEDULE));
        if any_ready && readiness != Readiness::Unsaid && (is_given_up(node) || may_evict()) {
            wanted.push((key, NO_EXECUTE));
        }
    }
    for (type_, key) in PRESSURES {
        if status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == "True") {
            wanted.push((key, NO_SCHEDULE));
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    let is_ours = |taint: &Taint| {
        let by_condition = PRESSURES.iter().any(|(_, key)| taint.key == *key) || taint.key == UNSCHEDULABLE;
        let by_readiness = matches!(taint.key.as_str(), NOT_READY | UNREACHABLE);
        (by_condition && taint.effect == NO_SCHEDULE) || by_readiness
    };
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> =
        existing.iter().copied().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let time_added = Some(Time(now));
            taints.push(Taint { key: key.into(), effect: effect.into(), time_added, value: None });
        }
    }
    taints
}
