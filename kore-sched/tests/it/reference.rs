//! Random clusters against a second implementation: one node at a time, straight from the documented semantics, knowing
//! nothing of the engine. Verdicts, raw and normalised scores must be the same, and the chosen node one of the best.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use kore_sched::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};
use kore_sched::{Command, Event, NodeVerdict, PodKey, Time};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct ANode {
    cpu: i64,
    memory: i64,
    pods: u32,
    gpus: i64,
    zone: Option<u8>,
    rank: Option<i64>,
    /// Key, value, effect by number.
    taints: Vec<(u8, u8, u8)>,
    cordoned: bool,
}

/// Requirements of one term: which label, which operator, which value.
type ATerm = Vec<(u8, u8, u8)>;

#[derive(Clone, Debug)]
struct APod {
    cpu: i64,
    memory: i64,
    init_cpu: i64,
    gpus: i64,
    /// Key, value, effect; a number of 2 or more leaves it out.
    tolerations: Vec<(u8, u8, u8)>,
    selected_zone: Option<u8>,
    required: Option<Vec<ATerm>>,
    preferred: Vec<(i32, ATerm)>,
    port: Option<(u8, u8)>,
    tolerates_cordon: bool,
}

const EFFECTS: [&str; 3] = ["NoSchedule", "NoExecute", "PreferNoSchedule"];
const OPERATORS: [&str; 6] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
const CORDON: &str = "node.kubernetes.io/unschedulable";

fn a_node() -> impl Strategy<Value = ANode> {
    let one = (
        prop_oneof![Just(0i64), 500i64..4000],
        prop_oneof![Just(0i64), 100i64..10_000],
        1u32..8,
        0i64..3,
        proptest::option::of(0u8..3),
        proptest::option::of(0i64..5),
        proptest::collection::vec((0u8..2, 0u8..2, 0u8..3), 0..3),
        proptest::bool::weighted(0.1),
    );
    one.prop_map(|(cpu, memory, pods, gpus, zone, rank, taints, cordoned)| {
        let unique: BTreeMap<(u8, u8), u8> = taints.into_iter().map(|(k, v, e)| ((k, e), v)).collect();
        let taints = unique.into_iter().map(|((k, e), v)| (k, v, e)).collect();
        ANode { cpu, memory, pods, gpus, zone, rank, taints, cordoned }
    })
}

fn requirement() -> impl Strategy<Value = (u8, u8, u8)> {
    (0u8..3, 0u8..6, 0u8..5)
}

fn pods() -> impl Strategy<Value = Vec<APod>> {
    let terms = proptest::collection::vec(proptest::collection::vec(requirement(), 0..3), 0..3);
    let preferred = proptest::collection::vec((1i32..100, proptest::collection::vec(requirement(), 0..3)), 0..3);
    let one = (
        (
            prop_oneof![Just(0i64), 1i64..1500],
            prop_oneof![Just(0i64), 1i64..4000],
            0i64..800,
            prop_oneof![3 => Just(0i64), 1 => 1i64..3],
        ),
        proptest::collection::vec((0u8..3, 0u8..3, 0u8..4), 0..4),
        proptest::option::weighted(0.2, 0u8..3),
        proptest::option::weighted(0.3, terms),
        preferred,
        proptest::option::weighted(0.3, (0u8..2, 0u8..3)),
        proptest::bool::weighted(0.3),
    );
    let one = one.prop_map(
        |((cpu, memory, init_cpu, gpus), tolerations, selected_zone, required, preferred, port, tolerates_cordon)| {
            APod {
                cpu,
                memory,
                init_cpu,
                gpus,
                tolerations,
                selected_zone,
                required,
                preferred,
                port,
                tolerates_cordon,
            }
        },
    );
    proptest::collection::vec(one, 1..25)
}

// ---- as objects -----------------------------------------------------------------------------------------------------

fn node_object(name: &str, of: &ANode) -> NodeBuilder {
    let mut built = node(name)
        .cpu(&format!("{}m", of.cpu))
        .memory(&of.memory.to_string())
        .pods(of.pods)
        .resource("example.com/gpu", &of.gpus.to_string());
    if let Some(zone) = of.zone {
        built = built.label("zone", &format!("{zone}"));
    }
    if let Some(rank) = of.rank {
        built = built.label("rank", &rank.to_string());
    }
    for (key, value, effect) in &of.taints {
        built = built.taint(&format!("k{key}"), &format!("v{value}"), EFFECTS[usize::from(*effect)]);
    }
    if of.cordoned { built.cordoned() } else { built }
}

fn term_object(of: &[(u8, u8, u8)]) -> NodeSelectorTerm {
    let mut term = NodeSelectorTerm::default();
    for (label, operator, value) in of {
        let operator = OPERATORS[usize::from(*operator)];
        let values = match operator {
            "Exists" | "DoesNotExist" => None,
            _ if *label == 2 => Some(vec![format!("n{value}")]),
            _ => Some(vec![value.to_string()]),
        };
        let key = ["zone", "rank", "metadata.name"][usize::from(*label)].to_owned();
        let requirement = NodeSelectorRequirement { key, operator: operator.to_owned(), values };
        let list = if *label == 2 { &mut term.match_fields } else { &mut term.match_expressions };
        list.get_or_insert_default().push(requirement);
    }
    term
}

fn pod_object(name: &str, of: &APod) -> PodBuilder {
    let mut built = pod(name).cpu(&format!("{}m", of.cpu)).memory(&of.memory.to_string());
    built = built.init_container(&[("cpu", &format!("{}m", of.init_cpu)), ("memory", "0")]);
    if of.gpus > 0 {
        built = built.resource("example.com/gpu", &of.gpus.to_string());
    }
    for (key, value, effect) in &of.tolerations {
        let key = if *key < 2 { format!("k{key}") } else { String::new() };
        let value = if *value < 2 && !key.is_empty() { format!("v{value}") } else { String::new() };
        built = built.toleration(&key, &value, EFFECTS.get(usize::from(*effect)).unwrap_or(&""));
    }
    if of.tolerates_cordon {
        built = built.toleration(CORDON, "", "NoSchedule");
    }
    if let Some(zone) = of.selected_zone {
        built = built.select("zone", &zone.to_string());
    }
    if let Some(required) = &of.required {
        built = built.require(required.iter().map(|term| term_object(term)).collect());
    }
    for (weight, term) in &of.preferred {
        built = built.prefer(*weight, term_object(term));
    }
    if let Some((address, port)) = of.port {
        let address = ["", "10.0.0.1"][usize::from(address)];
        built = built.host_port("TCP", address, 8000 + i32::from(port));
    }
    built
}

// ---- the reference --------------------------------------------------------------------------------------------------

struct Placed<'a> {
    node: usize,
    pod: &'a APod,
}

fn requested_cpu(pod: &APod) -> i64 {
    pod.cpu.max(pod.init_cpu)
}

fn tolerated(pod: &APod, (key, value, effect): (u8, u8, u8)) -> bool {
    pod.tolerations.iter().any(|(k, v, e)| {
        let key_matches = *k >= 2 || *k == key;
        let value_matches = *k >= 2 || *v >= 2 || *v == value;
        key_matches && value_matches && (*e >= 3 || *e == effect)
    })
}

fn tolerates_cordon(pod: &APod) -> bool {
    // A toleration without a key tolerates every taint of its effect.
    pod.tolerates_cordon || pod.tolerations.iter().any(|(k, _, e)| *k >= 2 && (*e >= 3 || *e == 0))
}

fn meets(index: usize, node: &ANode, (label, operator, value): (u8, u8, u8)) -> bool {
    let actual: Option<String> = match label {
        0 => node.zone.map(|zone| zone.to_string()),
        1 => node.rank.map(|rank| rank.to_string()),
        _ => Some(format!("n{index}")),
    };
    let wanted = if label == 2 { format!("n{value}") } else { value.to_string() };
    let numbers = || Some((actual.as_ref()?.parse::<i64>().ok()?, wanted.parse::<i64>().ok()?));
    match OPERATORS[usize::from(operator)] {
        "In" => actual.as_ref() == Some(&wanted),
        "NotIn" => actual.as_ref() != Some(&wanted),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(a, b)| a > b),
        _ => numbers().is_some_and(|(a, b)| a < b),
    }
}

fn matches(index: usize, node: &ANode, term: &[(u8, u8, u8)]) -> bool {
    !term.is_empty() && term.iter().all(|requirement| meets(index, node, *requirement))
}

/// The plugin that refuses first, if any.
fn refusal(index: usize, node: &ANode, pod: &APod, placed: &[Placed<'_>]) -> Option<&'static str> {
    let here = || placed.iter().filter(|placed| placed.node == index).map(|placed| placed.pod);
    let sum = |of: fn(&APod) -> i64| here().map(of).sum::<i64>();
    if node.cordoned && !tolerates_cordon(pod) {
        return Some("NodeUnschedulable");
    }
    if node.taints.iter().any(|taint| taint.2 < 2 && !tolerated(pod, *taint)) {
        return Some("TaintToleration");
    }
    let selected = pod.selected_zone.is_none_or(|zone| node.zone == Some(zone));
    let required = pod.required.as_ref().is_none_or(|terms| terms.iter().any(|term| matches(index, node, term)));
    if !selected || !required {
        return Some("NodeAffinity");
    }
    let clashes = |a: (u8, u8), b: (u8, u8)| a.1 == b.1 && (a.0 == b.0 || a.0 == 0 || b.0 == 0);
    if here().any(|other| matches!((pod.port, other.port), (Some(a), Some(b)) if clashes(a, b))) {
        return Some("NodePorts");
    }
    let lacks = |asked: i64, capacity: i64, used: i64| asked > 0 && asked > capacity - used;
    if here().count() + 1 > node.pods as usize
        || lacks(requested_cpu(pod), node.cpu, sum(requested_cpu))
        || lacks(pod.memory, node.memory, sum(|pod| pod.memory))
        || lacks(pod.gpus, node.gpus, sum(|pod| pod.gpus))
    {
        return Some("NodeResourcesFit");
    }
    None
}

/// Raw scores, by plugin; a plugin without an opinion is not there.
fn raw_scores(index: usize, node: &ANode, pod: &APod, placed: &[Placed<'_>]) -> BTreeMap<&'static str, i64> {
    let here = || placed.iter().filter(|placed| placed.node == index).map(|placed| placed.pod);
    let cpu = here().map(requested_cpu).sum::<i64>() + requested_cpu(pod);
    let memory = here().map(|pod| pod.memory).sum::<i64>() + pod.memory;
    let mut scores = BTreeMap::new();
    let prefer_none = node.taints.iter().filter(|taint| taint.2 == 2 && !tolerated(pod, **taint));
    scores.insert("TaintToleration", prefer_none.count() as i64);
    if !pod.preferred.is_empty() {
        let weights = pod.preferred.iter().filter(|(_, term)| matches(index, node, term));
        scores.insert("NodeAffinity", weights.map(|(weight, _)| i64::from(*weight)).sum());
    }
    let left: Vec<i64> = [(cpu, node.cpu), (memory, node.memory)]
        .into_iter()
        .filter(|(_, capacity)| *capacity > 0)
        .map(|(used, capacity)| if used > capacity { 0 } else { (capacity - used) * 100 / capacity })
        .collect();
    let least = if left.is_empty() { 0 } else { left.iter().sum::<i64>() / left.len() as i64 };
    scores.insert("NodeResourcesFit", least);
    if requested_cpu(pod) > 0 || pod.memory > 0 {
        let fraction = |used: i64, capacity: i64| (used as f64 / capacity as f64).min(1.0);
        let deviation = match (node.cpu, node.memory) {
            (0, _) | (_, 0) => 0.0,
            (all_cpu, all_memory) => ((fraction(cpu, all_cpu) - fraction(memory, all_memory)) / 2.0).abs(),
        };
        scores.insert("NodeResourcesBalancedAllocation", ((1.0 - deviation) * 100.0) as i64);
    }
    scores
}

fn normalized(plugin: &str, raw: i64, largest: i64) -> i64 {
    match (plugin, largest) {
        ("TaintToleration", 0) => 100,
        ("TaintToleration", _) => 100 - 100 * raw / largest,
        ("NodeAffinity", 1..) => 100 * raw / largest,
        _ => raw,
    }
}

fn weight(plugin: &str) -> i64 {
    match plugin {
        "TaintToleration" => 3,
        "NodeAffinity" => 2,
        _ => 1,
    }
}

// ---- the comparison -------------------------------------------------------------------------------------------------

fn check(
    nodes: &[ANode],
    pods: &[APod],
    repeat: usize,
    leaving: &BTreeSet<usize>,
    changing: &BTreeMap<usize, (usize, ANode)>,
) -> Result<(), TestCaseError> {
    let mut cluster = Cluster::new();
    for (at, node) in nodes.iter().enumerate() {
        cluster = cluster.node(node_object(&format!("n{at}"), node));
    }
    let mut engine = cluster.engine();
    let mut nodes = nodes.to_vec();
    let mut placed: BTreeMap<usize, Placed<'_>> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    // Each pod is one of a few of its template, so that remembered answers are used.
    for number in 0..pods.len() * repeat {
        if let Some((at, changed)) = changing.get(&number) {
            let at = at % nodes.len();
            nodes[at] = changed.clone();
            let changed = node_object(&format!("n{at}"), changed).build();
            if number % 2 == 0 {
                engine.handle(Event::NodeGone(format!("n{at}")), Time::ZERO);
            }
            engine.handle(Event::Node(Arc::new(changed)), Time::ZERO);
        }
        let pod = &pods[number / repeat];
        let key = PodKey::new("default", &format!("p{number}"));
        engine.handle(Event::Pod(Arc::new(pod_object(&key.name, pod).build())), Time::ZERO);
        let there: Vec<Placed<'_>> = placed.values().map(|placed| Placed { ..*placed }).collect();
        let verdicts: Vec<_> = nodes.iter().enumerate().map(|(at, node)| refusal(at, node, pod, &there)).collect();
        let raw: Vec<_> = nodes.iter().enumerate().map(|(at, node)| raw_scores(at, node, pod, &there)).collect();
        let fits: Vec<usize> = (0..nodes.len()).filter(|at| verdicts[*at].is_none()).collect();
        let explain = engine.explain(&key, Time::ZERO).unwrap();
        let conflict =
            explain.refused.as_ref().is_some_and(|refused| refused.reasons == ["pod affinity terms conflict"]);
        let narrowed = |at: usize| {
            explain
                .refused_by(&format!("n{at}"))
                .is_some_and(|refused| refused.reasons[0].contains("didn't satisfy plugin"))
        };
        let mut totals: BTreeMap<usize, i64> = BTreeMap::new();
        for (at, verdict) in verdicts.iter().enumerate() {
            match explain.of(&format!("n{at}")) {
                None => prop_assert!(conflict && verdict.is_some(), "{explain:?}"),
                // A pod limited to nodes by name is refused elsewhere by that limit, whatever other plugins would say.
                Some(NodeVerdict::Refused(_)) if narrowed(at) => prop_assert!(verdict.is_some()),
                Some(NodeVerdict::Refused(refused)) => {
                    prop_assert_eq!(Some(refused.plugin), *verdict, "node {}: {:?}", at, refused)
                }
                Some(NodeVerdict::Fits { total, scores }) => {
                    prop_assert_eq!(*verdict, None, "node {}", at);
                    prop_assert_eq!(scores.len(), raw[at].len(), "{:?} {:?}", scores, raw[at]);
                    for score in scores {
                        let largest = fits.iter().map(|other| raw[*other][score.plugin]).max().unwrap_or(0);
                        prop_assert_eq!(score.raw, raw[at][score.plugin], "{} on node {}", score.plugin, at);
                        prop_assert_eq!(
                            score.normalized,
                            normalized(score.plugin, score.raw, largest),
                            "{} on node {}",
                            score.plugin,
                            at
                        );
                        *totals.entry(at).or_default() += weight(score.plugin) * score.normalized;
                    }
                    prop_assert_eq!(*total, totals[&at]);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        while engine.step(Time::ZERO) {}
        let commands: Vec<Command> = engine.commands().collect();
        for command in commands {
            if let Command::Bind(assignment) = command {
                // A pod that waited may have been woken by one that left: only this one's choice is compared.
                let index: usize = assignment.node()[1..].parse().unwrap();
                let number_bound: usize = assignment.pod().key().name[1..].parse().unwrap();
                if number_bound == number {
                    let most = totals.values().max().copied();
                    prop_assert_eq!(totals.get(&index).copied(), most, "chose {} of {:?}", index, &totals);
                }
                placed.insert(number_bound, Placed { node: index, pod: &pods[number_bound / repeat] });
                engine.handle(Event::Bound(assignment), Time::ZERO);
            }
        }
        prop_assert_eq!(engine.node_of(&key).is_some(), !totals.is_empty());
        if leaving.contains(&number)
            && let Some((first, _)) = placed.pop_first()
        {
            gone.insert(first);
            let key = PodKey::new("default", &format!("p{first}"));
            engine.handle(Event::PodGone(key), Time::ZERO);
        }
    }
    // At rest, with every back-off over and long before pods are tried anyway: none waits that fits somewhere.
    let rest = Time::from_secs(60);
    let mut more = true;
    while more {
        more = engine.step(rest);
        let commands: Vec<Command> = engine.commands().collect();
        for command in commands {
            if let Command::Bind(assignment) = command {
                let number: usize = assignment.pod().key().name[1..].parse().unwrap();
                let node = assignment.node()[1..].parse().unwrap();
                let pod = &pods[number / repeat];
                placed.insert(number, Placed { node, pod });
                engine.handle(Event::Bound(assignment), rest);
            }
        }
    }
    let there: Vec<Placed<'_>> = placed.values().map(|placed| Placed { ..*placed }).collect();
    for number in 0..pods.len() * repeat {
        if engine.node_of(&PodKey::new("default", &format!("p{number}"))).is_none() && !gone.contains(&number) {
            for (at, node) in nodes.iter().enumerate() {
                let refused = refusal(at, node, &pods[number / repeat], &there);
                prop_assert!(refused.is_some(), "pod {} waits, and fits node {}", number, at);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_the_reference(
        // Small ones for pods that wait for one thing, larger ones for choices.
        nodes in prop_oneof![proptest::collection::vec(a_node(), 1..3), proptest::collection::vec(a_node(), 1..12)],
        pods in pods(),
        repeat in 1usize..7,
        leaving in proptest::collection::btree_set(0usize..120, 0..15),
        changing in proptest::collection::btree_map(0usize..120, (0usize..12, a_node()), 0..10),
    ) {
        check(&nodes, &pods, repeat, &leaving, &changing)?;
    }
}
