//! ReplicaSet and Deployment: pods by the number.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::Value;

use super::entry::{AGE, Entry, NAME, Rules, Title};
use super::field::Field;
use super::pod::{TEMPLATE, template, template_warnings};
use super::row::{Row, selector};
use super::shape::Literal::{Number, Text};
use super::shape::{Object, PLAIN, Shape, object_in, or_insert};
use super::{meta, names};
use crate::error::FieldError;
use crate::object::ResourceType;
use crate::registry::ScalePaths;

const SCALE: ScalePaths = ScalePaths {
    spec_replicas: "spec.replicas",
    status_replicas: "status.replicas",
    selector: "spec.selector",
};

const CONTAINERS: Title = Title(
    "Containers",
    "string",
    "The names of the containers in its template.",
    1,
);
const IMAGES: Title = Title("Images", "string", "The images in its template.", 1);
const SELECTOR: Title = Title("Selector", "string", "Which pods it counts as its own.", 1);

pub(super) static REPLICA_SET: Entry = Entry {
    short_names: &["rs"],
    categories: &["all"],
    has_generation: true,
    scale: Some(SCALE),
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
        always: replica_set,
        change: same_selector,
        status: replica_set_status,
    },
    warnings: template_warnings,
    cells: replica_set_cells,
    ..Entry::of(ResourceType::of::<ReplicaSet>)
};

pub(super) static DEPLOYMENT: Entry = Entry {
    short_names: &["deploy"],
    categories: &["all"],
    has_generation: true,
    scale: Some(SCALE),
    columns: &[
        NAME,
        Title(
            "Ready",
            "string",
            "How many pods are ready, of those that should be.",
            0,
        ),
        Title(
            "Up-to-date",
            "integer",
            "How many pods are of the newest template.",
            0,
        ),
        Title(
            "Available",
            "integer",
            "How many pods have been ready for long enough.",
            0,
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    defaults: &DEPLOYMENT_DEFAULTS,
    rules: Rules {
        always: deployment,
        change: same_selector,
        status: deployment_status,
    },
    warnings: template_warnings,
    cells: deployment_cells,
    ..Entry::of(ResourceType::of::<Deployment>)
};

static REPLICA_SET_DEFAULTS: Shape = Shape {
    parts: &[("spec", &REPLICA_SET_SPEC)],
    ..PLAIN
};
static REPLICA_SET_SPEC: Shape = Shape {
    set: &[("replicas", Number(1))],
    parts: &[("template", &TEMPLATE)],
    ..PLAIN
};
static DEPLOYMENT_DEFAULTS: Shape = Shape {
    parts: &[("spec", &DEPLOYMENT_SPEC)],
    ..PLAIN
};
static DEPLOYMENT_SPEC: Shape = Shape {
    set: &[
        ("replicas", Number(1)),
        ("revisionHistoryLimit", Number(10)),
        ("progressDeadlineSeconds", Number(600)),
    ],
    rule: Some(|spec| {
        object_in(spec, "strategy");
    }),
    parts: &[("template", &TEMPLATE), ("strategy", &STRATEGY)],
};
static STRATEGY: Shape = Shape {
    set: &[("type", Text("RollingUpdate"))],
    rule: Some(rolling_update),
    ..PLAIN
};

fn rolling_update(strategy: &mut Object) {
    if strategy["type"] == "RollingUpdate" {
        let rolling = object_in(strategy, "rollingUpdate");
        or_insert(rolling, "maxUnavailable", "25%");
        or_insert(rolling, "maxSurge", "25%");
    }
}

fn replica_set(set: &Field<'_, '_>) {
    let spec = set.get("spec");
    spec.get("replicas").not_negative();
    spec.get("minReadySeconds").not_negative();
    selector_and_template(&spec, "empty selector is invalid for deployment");
}

fn deployment(deployment: &Field<'_, '_>) {
    let spec = deployment.get("spec");
    spec.get("replicas").not_negative();
    selector_and_template(&spec, "empty selector is invalid for deployment");
    strategy(&spec.get("strategy"));
    spec.get("minReadySeconds").not_negative();
    spec.get("revisionHistoryLimit").not_negative();
    let deadline = spec.get("progressDeadlineSeconds");
    if let Some(seconds) = deadline.int() {
        deadline.not_negative();
        if seconds <= spec.get("minReadySeconds").int().unwrap_or_default() {
            deadline.invalid("must be greater than minReadySeconds");
        }
    }
}

/// The selector must select just the pods that the template makes, and they must run for ever.
fn selector_and_template(spec: &Field<'_, '_>, empty: &str) {
    let (selector, template_field) = (spec.get("selector"), spec.get("template"));
    if !selector.is_set() {
        selector.missing("");
    } else {
        meta::selector(&selector);
        if meta::is_empty(&selector) {
            selector.invalid(empty);
        }
    }
    if !template_field.is_set() {
        template_field.missing("");
        return;
    }
    let metadata = template_field.get("metadata");
    let labels = metadata.get("labels");
    if selector.is_set()
        && !meta::is_empty(&selector)
        && meta::matches(selector.value(), labels.value()) == Some(false)
    {
        let shown = if labels.is_set() {
            labels.value().clone()
        } else {
            Value::Object(Object::new())
        };
        labels.report(FieldError::invalid(
            labels.path(),
            shown,
            "`selector` does not match template `labels`",
        ));
    }
    template(&template_field);
    let pod = template_field.get("spec");
    let restart = pod.get("restartPolicy");
    // What is no restart policy at all is reported with the rest of the template.
    if matches!(restart.text(), "OnFailure" | "Never") {
        restart.one_of(&["Always"]);
    }
    let deadline = pod.get("activeDeadlineSeconds");
    if deadline.is_set() {
        deadline.forbidden("activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

fn strategy(strategy: &Field<'_, '_>) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.text() {
        "Recreate" if rolling.is_set() => {
            rolling.forbidden("may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            let fine = number_or_percent(&unavailable) & number_or_percent(&surge);
            if fine && amount(&unavailable) == 0 && amount(&surge) == 0 {
                unavailable.invalid("may not be 0 when `maxSurge` is 0");
            }
            if unavailable.value().is_string() && amount(&unavailable) > 100 {
                unavailable.invalid("must not be greater than 100%");
            }
        }
        _ => {
            kind.required_one_of(&["Recreate", "RollingUpdate"]);
        }
    }
}

fn number_or_percent(field: &Field<'_, '_>) -> bool {
    if field.value().is_string() && !names::is_percent(field.text()) {
        field.invalid(
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
             validation is '[0-9]+%')",
        );
        return false;
    }
    field.not_negative()
}

/// The number, of pods or of percent.
fn amount(field: &Field<'_, '_>) -> i64 {
    field
        .int()
        .or_else(|| field.text().trim_end_matches('%').parse().ok())
        .unwrap_or_default()
}

fn same_selector(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    new.get("spec")
        .get("selector")
        .immutable(&old.get("spec").get("selector"));
}

fn replica_set_status(set: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = set.get("status");
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ];
    counts.iter().for_each(|count| {
        status.get(count).not_negative();
    });
    not_more(
        &status,
        &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
        "replicas",
    );
    not_more(&status, &["availableReplicas"], "readyReplicas");
}

fn deployment_status(deployment: &Field<'_, '_>, old: &Field<'_, '_>) {
    let status = deployment.get("status");
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ];
    counts.iter().for_each(|count| {
        status.get(count).not_negative();
    });
    not_more(
        &status,
        &["updatedReplicas", "readyReplicas", "availableReplicas"],
        "replicas",
    );
    not_more(&status, &["availableReplicas"], "readyReplicas");
    let (before, collisions) = (old.get("status"), status.get("collisionCount"));
    collisions.not_negative();
    if let Some(before) = before.get("collisionCount").int()
        && collisions.int().is_none_or(|now| now < before)
    {
        collisions.invalid("cannot be decremented");
    }
}

fn not_more(status: &Field<'_, '_>, counts: &[&str], most: &str) {
    let limit = status.get(most).int().unwrap_or_default();
    for count in counts {
        let count = status.get(count);
        if count.int().unwrap_or_default() > limit {
            count.invalid(format!("cannot be greater than status.{most}"));
        }
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
        format!(
            "{}/{}",
            row.int("/status/readyReplicas"),
            row.int("/spec/replicas")
        )
        .into(),
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
    use crate::kinds::testing::{errors, errors_of_change, with};
    use crate::registry::Transition;
    use serde_json::json;

    fn smallest() -> Value {
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
        assert_eq!(
            (
                &spec["revisionHistoryLimit"],
                &spec["progressDeadlineSeconds"]
            ),
            (&json!(10), &json!(600))
        );
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
        let typed: Deployment = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(
            serde_json::to_value(typed).unwrap(),
            object,
            "the typed view holds all that was filled in"
        );
        assert_eq!(errors(&DEPLOYMENT, &object), [""; 0]);
        assert_eq!(errors(&REPLICA_SET, &object), [""; 0]);

        let mut chosen = json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}, "template": {}, "revisionHistoryLimit": 0}});
        DEPLOYMENT.defaults.fill(&mut chosen);
        assert_eq!(chosen["spec"]["replicas"], 0);
        assert_eq!(chosen["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(chosen["spec"]["revisionHistoryLimit"], 0);
    }

    #[test]
    fn what_a_deployment_may_not_say() {
        let rolling = |unavailable: Value, surge: Value| json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}});
        for (changes, expected) in [
            (
                json!({"spec": {"replicas": -1}}),
                vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                json!({"spec": {"selector": null}}),
                vec!["spec.selector: Required value"],
            ),
            (
                json!({"spec": {"selector": {"matchLabels": null}}}),
                vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (
                json!({"spec": {"template": {"metadata": {"labels": {"app": "db"}}}}}),
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"spec": {"template": {"metadata": null}}}),
                vec![
                    "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}}),
                vec![
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "Recreate"}}}),
                vec![
                    "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
                ],
            ),
            (
                json!({"spec": {"strategy": {"type": "Blue"}}}),
                vec![
                    "spec.strategy.type: Unsupported value: \"Blue\": supported values: \"Recreate\", \"RollingUpdate\"",
                ],
            ),
            (
                rolling(json!(0), json!("0%")),
                vec![
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
                ],
            ),
            (
                rolling(json!("101%"), json!(0)),
                vec![
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                ],
            ),
            (
                json!({"spec": {"minReadySeconds": 600}}),
                vec![
                    "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
                ],
            ),
            (
                json!({"spec": {"replicas": -2, "revisionHistoryLimit": -3}}),
                vec![
                    "spec.replicas: Invalid value: -2: must be greater than or equal to 0",
                    "spec.revisionHistoryLimit: Invalid value: -3: must be greater than or equal to 0",
                ],
            ),
            (rolling(json!("x%"), json!(-1)), vec![]),
        ] {
            let found = errors(&DEPLOYMENT, &with(&smallest(), &changes));
            if expected.is_empty() {
                assert_eq!(found.len(), 2, "{found:?}");
            } else {
                assert_eq!(found, expected, "{changes}");
            }
        }
    }

    #[test]
    fn labels_of_a_template_are_checked() {
        let found = errors(
            &DEPLOYMENT,
            &with(
                &smallest(),
                &json!({"spec": {"template": {"metadata": {"labels": {"x": "-"}}}}}),
            ),
        );
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .starts_with("spec.template.labels: Invalid value: \"-\": a valid label must be"),
            "{found:?}"
        );
    }

    #[test]
    fn the_selector_stays() {
        let new = with(
            &smallest(),
            &json!({"spec": {"selector": {"matchLabels": {"app": null, "tier": "x"}},
            "template": {"metadata": {"labels": {"tier": "x"}}}}}),
        );
        assert_eq!(
            errors_of_change(&DEPLOYMENT, &new, &smallest()),
            [
                "spec.selector: Invalid value: {\"matchLabels\":{\"tier\":\"x\"}}: field is immutable",
            ]
        );
    }

    #[test]
    fn counts_in_a_status_fit_together() {
        let old = json!({"status": {"collisionCount": 2}});
        let new = json!({"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": -1, "collisionCount": 1}});
        let transition = Transition {
            new: &new,
            old: Some(&old),
            subresource: "status",
        };
        let found: Vec<String> = DEPLOYMENT
            .info()
            .strategy
            .validate(&transition)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "status.availableReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.collisionCount: Invalid value: 1: cannot be decremented",
            ]
        );
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
        let row = Row {
            object: &object,
            now,
        };
        let tail = [json!("5m12s"), json!("c"), json!("web:1"), json!("app=web")];
        assert_eq!(
            deployment_cells(&row)[..4],
            [json!("web"), json!("2/1"), json!(3), json!(1)]
        );
        assert_eq!(deployment_cells(&row)[4..], tail);
        assert_eq!(
            replica_set_cells(&row)[..4],
            [json!("web"), json!(1), json!(3), json!(2)]
        );
        assert_eq!(replica_set_cells(&row)[4..], tail);
    }
}
