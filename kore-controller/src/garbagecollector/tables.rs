//! Upstream's behaviours as rows: what the owner graph says.

use super::graph::{Facts, Graph, Task, Uid, Verdict};
use k8s_openapi::api::core::v1::Pod;
use kore_api::object::{ObjectKey, OwnerReference, ResourceType};
use kore_api::request::Propagation;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

fn owner(uid: &str, blocks: bool) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: uid.into(),
        uid: uid.into(),
        controller: false,
        block_owner_deletion: blocks,
    }
}

/// An object in namespace `a` whose blocking owners are these.
fn object(uid: &str, owners: &[&str]) -> Facts {
    Facts {
        uid: uid.into(),
        resource: Arc::new(ResourceType::of::<Pod>()),
        key: ObjectKey::namespaced("a", uid),
        revision: 1,
        owners: owners.iter().map(|uid| owner(uid, true)).collect(),
        deleting: false,
        has_foreground: false,
        has_orphan: false,
    }
}

fn foreground(facts: Facts) -> Facts {
    Facts { deleting: true, has_foreground: true, ..facts }
}

fn graph(objects: impl IntoIterator<Item = Facts>) -> Graph {
    let mut graph = Graph::default();
    for facts in objects {
        graph.seen(facts);
    }
    graph
}

/// What is to be done about `uid` when the server has none of the owners that nobody has seen.
fn verdict(graph: &Graph, uid: &str) -> Verdict {
    match graph.task(uid) {
        Task::Settle(settle) => settle.verdict(&BTreeSet::new()),
        Task::Nothing => Verdict::Keep,
        other => panic!("{other:?}"),
    }
}

fn delete(propagation: Propagation) -> Verdict {
    Verdict::Delete { propagation, unblock: false }
}

#[test]
fn verdicts() {
    use Propagation::{Background, Foreground, Orphan};
    let elsewhere = Facts { key: ObjectKey::namespaced("b", "o"), ..object("o", &[]) };
    let cluster_scoped = Facts { key: ObjectKey::cluster("o"), ..object("o", &[]) };
    let d = |owners: &[&str]| object("d", owners);
    let rows: Vec<(&str, Vec<Facts>, Verdict)> = vec![
        ("no owner", vec![d(&[])], Verdict::Keep),
        ("an owner that is there", vec![object("o", &[]), d(&["o"])], Verdict::Keep),
        ("a cluster-scoped owner", vec![cluster_scoped, d(&["o"])], Verdict::Keep),
        ("an owner nobody has", vec![d(&["o"])], delete(Background)),
        ("an owner in another namespace", vec![elsewhere, d(&["o"])], delete(Background)),
        ("one of two is gone", vec![object("o", &[]), d(&["o", "p"])], Verdict::Disown(vec!["p".into()])),
        ("both are gone", vec![d(&["o", "p"])], delete(Background)),
        ("the owner waits", vec![foreground(object("o", &[])), d(&["o"])], delete(Background)),
        (
            "the owner waits, and it has dependants",
            vec![foreground(object("o", &[])), d(&["o"]), object("e", &["d"])],
            delete(Foreground),
        ),
        (
            "one waits, one stays",
            vec![foreground(object("o", &[])), object("p", &[]), d(&["o", "p"])],
            Verdict::Disown(vec!["o".into()]),
        ),
        ("it wants its dependants orphaned", vec![Facts { has_orphan: true, ..d(&["o"]) }], delete(Orphan)),
        ("it wants its dependants first", vec![Facts { has_foreground: true, ..d(&["o"]) }], delete(Foreground)),
        ("it goes already", vec![Facts { deleting: true, ..d(&["o"]) }], Verdict::Keep),
        (
            "a circle of waiting is broken",
            vec![foreground(object("o", &["d"])), d(&["o"])],
            Verdict::Delete { propagation: Foreground, unblock: true },
        ),
    ];
    for (what, objects, expected) in rows {
        assert_eq!(verdict(&graph(objects.clone()), "d"), expected, "{what}");
        assert_eq!(verdict(&graph(objects.into_iter().rev()), "d"), expected, "{what}, seen the other way round");
    }
}

#[test]
fn an_owner_that_exists_unseen_keeps_its_dependants() {
    let graph = graph([object("d", &["o", "p"])]);
    let Task::Settle(settle) = graph.task("d") else { panic!("{:?}", graph.task("d")) };
    assert_eq!(settle.verdict(&BTreeSet::from(["o"])), Verdict::Disown(vec!["p".into()]));
    assert_eq!(settle.verdict(&BTreeSet::from(["o", "p"])), Verdict::Keep);
}

#[test]
fn a_foreground_deletion_waits_for_those_that_block() {
    let mut graph =
        graph([object("o", &[]), object("d", &["o"]), Facts { owners: vec![owner("o", false)], ..object("e", &[]) }]);
    let concerned = graph.seen(foreground(object("o", &[])));
    assert_eq!(concerned, ["d", "e", "o"].map(Uid::from), "its dependants are to go");
    assert_eq!(graph.task("o"), Task::Nothing);
    assert_eq!(graph.gone("d"), [Uid::from("o")]);
    assert!(matches!(graph.task("o"), Task::Finish(_)), "the other one does not block");
}

#[test]
fn ceasing_to_block_concerns_the_owner() {
    let mut graph = graph([foreground(object("o", &[])), object("d", &["o"])]);
    let concerned = graph.seen(Facts { owners: vec![owner("o", false)], ..object("d", &[]) });
    assert!(concerned.contains(&"o".into()));
    assert!(matches!(graph.task("o"), Task::Finish(_)));
}

#[test]
fn orphaning_lists_the_dependants() {
    let orphaning = Facts { deleting: true, has_orphan: true, ..object("o", &[]) };
    let graph = graph([orphaning, object("d", &["o"]), object("e", &["o"]), object("f", &[])]);
    let Task::Orphan(_, dependents) = graph.task("o") else { panic!("{:?}", graph.task("o")) };
    assert_eq!(dependents.iter().map(|facts| &*facts.uid).collect::<Vec<_>>(), ["d", "e"]);
}

#[test]
fn a_change_that_says_nothing_concerns_nobody() {
    let mut graph = graph([object("o", &[]), object("d", &["o"])]);
    assert!(graph.seen(Facts { revision: 9, ..object("d", &["o"]) }).is_empty());
    assert_eq!(graph.gone("o"), [Uid::from("d")]);
    assert_eq!(verdict(&graph, "d"), delete(Propagation::Background));
}

proptest! {
    /// However events are ordered, the graph ends in the same state, and everything that is to be done was announced.
    #[test]
    fn order_does_not_matter(
        edges in proptest::collection::vec((0..6usize, 0..6usize), 0..10),
        order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle(),
        gone in proptest::collection::btree_set(0..6usize, 0..4),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let facts = |index: usize| {
            let owners: BTreeSet<&str> =
                edges.iter().filter(|(of, by)| *of == index && by != of).map(|(_, by)| names[*by]).collect();
            object(names[index], &owners.into_iter().collect::<Vec<_>>())
        };
        let alive = |index: &usize| !gone.contains(index);
        let mut shuffled = Graph::default();
        let mut announced: BTreeSet<Uid> = BTreeSet::new();
        for index in &order {
            announced.extend(shuffled.seen(facts(*index)));
        }
        for index in &gone {
            announced.extend(shuffled.gone(names[*index]));
        }
        let direct = graph((0..6).filter(|index| alive(index)).map(facts));
        for index in (0..6).filter(|index| alive(index)) {
            prop_assert_eq!(shuffled.task(names[index]), direct.task(names[index]));
            if shuffled.task(names[index]) != Task::Nothing {
                prop_assert!(announced.contains(names[index]), "{} was not announced", names[index]);
            }
        }
    }
}
