//! How fast the pure core places pods: `cargo bench -p kore-sched --bench scheduler_perf [FILTER]`.
//!
//! Nodes and pods are those of upstream's scheduler_perf (4 CPU, 32 GiB, 110 pods; 100 m and 500 MiB). Every node is looked
//! at for every pod: nothing is sampled. Each line checks what it measured: all pods placed, no node overcommitted.

use std::sync::Arc;

use kore_sched::testing::{PodBuilder, node, pod};
use kore_sched::{Command, Ctx, Engine, Event, Filter, Limits, NodeRef, Plugin, Profile, Time, Verdict};
use tokio::time::Instant;

/// Declares nothing, and so makes its profile look at every node for every pod.
struct Undeclared;

impl Plugin for Undeclared {
    type State = ();

    fn name(&self) -> &'static str {
        "Undeclared"
    }
}

impl Filter for Undeclared {
    fn filter(&self, _: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        match node.name().is_empty() {
            true => Err(kore_sched::Rejection::unschedulable("nameless")),
            false => Ok(()),
        }
    }
}

fn basic(_: usize) -> PodBuilder {
    pod("").cpu("100m").memory("500Mi")
}

/// One of a hundred templates.
fn hundred(number: usize) -> PodBuilder {
    basic(number).label("app", &format!("app-{}", number % 100))
}

/// No two alike.
fn all_different(number: usize) -> PodBuilder {
    basic(number).label("number", &number.to_string())
}

fn affinity(number: usize) -> PodBuilder {
    basic(number).select("zone", &format!("zone-{}", number % 3))
}

type Shape = (&'static str, usize, usize, fn() -> Profile, fn(usize) -> PodBuilder);

fn main() {
    let undeclared = || Profile::default().plugin(Undeclared, |at| at.filter()).expect("a new name");
    let shapes: [Shape; 7] = [
        ("basic", 5_000, 20_000, Profile::default, basic),
        ("hundred-templates", 5_000, 20_000, Profile::default, hundred),
        ("all-different", 5_000, 10_000, Profile::default, all_different),
        ("node-affinity", 5_000, 20_000, Profile::default, affinity),
        ("undeclared-plugin", 5_000, 5_000, undeclared, basic),
        ("basic-100k", 100_000, 10_000, Profile::default, basic),
        ("all-different-100k", 100_000, 1_000, Profile::default, all_different),
    ];
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    println!("{:<20} {:>8} {:>8} {:>10} {:>12}", "shape", "nodes", "pods", "pods/s", "us a pod");
    for (name, nodes, pods, profile, make) in shapes {
        if !name.contains(&filter) {
            continue;
        }
        let mut engine = Engine::new(vec![profile()], Limits::default(), 1).expect("a good profile");
        for number in 0..nodes {
            let node = node(&format!("node-{number}")).label("zone", &format!("zone-{}", number % 3));
            engine.handle(Event::Node(Arc::new(node.build())), Time::ZERO);
        }
        for number in 0..pods {
            let mut pod = make(number).build();
            pod.metadata.name = Some(format!("pod-{number}"));
            pod.metadata.uid = Some(format!("uid-{number}"));
            engine.handle(Event::Pod(Arc::new(pod)), Time::ZERO);
        }
        let started = Instant::now();
        let mut placed = 0;
        while engine.step(Time::ZERO) {
            let commands: Vec<Command> = engine.commands().collect();
            for command in commands {
                if let Command::Bind(assignment) = command {
                    placed += 1;
                    engine.handle(Event::Bound(assignment), Time::ZERO);
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(placed, pods, "{name}: every pod has a place");
        for resource in ["cpu", "memory", "pods"] {
            let column = engine.nodes().column(resource).expect("a fixed column");
            let within = column.used().iter().zip(column.capacity()).all(|(used, capacity)| used <= capacity);
            assert!(within, "{name}: {resource} overcommitted");
        }
        let rate = placed as f64 / seconds;
        println!("{name:<20} {nodes:>8} {pods:>8} {rate:>10.0} {:>12.1}", 1e6 / rate);
    }
}
