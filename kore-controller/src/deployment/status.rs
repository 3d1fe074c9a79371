//! The status of a deployment: counts, and the conditions Available, Progressing and ReplicaFailure.

use super::limits::{limits, replicas};
use super::plan::Rollout;
use crate::objects::versions::Field;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::ops::Deref;
use std::time::Duration;

const AVAILABLE: &str = "Available";
pub(crate) const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Reasons of the condition Progressing, which tools wait for.
pub(crate) mod reason {
    pub(crate) const FOUND: &str = "FoundNewReplicaSet";
    pub(crate) const CREATED: &str = "NewReplicaSetCreated";
    pub(crate) const CREATE_ERROR: &str = "ReplicaSetCreateError";
    pub(crate) const UPDATED: &str = "ReplicaSetUpdated";
    pub(crate) const AVAILABLE: &str = "NewReplicaSetAvailable";
    pub(crate) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
    pub(crate) const PAUSED: &str = "DeploymentPaused";
    pub(crate) const RESUMED: &str = "DeploymentResumed";
}

/// The counts and the condition Available, as the sets' statuses have them; the other conditions as they were.
pub(crate) fn counted<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>, now: Timestamp) -> DeploymentStatus {
    let spec = rollout.spec;
    let of = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let sum = |field: &dyn Fn(&ReplicaSet) -> i32| rollout.sets.iter().map(|set| field(set.get())).sum::<i32>();
    let total = sum(&|set| of(set).replicas);
    let available = sum(&|set| of(set).available_replicas.unwrap_or(0));
    let mut status = DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: Some(total),
        updated_replicas: Some(rollout.new_set().map_or(0, |set| of(set).replicas)),
        ready_replicas: Some(sum(&|set| of(set).ready_replicas.unwrap_or(0))),
        available_replicas: Some(available),
        unavailable_replicas: Some((total - available).max(0)),
        terminating_replicas: Some(sum(&|set| of(set).terminating_replicas.unwrap_or(0))),
        collision_count: rollout.status.collision_count,
        conditions: rollout.status.conditions.clone(),
    };
    let needed = replicas(spec) - limits(spec).unavailable;
    let condition = if available >= needed {
        let message = format!("{available} available, {needed} needed");
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", message, now)
    } else {
        let message = format!("{available} available of {needed} needed");
        condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message, now)
    };
    set(&mut status, condition);
    status
}

/// The status while a rollout goes on: [`counted`], and whether it is complete, progresses, or got stuck.
pub(crate) fn rolling<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>, now: Timestamp) -> DeploymentStatus {
    let deployment = rollout.deployment;
    let mut status = counted(rollout, now);
    let was = get(&status, PROGRESSING).cloned();
    let settled = status.replicas == status.updated_replicas
        && was.as_ref().is_some_and(|was| was.reason.as_deref() == Some(reason::AVAILABLE));
    let subject = match rollout.new_set().and_then(|set| set.metadata.name.as_deref()) {
        Some(name) => format!("ReplicaSet \"{name}\""),
        None => "the deployment".into(),
    };
    if deadline(rollout.spec).is_none() {
        remove(&mut status, PROGRESSING);
    } else if !settled {
        if is_complete(deployment, rollout.spec, &status) {
            set(&mut status, condition(PROGRESSING, "True", reason::AVAILABLE, format!("{subject} is complete"), now));
        } else if progressed(&rollout.status, &status) {
            let mut condition =
                condition(PROGRESSING, "True", reason::UPDATED, format!("{subject} makes progress"), now);
            if let Some(was) = was.filter(is_true) {
                condition.last_transition_time = was.last_transition_time;
            }
            remove(&mut status, PROGRESSING);
            set(&mut status, condition);
        } else if timed_out(rollout.spec, &status, now) {
            let message = format!("{subject} made no progress within the deadline");
            set(&mut status, condition(PROGRESSING, "False", reason::TIMED_OUT, message, now));
        }
    }
    match failure(rollout) {
        Some(failure) => set(&mut status, failure),
        None => remove(&mut status, REPLICA_FAILURE),
    }
    status
}

/// Whether everything wanted is there, updated and available, and nothing else.
pub(crate) fn is_complete(deployment: &Deployment, spec: &DeploymentSpec, status: &DeploymentStatus) -> bool {
    let wanted = Some(replicas(spec));
    let or_zero = |count: Option<i32>| Some(count.unwrap_or(0));
    or_zero(status.updated_replicas) == wanted
        && or_zero(status.replicas) == wanted
        && or_zero(status.available_replicas) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// Marks pausing and resuming in the condition Progressing, so that the time paused does not count as being stuck.
pub(crate) fn note_pause(spec: &DeploymentSpec, status: &mut DeploymentStatus, now: Timestamp) {
    if deadline(spec).is_none() {
        return;
    }
    let was = get(status, PROGRESSING).and_then(|condition| condition.reason.as_deref());
    let paused = spec.paused == Some(true);
    let condition = match was {
        Some(reason::TIMED_OUT) => return,
        Some(reason::PAUSED) if !paused => condition(PROGRESSING, "Unknown", reason::RESUMED, "resumed".into(), now),
        Some(reason::PAUSED) => return,
        _ if paused => condition(PROGRESSING, "Unknown", reason::PAUSED, "paused".into(), now),
        _ => return,
    };
    set(status, condition);
}

/// When to look again though nothing happens: one second after the rollout would have got stuck.
pub(crate) fn look_again(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let limit = deadline(spec)?;
    let condition = get(status, PROGRESSING)?;
    let settled = matches!(condition.reason.as_deref(), Some(reason::TIMED_OUT | reason::PAUSED));
    if settled || is_complete(deployment, spec, status) {
        return None;
    }
    let since = condition.last_update_time.as_ref()?.0;
    let left = limit - now.duration_since(since) + SignedDuration::from_secs(1);
    Some(Duration::try_from(left).unwrap_or_default().max(Duration::from_secs(1)))
}

/// A condition of this type that holds from now on.
pub(crate) fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_string().into(),
        status: status.to_string().into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Puts the condition in, unless it says what is known: the same status for the same reason changes nothing, and the
/// same status for another reason keeps the time of the transition.
pub(crate) fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let conditions = status.conditions.get_or_insert_default();
    let same_type = |other: &DeploymentCondition| text(&other.type_) == text(&condition.type_);
    let was = conditions.iter().find(|other| same_type(other));
    if let Some(was) = was.filter(|was| text(&was.status) == text(&condition.status)) {
        if was.reason == condition.reason {
            return;
        }
        condition.last_transition_time = was.last_transition_time.clone();
    }
    conditions.retain(|other| !same_type(other));
    conditions.push(condition);
}

/// The condition of this type.
pub(crate) fn get<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| text(&condition.type_) == type_)
}

/// `spec.progressDeadlineSeconds`, if there is a deadline at all.
pub(crate) fn deadline(spec: &DeploymentSpec) -> Option<SignedDuration> {
    let seconds = spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(i64::from(seconds)))
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| text(&condition.type_) != type_);
    }
}

fn progressed(was: &DeploymentStatus, is: &DeploymentStatus) -> bool {
    let updated = |status: &DeploymentStatus| status.updated_replicas.unwrap_or(0);
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - updated(status);
    let more = |field: fn(&DeploymentStatus) -> Option<i32>| field(is).unwrap_or(0) > field(was).unwrap_or(0);
    updated(is) > updated(was) || old(is) < old(was) || more(|s| s.ready_replicas) || more(|s| s.available_replicas)
}

fn timed_out(spec: &DeploymentSpec, status: &DeploymentStatus, now: Timestamp) -> bool {
    let (Some(limit), Some(condition)) = (deadline(spec), get(status, PROGRESSING)) else {
        return false;
    };
    match condition.reason.as_deref() {
        Some(reason::AVAILABLE | reason::PAUSED) => false,
        Some(reason::TIMED_OUT) => true,
        _ => condition.last_update_time.as_ref().is_some_and(|since| now.duration_since(since.0) > limit),
    }
}

/// The failure to report: the current set's before any other's.
fn failure<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>) -> Option<DeploymentCondition> {
    let new = rollout.new_set().into_iter();
    let conditions = new.chain(rollout.sets.iter().map(|set| set.get())).flat_map(|set| set.status.iter());
    let mut conditions = conditions.flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.find(|condition| text(&condition.type_) == REPLICA_FAILURE)?;
    Some(DeploymentCondition {
        type_: REPLICA_FAILURE.to_string().into(),
        status: text(&found.status).to_string().into(),
        reason: found.reason.clone(),
        message: found.message.clone(),
        last_update_time: found.last_transition_time.clone(),
        last_transition_time: found.last_transition_time.clone(),
    })
}

fn is_true(condition: &DeploymentCondition) -> bool {
    text(&condition.status) == "True"
}

fn text(field: &impl Field<String>) -> &str {
    field.value().map_or("", String::as_str)
}
