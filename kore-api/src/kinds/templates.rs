//! What is kept for later: PodTemplate and ControllerRevision.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplate;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::pod::{TEMPLATE, template, template_warnings_at};
use super::row::{Row, labels};
use super::shape::{PLAIN, Shape};
use crate::object::ResourceType;

pub(super) static POD_TEMPLATE: Entry = Entry {
    has_generation: true,
    has_status: false,
    columns: &[
        NAME,
        Title("Containers", "string", "The names of the containers in the template.", 0),
        Title("Images", "string", "The images in the template.", 0),
        Title("Pod Labels", "string", "The labels of the pods it makes.", 0),
    ],
    defaults: &DEFAULTS,
    rules: Rules { always: |object| template(&object.get("template")), ..ANYTHING },
    warnings: |object| template_warnings_at(object, &object.get("template")),
    cells: |row| {
        let [names, images] = row.containers("/template/spec/containers");
        vec![row.name(), names, images, labels(row.at("/template/metadata/labels"))]
    },
    ..Entry::of(ResourceType::of::<PodTemplate>)
};

static DEFAULTS: Shape = Shape { parts: &[("template", &TEMPLATE)], ..PLAIN };

pub(super) static CONTROLLER_REVISION: Entry = Entry {
    has_status: false,
    columns: &[
        NAME,
        Title("Controller", "string", "What it is a past form of.", 0),
        Title("Revision", "string", "Which past form it is.", 0),
        AGE,
    ],
    rules: Rules {
        always: revision,
        change: |new, old| {
            new.get("data").immutable(&old.get("data"));
        },
        ..ANYTHING
    },
    cells: |row| vec![row.name(), controller(row).into(), row.int("/revision").into(), row.age()],
    ..Entry::of(ResourceType::of::<ControllerRevision>)
};

fn revision(revision: &Field<'_, '_>) {
    let data = revision.get("data");
    if !data.is_set() {
        data.missing("data is mandatory");
    }
    revision.get("revision").not_negative();
}

/// What the object belongs to: `statefulset.apps/db`.
fn controller(row: &Row<'_>) -> String {
    let Some(owner) = row.items("/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true) else {
        return "<none>".to_owned();
    };
    let text = |field: &str| owner[field].as_str().unwrap_or_default();
    let kind = match text("apiVersion").split_once('/') {
        Some((group, _)) => format!("{}.{group}", text("kind")),
        None => text("kind").to_owned(),
    };
    format!("{}/{}", kind.to_lowercase(), text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};
    use serde_json::{Value, json};

    #[test]
    fn revisions() {
        let old = json!({
            "metadata": {
                "name": "db-1",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}],
            },
            "data": {"spec": {}}, "revision": 1,
        });
        assert_eq!(errors(&CONTROLLER_REVISION, &old), [""; 0]);
        assert_eq!(cells(&CONTROLLER_REVISION, &old)[1..3], [json!("statefulset.apps/db"), json!(1)]);
        assert_eq!(cells(&CONTROLLER_REVISION, &json!({}))[1], "<none>");
        assert_eq!(
            errors(&CONTROLLER_REVISION, &json!({"revision": -1})),
            [
                "data: Required value: data is mandatory",
                "revision: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
        let changed = with(&old, &json!({"data": {"spec": {"a": 1}}, "revision": 2}));
        assert_eq!(
            errors_of_change(&CONTROLLER_REVISION, &changed, &old),
            ["data: Invalid value: {\"spec\":{\"a\":1}}: field is immutable"]
        );
    }

    #[test]
    fn templates() {
        let mut object = json!({
            "metadata": {"name": "t"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        });
        DEFAULTS.fill(&mut object);
        assert_eq!(object["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(errors(&POD_TEMPLATE, &object), [""; 0]);
        assert_eq!(cells(&POD_TEMPLATE, &object), ["t", "c", "i:1", "a=b"].map(Value::from));
        let bad = with(&object, &json!({"template": {"spec": {"containers": []}}}));
        assert_eq!(errors(&POD_TEMPLATE, &bad), ["template.spec.containers: Required value"]);
    }
}
