//! Upstream's behaviours as rows: conditions and taints of one node.

use super::plan::*;
use crate::objects::testing::{at, meta, time};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use std::time::Duration;

fn node(ready: &str) -> Node {
    let mut node = Node { metadata: meta("n1"), ..Node::default() };
    if !ready.is_empty() {
        let ready = NodeCondition {
            type_: READY.into(),
            status: ready.into(),
            last_heartbeat_time: Some(time(0)),
            ..NodeCondition::default()
        };
        node.status.get_or_insert_default().conditions = Some(vec![ready]);
    }
    node
}

fn tainted(mut node: Node, taints: &[(&str, &str)]) -> Node {
    let taint = |(key, effect): &(&str, &str)| Taint {
        key: key.to_string(),
        effect: effect.to_string(),
        time_added: Some(time(1)),
        value: None,
    };
    node.spec = Some(NodeSpec { taints: Some(taints.iter().map(taint).collect()), ..NodeSpec::default() });
    node
}

fn lease(renewed: i64) -> Lease {
    let spec = LeaseSpec { renew_time: Some(MicroTime(at(renewed))), ..LeaseSpec::default() };
    Lease { spec: Some(spec), ..Lease::default() }
}

#[test]
fn silence_is_measured_by_our_own_clock() {
    // The node's clock is an hour ahead.
    let (node, config) = (node("True"), Config::default());
    let first = Sign::observe(None, &node, Some(&lease(3600)), at(100));
    let same = Sign::observe(Some(&first), &node, Some(&lease(3600)), at(139));
    assert_eq!(first, same);
    let alive = plan(&config, &node, &same, true, &|| true, at(139));
    assert_eq!((alive.status, alive.readiness), (None, Readiness::Ready));
    assert_eq!(alive.after, Some(Duration::from_secs(1)));
    let silent = plan(&config, &node, &same, true, &|| true, at(140));
    assert_eq!(silent.readiness, Readiness::Unknown);
    let conditions = silent.status.and_then(|status| status.conditions).expect("conditions");
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
    assert!(conditions.len() == 4 && conditions.iter().all(|condition| condition.status == "Unknown"));
    let renewed = Sign::observe(Some(&same), &node, Some(&lease(3610)), at(139));
    assert_eq!(plan(&config, &node, &renewed, true, &|| true, at(178)).readiness, Readiness::Ready);
}

#[test]
fn a_node_that_never_spoke_gets_longer() {
    let (node, config) = (node(""), Config::default());
    let sign = Sign::observe(None, &node, None, at(5));
    assert_eq!(plan(&config, &node, &sign, true, &|| true, at(59)).readiness, Readiness::Unsaid);
    let plan = plan(&config, &node, &sign, true, &|| true, at(60));
    let conditions = plan.status.and_then(|status| status.conditions).expect("conditions");
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusNeverUpdated"));
}

/// (what, node, any ready, may evict) -> taints
#[test]
fn taints_follow_conditions() {
    type Row = (&'static str, Node, bool, bool, &'static [(&'static str, &'static str)]);
    let both = [(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)];
    let cordoned = {
        let mut node = node("True");
        node.spec = Some(NodeSpec { unschedulable: Some(true), ..NodeSpec::default() });
        node
    };
    let pressed = {
        let mut node = node("True");
        let conditions = node.status.as_mut().and_then(|status| status.conditions.as_mut()).expect("conditions");
        let pressure =
            NodeCondition { type_: "DiskPressure".into(), status: "True".into(), ..NodeCondition::default() };
        conditions.push(pressure);
        node
    };
    let rows: [Row; 11] = [
        ("ready", node("True"), true, true, &[]),
        ("not ready", node("False"), true, true, &[(NOT_READY, NO_SCHEDULE), (NOT_READY, NO_EXECUTE)]),
        ("silent", node("Unknown"), true, true, &[(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)]),
        ("not its turn", node("Unknown"), true, false, &[(UNREACHABLE, NO_SCHEDULE)]),
        (
            "given up already",
            tainted(node("Unknown"), &both),
            true,
            false,
            &[(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)],
        ),
        ("everybody is silent", tainted(node("Unknown"), &both), false, true, &[(UNREACHABLE, NO_SCHEDULE)]),
        ("back", tainted(node("True"), &both), true, true, &[]),
        (
            "others' taints stay",
            tainted(node("True"), &[("team", NO_EXECUTE), both[0]]),
            true,
            true,
            &[("team", NO_EXECUTE)],
        ),
        (
            "registered as not ready",
            tainted(node(""), &[(NOT_READY, NO_SCHEDULE)]),
            true,
            true,
            &[(NOT_READY, NO_SCHEDULE)],
        ),
        ("cordoned", cordoned, true, true, &[(UNSCHEDULABLE, NO_SCHEDULE)]),
        ("under pressure", pressed, true, true, &[("node.kubernetes.io/disk-pressure", NO_SCHEDULE)]),
    ];
    for (what, node, any_ready, may_evict, expected) in rows {
        let sign = Sign::observe(None, &node, Some(&lease(0)), at(10));
        let plan = plan(&Config::default(), &node, &sign, any_ready, &|| may_evict, at(11));
        let existing = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let taints = plan.taints.unwrap_or(existing);
        let got: Vec<(&str, &str)> = taints.iter().map(|taint| (taint.key.as_str(), taint.effect.as_str())).collect();
        assert_eq!(got, expected, "{what}");
    }
}

#[test]
fn pace() {
    let config = Config::default();
    let normal = Some(config.eviction_interval);
    // (nodes, not ready) -> interval
    let rows = [
        (10, 1, normal),
        (3, 2, normal),
        (10, 5, normal),
        (10, 6, None),
        (10, 10, normal),
        (100, 54, normal),
        (100, 55, Some(config.eviction_interval * 10)),
    ];
    for (nodes, not_ready, expected) in rows {
        assert_eq!(eviction_interval(&config, nodes, not_ready), expected, "{not_ready} of {nodes}");
    }
}

#[test]
fn a_taint_keeps_the_time_it_was_added() {
    let node = tainted(node("Unknown"), &[(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)]);
    let sign = Sign::observe(None, &node, Some(&lease(0)), at(10));
    assert_eq!(plan(&Config::default(), &node, &sign, true, &|| true, at(30)).taints, None);
}
