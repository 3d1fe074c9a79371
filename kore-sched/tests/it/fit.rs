//! NodeResourcesFit, what fits.

use kore_sched::Code;
use kore_sched::plugins::NodeResourcesFit;
use kore_sched::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};

fn asks(cpu_milli: i64, memory: i64) -> PodBuilder {
    pod("p").cpu(&format!("{cpu_milli}m")).memory(&memory.to_string())
}

fn there(cpu_milli: i64, memory: i64) -> PodBuilder {
    pod("there").cpu(&format!("{cpu_milli}m")).memory(&memory.to_string()).on("n")
}

fn offers(cpu_milli: i64, memory: i64) -> NodeBuilder {
    node("n").cpu(&format!("{cpu_milli}m")).memory(&memory.to_string()).pods(32)
}

fn init(cpu_milli: i64, memory: i64) -> [(&'static str, String); 2] {
    [("cpu", format!("{cpu_milli}m")), ("memory", memory.to_string())]
}

fn with_init(pod: PodBuilder, requests: &[[(&'static str, String); 2]]) -> PodBuilder {
    requests
        .iter()
        .fold(pod, |pod, [(cpu, milli), (memory, bytes)]| pod.init_container(&[(cpu, milli), (memory, bytes)]))
}

const AAA: &str = "example.com/aaa";
const CPU: &str = "Insufficient cpu";
const MEMORY: &str = "Insufficient memory";

/// Upstream: noderesources/fit_test.go, TestEnoughRequests, TestNotEnoughRequests, TestStorageRequests and
/// TestRestartableInitContainers.
#[test]
fn what_is_asked_for_must_be_left() {
    let ten = || offers(10, 20);
    let rich = || ten().resource(AAA, "5").resource("hugepages-2Mi", "5").resource("ephemeral-storage", "20");
    let none = || pod("p");
    let cases: Vec<(&str, PodBuilder, PodBuilder, NodeBuilder, &[&str])> = vec![
        ("no resources requested always fits", none(), there(10, 20), ten(), &[]),
        ("too many resources fails", asks(1, 1), there(10, 20), ten(), &[CPU, MEMORY]),
        (
            "too many resources fails due to init container cpu",
            with_init(asks(1, 1), &[init(3, 1)]),
            there(8, 19),
            ten(),
            &[CPU],
        ),
        (
            "too many resources fails due to highest init container cpu",
            with_init(asks(1, 1), &[init(3, 1), init(2, 1)]),
            there(8, 19),
            ten(),
            &[CPU],
        ),
        (
            "too many resources fails due to init container memory",
            with_init(asks(1, 1), &[init(1, 3)]),
            there(9, 19),
            ten(),
            &[MEMORY],
        ),
        (
            "too many resources fails due to highest init container memory",
            with_init(asks(1, 1), &[init(1, 3), init(1, 2)]),
            there(9, 19),
            ten(),
            &[MEMORY],
        ),
        (
            "init container fits because it's the max, not sum, of containers and init containers",
            with_init(asks(1, 1), &[init(1, 1)]),
            there(9, 19),
            ten(),
            &[],
        ),
        (
            "multiple init containers fit because it's the max, not sum",
            with_init(asks(1, 1), &[init(1, 1), init(1, 1)]),
            there(9, 19),
            ten(),
            &[],
        ),
        ("both resources fit", asks(1, 1), there(5, 5), ten(), &[]),
        ("one resource memory fits", asks(2, 1), there(9, 5), ten(), &[CPU]),
        ("one resource cpu fits", asks(1, 2), there(5, 19), ten(), &[MEMORY]),
        ("equal edge case", asks(5, 1), there(5, 19), ten(), &[]),
        ("equal edge case for init container", with_init(asks(4, 1), &[init(5, 1)]), there(5, 19), ten(), &[]),
        ("extended resource fits", none().resource(AAA, "3"), there(0, 0), rich(), &[]),
        ("extended resource fits for init container", none().init_container(&[(AAA, "3")]), there(0, 0), rich(), &[]),
        (
            "extended resource capacity enforced",
            asks(1, 1).resource(AAA, "10"),
            there(0, 0),
            rich(),
            &["Insufficient example.com/aaa"],
        ),
        (
            "extended resource capacity enforced for init container",
            asks(1, 1).init_container(&[(AAA, "10")]),
            there(0, 0),
            rich(),
            &["Insufficient example.com/aaa"],
        ),
        (
            "extended resource allocatable enforced",
            asks(1, 1).resource(AAA, "1"),
            there(0, 0).resource(AAA, "5"),
            rich(),
            &["Insufficient example.com/aaa"],
        ),
        (
            "extended resource allocatable enforced for multiple containers",
            asks(1, 1).resource(AAA, "3").container(&[(AAA, "3")]),
            there(0, 0).resource(AAA, "2"),
            rich(),
            &["Insufficient example.com/aaa"],
        ),
        (
            "extended resource allocatable admits multiple init containers",
            asks(1, 1).init_container(&[(AAA, "3")]).init_container(&[(AAA, "3")]),
            there(0, 0).resource(AAA, "2"),
            rich(),
            &[],
        ),
        (
            "extended resource allocatable enforced for multiple init containers",
            asks(1, 1).init_container(&[(AAA, "6")]).init_container(&[(AAA, "3")]),
            there(0, 0).resource(AAA, "2"),
            rich(),
            &["Insufficient example.com/aaa"],
        ),
        (
            "extended resource allocatable enforced for unknown resource",
            asks(1, 1).resource("example.com/bbb", "1"),
            there(0, 0),
            rich(),
            &["Insufficient example.com/bbb"],
        ),
        (
            "kubernetes.io resource capacity enforced",
            asks(1, 1).resource("kubernetes.io/something", "10"),
            there(0, 0),
            rich(),
            &["Insufficient kubernetes.io/something"],
        ),
        (
            "hugepages resource capacity enforced",
            asks(1, 1).resource("hugepages-2Mi", "10"),
            there(0, 0),
            rich(),
            &["Insufficient hugepages-2Mi"],
        ),
        (
            "hugepages resource allocatable enforced for multiple containers",
            asks(1, 1).resource("hugepages-2Mi", "3").container(&[("hugepages-2Mi", "3")]),
            there(0, 0).resource("hugepages-2Mi", "2"),
            rich(),
            &["Insufficient hugepages-2Mi"],
        ),
        ("a request of zero is none", asks(1, 1).resource("example.com/bbb", "0"), there(0, 0), rich(), &[]),
        (
            "quota names are nobody's resource",
            asks(1, 1).resource("requests.example.com/x", "1"),
            there(0, 0),
            rich(),
            &[],
        ),
        (
            "resources + pod overhead fits",
            asks(1, 1).overhead("cpu", "3m").overhead("memory", "13"),
            there(5, 5),
            ten(),
            &[],
        ),
        (
            "requests + overhead does not fit for memory",
            asks(1, 1).overhead("cpu", "1m").overhead("memory", "15"),
            there(5, 5),
            ten(),
            &[MEMORY],
        ),
        (
            "even without specified resources, predicate fails when there's no space for additional pod",
            none(),
            there(10, 20),
            ten().pods(1),
            &["Too many pods"],
        ),
        (
            "even if both resources fit, predicate fails when there's no space for additional pod",
            asks(1, 1),
            there(5, 5),
            ten().pods(1),
            &["Too many pods"],
        ),
        (
            "even for equal edge case, predicate fails when there's no space for additional pod",
            asks(5, 1),
            there(5, 19),
            ten().pods(1),
            &["Too many pods"],
        ),
        (
            "all reasons are given",
            asks(11, 21).resource(AAA, "6"),
            there(0, 0),
            rich().pods(1),
            &["Too many pods", CPU, MEMORY, "Insufficient example.com/aaa"],
        ),
        (
            "storage ephemeral local storage request exceeds allocatable",
            none().resource("ephemeral-storage", "25"),
            there(0, 0),
            rich(),
            &["Insufficient ephemeral-storage"],
        ),
        ("ephemeral local storage is sufficient", none().resource("ephemeral-storage", "10"), there(2, 2), rich(), &[]),
        (
            "requests of containers are summed for ephemeral storage",
            none().resource("ephemeral-storage", "10").container(&[("ephemeral-storage", "11")]),
            there(0, 0),
            rich(),
            &["Insufficient ephemeral-storage"],
        ),
        (
            "restartable init container counts beside the containers",
            asks(6, 1).sidecar(&[("cpu", "5m")]),
            there(0, 0),
            ten(),
            &[CPU],
        ),
        (
            "restartable init container fits beside the containers",
            asks(5, 1).sidecar(&[("cpu", "5m")]),
            there(0, 0),
            ten(),
            &[],
        ),
        (
            "an init container after a sidecar runs with it",
            asks(1, 1).sidecar(&[("cpu", "5m")]).init_container(&[("cpu", "6m")]),
            there(0, 0),
            ten(),
            &[CPU],
        ),
        (
            "an init container before a sidecar runs without it",
            asks(1, 1).init_container(&[("cpu", "6m")]).sidecar(&[("cpu", "5m")]),
            there(0, 0),
            ten(),
            &[],
        ),
    ];
    for (case, pod, there, node, expected) in cases {
        let cluster = Cluster::only(NodeResourcesFit::default(), |at| at.filter());
        let explain = cluster.node(node).pod(there).pod(pod).schedule().explain("p");
        let reasons = explain.refused_by("n").map(|refused| refused.reasons.clone()).unwrap_or_default();
        assert_eq!(reasons, expected, "{case}");
    }
}

#[test]
fn more_than_a_node_has_is_unresolvable() {
    let code = |asked: i64| {
        let cluster = Cluster::only(NodeResourcesFit::default(), |at| at.filter());
        let cluster = cluster.node(offers(10, 20)).pod(there(5, 1)).pod(asks(asked, 1));
        cluster.schedule().explain("p").refused_by("n").map(|refused| refused.code)
    };
    assert_eq!(code(5), None);
    assert_eq!(code(6), Some(Code::Unschedulable));
    assert_eq!(code(11), Some(Code::Unresolvable));
}

#[test]
fn ignored_resources_do_not_refuse() {
    for ignored in [AAA, "example.com"] {
        let plugin = NodeResourcesFit::default().ignoring(ignored);
        let cluster = Cluster::only(plugin, |at| at.filter()).node(offers(10, 20));
        let schedule = cluster.pod(asks(1, 1).resource(AAA, "2")).schedule();
        assert_eq!(schedule.node_of("p").as_deref(), Some("n"), "{ignored}");
    }
}

#[test]
fn pod_level_requests_take_the_place_of_the_sum() {
    let pod = asks(20, 1).edit(|pod| {
        let spec = pod.spec.as_mut().unwrap();
        let resources = spec.resources.get_or_insert_default();
        let quantity = k8s_openapi::apimachinery::pkg::api::resource::Quantity("4m".into());
        resources.requests.get_or_insert_default().insert("cpu".into(), quantity);
    });
    let schedule = Cluster::new().node(offers(10, 20)).pod(pod).schedule();
    assert_eq!(schedule.node_of("p").as_deref(), Some("n"));
}

/// No amounts that pods ask for, together on one node, make its use something else than very much.
#[test]
fn amounts_without_end_add_up() {
    let huge = |name: &str| pod(name).cpu("9223372036854775807").memory("8Ei").on("n");
    let schedule = (0..100)
        .fold(Cluster::new().node(offers(1000, 1 << 30)), |cluster, at| cluster.pod(huge(&format!("huge-{at}"))))
        .pod(asks(1, 1))
        .schedule();
    assert_eq!(schedule.node_of("p"), None);
}
