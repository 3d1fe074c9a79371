//! DaemonSet: a pod on every node.

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::Value;

use super::template::{DAEMON_SET as WORDS, for_ever, not_selected};
use super::{CONTAINERS, IMAGES, SELECTOR, rules};
use crate::kinds::counts::{amount, at_most_all, collisions, not_negative, number_or_percent};
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::meta;
use crate::kinds::pod::{TEMPLATE, template, template_warnings};
use crate::kinds::row::{Row, labels, selector};
use crate::kinds::shape::Literal::{Empty, Number, Text};
use crate::kinds::shape::{Object, PLAIN, Shape, object_in};
use crate::object::ResourceType;

/// Counts the templates it has had. Once a field of its spec.
const GENERATION: &str = "deprecated.daemonset.template.generation";

pub(crate) static DAEMON_SET: Entry = Entry {
    short_names: &["ds"],
    categories: &["all"],
    has_generation: true,
    columns: &[
        NAME,
        Title("Desired", "integer", "On how many nodes it should have a pod.", 0),
        Title("Current", "integer", "On how many of them it has one.", 0),
        Title("Ready", "integer", "On how many it has one that is ready.", 0),
        Title("Up-to-date", "integer", "On how many it has one of the newest template.", 0),
        Title("Available", "integer", "On how many it has one that has been ready for long enough.", 0),
        Title("Node Selector", "string", "The labels of the nodes it is for.", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    defaults: &DEFAULTS,
    prepare_create: |set| note_generation(set, 1),
    prepare_update,
    rules: Rules { always, change: rules::same_selector, status, ..ANYTHING },
    warnings: template_warnings,
    cells,
    ..Entry::of(ResourceType::of::<DaemonSet>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape {
    set: &[("revisionHistoryLimit", Number(10)), ("updateStrategy", Empty)],
    parts: &[("template", &TEMPLATE), ("updateStrategy", &STRATEGY)],
    ..PLAIN
};
static STRATEGY: Shape = Shape { set: &[("type", Text("RollingUpdate"))], rule: Some(rolling_update), ..PLAIN };

fn rolling_update(strategy: &mut Object) {
    if strategy["type"] == "RollingUpdate" {
        let rolling = object_in(strategy, "rollingUpdate");
        rolling.entry("maxUnavailable").or_insert(Value::from(1));
        rolling.entry("maxSurge").or_insert(Value::from(0));
    }
}

fn note_generation(set: &mut Value, generation: i64) {
    if let Some(set) = set.as_object_mut() {
        let annotations = object_in(object_in(set, "metadata"), "annotations");
        annotations.insert(GENERATION.to_owned(), generation.to_string().into());
    }
}

/// Clients do not count templates.
fn prepare_update(set: &mut Value, old: &Value) {
    let noted = old["metadata"]["annotations"][GENERATION].as_str().and_then(|noted| noted.parse().ok());
    let same = set["spec"]["template"] == old["spec"]["template"];
    let before: i64 = noted.unwrap_or(1);
    note_generation(set, if same { before } else { before.saturating_add(1) });
}

fn always(set: &Field<'_, '_>) {
    let spec = set.get("spec");
    let (selector, template_field) = (spec.get("selector"), spec.get("template"));
    let metadata = template_field.get("metadata");
    meta::selector(&selector);
    if !selector.is_set() || meta::matches(selector.value(), metadata.get("labels").value()) == Some(false) {
        not_selected(&template_field);
    }
    if selector.is_set() && meta::is_empty(&selector) {
        selector.invalid("empty selector is invalid for daemonset");
    }
    template(&template_field);
    for_ever(&template_field, &WORDS);
    spec.get("minReadySeconds").not_negative();
    strategy(&spec.get("updateStrategy"));
    spec.get("revisionHistoryLimit").not_negative();
}

fn strategy(strategy: &Field<'_, '_>) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.text() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is_set() => rolling.missing(""),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            number_or_percent(&unavailable);
            number_or_percent(&surge);
            at_most_all(&unavailable);
            at_most_all(&surge);
            match (amount(&unavailable) != 0, amount(&surge) != 0) {
                (true, true) => surge.invalid("may not be set when maxUnavailable is non-zero"),
                (false, false) => unavailable.missing("cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => {
            kind.required_one_of(&["RollingUpdate", "OnDelete"]);
        }
    }
}

fn status(set: &Field<'_, '_>, old: &Field<'_, '_>) {
    let status = set.get("status");
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    not_negative(&status, &counts);
    collisions(&status, &old.get("status"));
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/spec/template/spec/containers");
    vec![
        row.name(),
        row.int("/status/desiredNumberScheduled").into(),
        row.int("/status/currentNumberScheduled").into(),
        row.int("/status/numberReady").into(),
        row.int("/status/updatedNumberScheduled").into(),
        row.int("/status/numberAvailable").into(),
        labels(row.at("/spec/template/spec/nodeSelector")),
        row.age(),
        names,
        images,
        selector(row.at("/spec/selector")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change, errors_of_status, with};
    use serde_json::json;

    fn smallest() -> Value {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "log"},
            "spec": {
                "selector": {"matchLabels": {"app": "log"}},
                "template": {"metadata": {"labels": {"app": "log"}}, "spec": {"containers": [{"name": "c", "image": "log:1"}]}},
            },
        });
        DAEMON_SET.defaults.fill(&mut object);
        object
    }

    #[test]
    fn the_smallest_gets_the_usual_values() {
        let object = smallest();
        assert_eq!(
            object["spec"]["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
        );
        assert_eq!(object["spec"]["revisionHistoryLimit"], 10);
        assert_eq!(errors(&DAEMON_SET, &object), [""; 0]);
        let mut surging = with(
            &smallest(),
            &json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "10%"}}}}),
        );
        DAEMON_SET.defaults.fill(&mut surging);
        assert_eq!(errors(&DAEMON_SET, &surging), [""; 0]);
    }

    #[test]
    fn what_a_daemon_set_may_not_say() {
        let rolling = |unavailable: Value, surge: Value| json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}});
        for (changes, expected) in [
            (
                rolling(json!(0), json!(0)),
                vec![
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
                ],
            ),
            (
                rolling(json!(1), json!("101%")),
                vec![
                    "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"101%\": must not be greater than 100%",
                    "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"101%\": may not be set when maxUnavailable is \
                     non-zero",
                ],
            ),
            (
                json!({"updateStrategy": {"type": "Never"}}),
                vec![
                    "spec.updateStrategy.type: Unsupported value: \"Never\": supported values: \"RollingUpdate\", \"OnDelete\"",
                ],
            ),
            (
                json!({"selector": null}),
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"log\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"template": {"spec": {"activeDeadlineSeconds": 5}}, "minReadySeconds": -1}),
                vec![
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
                    "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
        ] {
            assert_eq!(errors(&DAEMON_SET, &with(&smallest(), &json!({"spec": changes}))), expected, "{changes}");
        }
    }

    #[test]
    fn templates_are_counted() {
        let mut old = smallest();
        (DAEMON_SET.prepare_create)(&mut old);
        assert_eq!(old["metadata"]["annotations"][GENERATION], "1");
        let mut same = with(&old, &json!({"metadata": {"annotations": null}, "spec": {"minReadySeconds": 5}}));
        (DAEMON_SET.prepare_update)(&mut same, &old);
        assert_eq!(same["metadata"]["annotations"][GENERATION], "1");
        let mut other = with(&old, &json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}));
        (DAEMON_SET.prepare_update)(&mut other, &old);
        assert_eq!(other["metadata"]["annotations"][GENERATION], "2");
        let selector = with(
            &old,
            &json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}}}),
        );
        assert_eq!(errors_of_change(&DAEMON_SET, &selector, &old).len(), 1, "the selector stays");
        assert_eq!(
            errors_of_status(&DAEMON_SET, &json!({"status": {"numberReady": -1}}), &json!({})),
            ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"]
        );
    }

    #[test]
    fn as_a_row() {
        let object = with(
            &smallest(),
            &json!({
                "status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1},
                "spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}},
            }),
        );
        let cells = cells(&Row { object: &object, now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..7], [json!("log"), json!(3), json!(2), json!(1), json!(0), json!(0), json!("disk=ssd")]);
        assert_eq!(cells[10], "app=log");
    }
}
