//! The status of a ReplicaSet: pure.

use super::plan::{Plan, replicas, spec};
use crate::objects::{pods, versions::Field};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kore_api::selector::LabelSelector;
use std::ops::Deref;
use std::time::Duration;

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The status after a reconcile, whose creations or deletions failed with `failure` if they did.
pub(crate) fn status<P: Deref<Target = Pod> + Clone>(
    set: &ReplicaSet,
    plan: &Plan<P>,
    failure: Option<&str>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let mut status = set.status.clone().unwrap_or_default();
    let Some(spec) = spec(set) else { return status };
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let labels = LabelSelector::from_labels(template.and_then(|meta| meta.labels.clone()).unwrap_or_default());
    let minimum = spec.min_ready_seconds.unwrap_or(0);
    let count = |test: &dyn Fn(&Pod) -> bool| plan.active.iter().filter(|pod| test(pod)).count() as i32;
    status.replicas = plan.active.len() as i32;
    status.fully_labeled_replicas = Some(count(&|pod| labels.matches_labels(pod.metadata.labels.as_ref())));
    status.ready_replicas = Some(count(&pods::is_ready));
    status.available_replicas =
        Some(count(&|pod| pods::available_at(pod, minimum).is_some_and(|available| available <= now)));
    status.terminating_replicas = Some(plan.terminating as i32);
    status.observed_generation = set.metadata.generation;

    let conditions = status.conditions.get_or_insert_default();
    let is_failure = |condition: &ReplicaSetCondition| {
        Field::<String>::value(&condition.type_).is_some_and(|type_| type_ == REPLICA_FAILURE)
    };
    match failure {
        None => conditions.retain(|condition| !is_failure(condition)),
        Some(message) if !conditions.iter().any(is_failure) => {
            let reason = if plan.active.len() < replicas(spec) { "FailedCreate" } else { "FailedDelete" };
            conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.to_string().into(),
                status: "True".to_string().into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
    }
    if status.conditions.as_ref().is_some_and(Vec::is_empty) {
        status.conditions = None;
    }
    status
}

/// How long until the next ready pod becomes available, if one is going to.
pub(crate) fn next_available<P: Deref<Target = Pod>>(
    set: &ReplicaSet,
    active: &[P],
    now: Timestamp,
) -> Option<Duration> {
    let minimum = spec(set)?.min_ready_seconds.unwrap_or(0);
    let times = active.iter().filter_map(|pod| pods::available_at(pod, minimum)).filter(|time| *time > now);
    let next = times.min()?;
    Some(Duration::try_from(next.duration_since(now)).expect("later than now"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::*;
    use crate::objects::versions::Spec;
    use crate::replicaset::plan::{Snapshot, plan};
    use crate::replicaset::testing::set;

    #[test]
    fn counts_and_waits() {
        let mut web = set("web", 5);
        web.metadata.generation = Some(7);
        web.spec_mut().min_ready_seconds = Some(30);
        let mut unlabelled = ready(pod("d", "web"), 0);
        unlabelled.metadata.labels = labels(&[("app", "web"), ("other", "label")]);
        web.spec_mut().template.get_or_insert_default().metadata.get_or_insert_default().labels =
            labels(&[("app", "web"), ("track", "new")]);
        let mut labelled = ready(pod("c", "web"), 50);
        labelled.metadata.labels = labels(&[("app", "web"), ("track", "new")]);
        let all = [pod("a", "web"), ready(pod("b", "web"), 10), labelled, unlabelled, deleting(pod("e", "web"), 1)];
        let pods: Vec<&Pod> = all.iter().collect();
        let plan = plan(&Snapshot { set: &web, pods: &pods, related: &pods }, at(60));
        let status = status(&web, &plan, None, at(60));
        let expected = ReplicaSetStatus {
            replicas: 4,
            fully_labeled_replicas: Some(1),
            ready_replicas: Some(3),
            available_replicas: Some(2),
            terminating_replicas: Some(1),
            observed_generation: Some(7),
            conditions: None,
        };
        assert_eq!(status, expected);
        assert_eq!(next_available(&web, &plan.active, at(60)), Some(Duration::from_secs(20)));
        assert_eq!(next_available(&web, &plan.active, at(80)), None);
    }

    #[test]
    fn a_failure_is_shown_once_and_taken_back() {
        let mut web = set("web", 2);
        let plan = plan(&Snapshot::<&Pod> { set: &web, pods: &[], related: &[] }, at(0));
        web.status = Some(status(&web, &plan, Some("quota"), at(5)));
        let again = status(&web, &plan, Some("quota, again"), at(9));
        assert_eq!(Some(&again), web.status.as_ref(), "the first failure stands");
        let condition = &again.conditions.as_ref().expect("a condition")[0];
        assert_eq!(
            (condition.reason.as_deref(), &condition.last_transition_time),
            (Some("FailedCreate"), &Some(time(5)))
        );
        assert_eq!(status(&web, &plan, None, at(10)).conditions, None);
    }
}
