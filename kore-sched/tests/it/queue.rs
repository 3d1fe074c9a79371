//! What happens to pods over time.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use kore_sched::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};
use kore_sched::{Assignment, BindFailure, Command, Engine, Event, PodKey, QueuePlace, Rejection, Time};

fn secs(secs: u64) -> Time {
    Duration::from_secs(secs)
}

fn key(name: &str) -> PodKey {
    PodKey::new("default", name)
}

/// An engine with a clock that the test moves.
struct Bench {
    engine: Engine,
    now: Time,
    reports: Vec<String>,
}

impl Bench {
    fn new(cluster: Cluster) -> Bench {
        Bench { engine: cluster.engine(), now: Time::ZERO, reports: Vec::new() }
    }

    fn node(&mut self, node: NodeBuilder) {
        self.engine.handle(Event::Node(Arc::new(node.build())), self.now);
    }

    fn pod(&mut self, pod: PodBuilder) {
        self.engine.handle(Event::Pod(Arc::new(pod.build())), self.now);
    }

    fn gone(&mut self, name: &str) {
        self.engine.handle(Event::PodGone(key(name)), self.now);
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    /// Runs every cycle there is; what is to be bound.
    fn run(&mut self) -> Vec<Assignment> {
        let mut bind = Vec::new();
        let mut cycles = 0;
        let mut more = true;
        while more {
            more = self.engine.step(self.now);
            cycles += 1;
            assert!(cycles < 10_000, "the queue does not come to rest");
            let commands: Vec<Command> = self.engine.commands().collect();
            for command in commands {
                match command {
                    Command::Bind(assignment) => bind.push(assignment),
                    Command::Report(report) => self.reports.push(format!("{}: {}", report.reason, report.message)),
                    other => panic!("{other:?}"),
                }
            }
        }
        bind
    }

    /// The same as `pod -> node`.
    fn placed(&mut self) -> Vec<String> {
        self.run()
            .iter()
            .map(|assignment| format!("{} -> {}", assignment.pod().key().name, assignment.node()))
            .collect()
    }

    fn fail(&mut self, assignment: Assignment, failure: BindFailure) {
        self.engine.handle(Event::BindFailed(assignment, failure), self.now);
    }

    fn place(&mut self, pod: &str) -> Option<QueuePlace> {
        let now = self.now;
        self.engine.explain(&key(pod), now).and_then(|explain| explain.queued)
    }
}

fn failed() -> BindFailure {
    BindFailure::Failed { message: "no".to_owned() }
}

#[test]
fn priority_goes_first_and_then_age() {
    let mut bench = Bench::new(Cluster::new());
    bench.pod(pod("old"));
    bench.wait(1);
    bench.pod(pod("young"));
    bench.pod(pod("important").priority(10));
    bench.pod(pod("unimportant").priority(-1));
    bench.pod(pod("younger"));
    bench.node(node("n"));
    assert_eq!(bench.placed(), ["important -> n", "old -> n", "young -> n", "younger -> n", "unimportant -> n"]);
}

#[test]
fn a_new_priority_counts_while_waiting() {
    let mut bench = Bench::new(Cluster::new().node(node("n")).pod(pod("a")).pod(pod("b")));
    bench.pod(pod("b").priority(1));
    assert_eq!(bench.placed(), ["b -> n", "a -> n"]);
}

#[test]
fn a_pod_that_fits_nowhere_waits_for_something_that_may_help() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("big").cpu("2")));
    assert!(bench.placed().is_empty());
    assert_eq!(bench.reports, ["Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."]);
    assert_eq!(bench.place("big"), Some(QueuePlace::Unschedulable));

    bench.wait(60);
    bench.node(node("n").cpu("1").label("new", "label"));
    bench.node(node("small").cpu("1"));
    bench.node(node("n").cpu("1500m"));
    assert!(bench.placed().is_empty());
    assert_eq!(bench.reports.len(), 1, "nothing of this can help, and nothing was tried: {:?}", bench.reports);

    bench.node(node("large").cpu("2"));
    assert_eq!(bench.placed(), ["big -> large"]);
}

#[test]
fn without_nodes_pods_wait_for_the_first() {
    let mut bench = Bench::new(Cluster::new().pod(pod("p")));
    assert!(bench.placed().is_empty());
    assert_eq!(bench.reports, ["Unschedulable: no nodes available to schedule pods"]);
    bench.node(node("n"));
    assert_eq!(bench.placed(), ["p -> n"]);
}

#[test]
fn each_reason_has_its_event() {
    type Change = fn(&mut Bench);
    let cases: [(&str, PodBuilder, NodeBuilder, Change); 7] = [
        ("cpu is freed", pod("p").cpu("4"), node("n"), |bench| bench.gone("there")),
        ("cpu is freed by a pod that ends", pod("p").cpu("4"), node("n"), |bench| {
            bench.pod(pod("there").cpu("1").on("n").edit(|pod| {
                pod.status = Some(PodStatus { phase: Some("Succeeded".into()), ..PodStatus::default() });
            }));
        }),
        ("a running pod shrinks", pod("p").cpu("3500m"), node("n"), |bench| {
            bench.pod(pod("there").cpu("500m").on("n"))
        }),
        ("the port is freed", pod("p").host_port("TCP", "", 80), node("n"), |bench| bench.gone("there")),
        ("uncordoned", pod("p"), node("n").cordoned(), |bench| bench.node(node("n"))),
        ("the taint goes", pod("p"), node("n").taint("k", "v", "NoSchedule"), |bench| bench.node(node("n"))),
        ("the label comes", pod("p").select("k", "v"), node("n"), |bench| bench.node(node("n").label("k", "v"))),
    ];
    for (case, waiting, first, change) in cases {
        let there = pod("there").cpu("1").host_port("TCP", "", 80).on("n");
        let mut bench = Bench::new(Cluster::new().node(first).pod(there).pod(waiting));
        assert!(bench.placed().is_empty(), "{case}");
        change(&mut bench);
        assert_eq!(bench.placed(), ["p -> n"], "{case}");
    }
}

#[test]
fn a_changed_pod_is_tried_again() {
    let mut bench = Bench::new(Cluster::new().node(node("n").taint("k", "v", "NoSchedule")).pod(pod("p")));
    assert!(bench.placed().is_empty());
    bench.pod(pod("p").toleration("k", "v", "NoSchedule"));
    assert_eq!(bench.placed(), ["p -> n"]);
}

#[test]
fn the_schedulers_own_writes_wake_nobody() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("p").cpu("2")));
    bench.run();
    bench.pod(pod("p").cpu("2").edit(|pod| {
        let condition =
            PodCondition { type_: "PodScheduled".into(), status: "False".into(), ..PodCondition::default() };
        pod.metadata.resource_version = Some("7".into());
        pod.status = Some(PodStatus { conditions: Some(vec![condition]), ..PodStatus::default() });
    }));
    bench.run();
    assert_eq!(bench.reports.len(), 1);
}

#[test]
fn gates_keep_a_pod_out_until_the_last_is_gone() {
    let mut bench = Bench::new(Cluster::new().node(node("n")).pod(pod("p").gate("a").gate("b")));
    assert!(bench.placed().is_empty());
    assert_eq!(bench.place("p"), Some(QueuePlace::Gated));
    let explain = bench.engine.explain(&key("p"), secs(0)).unwrap();
    assert_eq!(explain.refused.unwrap().reasons, ["waiting for scheduling gates: [a b]"]);
    bench.pod(pod("p").gate("b"));
    bench.wait(3600);
    assert!(bench.placed().is_empty());
    bench.pod(pod("p"));
    assert_eq!(bench.placed(), ["p -> n"]);
    assert!(bench.reports.is_empty());
}

#[test]
fn failed_bindings_back_off_and_give_the_place_back() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("p").cpu("1")));
    for expected in [1, 2, 4, 8, 10, 10] {
        let mut bind = bench.run();
        assert_eq!(bind.len(), 1);
        assert_eq!(bench.engine.node_of(&key("p")).map(|node| &**node), Some("n"), "assumed");
        bench.fail(bind.remove(0), failed());
        assert_eq!(bench.engine.node_of(&key("p")), None, "forgotten");
        let until = bench.now + secs(expected);
        assert_eq!(bench.place("p"), Some(QueuePlace::BackingOff { until }));
        assert_eq!(bench.engine.due(), Some(until));
        bench.wait(expected - 1);
        assert!(bench.placed().is_empty(), "not before");
        bench.wait(1);
    }
    assert_eq!(bench.reports, vec!["SchedulerError: no"; 6]);
}

#[test]
fn what_a_failed_binding_frees_is_for_others() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("a").cpu("1")).pod(pod("b").cpu("1")));
    let mut bind = bench.run();
    assert_eq!((bind.len(), bench.reports.len()), (1, 1));
    bench.fail(bind.remove(0), failed());
    assert_eq!(bench.placed(), ["b -> n"]);
}

#[test]
fn events_while_a_pod_is_being_bound_are_not_lost() {
    for (case, during) in [("something helped", true), ("nothing happened", false)] {
        let mut bench = Bench::new(Cluster::new().node(node("n")).pod(pod("p")));
        let bind = bench.run().remove(0);
        if during {
            bench.node(node("m"));
        }
        let rejection = Rejection::unschedulable("no room after all");
        bench.fail(bind, BindFailure::Refused { plugin: "NodeResourcesFit", rejection });
        let tried_again = !bench.placed().is_empty();
        assert_eq!(tried_again, during, "{case}: {:?}", bench.place("p"));
    }
}

#[test]
fn a_pod_that_is_overtaken_is_left_to_its_own_event() {
    let mut bench = Bench::new(Cluster::new().node(node("n")).node(node("m")).pod(pod("p")));
    let bind = bench.run().remove(0);
    let elsewhere = if **bind.node() == *"n" { "m" } else { "n" };
    bench.fail(bind, BindFailure::Overtaken);
    bench.pod(pod("p").on(elsewhere));
    bench.wait(100);
    assert!(bench.placed().is_empty());
    assert!(bench.reports.is_empty());
    assert_eq!(bench.engine.node_of(&key("p")).map(|node| &**node), Some(elsewhere));
}

#[test]
fn answers_about_pods_that_are_gone_change_nothing() {
    for fails in [true, false] {
        let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("p").cpu("1")));
        let bind = bench.run().remove(0);
        bench.gone("p");
        bench.pod(pod("p").cpu("1").edit(|pod| pod.metadata.uid = Some("another".into())));
        let again = bench.run().remove(0);
        match fails {
            true => bench.fail(bind, failed()),
            false => bench.engine.handle(Event::Bound(bind), bench.now),
        }
        assert_eq!(again.pod().uid().as_ref(), "another");
        assert!(bench.run().is_empty());
        assert_eq!(bench.engine.nodes().column("cpu").unwrap().used(), [1000], "counted once");
        bench.engine.handle(Event::Bound(again), bench.now);
        bench.gone("p");
        assert_eq!(bench.engine.nodes().column("cpu").unwrap().used(), [0]);
    }
}

#[test]
fn a_pod_replaced_by_another_of_its_name_is_a_new_pod() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("p").cpu("1").on("n")));
    bench.pod(pod("p").cpu("1").edit(|pod| pod.metadata.uid = Some("another".into())));
    assert_eq!(bench.placed(), ["p -> n"]);
}

#[test]
fn what_is_known_of_a_binding_is_not_taken_back_by_older_news() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("p").cpu("1")));
    let bind = bench.run().remove(0);
    bench.pod(pod("p").cpu("1").label("written", "before"));
    bench.engine.handle(Event::Bound(bind), bench.now);
    bench.pod(pod("p").cpu("1").label("written", "before-too"));
    assert!(bench.run().is_empty());
    bench.pod(pod("p").cpu("1").on("n"));
    assert!(bench.run().is_empty());
    assert_eq!(bench.engine.nodes().column("cpu").unwrap().used(), [1000]);
}

#[test]
fn pods_wait_for_five_minutes_at_most() {
    let mut bench = Bench::new(Cluster::new().node(node("n").cpu("1")).pod(pod("p").cpu("2")));
    bench.run();
    assert_eq!(bench.engine.due(), Some(secs(300)));
    bench.wait(299);
    bench.run();
    assert_eq!(bench.reports.len(), 1);
    bench.wait(1);
    bench.run();
    assert_eq!(bench.reports.len(), 2);
}

#[test]
fn pods_of_other_schedulers_and_pods_being_deleted_are_only_known() {
    let deleting = |pod: PodBuilder| {
        pod.edit(|pod| {
            let time = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
            pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        })
    };
    let mut bench =
        Bench::new(Cluster::new().pod(pod("other").scheduler("other")).pod(deleting(pod("dying"))).pod(pod("p")));
    bench.pod(deleting(pod("p")));
    bench.node(node("n"));
    assert!(bench.placed().is_empty());
    bench.pod(pod("other").scheduler("other").cpu("4").on("n"));
    bench.pod(pod("mine").cpu("1"));
    assert!(bench.placed().is_empty(), "pods of others count");
}

#[test]
fn a_node_that_returns_has_its_pods() {
    let mut bench =
        Bench::new(Cluster::new().pod(pod("early").cpu("3").on("n")).node(node("n")).node(node("full").cpu("0")));
    bench.pod(pod("late").cpu("2"));
    assert!(bench.placed().is_empty());
    bench.engine.handle(Event::NodeGone("n".to_owned()), bench.now);
    bench.node(node("other").cpu("0"));
    bench.node(node("n"));
    assert!(bench.placed().is_empty());
    bench.engine.handle(Event::NodeGone("n".to_owned()), bench.now);
    bench.gone("early");
    bench.node(node("n"));
    bench.wait(10);
    assert_eq!(bench.placed(), ["late -> n"]);
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let run = |seed| {
        let nodes = (0..50).fold(Cluster::new().seed(seed), |cluster, at| cluster.node(node(&format!("n{at}"))));
        let cluster = (0..100).fold(nodes, |cluster, at| cluster.pod(pod(&format!("p{at}")).cpu("10m")));
        Bench::new(cluster).placed()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn no_node_is_given_more_than_it_has() {
    let nodes = (0..10).fold(Cluster::new(), |cluster, at| cluster.node(node(&format!("n{at}")).pods(7)));
    let cluster =
        (0..200).fold(nodes, |cluster, at| cluster.pod(pod(&format!("p{at}")).cpu(&format!("{}m", 100 + at * 10))));
    let mut bench = Bench::new(cluster);
    let placed = bench.placed();
    assert!(!placed.is_empty() && placed.len() < 200);
    for resource in ["cpu", "pods"] {
        let column = bench.engine.nodes().column(resource).unwrap();
        assert!(column.used().iter().zip(column.capacity()).all(|(used, capacity)| used <= capacity));
    }
}

/// A node on which more was asked for than numbers hold is the same as before when that is gone.
#[test]
fn amounts_without_end_go_again() {
    let mut bench = Bench::new(Cluster::new());
    bench.node(node("n").cpu("2").memory("8Gi"));
    let huge = |name: &str| {
        pod(name).cpu("9223372036854775807").memory("8Ei").resource("example.com/x", "9223372036854775807").on("n")
    };
    bench.pod(pod("small").cpu("1").memory("4Gi").on("n"));
    for name in ["a", "b", "c"] {
        bench.pod(huge(name));
    }
    bench.pod(pod("new").cpu("1").memory("4Gi"));
    assert_eq!(bench.placed(), [""; 0]);
    bench.gone("b");
    bench.gone("a");
    assert_eq!(bench.placed(), [""; 0]);
    bench.gone("c");
    bench.wait(60);
    assert_eq!(bench.placed(), ["new -> n"]);
    bench.pod(pod("one too many").cpu("1m"));
    assert_eq!(bench.placed(), [""; 0]);
}
