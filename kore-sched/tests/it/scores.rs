//! NodeResourcesFit and NodeResourcesBalancedAllocation, what is best.

use kore_sched::NodeVerdict;
use kore_sched::plugins::{NodeResourcesBalancedAllocation, NodeResourcesFit, Strategy};
use kore_sched::testing::{Cluster, PodBuilder, node, pod};

/// `(cpu milli, memory)`.
type Amount = (i64, i64);

fn scores(plugin: &str, cluster: Cluster, asked: &[Amount], nodes: &[(Amount, &[Amount])]) -> Vec<i64> {
    let with = |mut pod: PodBuilder, containers: &[Amount]| {
        pod = pod.edit(|pod| pod.spec.as_mut().unwrap().containers.clear());
        containers.iter().fold(pod, |pod, (cpu, memory)| {
            pod.container(&[("cpu", &format!("{cpu}m")), ("memory", &memory.to_string())])
        })
    };
    let mut cluster = cluster.pod(with(pod("p"), asked));
    for (at, ((cpu, memory), there)) in nodes.iter().enumerate() {
        let name = format!("node{at}");
        cluster = cluster.node(node(&name).cpu(&format!("{cpu}m")).memory(&memory.to_string()));
        for (number, amount) in there.iter().enumerate() {
            cluster = cluster.pod(with(pod(&format!("{name}-{number}")).on(&name), &[*amount]));
        }
    }
    let explain = cluster.schedule().explain("p");
    let score = |at| match explain.of(&format!("node{at}")) {
        Some(NodeVerdict::Fits { scores, .. }) => {
            scores.iter().find(|score| score.plugin == plugin).map_or(-1, |score| score.raw)
        }
        other => panic!("{other:?}"),
    };
    (0..nodes.len()).map(score).collect()
}

type ScoreCase<'a> = (&'a str, &'a [Amount], &'a [(Amount, &'a [Amount])], &'a [i64]);

/// Upstream: noderesources/least_allocated_test.go.
#[test]
fn least_allocated() {
    let cases: [ScoreCase<'_>; 9] = [
        ("nothing scheduled, nothing requested", &[], &[((4000, 10000), &[]), ((4000, 10000), &[])], &[100, 100]),
        (
            "nothing scheduled, resources requested, differently sized nodes",
            &[(1000, 2000), (2000, 3000)],
            &[((4000, 10000), &[]), ((6000, 10000), &[])],
            &[37, 50],
        ),
        (
            "no resources requested, pods scheduled with resources",
            &[],
            &[((10000, 20000), &[(3000, 0), (3000, 0)]), ((10000, 20000), &[(3000, 0), (3000, 5000)])],
            &[70, 57],
        ),
        (
            "resources requested, pods scheduled with resources",
            &[(1000, 2000), (2000, 3000)],
            &[((10000, 20000), &[(3000, 0)]), ((10000, 20000), &[(3000, 5000)])],
            &[57, 45],
        ),
        (
            "resources requested, pods scheduled with resources, differently sized nodes",
            &[(1000, 2000), (2000, 3000)],
            &[((10000, 20000), &[(3000, 0)]), ((10000, 50000), &[(3000, 5000)])],
            &[57, 60],
        ),
        (
            "requested resources exceed node capacity",
            &[(1000, 0), (2000, 0)],
            &[((4000, 10000), &[(3000, 0)]), ((4000, 10000), &[(3000, 5000)])],
            &[50, 25],
        ),
        (
            "zero node resources, pods scheduled with resources",
            &[],
            &[((0, 0), &[(3000, 0)]), ((0, 0), &[(3000, 5000)])],
            &[0, 0],
        ),
        ("truncated towards zero", &[(1, 1)], &[((3, 3), &[])], &[66]),
        ("more memory than floating point holds", &[(0, 1 << 61)], &[((1000, 3 << 60), &[])], &[66]),
    ];
    for (case, asked, nodes, expected) in cases {
        let cluster = Cluster::only(NodeResourcesFit::default(), |at| at.score(1));
        assert_eq!(scores("NodeResourcesFit", cluster, asked, nodes), expected, "{case}");
    }
}

/// Upstream: noderesources/least_allocated_test.go and most_allocated_test.go, with weights.
#[test]
fn weights_and_strategies() {
    let nodes: &[(Amount, &[Amount])] = &[((4000, 10000), &[]), ((6000, 10000), &[])];
    let asked: &[Amount] = &[(1000, 2000), (2000, 3000)];
    let weighted = NodeResourcesFit::default().resources([("memory", 2), ("cpu", 1)]);
    let least = Cluster::only(weighted, |at| at.score(1));
    assert_eq!(scores("NodeResourcesFit", least, asked, nodes), [41, 50]);
    let most = NodeResourcesFit::default().strategy(Strategy::MostAllocated);
    let most = Cluster::only(most, |at| at.score(1));
    assert_eq!(scores("NodeResourcesFit", most, asked, nodes), [62, 50]);
}

#[test]
fn containers_that_state_nothing_count_in_scores() {
    let explain = |pod: PodBuilder| {
        let node = node("n").cpu("1").memory("2000Mi");
        Cluster::only(NodeResourcesFit::default(), |at| at.score(1)).node(node).pod(pod).schedule().explain("p")
    };
    let raw = |pod| explain(pod).score("n", "NodeResourcesFit").unwrap().raw;
    assert_eq!(raw(pod("p")), 90, "100 m of 1,000 and 200 MiB of 2,000");
    assert_eq!(raw(pod("p").cpu("500m")), 70, "50 and 90");
    assert_eq!(raw(pod("p").cpu("0").memory("0")), 100, "zero is stated");
}

/// Upstream: noderesources/balanced_allocation_test.go.
#[test]
fn balanced_allocation() {
    const BOTH: &[Amount] = &[(1000, 2000), (2000, 3000)];
    let cases: [ScoreCase<'_>; 8] = [
        ("best-effort pods are not scored", &[], &[((4000, 10000), &[]), ((4000, 10000), &[])], &[-1, -1]),
        (
            "nothing scheduled, resources requested, differently sized nodes",
            BOTH,
            &[((4000, 10000), &[]), ((6000, 10000), &[])],
            &[87, 100],
        ),
        (
            "resources requested, nothing scheduled",
            &[(3000, 0)],
            &[((10000, 20000), &[]), ((10000, 20000), &[])],
            &[85, 85],
        ),
        (
            "resources requested, pods scheduled with resources",
            BOTH,
            &[((10000, 20000), &[(3000, 0)]), ((10000, 20000), &[(3000, 5000)])],
            &[82, 95],
        ),
        (
            "resources requested, pods scheduled with resources, differently sized nodes",
            BOTH,
            &[((10000, 20000), &[(3000, 0)]), ((10000, 50000), &[(3000, 5000)])],
            &[82, 80],
        ),
        (
            "requested resources at node capacity",
            &[(1000, 0), (2000, 0)],
            &[((6000, 10000), &[(3000, 0)]), ((6000, 10000), &[(3000, 5000)])],
            &[50, 75],
        ),
        ("requested resources exceed node capacity", &[(5000, 0)], &[((4000, 10000), &[])], &[50]),
        (
            "zero node resources, pods scheduled with resources",
            &[(1, 0)],
            &[((0, 0), &[(3000, 0)]), ((0, 0), &[(3000, 5000)])],
            &[100, 100],
        ),
    ];
    for (case, asked, nodes, expected) in cases {
        let plugin = NodeResourcesBalancedAllocation;
        let cluster = Cluster::only(plugin, |at| at.pre_score().score(1));
        assert_eq!(scores("NodeResourcesBalancedAllocation", cluster, asked, nodes), expected, "{case}");
    }
}
