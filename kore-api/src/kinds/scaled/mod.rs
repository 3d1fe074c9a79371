//! What keeps pods running: ReplicaSet, Deployment, StatefulSet, DaemonSet, ReplicationController.
//!
//! - `mod.rs`: ReplicaSet and Deployment: entries, defaults, and rows of tables.
//! - `rules.rs`: what these two may say.
//! - `template.rs`: the rules of selectors and templates, of all five.
//! - `stateful_set.rs`, `daemon_set.rs`, `replication_controller.rs`: the other three.

mod daemon_set;
mod replication_controller;
mod rules;
mod stateful_set;
mod template;

pub(super) use daemon_set::DAEMON_SET;
pub(super) use replication_controller::REPLICATION_CONTROLLER;
pub(super) use stateful_set::STATEFUL_SET;

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::Value;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::pod::{TEMPLATE, template_warnings};
use super::row::{Row, selector};
use super::shape::Literal::{Number, Text};
use super::shape::{Object, PLAIN, Shape, object_in, or_insert};
use crate::object::ResourceType;
use crate::registry::ScalePaths;

static SCALE: ScalePaths = ScalePaths {
    spec_replicas: Cow::Borrowed("spec.replicas"),
    status_replicas: Cow::Borrowed("status.replicas"),
    selector: Cow::Borrowed("spec.selector"),
};

const CONTAINERS: Title = Title("Containers", "string", "The names of the containers in its template.", 1);
const IMAGES: Title = Title("Images", "string", "The images in its template.", 1);
const SELECTOR: Title = Title("Selector", "string", "Which pods it counts as its own.", 1);

pub(super) static REPLICA_SET: Entry = Entry {
    short_names: &["rs"],
    categories: &["all"],
    has_generation: true,
    scale: Some(&SCALE),
    selectable_fields: &["status.replicas"],
    columns: &[
        NAME,
        Title("Desired", "integer", "How many pods there should be.", 0),
        Title("Current", "integer", "How many pods there are.", 0),
        Title("Ready", "integer", "How many of them are ready.", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    defaults: &REPLICA_SET_DEFAULTS,
    rules: Rules {
        always: rules::replica_set,
        change: rules::same_selector,
        status: rules::replica_set_status,
        ..ANYTHING
    },
    warnings: template_warnings,
    cells: replica_set_cells,
    ..Entry::of(ResourceType::of::<ReplicaSet>)
};

pub(super) static DEPLOYMENT: Entry = Entry {
    short_names: &["deploy"],
    categories: &["all"],
    has_generation: true,
    scale: Some(&SCALE),
    columns: &[
        NAME,
        Title("Ready", "string", "How many pods are ready, of those that should be.", 0),
        Title("Up-to-date", "integer", "How many pods are of the newest template.", 0),
        Title("Available", "integer", "How many pods have been ready for long enough.", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    defaults: &DEPLOYMENT_DEFAULTS,
    rules: Rules {
        always: rules::deployment,
        change: rules::same_selector,
        status: rules::deployment_status,
        ..ANYTHING
    },
    warnings: template_warnings,
    cells: deployment_cells,
    ..Entry::of(ResourceType::of::<Deployment>)
};

static REPLICA_SET_DEFAULTS: Shape = Shape { parts: &[("spec", &REPLICA_SET_SPEC)], ..PLAIN };
static REPLICA_SET_SPEC: Shape = Shape { set: &[("replicas", Number(1))], parts: &[("template", &TEMPLATE)], ..PLAIN };
static DEPLOYMENT_DEFAULTS: Shape = Shape { parts: &[("spec", &DEPLOYMENT_SPEC)], ..PLAIN };
static DEPLOYMENT_SPEC: Shape = Shape {
    set: &[("replicas", Number(1)), ("revisionHistoryLimit", Number(10)), ("progressDeadlineSeconds", Number(600))],
    rule: Some(|spec| {
        object_in(spec, "strategy");
    }),
    parts: &[("template", &TEMPLATE), ("strategy", &STRATEGY)],
};
static STRATEGY: Shape = Shape { set: &[("type", Text("RollingUpdate"))], rule: Some(rolling_update), ..PLAIN };

fn rolling_update(strategy: &mut Object) {
    if strategy["type"] == "RollingUpdate" {
        let rolling = object_in(strategy, "rollingUpdate");
        or_insert(rolling, "maxUnavailable", "25%");
        or_insert(rolling, "maxSurge", "25%");
    }
}
fn replica_set_cells(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/spec/template/spec/containers");
    vec![
        row.name(),
        row.int("/spec/replicas").into(),
        row.int("/status/replicas").into(),
        row.int("/status/readyReplicas").into(),
        row.age(),
        names,
        images,
        selector(row.at("/spec/selector")),
    ]
}

fn deployment_cells(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/spec/template/spec/containers");
    vec![
        row.name(),
        format!("{}/{}", row.int("/status/readyReplicas"), row.int("/spec/replicas")).into(),
        row.int("/status/updatedReplicas").into(),
        row.int("/status/availableReplicas").into(),
        row.age(),
        names,
        images,
        selector(row.at("/spec/selector")),
    ]
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, with};
    use serde_json::json;

    pub(super) fn smallest() -> Value {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}},
            },
        });
        DEPLOYMENT.defaults.fill(&mut object);
        object
    }

    #[test]
    fn the_smallest_deployment_gets_the_usual_values() {
        let object = smallest();
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!((&spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]), (&json!(10), &json!(600)));
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
        let typed: Deployment = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), object, "the typed view holds all that was filled in");
        assert_eq!(errors(&DEPLOYMENT, &object), [""; 0]);
        assert_eq!(errors(&REPLICA_SET, &object), [""; 0]);

        let mut chosen = json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}, "template": {}, "revisionHistoryLimit": 0}});
        DEPLOYMENT.defaults.fill(&mut chosen);
        assert_eq!(chosen["spec"]["replicas"], 0);
        assert_eq!(chosen["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(chosen["spec"]["revisionHistoryLimit"], 0);
    }

    #[test]
    fn as_rows() {
        let now = "2026-01-01T00:05:12Z".parse().unwrap();
        let object = with(
            &smallest(),
            &json!({
                "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
            }),
        );
        let row = Row { object: &object, now };
        let tail = [json!("5m12s"), json!("c"), json!("web:1"), json!("app=web")];
        assert_eq!(deployment_cells(&row)[..4], [json!("web"), json!("2/1"), json!(3), json!(1)]);
        assert_eq!(deployment_cells(&row)[4..], tail);
        assert_eq!(replica_set_cells(&row)[..4], [json!("web"), json!(1), json!(3), json!(2)]);
        assert_eq!(replica_set_cells(&row)[4..], tail);
    }
}
