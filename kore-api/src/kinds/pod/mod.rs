//! Pod, and the pod templates of other kinds.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the entry, and what the server sets itself |
//! | `defaults.rs`, `qos.rs` | what is filled in |
//! | `status.rs` | its status: what goes together, what may become of what |
//! | `warnings.rs` | what is allowed, but odd |
//! | `spec.rs` | the rules of a pod's spec as a whole, and of templates |
//! | `container.rs`, `env.rs`, `probe.rs`, `resources.rs`, `volume.rs`, `placement.rs` | the rules of its parts |
//! | `change.rs` | what of a pod may change |
//! | `cells.rs` | a pod as a row of a table |

mod cells;
mod change;
mod container;
mod defaults;
mod env;
mod placement;
mod probe;
mod qos;
mod resources;
mod spec;
mod status;
mod volume;
mod warnings;

pub(super) use defaults::{PERSISTENT_SOURCES, TEMPLATE};
pub(super) use placement::{node_selector, tolerations};
pub(crate) use qos::class as qos_class;
pub(super) use resources::amounts;
pub(super) use spec::{template, template_with};
pub(super) use warnings::{template as template_warnings, template_at as template_warnings_at};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::entry::{ANYTHING, Entry, Rules, flag};
use super::row::list;
use crate::object::ResourceType;

pub(super) static POD: Entry = Entry {
    short_names: &["po"],
    categories: &["all"],
    has_generation: true,
    subresources: &["binding", "eviction", "log"],
    selectable_fields: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ],
    columns: &cells::COLUMNS,
    defaults: &defaults::POD,
    prepare_create,
    prepare_update: status::keep_class,
    rules: Rules { always: spec::pod, change: change::pod, status: status::rules, ..ANYTHING },
    warnings: warnings::pod,
    grace_period_seconds,
    selectable: |pod, field| match field {
        "spec.hostNetwork" => flag(&pod["spec"]["hostNetwork"]),
        _ => None,
    },
    cells: cells::cells,
    ..Entry::of(ResourceType::of::<Pod>)
};

/// A new pod waits to be placed.
fn prepare_create(pod: &mut Value) {
    let mut status = json!({"phase": "Pending", "qosClass": qos::class(&pod["spec"])});
    if !list(&pod["spec"]["schedulingGates"]).is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    if let Some(pod) = pod.as_object_mut() {
        pod.insert("status".to_owned(), status);
    }
}

/// A pod that runs on a node gets the time it asks for to end; one that does not run goes at once.
fn grace_period_seconds(pod: &Value) -> Option<i64> {
    let placed = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !placed || ended {
        return None;
    }
    match pod["spec"]["terminationGracePeriodSeconds"].as_i64() {
        None => Some(30),
        // Objects of old have negative periods; they mean the shortest there is.
        Some(..0) => Some(1),
        Some(seconds) => Some(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_pod_is_pending_whatever_the_writer_says() {
        let mut pod = json!({"spec": {"containers": [{}]}, "status": {"phase": "Running", "podIP": "10.0.0.1"}});
        prepare_create(&mut pod);
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        pod["spec"]["schedulingGates"] = json!([{"name": "a"}]);
        prepare_create(&mut pod);
        assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
    }

    #[test]
    fn only_pods_that_run_get_time_to_end() {
        for (pod, period) in [
            (json!({"spec": {"terminationGracePeriodSeconds": 5}}), None),
            (json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}}), Some(5)),
            (json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 0}}), Some(0)),
            (json!({"spec": {"nodeName": "n", "terminationGracePeriodSeconds": -5}}), Some(1)),
            (json!({"spec": {"nodeName": "n"}}), Some(30)),
            (json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}}), None),
        ] {
            assert_eq!(grace_period_seconds(&pod), period, "{pod}");
        }
    }
}
