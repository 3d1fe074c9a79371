//! PersistentVolumeClaim.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;

use super::{CLASS_ANNOTATION, access_modes, amount, class, mode_and_classes, or_unset, phase, short_modes};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::quantity::Quantity;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{Object, PLAIN, Shape, object_in};
use crate::kinds::{meta, names};
use crate::object::ResourceType;

pub(crate) static CLAIM: Entry = Entry {
    short_names: &["pvc"],
    columns: &[
        NAME,
        Title("Status", "string", "Whether it has a volume.", 0),
        Title("Volume", "string", "The volume it has.", 0),
        Title("Capacity", "string", "How much the volume holds.", 0),
        Title("Access Modes", "string", "How the volume can be mounted.", 0),
        Title("StorageClass", "string", "Which kind of storage it asks for.", 0),
        Title("VolumeAttributesClass", "string", "Which changeable attributes it asks for.", 0),
        AGE,
        Title("VolumeMode", "string", "Whether it is a file system or a block device.", 1),
    ],
    defaults: &DEFAULTS,
    prepare_create: same_source,
    rules: Rules { always, change, status, ..ANYTHING },
    warnings,
    cells,
    ..Entry::of(ResourceType::of::<PersistentVolumeClaim>)
};

pub(crate) static DEFAULTS: Shape =
    Shape { rule: Some(pending), parts: &[("spec", &SPEC), ("status", &STATUS)], ..PLAIN };
static SPEC: Shape = Shape { set: &[("volumeMode", Text("Filesystem"))], ..PLAIN };
static STATUS: Shape = Shape { set: &[("phase", Text("Pending"))], ..PLAIN };

/// A claim without a status has no volume yet.
fn pending(claim: &mut Object) {
    object_in(claim, "spec");
    object_in(claim, "status");
}

/// What it is filled from stands in an older field, and in a newer one that knows more.
fn same_source(claim: &mut Value) {
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let of = |spec: &Object, field: &str| spec.get(field).filter(|source| source.is_object()).cloned();
    match (of(spec, "dataSource"), of(spec, "dataSourceRef")) {
        (Some(source), None) => drop(spec.insert("dataSourceRef".to_owned(), source)),
        (None, Some(source)) if source["namespace"].as_str().unwrap_or_default().is_empty() => {
            spec.insert("dataSource".to_owned(), source);
        }
        _ => {}
    }
}

fn always(claim: &Field<'_, '_>) {
    spec(&claim.get("spec"));
}

/// What a claim asks for; also in the templates of a StatefulSet.
pub(crate) fn spec(spec: &Field<'_, '_>) {
    let (modes, resources) = (spec.get("accessModes"), spec.get("resources"));
    if modes.len() == 0 {
        modes.missing("at least 1 access mode is required");
    }
    meta::selector(&spec.get("selector"));
    access_modes(&modes);
    let (requests, storage) = (resources.get("requests"), resources.key("storage"));
    match requests.value().get("storage") {
        None | Some(Value::Null) => storage.missing(""),
        Some(asked) if !Quantity::of(asked).is_some_and(Quantity::is_positive) => {
            storage.report(FieldError::invalid(storage.path(), asked.clone(), "must be greater than zero"));
        }
        Some(_) => {}
    }
    mode_and_classes(spec);
    spec.get("volumeAttributesClassName").named(names::dns_subdomain);
    let (old, new) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    source(&old);
    source(&new);
    if !new.get("namespace").text().is_empty() {
        new.get("namespace").named(names::dns_label);
        if old.is_set() {
            let detail = "may not be specified when dataSourceRef.namespace is specified";
            spec.report(FieldError::invalid(spec.path(), old.path(), detail));
        }
    } else if old.is_set() && new.is_set() && !same(&old, &new) {
        spec.report(FieldError::invalid(spec.path(), old.path(), "must match dataSourceRef"));
    }
}

fn same(one: &Field<'_, '_>, other: &Field<'_, '_>) -> bool {
    ["apiGroup", "kind", "name"].iter().all(|field| one.get(field).text() == other.get(field).text())
}

fn source(source: &Field<'_, '_>) {
    if !source.is_set() {
        return;
    }
    source.get("name").required();
    let (kind, group) = (source.get("kind"), source.get("apiGroup"));
    kind.required();
    if group.text().is_empty() && kind.text() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        source.report(FieldError::invalid(source.path(), kind.text(), detail));
    }
    group.named(names::dns_subdomain);
}

/// Only the size of a bound claim changes, and its attributes; and the volume and the class of one that has none.
fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before, status) = (new.get("spec"), old.get("spec"), old.get("status"));
    class_stays(new, old);
    let bound = status.get("phase").text() == "Bound";
    let noted = old.value()["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
    if allowed(spec.value(), before.value(), bound, noted) != *spec.value() {
        spec.forbidden(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        );
    }
    let size = |claim: &Field<'_, '_>| Quantity::of(&claim.value()["resources"]["requests"]["storage"]);
    let (now, was) = (size(&spec), size(&before));
    let there = Quantity::of(&status.value()["capacity"]["storage"]).unwrap_or_default();
    if now < was && now.is_some_and(|now| now <= there) {
        let path = "spec.resources.requests.storage";
        new.report(FieldError::forbidden(path, "field can not be less than status.capacity"));
    }
    // Upstream says where without the `spec` before.
    new.get("volumeMode").showing(&spec.get("volumeMode")).immutable(&before.get("volumeMode"));
    let attributes = spec.get("volumeAttributesClassName");
    let has_some = status.get("currentVolumeAttributesClassName").is_set();
    if before.get("volumeAttributesClassName").is_set() && has_some && attributes.text().is_empty() {
        attributes.forbidden("update to nil is forbidden when status.currentVolumeAttributesClassName is not nil");
    }
}

/// The older place for the class stays as it is, unless the class moves to the newer one.
fn class_stays(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let noted =
        |claim: &Field<'_, '_>| claim.value()["metadata"]["annotations"][CLASS_ANNOTATION].as_str().map(str::to_owned);
    let (now, was) = (noted(new), noted(old));
    let [class, before] = [new, old].map(|claim| claim.value()["spec"]["storageClassName"].as_str());
    let moves = was.is_some() && before.is_none() && class == was.as_deref() && (now.is_none() || now == was);
    if !moves && now.clone().unwrap_or_default() != was.unwrap_or_default() {
        let path = format!("metadata.annotations.{CLASS_ANNOTATION}");
        new.report(FieldError::invalid(path, now.unwrap_or_default(), "field is immutable"));
    }
}

/// `old` with all of `new` that may change; `noted`: its class, if that stands in the older place.
fn allowed(new: &Value, old: &Value, bound: bool, noted: Option<&str>) -> Value {
    let mut allowed = old.clone();
    let Some(fields) = allowed.as_object_mut() else {
        return allowed;
    };
    let mut take = |field: &str| match new.get(field) {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    };
    if old["volumeName"].as_str().unwrap_or_default().is_empty() {
        take("volumeName");
    }
    let class = new["storageClassName"].as_str();
    if old["storageClassName"].is_null() && (noted.is_none() || noted == class) {
        take("storageClassName");
    }
    take("volumeAttributesClassName");
    if bound {
        let asked = new["resources"]["requests"].get("storage").cloned();
        if let (Some(resources), Some(asked)) = (fields.get_mut("resources").and_then(Value::as_object_mut), asked) {
            object_in(resources, "requests").insert("storage".to_owned(), asked);
        }
    }
    allowed
}

fn status(claim: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = claim.get("status");
    for amounts in ["capacity", "allocatedResources"] {
        for (_, amount) in status.get(amounts).entries() {
            if Quantity::of(amount.value()).is_some_and(Quantity::is_negative) {
                amount.invalid("must be greater than or equal to 0");
            }
        }
    }
    for condition in status.get("conditions").items() {
        condition.get("type").required();
    }
}

fn warnings(claim: &Field<'_, '_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let (metadata, spec) = (claim.get("metadata"), claim.get("spec"));
    let annotations = metadata.get("annotations");
    let noted = annotations.key(CLASS_ANNOTATION);
    if noted.is_set() {
        warnings.push(format!("{noted}: deprecated since v1.8; use \"storageClassName\" attribute instead"));
    }
    let resources = spec.get("resources");
    let requests = resources.get("requests");
    let storage = requests.key("storage");
    if Quantity::of(storage.value()).is_some_and(|asked| !asked.is_whole()) {
        warnings.push(format!("{storage}: fractional byte value {:?} is invalid, must be an integer", storage.text()));
    }
    warnings
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let volume = row.text("/spec/volumeName");
    let (capacity, modes) = match volume {
        "" => ("".into(), "".into()),
        _ => (amount(row.at("/status/capacity/storage")), short_modes(row.at("/status/accessModes")).into()),
    };
    vec![
        row.name(),
        phase(row),
        volume.into(),
        capacity,
        modes,
        class(row),
        or_unset(row, "/spec/volumeAttributesClassName"),
        row.age(),
        or_unset(row, "/spec/volumeMode"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change, warnings, with};
    use serde_json::json;

    fn claim() -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_claim_may_not_say() {
        let object = claim();
        assert_eq!(object["spec"]["volumeMode"], "Filesystem");
        assert_eq!(object["status"], json!({"phase": "Pending"}));
        assert_eq!(errors(&CLAIM, &object), [""; 0]);
        for (changes, expected) in [
            (
                json!({"accessModes": [], "resources": null}),
                vec![
                    "spec.accessModes: Required value: at least 1 access mode is required",
                    "spec.resources[storage]: Required value",
                ],
            ),
            (
                json!({"accessModes": ["ReadWriteOncePod", "Sometimes"]}),
                vec![
                    "spec.accessModes: Unsupported value: \"Sometimes\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
                     \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                    "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                ],
            ),
            (
                json!({"resources": {"requests": {"storage": "0"}}, "volumeMode": "Tape"}),
                vec![
                    "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
                    "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
                ],
            ),
            (
                json!({"dataSource": {"kind": "VolumeSnapshot", "name": "s"}}),
                vec![
                    "spec.dataSource: Invalid value: \"VolumeSnapshot\": must be 'PersistentVolumeClaim' when referencing the \
                     default apiGroup",
                ],
            ),
        ] {
            assert_eq!(errors(&CLAIM, &with(&claim(), &json!({"spec": changes}))), expected, "{changes}");
        }
        let fractional = with(&claim(), &json!({"spec": {"resources": {"requests": {"storage": "1500m"}}}}));
        assert_eq!(
            warnings(&CLAIM, &fractional),
            ["spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"]
        );
    }

    #[test]
    fn what_of_a_claim_may_change() {
        let pending = claim();
        let bound = with(
            &pending,
            &json!({
                "spec": {"volumeName": "v", "storageClassName": "fast"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
            }),
        );
        let change = |old: &Value, changes: Value| errors_of_change(&CLAIM, &with(old, &json!({"spec": changes})), old);
        let fixed = "spec: Forbidden: spec is immutable after creation except resources.requests and \
                     volumeAttributesClassName for bound claims";
        let more = json!({"resources": {"requests": {"storage": "2Gi"}}});
        assert_eq!(change(&pending, json!({"volumeName": "v", "storageClassName": "fast"})), [""; 0]);
        assert_eq!(change(&pending, more.clone()), [fixed]);
        assert_eq!(change(&bound, more), [""; 0]);
        assert_eq!(change(&bound, json!({"volumeName": "w"})), [fixed]);
        assert_eq!(
            change(&bound, json!({"resources": {"requests": {"storage": "1Mi"}}})),
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
        );
    }

    #[test]
    fn the_class_moves_out_of_the_annotation() {
        let old = with(&claim(), &json!({"metadata": {"annotations": {(CLASS_ANNOTATION): "fast"}}}));
        let change = |changes: Value| errors_of_change(&CLAIM, &with(&old, &changes), &old);
        let gone = json!({"annotations": null});
        assert_eq!(change(json!({"spec": {"storageClassName": "fast"}})), [""; 0]);
        assert_eq!(change(json!({"metadata": gone, "spec": {"storageClassName": "fast"}})), [""; 0]);
        assert_eq!(change(json!({"spec": {"storageClassName": "slow"}})).len(), 1);
        assert_eq!(
            change(json!({"metadata": gone})),
            ["metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \"\": field is immutable"]
        );
    }

    #[test]
    fn sources_and_rows() {
        let mut object =
            with(&claim(), &json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}}));
        same_source(&mut object);
        assert_eq!(object["spec"]["dataSourceRef"], object["spec"]["dataSource"]);
        assert_eq!(errors(&CLAIM, &object), [""; 0]);
        let bound = with(
            &claim(),
            &json!({
                "spec": {"volumeName": "v", "storageClassName": "fast"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany", "ReadWriteOnce"]},
            }),
        );
        let shown: Vec<Value> = ["data", "Bound", "v", "1Gi", "RWO,ROX", "fast", "<unset>", "<unknown>", "Filesystem"]
            .map(Value::from)
            .to_vec();
        assert_eq!(crate::kinds::testing::cells(&CLAIM, &bound), shown);
        assert_eq!(crate::kinds::testing::cells(&CLAIM, &claim())[1..5], ["Pending", "", "", ""].map(Value::from));
    }
}
