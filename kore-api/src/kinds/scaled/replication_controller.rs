//! ReplicationController: what was there before ReplicaSet.

use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::{Map, Value};

use super::template::{REPLICATION_CONTROLLER as WORDS, for_ever, not_selected};
use super::{CONTAINERS, IMAGES, SCALE, SELECTOR, rules};
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::pod::{TEMPLATE, template, template_warnings};
use crate::kinds::row::{Row, labels};
use crate::kinds::shape::Literal::Number;
use crate::kinds::shape::{Object, PLAIN, Shape, object_in, or_insert};
use crate::object::ResourceType;

pub(crate) static REPLICATION_CONTROLLER: Entry = Entry {
    short_names: &["rc"],
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
    defaults: &DEFAULTS,
    rules: Rules { always, status: rules::replica_set_status, ..ANYTHING },
    warnings: template_warnings,
    cells,
    ..Entry::of(ResourceType::of::<ReplicationController>)
};

static DEFAULTS: Shape = Shape { rule: Some(labels_of_template), parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { set: &[("replicas", Number(1))], parts: &[("template", &TEMPLATE)], ..PLAIN };

/// What it does not say of its own labels and of those it selects is what its template has.
fn labels_of_template(controller: &mut Object) {
    let found = controller.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels"));
    let Some(labels) = found.and_then(Value::as_object).filter(|labels| !labels.is_empty()).cloned() else {
        return;
    };
    or_insert(object_in(controller, "spec"), "selector", labels.clone());
    or_insert(object_in(controller, "metadata"), "labels", labels);
}

fn always(controller: &Field<'_, '_>) {
    let spec = controller.get("spec");
    let (selector, template_field) = (spec.get("selector"), spec.get("template"));
    spec.get("minReadySeconds").not_negative();
    if selector.len() == 0 {
        selector.missing("");
    }
    if spec.get("replicas").required() {
        spec.get("replicas").not_negative();
    }
    if !template_field.is_set() {
        template_field.missing("");
        return;
    }
    let nothing = Map::new();
    let metadata = template_field.get("metadata");
    let labels = metadata.get("labels").value().as_object().unwrap_or(&nothing);
    let mut wanted = selector.value().as_object().unwrap_or(&nothing).iter();
    if !wanted.all(|(key, value)| labels.get(key) == Some(value)) {
        not_selected(&template_field);
    }
    template(&template_field);
    for_ever(&template_field, &WORDS);
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/spec/template/spec/containers");
    vec![
        row.name(),
        row.int("/spec/replicas").into(),
        row.int("/status/replicas").into(),
        row.int("/status/readyReplicas").into(),
        row.age(),
        names,
        images,
        labels(row.at("/spec/selector")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, with};
    use serde_json::json;

    #[test]
    fn it_selects_what_its_template_says() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web"},
            "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}},
        });
        REPLICATION_CONTROLLER.defaults.fill(&mut object);
        assert_eq!(object["spec"]["selector"], json!({"app": "web"}));
        assert_eq!(object["metadata"]["labels"], json!({"app": "web"}));
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(errors(&REPLICATION_CONTROLLER, &object), [""; 0]);
        for (changes, expected) in [
            (json!({"selector": null}), vec!["spec.selector: Required value"]),
            (json!({"template": null}), vec!["spec.template: Required value"]),
            (
                json!({"selector": {"app": "db"}, "replicas": -1}),
                vec![
                    "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                json!({"template": {"spec": {"activeDeadlineSeconds": 5}}}),
                vec![
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController is not \
                     Supported",
                ],
            ),
        ] {
            assert_eq!(errors(&REPLICATION_CONTROLLER, &with(&object, &json!({"spec": changes}))), expected);
        }
        let row = Row { object: &object, now: jiff::Timestamp::UNIX_EPOCH };
        assert_eq!(cells(&row)[5..], [json!("c"), json!("web:1"), json!("app=web")]);
    }
}
