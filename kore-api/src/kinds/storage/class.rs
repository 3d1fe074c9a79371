//! StorageClass and VolumeAttributesClass.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttributesClass};
use serde_json::Value;

use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{PLAIN, Shape};
use crate::kinds::{meta, names};
use crate::object::ResourceType;

const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETER_BYTES: usize = 256 * 1024;

/// What says that a class is that of claims which name none.
const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const DEFAULT_ATTRIBUTES_ANNOTATIONS: [&str; 1] = ["volumeattributesclass.alpha.kubernetes.io/is-default-class"];

pub(crate) static STORAGE_CLASS: Entry = Entry {
    short_names: &["sc"],
    has_status: false,
    columns: &[
        NAME,
        Title("Provisioner", "string", "What makes its volumes.", 0),
        Title("ReclaimPolicy", "string", "What becomes of a volume when its claim is gone.", 0),
        Title("VolumeBindingMode", "string", "When a claim gets its volume.", 0),
        Title("AllowVolumeExpansion", "string", "Whether volumes can grow.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, change, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<StorageClass>)
};

static DEFAULTS: Shape =
    Shape { set: &[("reclaimPolicy", Text("Delete")), ("volumeBindingMode", Text("Immediate"))], ..PLAIN };

pub(crate) static VOLUME_ATTRIBUTES_CLASS: Entry = Entry {
    short_names: &["vac"],
    has_status: false,
    columns: &[NAME, Title("DriverName", "string", "Whose volumes can have its attributes.", 0), AGE],
    rules: Rules {
        always: |class| {
            provisioner(&class.get("driverName"));
            let all = class.get("parameters");
            parameters(&all);
            if all.len() == 0 {
                all.missing("must contain at least one key/value pair");
            }
        },
        change: |new, old| same(new, old, &["driverName", "parameters"]),
        ..ANYTHING
    },
    cells: |row| vec![name(row, &DEFAULT_ATTRIBUTES_ANNOTATIONS), row.text("/driverName").into(), row.age()],
    ..Entry::of(ResourceType::of::<VolumeAttributesClass>)
};

fn always(class: &Field<'_, '_>) {
    provisioner(&class.get("provisioner"));
    parameters(&class.get("parameters"));
    class.get("reclaimPolicy").one_of(&["Delete", "Retain"]);
    class.get("volumeBindingMode").required_one_of(&["Immediate", "WaitForFirstConsumer"]);
    let mut terms: Vec<&Value> = Vec::new();
    for term in class.get("allowedTopologies").items() {
        topology(&term);
        let expressions = term.get("matchLabelExpressions");
        if terms.contains(&expressions.value()) {
            expressions.report(FieldError::duplicate(expressions.path(), ""));
        }
        terms.push(expressions.value());
    }
}

fn provisioner(name: &Field<'_, '_>) {
    if name.required() {
        name.named(|name| names::qualified_name(&name.to_lowercase()));
    }
}

fn parameters(parameters: &Field<'_, '_>) {
    if parameters.len() > MAX_PARAMETERS {
        parameters.report(FieldError::too_long(parameters.path(), MAX_PARAMETERS));
        return;
    }
    let mut bytes = 0;
    for (key, value) in parameters.entries() {
        if key.is_empty() {
            parameters.report(FieldError::invalid(parameters.path(), key, "field can not be empty."));
        }
        bytes += key.len() + value.len();
    }
    if bytes > MAX_PARAMETER_BYTES {
        parameters.report(FieldError::too_long(parameters.path(), MAX_PARAMETER_BYTES));
    }
}

fn topology(term: &Field<'_, '_>) {
    let mut keys = BTreeSet::new();
    for expression in term.get("matchLabelExpressions").items() {
        let (key, values) = (expression.get("key"), expression.get("values"));
        if values.len() == 0 {
            values.missing("");
        }
        let mut seen = BTreeSet::new();
        for value in values.items() {
            if !seen.insert(value.text()) {
                value.duplicate();
            }
        }
        meta::label_key(&key);
        if !keys.insert(key.value().as_str()) {
            key.duplicate();
        }
    }
}

fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    same(new, old, &["parameters", "provisioner", "reclaimPolicy"]);
    new.get("volumeBindingMode").immutable(&old.get("volumeBindingMode"));
}

fn same(new: &Field<'_, '_>, old: &Field<'_, '_>, fields: &[&str]) {
    for field in fields {
        if new.get(field).value() != old.get(field).value() {
            new.get(field).forbidden(format!("updates to {field} are forbidden."));
        }
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let or = |pointer: &str, other: &str| Value::from(row.at(pointer).as_str().unwrap_or(other));
    vec![
        name(row, &DEFAULT_ANNOTATIONS),
        row.text("/provisioner").into(),
        or("/reclaimPolicy", "Delete"),
        or("/volumeBindingMode", "Immediate"),
        (row.at("/allowVolumeExpansion") == true).into(),
        row.age(),
    ]
}

/// The name, and whether the class is that of claims which name none.
fn name(row: &Row<'_>, annotations: &[&str]) -> Value {
    let noted = row.at("/metadata/annotations");
    if !annotations.iter().any(|annotation| noted[*annotation] == "true") {
        return row.name();
    }
    format!("{} (default)", row.text("/metadata/name")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};
    use serde_json::json;

    fn fast() -> Value {
        let mut class = json!({"metadata": {"name": "fast"}, "provisioner": "example.com/disk"});
        DEFAULTS.fill(&mut class);
        class
    }

    #[test]
    fn what_a_class_may_not_say() {
        assert_eq!((&fast()["reclaimPolicy"], &fast()["volumeBindingMode"]), (&json!("Delete"), &json!("Immediate")));
        assert_eq!(errors(&STORAGE_CLASS, &fast()), [""; 0]);
        let zone = json!({"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]});
        for (changes, expected) in [
            (json!({"provisioner": null}), vec!["provisioner: Required value"]),
            (
                json!({"reclaimPolicy": "Recycle", "volumeBindingMode": "Later"}),
                vec![
                    "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
                    "volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
                ],
            ),
            (
                json!({"allowedTopologies": [zone, zone, {"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}]}]}),
                vec![
                    "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\"",
                    "allowedTopologies[2].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
                ],
            ),
        ] {
            assert_eq!(errors(&STORAGE_CLASS, &with(&fast(), &changes)), expected, "{changes}");
        }
        let changes =
            json!({"parameters": {"a": "b"}, "provisioner": "other", "volumeBindingMode": "WaitForFirstConsumer"});
        assert_eq!(
            errors_of_change(&STORAGE_CLASS, &with(&fast(), &changes), &fast()),
            [
                "parameters: Forbidden: updates to parameters are forbidden.",
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ]
        );
        assert_eq!(
            errors(&VOLUME_ATTRIBUTES_CLASS, &json!({"driverName": "a.b"})),
            ["parameters: Required value: must contain at least one key/value pair"]
        );
    }

    #[test]
    fn as_rows() {
        let usual = with(
            &fast(),
            &json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
        );
        assert_eq!(
            cells(&STORAGE_CLASS, &usual)[..5],
            [json!("fast (default)"), json!("example.com/disk"), json!("Delete"), json!("Immediate"), json!(false)]
        );
        assert_eq!(cells(&STORAGE_CLASS, &fast())[0], "fast");
    }
}
