//! StatefulSet: pods with lasting names and volumes.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

use super::template::{STATEFUL_SET as WORDS, for_ever, required_selector, selected};
use super::{CONTAINERS, IMAGES, SCALE};
use crate::kinds::counts::{amount, at_most_all, collisions, not_more, not_negative, number_or_percent};
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::pod::{TEMPLATE, template_warnings, template_with};
use crate::kinds::row::{Row, list};
use crate::kinds::shape::Literal::{Empty, Number, Text};
use crate::kinds::shape::{Object, PLAIN, Shape, object_in, or_insert};
use crate::kinds::volumes::claim;
use crate::object::ResourceType;
use crate::registry::NameRule;

pub(crate) static STATEFUL_SET: Entry = Entry {
    short_names: &["sts"],
    categories: &["all"],
    // Its pods are called by its name and a number, and that is their host name.
    names: NameRule::Label,
    has_generation: true,
    scale: Some(&SCALE),
    columns: &[
        NAME,
        Title("Ready", "string", "How many pods are ready, of those that should be.", 0),
        AGE,
        CONTAINERS,
        IMAGES,
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, create, change, status, ..ANYTHING },
    warnings: template_warnings,
    cells,
    ..Entry::of(ResourceType::of::<StatefulSet>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape {
    set: &[
        ("podManagementPolicy", Text("OrderedReady")),
        ("replicas", Number(1)),
        ("revisionHistoryLimit", Number(10)),
        ("updateStrategy", Empty),
        ("persistentVolumeClaimRetentionPolicy", Empty),
    ],
    parts: &[
        ("template", &TEMPLATE),
        ("updateStrategy", &STRATEGY),
        ("persistentVolumeClaimRetentionPolicy", &RETENTION),
        ("volumeClaimTemplates", &CLAIM),
    ],
    ..PLAIN
};
static STRATEGY: Shape = Shape { set: &[("type", Text("RollingUpdate"))], rule: Some(rolling_update), ..PLAIN };
static RETENTION: Shape = Shape { set: &[("whenDeleted", Text("Retain")), ("whenScaled", Text("Retain"))], ..PLAIN };
/// A claim in a list of templates says what it is, as one by itself does.
static CLAIM: Shape = Shape {
    set: &[("apiVersion", Text("v1")), ("kind", Text("PersistentVolumeClaim"))],
    rule: claim::DEFAULTS.rule,
    parts: claim::DEFAULTS.parts,
};

fn rolling_update(strategy: &mut Object) {
    if strategy["type"] == "RollingUpdate" {
        let rolling = object_in(strategy, "rollingUpdate");
        rolling.entry("partition").or_insert(Value::from(0));
        or_insert(rolling, "maxUnavailable", 1);
    }
}

fn always(set: &Field<'_, '_>) {
    let spec = set.get("spec");
    let policy = spec.get("podManagementPolicy");
    if policy.required() && !matches!(policy.text(), "OrderedReady" | "Parallel") {
        policy.invalid("must be 'OrderedReady' or 'Parallel'");
    }
    strategy(&spec.get("updateStrategy"));
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        retention.get(when).one_of(&["Retain", "Delete"]);
    }
    not_negative(&spec, &["replicas", "minReadySeconds", "revisionHistoryLimit"]);
    let ordinals = spec.get("ordinals");
    ordinals.get("start").not_negative();
    required_selector(&spec, &WORDS);
    let template = spec.get("template");
    selected(&spec);
    let claims: Vec<&str> = list(spec.get("volumeClaimTemplates").value())
        .iter()
        .filter_map(|claim| claim["metadata"]["name"].as_str())
        .collect();
    template_with(&template, &claims);
    for_ever(&template, &WORDS);
}

/// What cannot change later.
fn create(set: &Field<'_, '_>) {
    let spec = set.get("spec");
    spec.get("serviceName").named(names::dns_label);
    for claim in spec.get("volumeClaimTemplates").items() {
        claim::spec(&claim.get("spec"));
    }
}

fn strategy(strategy: &Field<'_, '_>) {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => strategy.missing(""),
        "OnDelete" if rolling.is_set() => rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"),
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.get("partition").not_negative();
            let unavailable = rolling.get("maxUnavailable");
            if unavailable.is_set() {
                number_or_percent(&unavailable);
                if amount(&unavailable) == 0 {
                    unavailable.invalid("cannot be 0");
                }
                at_most_all(&unavailable);
            }
        }
        _ => strategy.invalid("must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// What may change without making other pods or volumes.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let rest = |spec: &Value| {
        let mut rest = spec.clone();
        if let Some(fields) = rest.as_object_mut() {
            fields.retain(|field, _| !CHANGEABLE.contains(&field.as_str()));
        }
        rest
    };
    if rest(spec.value()) != rest(before.value()) {
        spec.forbidden(
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

fn status(set: &Field<'_, '_>, old: &Field<'_, '_>) {
    let status = set.get("status");
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    not_negative(&status, &["replicas"]);
    not_negative(&status, &parts);
    not_negative(&status, &["observedGeneration", "collisionCount"]);
    not_more(&status, &parts, "replicas");
    not_more(&status, &["availableReplicas"], "readyReplicas");
    collisions(&status, &old.get("status"));
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/spec/template/spec/containers");
    let ready = format!("{}/{}", row.int("/status/readyReplicas"), row.int("/spec/replicas"));
    vec![row.name(), json!(ready), row.age(), names, images]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change, errors_of_status, with};

    fn smallest() -> Value {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {
                "serviceName": "db",
                "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {"containers": [{"name": "c", "image": "db:1", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]},
                },
                "volumeClaimTemplates": [{
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }],
            },
        });
        STATEFUL_SET.defaults.fill(&mut object);
        object
    }

    #[test]
    fn the_smallest_gets_the_usual_values() {
        let object = smallest();
        let spec = &object["spec"];
        assert_eq!((&spec["replicas"], &spec["revisionHistoryLimit"]), (&json!(1), &json!(10)));
        assert_eq!(spec["podManagementPolicy"], "OrderedReady");
        assert_eq!(
            spec["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}})
        );
        assert_eq!(
            spec["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
        let claim = &spec["volumeClaimTemplates"][0];
        assert_eq!((&claim["apiVersion"], &claim["kind"]), (&json!("v1"), &json!("PersistentVolumeClaim")));
        assert_eq!(
            (&claim["spec"]["volumeMode"], &claim["status"]["phase"]),
            (&json!("Filesystem"), &json!("Pending"))
        );
        assert_eq!(errors(&STATEFUL_SET, &object), [""; 0], "claims are volumes of the pods");
        let mut on_delete = with(&smallest(), &json!({"spec": {"updateStrategy": null}}));
        on_delete["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        STATEFUL_SET.defaults.fill(&mut on_delete);
        assert_eq!(on_delete["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    }

    #[test]
    fn what_a_stateful_set_may_not_say() {
        for (changes, expected) in [
            (
                json!({"podManagementPolicy": "Random", "replicas": -1, "ordinals": {"start": -1}}),
                vec![
                    "spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'",
                    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                    "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                json!({"updateStrategy": {"type": "OnDelete"}}),
                vec![
                    "spec.updateStrategy.rollingUpdate: Invalid value: {\"maxUnavailable\":1,\"partition\":0}: only allowed for \
                     updateStrategy 'RollingUpdate'",
                ],
            ),
            (
                json!({"updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": "0%"}}}),
                vec![
                    "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": cannot be 0",
                ],
            ),
            (
                json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}),
                vec![
                    "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \
                     \"Retain\", \"Delete\"",
                ],
            ),
            (
                json!({"selector": {"matchLabels": null}}),
                vec!["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
            ),
            (
                json!({"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"restartPolicy": "Never"}}}),
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                ],
            ),
            (
                json!({"volumeClaimTemplates": null}),
                vec!["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
            ),
        ] {
            assert_eq!(errors(&STATEFUL_SET, &with(&smallest(), &json!({"spec": changes}))), expected, "{changes}");
        }
    }

    #[test]
    fn what_may_change() {
        let old = smallest();
        let change = |changes: Value| errors_of_change(&STATEFUL_SET, &with(&old, &json!({"spec": changes})), &old);
        assert_eq!(change(json!({"replicas": 3, "minReadySeconds": 5, "revisionHistoryLimit": 2})), [""; 0]);
        let found = change(json!({"serviceName": "other"}));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"),
            "{found:?}"
        );
        assert_eq!(
            errors_of_status(
                &STATEFUL_SET,
                &json!({"status": {"replicas": 1, "updatedReplicas": 2}}),
                &json!({"status": {"collisionCount": 1}}),
            ),
            [
                "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.collisionCount: Invalid value: 0: cannot be decremented",
            ]
        );
    }

    #[test]
    fn as_a_row() {
        let object = with(&smallest(), &json!({"status": {"readyReplicas": 1}, "spec": {"replicas": 3}}));
        let cells = cells(&Row { object: &object, now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells, [json!("db"), json!("1/3"), json!("<unknown>"), json!("c"), json!("db:1")]);
    }
}
