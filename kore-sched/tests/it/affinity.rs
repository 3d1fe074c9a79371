//! NodeAffinity.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use kore_sched::Code;
use kore_sched::plugins::NodeAffinity;
use kore_sched::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};

fn requirement(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: (!values.is_empty()).then(|| values.iter().map(|value| value.to_string()).collect()),
    }
}

fn term(labels: &[(&str, &str, &[&str])], fields: &[(&str, &str, &[&str])]) -> NodeSelectorTerm {
    let list = |of: &[(&str, &str, &[&str])]| {
        (!of.is_empty()).then(|| of.iter().map(|(key, operator, values)| requirement(key, operator, values)).collect())
    };
    NodeSelectorTerm { match_expressions: list(labels), match_fields: list(fields) }
}

const REASON: &str = "node(s) didn't match Pod's node affinity/selector";

/// Upstream: nodeaffinity/node_affinity_test.go, TestNodeAffinity.
#[test]
fn required() {
    let foo = || node("node1").label("foo", "bar");
    let labels = |labels: &[(&str, &str, &[&str])]| pod("p").require(vec![term(labels, &[])]);
    let fields = |fields: &[(&str, &str, &[&str])]| pod("p").require(vec![term(&[], fields)]);
    let cases: Vec<(&str, PodBuilder, NodeBuilder, bool)> = vec![
        ("no selector", pod("p"), node("node1"), true),
        ("missing labels", pod("p").select("foo", "bar"), node("node1"), false),
        ("same labels", pod("p").select("foo", "bar"), foo(), true),
        ("node labels are superset", pod("p").select("foo", "bar"), foo().label("baz", "blah"), true),
        ("node labels are subset", pod("p").select("foo", "bar").select("baz", "blah"), foo(), false),
        ("In operator that matches the existing node", labels(&[("foo", "In", &["bar", "value2"])]), foo(), true),
        (
            "Gt operator that matches the existing node",
            labels(&[("kernel-version", "Gt", &["0204"])]),
            node("node1").label("kernel-version", "0206"),
            true,
        ),
        (
            "NotIn operator that matches the existing node",
            labels(&[("mem-type", "NotIn", &["DDR", "DDR2"])]),
            node("node1").label("mem-type", "DDR3"),
            true,
        ),
        (
            "Exists operator that matches the existing node",
            labels(&[("GPU", "Exists", &[])]),
            node("node1").label("GPU", "NVIDIA-GRID-K1"),
            true,
        ),
        ("affinity that doesn't match node's labels", labels(&[("foo", "In", &["value1", "value2"])]), foo(), false),
        ("empty NodeSelectorTerm list", pod("p").require(vec![]), foo(), false),
        ("empty MatchExpressions", pod("p").require(vec![term(&[], &[])]), foo(), false),
        ("no affinity at all", pod("p"), foo(), true),
        (
            "multiple matchExpressions ANDed that matches",
            labels(&[("GPU", "Exists", &[]), ("GPU", "NotIn", &["AMD", "INTER"])]),
            node("node1").label("GPU", "NVIDIA-GRID-K1"),
            true,
        ),
        (
            "multiple matchExpressions ANDed that doesn't match",
            labels(&[("GPU", "Exists", &[]), ("GPU", "In", &["AMD", "INTER"])]),
            node("node1").label("GPU", "NVIDIA-GRID-K1"),
            false,
        ),
        (
            "multiple NodeSelectorTerms ORed, one matches",
            pod("p").require(vec![
                term(&[("foo", "In", &["bar", "value2"])], &[]),
                term(&[("diffkey", "In", &["wrong", "value2"])], &[]),
            ]),
            foo(),
            true,
        ),
        ("affinity and nodeSelector both match", labels(&[("foo", "Exists", &[])]).select("foo", "bar"), foo(), true),
        (
            "affinity matches, but nodeSelector does not",
            labels(&[("foo", "Exists", &[])]).select("foo", "bar"),
            node("node1").label("foo", "barrrrrr"),
            false,
        ),
        (
            "invalid value: no integer",
            labels(&[("foo", "Gt", &["not-a-number"])]),
            node("node1").label("foo", "5"),
            false,
        ),
        ("Lt", labels(&[("foo", "Lt", &["6"])]), node("node1").label("foo", "5"), true),
        ("DoesNotExist", labels(&[("foo", "DoesNotExist", &[])]), node("node1"), true),
        ("DoesNotExist, but it does", labels(&[("foo", "DoesNotExist", &[])]), foo(), false),
        ("NotIn of a label that is absent", labels(&[("foo", "NotIn", &["bar"])]), node("node1"), true),
        ("matchFields with In matches", fields(&[("metadata.name", "In", &["node1"])]), node("node1"), true),
        ("matchFields with In doesn't match", fields(&[("metadata.name", "In", &["node2"])]), node("node1"), false),
        (
            "two terms: matchFields doesn't match, matchExpressions does",
            pod("p").require(vec![
                term(&[], &[("metadata.name", "In", &["node2"])]),
                term(&[("foo", "In", &["bar"])], &[]),
            ]),
            foo(),
            true,
        ),
        (
            "one term: matchFields doesn't match, matchExpressions does",
            pod("p").require(vec![term(&[("foo", "In", &["bar"])], &[("metadata.name", "In", &["node2"])])]),
            foo(),
            false,
        ),
        (
            "one term: both match",
            pod("p").require(vec![term(&[("foo", "In", &["bar"])], &[("metadata.name", "In", &["node1"])])]),
            foo(),
            true,
        ),
        (
            "two terms: neither matches",
            pod("p").require(vec![
                term(&[], &[("metadata.name", "In", &["node2"])]),
                term(&[("foo", "In", &["not-match"])], &[]),
            ]),
            foo(),
            false,
        ),
        ("matchFields with NotIn", fields(&[("metadata.name", "NotIn", &["node2"])]), node("node1"), true),
        ("unknown field", fields(&[("metadata.namespace", "In", &["node1"])]), node("node1"), false),
    ];
    for (case, pod, node, fits) in cases {
        let cluster = Cluster::only(NodeAffinity, |at| at.pre_filter().filter()).node(node).pod(pod);
        let schedule = cluster.schedule();
        assert_eq!(schedule.node_of("p").is_some(), fits, "{case}");
        let explain = schedule.explain("p");
        let refused = explain.refused_by("node1");
        assert_eq!(refused.is_none(), fits, "{case}: {refused:?}");
        assert!(refused.is_none_or(|refused| refused.code == Code::Unresolvable), "{case}");
    }
}

#[test]
fn what_users_are_told() {
    let named = |names: &[&[&str]]| {
        let fields: Vec<_> = names.iter().map(|names| ("metadata.name", "In", *names)).collect();
        pod("p").require(vec![term(&[], &fields)])
    };
    for (pod, message) in [
        (pod("p").select("foo", "bar"), format!("0/2 nodes are available: 2 {REASON}.")),
        (
            named(&[&["elsewhere"]]),
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity].".to_owned(),
        ),
        (named(&[&["a"], &["b"]]), "0/2 nodes are available: pod affinity terms conflict.".to_owned()),
        (
            named(&[&["a"]]).cpu("64"),
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
                .to_owned(),
        ),
    ] {
        let schedule = Cluster::new().node(node("a")).node(node("b")).pod(pod).schedule();
        assert_eq!(schedule.message("p"), Some(message.as_str()));
    }
}

/// Upstream: nodeaffinity/node_affinity_test.go, TestNodeAffinityPriority.
#[test]
fn preferred() {
    type Labels = &'static [(&'static str, &'static str)];
    const LABEL1: Labels = &[("foo", "bar")];
    const LABEL2: Labels = &[("key", "value")];
    const LABEL3: Labels = &[("az", "az1")];
    const LABEL4: Labels = &[("abc", "az11"), ("def", "az22")];
    const LABEL5: Labels = &[("foo", "bar"), ("key", "value"), ("az", "az1")];
    let one = || pod("p").prefer(2, term(&[("foo", "In", &["bar"])], &[]));
    let two = || {
        pod("p")
            .prefer(2, term(&[("foo", "In", &["bar"])], &[]))
            .prefer(4, term(&[("key", "In", &["value"])], &[]))
            .prefer(5, term(&[("foo", "In", &["bar"]), ("key", "In", &["value"]), ("az", "In", &["az1"])], &[]))
    };
    type Case = (&'static str, PodBuilder, [Labels; 3], Option<[i64; 3]>);
    let cases: Vec<Case> = vec![
        ("all nodes are same priority as NodeAffinity is nil", pod("p"), [LABEL1, LABEL2, LABEL3], None),
        (
            "no node matches preferred terms: all of them are of zero priority",
            one(),
            [LABEL4, LABEL2, LABEL3],
            Some([0, 0, 0]),
        ),
        ("only node1 matches the preferred terms", one(), [LABEL1, LABEL2, LABEL3], Some([100, 0, 0])),
        ("all nodes match with different weights", two(), [LABEL1, LABEL5, LABEL2], Some([18, 100, 36])),
        (
            "an empty term matches nothing",
            pod("p").prefer(2, term(&[], &[])),
            [LABEL1, LABEL2, LABEL3],
            Some([0, 0, 0]),
        ),
        (
            "a term on fields",
            pod("p").prefer(7, term(&[], &[("metadata.name", "In", &["node2"])])),
            [LABEL1, LABEL2, LABEL3],
            Some([0, 0, 100]),
        ),
    ];
    for (case, pod, nodes, expected) in cases {
        let mut cluster = Cluster::only(NodeAffinity, |at| at.pre_score().score(1)).pod(pod);
        for (at, labels) in nodes.iter().enumerate() {
            let node = node(&format!("node{at}"));
            cluster = cluster.node(labels.iter().fold(node, |node, (key, value)| node.label(key, value)));
        }
        let explain = cluster.schedule().explain("p");
        let score = |at| explain.score(&format!("node{at}"), "NodeAffinity").map(|score| score.normalized);
        match expected {
            None => assert!((0..3).all(|at| score(at).is_none()), "{case}"),
            Some(expected) => {
                assert_eq!([0, 1, 2].map(|at| score(at).unwrap()), expected, "{case}")
            }
        }
    }
}

#[test]
fn scores_by_index_agree_with_scores_one_by_one() {
    let preference =
        || pod("p").prefer(3, term(&[("zone", "In", &["z1"])], &[])).prefer(2, term(&[("n", "Gt", &["5"])], &[]));
    let score = |nodes: std::ops::Range<usize>| {
        let mut cluster = Cluster::only(NodeAffinity, |at| at.pre_score().score(1)).pod(preference());
        for at in nodes.clone() {
            let node = node(&format!("n{at}")).label("zone", &format!("z{}", at % 3)).label("n", &at.to_string());
            cluster = cluster.node(node);
        }
        let explain = cluster.schedule().explain("p");
        nodes.map(|at| explain.score(&format!("n{at}"), "NodeAffinity").unwrap().raw).collect::<Vec<_>>()
    };
    let many = score(0..20);
    let few: Vec<i64> = (0..20).flat_map(|at| score(at..at + 1)).collect();
    assert_eq!(many, few);
    assert!(many.contains(&5) && many.contains(&3) && many.contains(&2) && many.contains(&0));
}
