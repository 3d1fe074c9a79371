//! Builders of objects for the table tests.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use std::collections::BTreeMap;

/// Seconds since the tests' epoch.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

pub(crate) fn time(seconds: i64) -> Time {
    Time(at(seconds))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
}

/// Metadata with name, namespace `default`, a uid made from the name, created at 0.
pub(crate) fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("default".into()),
        uid: Some(format!("uid-{name}")),
        creation_timestamp: Some(time(0)),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}

/// A pod labelled `app=web`, controlled by the object named `owner` unless that is empty, bound to node `n1`, pending.
pub(crate) fn pod(name: &str, owner: &str) -> Pod {
    let mut pod = Pod { metadata: meta(name), ..Pod::default() };
    pod.metadata.labels = labels(&[("app", "web")]);
    if !owner.is_empty() {
        pod.metadata.owner_references = Some(vec![OwnerReference {
            uid: format!("uid-{owner}"),
            name: owner.into(),
            controller: Some(true),
            ..OwnerReference::default()
        }]);
    }
    pod.spec = Some(PodSpec { node_name: Some("n1".into()), ..PodSpec::default() });
    pod.status = Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() });
    pod
}

/// The pod running, with an address, and ready since this second.
pub(crate) fn ready(mut pod: Pod, since: i64) -> Pod {
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Running".into());
    status.pod_ip = Some("10.0.0.1".into());
    status.conditions = Some(vec![PodCondition {
        type_: "Ready".into(),
        status: "True".into(),
        last_transition_time: Some(time(since)),
        ..PodCondition::default()
    }]);
    pod
}

pub(crate) fn phase(mut pod: Pod, phase: &str) -> Pod {
    pod.status.get_or_insert_default().phase = Some(phase.into());
    pod
}

pub(crate) fn deleting(mut pod: Pod, since: i64) -> Pod {
    pod.metadata.deletion_timestamp = Some(time(since));
    pod
}
