//! Upstream's behaviours as rows: what one step of a deployment does.

use super::plan::{Operation, Plan, Snapshot, plan};
use super::testing::*;
use super::{revision, status};
use crate::objects::template::Templated;
use crate::objects::testing::{at, labels, pod, time};
use crate::objects::versions::{Field, Spec};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use std::time::Duration;

fn step<'a>(deployment: &Deployment, sets: &'a [ReplicaSet], pods: &[Pod], now: Timestamp) -> Plan<&'a ReplicaSet> {
    let sets: Vec<&ReplicaSet> = sets.iter().collect();
    let pods: Vec<&Pod> = pods.iter().collect();
    plan(&Snapshot { deployment, template: &deployment.template(), sets: &sets, pods: &pods }, now)
}

fn spec(deployment: &mut Deployment) -> &mut DeploymentSpec {
    deployment.spec_mut()
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec().and_then(|spec| spec.replicas).expect("sized")
}

/// The sizes of all sets after the step, in the order of `sets`, then of a created one.
fn sizes(plan: &Plan<&ReplicaSet>, sets: &[ReplicaSet]) -> Vec<i32> {
    let after = |set: &ReplicaSet| {
        let written = plan.operations.iter().find_map(|operation| match operation {
            Operation::Update(base, new) if base.metadata.uid == set.metadata.uid => Some(size(new)),
            _ => None,
        });
        written.unwrap_or_else(|| size(set))
    };
    let created = plan.operations.iter().filter_map(|operation| match operation {
        Operation::Create(set) => Some(size(set)),
        _ => None,
    });
    sets.iter().map(after).chain(created).collect()
}

fn written(plan: &Plan<&ReplicaSet>) -> Option<DeploymentStatus> {
    plan.operations.iter().find_map(|operation| match operation {
        Operation::Status(status) => Some((**status).clone()),
        _ => None,
    })
}

fn reason(status: &DeploymentStatus) -> Option<&str> {
    status::get(status, status::PROGRESSING)?.reason.as_deref()
}

#[test]
fn the_first_step_creates_the_set_at_full_size() {
    let web = rolling(deployment("web", 3), "25%", "25%");
    let plan = step(&web, &[], &[], at(0));
    let [Operation::Create(set), Operation::Revision(1), Operation::Status(status)] = &plan.operations[..] else {
        panic!("{:?}", plan.operations);
    };
    assert_eq!(size(set), 3);
    let annotations = set.metadata.annotations.clone().expect("annotations");
    assert_eq!(annotations[revision::REVISION], "1");
    assert_eq!((revision::desired(&set.metadata), revision::maximum(&set.metadata)), (Some(3), Some(4)));
    assert_eq!(reason(status), Some("NewReplicaSetCreated"));
    assert_eq!(status.unavailable_replicas, Some(0));
    assert_eq!(plan.after, Some(Duration::from_secs(601)));
}

/// (what, replicas, surge, unavailable, old size/available, new size/available) -> sizes after the step
#[test]
fn rolling_steps() {
    type Row = (&'static str, i32, &'static str, &'static str, (i32, i32), Option<(i32, i32)>, &'static [i32]);
    let rows: [Row; 15] = [
        ("surge first", 10, "3", "0", (10, 10), None, &[10, 3]),
        ("no surge: an empty set, and room is made at once", 10, "0", "2", (10, 10), None, &[8, 0]),
        ("both: surge first", 10, "3", "2", (10, 10), Some((0, 0)), &[10, 3]),
        ("then shrink by what may be unavailable", 10, "3", "2", (10, 10), Some((3, 0)), &[8, 3]),
        ("at the limit nothing moves", 10, "3", "0", (10, 10), Some((3, 0)), &[10, 3]),
        ("what became available makes room", 10, "3", "0", (10, 10), Some((3, 2)), &[8, 3]),
        ("room makes growth", 10, "3", "0", (8, 8), Some((3, 2)), &[8, 5]),
        ("broken old pods go first", 10, "3", "2", (10, 8), Some((3, 0)), &[8, 3]),
        ("broken old pods only within the limit", 10, "0", "2", (10, 0), Some((0, 0)), &[8, 0]),
        ("the last ones", 10, "3", "0", (3, 3), Some((10, 10)), &[0, 10]),
        ("done", 10, "3", "0", (0, 0), Some((10, 10)), &[0, 10]),
        ("too large is cut first", 10, "3", "0", (3, 3), Some((12, 12)), &[3, 10]),
        ("one replica, default limits", 1, "25%", "25%", (1, 1), None, &[1, 1]),
        ("one replica, new one available", 1, "25%", "25%", (1, 1), Some((1, 1)), &[0, 1]),
        ("everything may be unavailable", 4, "0", "100%", (4, 4), Some((0, 0)), &[0, 0]),
    ];
    for (what, replicas, surge, unavailable, old, new, expected) in rows {
        let web = rolling(deployment("web", replicas), surge, unavailable);
        let mut sets = vec![available(set_of(&web, "old", old.0), old.1)];
        sets.extend(new.map(|(size, ready)| available(set_of(&web, "web:1", size), ready)));
        let plan = step(&web, &sets, &[], at(5));
        assert_eq!(sizes(&plan, &sets), expected, "{what}");
    }
}

#[test]
fn proportional_scaling() {
    // (what, old wanted, new wanted, surge, sizes oldest first) -> sizes
    type Row = (&'static str, i32, i32, &'static str, &'static [i32], &'static [i32]);
    let rows: [Row; 9] = [
        ("one set", 5, 10, "0", &[5], &[10]),
        ("in proportion", 10, 20, "0", &[5, 5], &[10, 10]),
        ("what is left over goes to the largest", 10, 15, "0", &[8, 2], &[12, 3]),
        ("down in proportion", 10, 5, "0", &[8, 2], &[4, 1]),
        ("to zero", 10, 0, "0", &[7, 3], &[0, 0]),
        ("the surge counts", 10, 20, "2", &[8, 4], &[15, 7]),
        ("of equals the newer gains", 4, 5, "0", &[2, 2], &[2, 3]),
        ("of equals the older loses", 4, 3, "0", &[2, 2], &[1, 2]),
        ("three sets", 10, 13, "0", &[5, 4, 1], &[7, 5, 1]),
    ];
    for (what, before, after, surge, now, expected) in rows {
        let was = rolling(deployment("web", before), surge, "1");
        let images = ["old", "web:0", "web:1"];
        let skip = images.len() - now.len();
        let sets: Vec<ReplicaSet> = images[skip..]
            .iter()
            .zip(now)
            .map(|(image, size)| {
                let mut set = available(set_of(&was, image, *size), 0);
                let second = images.iter().position(|other| other == image).expect("listed");
                set.metadata.creation_timestamp = Some(time(second as i64));
                set
            })
            .collect();
        let mut web = was.clone();
        spec(&mut web).replicas = Some(after);
        let plan = step(&web, &sets, &[], at(5));
        assert_eq!(sizes(&plan, &sets), expected, "{what}");
        let settled: Vec<ReplicaSet> = plan
            .operations
            .into_iter()
            .filter_map(|operation| match operation {
                Operation::Update(_, new) => Some(*new),
                _ => None,
            })
            .collect();
        assert!(settled.iter().all(|set| revision::desired(&set.metadata) == Some(after)), "{what}: marked as sized");
    }
}

#[test]
fn a_set_that_somebody_else_sized_does_not_block_scaling_for_ever() {
    let was = deployment("web", 3);
    let mut web = was.clone();
    spec(&mut web).replicas = Some(5);
    let mut sets = [set_of(&was, "web:1", 3)];
    sets[0].spec_mut().replicas = Some(5);
    let plan = step(&web, &sets, &[], at(0));
    let Operation::Update(_, new) = &plan.operations[0] else { panic!("{:?}", plan.operations) };
    assert_eq!((size(new), revision::desired(&new.metadata)), (5, Some(5)));
}

#[test]
fn paused_scales_but_does_not_roll() {
    let was = rolling(deployment("web", 4), "1", "1");
    let sets = [set_of(&was, "old", 4)];
    let mut web = was.clone();
    spec(&mut web).paused = Some(true);
    let plan = step(&web, &sets, &[], at(3));
    assert_eq!(sizes(&plan, &sets), [4], "no new set");
    let paused = written(&plan).expect("a status");
    assert_eq!(reason(&paused), Some("DeploymentPaused"));
    spec(&mut web).replicas = Some(6);
    web.status = Some(paused);
    let plan = step(&web, &sets, &[], at(4));
    assert_eq!(sizes(&plan, &sets), [6]);
    spec(&mut web).paused = None;
    spec(&mut web).replicas = Some(4);
    let plan = step(&web, &sets, &[], at(5));
    assert_eq!(sizes(&plan, &sets), [3, 1]);
    assert_eq!(reason(&written(&plan).expect("a status")), Some("NewReplicaSetCreated"));
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut web = deployment("web", 2);
    spec(&mut web).strategy.get_or_insert_default().type_ = Some("Recreate".into());
    let mut old = set_of(&web, "old", 2);
    let name = old.metadata.name.clone().expect("named");
    let pods = [pod("a", &name)];
    assert_eq!(sizes(&step(&web, std::slice::from_ref(&old), &pods, at(1)), std::slice::from_ref(&old)), [0]);
    old.spec_mut().replicas = Some(0);
    let waits = |old: &ReplicaSet, pods: &[Pod]| {
        let sets = std::slice::from_ref(old);
        sizes(&step(&web, sets, pods, at(2)), sets)
    };
    assert_eq!(waits(&old, &pods), [0], "the status still counts pods");
    let old = available(old, 0);
    assert_eq!(waits(&old, &pods), [0], "a pod is still there");
    assert_eq!(waits(&old, &[crate::objects::testing::deleting(pods[0].clone(), 1)]), [0], "or on its way out");
    assert_eq!(waits(&old, &[crate::objects::testing::phase(pods[0].clone(), "Failed")]), [0, 2], "or has ended");
    assert_eq!(waits(&old, &[]), [0, 2]);
}

#[test]
fn rolling_back_reuses_the_set_and_renumbers_it() {
    let web = rolling(deployment("web", 2), "1", "0");
    let mut first = available(set_of(&web, "web:1", 0), 0);
    first.metadata.creation_timestamp = Some(time(-10));
    let mut second = set_of(&web, "web:2", 2);
    second.metadata.annotations.as_mut().expect("annotations").insert(revision::REVISION.into(), "2".into());
    let sets = [first, second];
    let plan = step(&web, &sets, &[], at(1));
    assert_eq!(sizes(&plan, &sets), [1, 2]);
    assert!(plan.operations.contains(&Operation::Revision(3)), "{:?}", plan.operations);
}

#[test]
fn history_is_bounded() {
    let mut web = deployment("web", 1);
    spec(&mut web).revision_history_limit = Some(1);
    let numbered = |image: &str, size: i32, revision: &str| {
        let mut set = set_of(&web, image, size);
        set.metadata.annotations.as_mut().expect("annotations").insert(revision::REVISION.into(), revision.into());
        set
    };
    let busy = {
        let mut set = numbered("web:c", 0, "1");
        set.status.as_mut().expect("a status").replicas = 1;
        set
    };
    let sets = [numbered("web:a", 0, "3"), numbered("web:b", 0, "2"), busy, numbered("web:1", 1, "4")];
    let deleted = |web: &Deployment| -> Vec<String> {
        let plan = step(web, &sets, &[], at(1));
        let delete = |operation: Operation<&ReplicaSet>| match operation {
            Operation::Delete(set) => set.metadata.annotations.clone().map(|a| a[revision::REVISION].clone()),
            _ => None,
        };
        plan.operations.into_iter().filter_map(delete).collect()
    };
    assert!(deleted(&web).is_empty(), "not before the rollout is complete");
    let counts = |n| Some(n);
    web.status = Some(DeploymentStatus {
        replicas: counts(1),
        updated_replicas: counts(1),
        available_replicas: counts(1),
        observed_generation: Some(1),
        ..DeploymentStatus::default()
    });
    assert_eq!(deleted(&web), ["2"], "the oldest that nothing runs in; one is kept");
}

#[test]
fn progress() {
    let web = rolling(deployment("web", 2), "1", "0");
    let status_of = |web: &Deployment, sets: &[ReplicaSet], now| {
        let plan = step(web, sets, &[], at(now));
        (written(&plan).or_else(|| web.status.clone()).expect("a status"), plan.after)
    };
    let mut web = web;
    let (status, _) = status_of(&web, &[], 0);
    web.status = Some(status);
    let mut set = available(set_of(&web, "web:1", 2), 0);
    let (status, after) = status_of(&web, std::slice::from_ref(&set), 10);
    assert_eq!(reason(&status), Some("ReplicaSetUpdated"), "pods were made");
    assert_eq!(after, Some(Duration::from_secs(601)));
    web.status = Some(status.clone());
    let (same, after) = status_of(&web, std::slice::from_ref(&set), 600);
    assert_eq!((same, after), (status, Some(Duration::from_secs(11))), "nothing new, nothing written");
    let (stuck, after) = status_of(&web, std::slice::from_ref(&set), 611);
    let condition = status::get(&stuck, status::PROGRESSING).expect("a condition");
    assert_eq!(condition.reason.as_deref(), Some("ProgressDeadlineExceeded"));
    assert_eq!(Field::<String>::value(&condition.status).map(String::as_str), Some("False"));
    assert_eq!(after, None);
    web.status = Some(stuck);
    set = available(set, 2);
    let (complete, after) = status_of(&web, std::slice::from_ref(&set), 700);
    assert_eq!((reason(&complete), after), (Some("NewReplicaSetAvailable"), None), "late is not never");
    assert_eq!(status::get(&complete, "Available").and_then(|c| c.reason.as_deref()), Some("MinimumReplicasAvailable"));
    web.status = Some(complete);
    set = available(set, 0);
    let (degraded, _) = status_of(&web, std::slice::from_ref(&set), 800);
    assert_eq!(reason(&degraded), Some("NewReplicaSetAvailable"), "a finished rollout does not become unfinished");
    assert_eq!(
        status::get(&degraded, "Available").and_then(|c| c.reason.as_deref()),
        Some("MinimumReplicasUnavailable")
    );
}

#[test]
fn an_empty_selector_is_refused_and_an_orphan_is_adopted() {
    let mut web = deployment("web", 1);
    spec(&mut web).selector.match_labels = None;
    let plan = step(&web, &[], &[], at(0));
    assert!(plan.selects_all && matches!(&plan.operations[..], [Operation::Status(_)]));

    let web = deployment("web", 1);
    let mut orphan = set_of(&web, "web:1", 1);
    orphan.metadata.owner_references = None;
    let mut stray = set_of(&web, "web:2", 1);
    stray.metadata.labels = labels(&[("app", "api")]);
    let sets = [orphan, stray];
    let plan = step(&web, &sets, &[], at(0));
    assert_eq!(plan.operations, [Operation::Adopt(&sets[0]), Operation::Release(&sets[1])]);
}

#[test]
fn a_deployment_on_its_way_out_only_counts() {
    let mut web = deployment("web", 5);
    web.metadata.deletion_timestamp = Some(time(1));
    let sets = [set_of(&web, "old", 2)];
    let plan = step(&web, &sets, &[], at(2));
    assert!(matches!(&plan.operations[..], [Operation::Status(status)] if status.replicas == Some(2)));
}
