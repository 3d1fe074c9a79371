//! PersistentVolume.

use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::Value;

use super::{access_modes, amount, class, mode_and_classes, or_unset, phase, short_modes};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::pod::{PERSISTENT_SOURCES, node_selector};
use crate::kinds::quantity::Quantity;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{PLAIN, Shape, object_in};
use crate::object::ResourceType;

pub(crate) static VOLUME: Entry = Entry {
    short_names: &["pv"],
    columns: &[
        NAME,
        Title("Capacity", "string", "How much it holds.", 0),
        Title("Access Modes", "string", "How it can be mounted.", 0),
        Title("Reclaim Policy", "string", "What becomes of it when its claim is gone.", 0),
        Title("Status", "string", "Whether a claim has it.", 0),
        Title("Claim", "string", "The claim that has it.", 0),
        Title("StorageClass", "string", "Which kind of storage it is.", 0),
        Title("VolumeAttributesClass", "string", "Which changeable attributes it has.", 0),
        Title("Reason", "string", "Why it is in its state.", 0),
        AGE,
        Title("VolumeMode", "string", "Whether it is a file system or a block device.", 1),
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, change, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<PersistentVolume>)
};

static DEFAULTS: Shape = Shape {
    rule: Some(|volume| {
        object_in(volume, "spec");
        object_in(volume, "status");
    }),
    parts: &[("spec", &SPEC), ("status", &STATUS)],
    ..PLAIN
};
static SPEC: Shape = Shape {
    set: &[("persistentVolumeReclaimPolicy", Text("Retain")), ("volumeMode", Text("Filesystem"))],
    parts: &PERSISTENT_SOURCES,
    ..PLAIN
};
static STATUS: Shape = Shape { set: &[("phase", Text("Pending"))], ..PLAIN };

/// What each source must state.
const SOURCES: &[(&str, &[&str])] = &[
    ("hostPath", &["path"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("flocker", &[]),
    ("nfs", &["server", "path"]),
    ("rbd", &["monitors", "image"]),
    ("quobyte", &["registry", "volume"]),
    ("cephfs", &["monitors"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("local", &["path"]),
    ("storageos", &[]),
    ("csi", &["driver", "volumeHandle"]),
];

fn always(volume: &Field<'_, '_>) {
    spec(&volume.get("spec"), false);
}

/// What a volume is; `inline`: where a VolumeAttachment carries one along.
pub(crate) fn spec(spec: &Field<'_, '_>, inline: bool) {
    let modes = spec.get("accessModes");
    if inline {
        for field in ["persistentVolumeReclaimPolicy", "claimRef", "capacity", "storageClassName"] {
            let field = spec.get(field);
            if field.len() > 0 {
                field.forbidden("may not be specified in the context of inline volumes");
            }
        }
        if !spec.get("csi").is_set() {
            spec.get("csi").missing("has to be specified in the context of inline volumes");
        }
    }
    if modes.len() == 0 {
        modes.missing("");
    }
    access_modes(&modes);
    if !inline {
        capacity(&spec.get("capacity"));
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    policy.one_of(&["Delete", "Recycle", "Retain"]);
    let affinity = spec.get("nodeAffinity");
    if affinity.is_set() {
        let required = affinity.get("required");
        if required.is_set() {
            node_selector(&required);
        } else {
            required.missing("must specify required node constraints");
        }
    }
    source(spec);
    let (host, nothing) = (spec.get("hostPath"), |part: &str| matches!(part, "" | "."));
    if policy.text() == "Recycle" && host.is_set() && host.get("path").text().split('/').all(nothing) {
        policy.forbidden("may not be 'recycle' for a hostPath mount of '/'");
    }
    mode_and_classes(spec);
    let attributes = spec.get("volumeAttributesClassName");
    if attributes.is_set() {
        if attributes.text().is_empty() {
            attributes.missing("an empty string is disallowed");
        }
        attributes.named(names::dns_subdomain);
        if !spec.get("csi").is_set() {
            spec.get("csi").missing("has to be specified when using volumeAttributesClassName");
        }
    }
}

fn capacity(capacity: &Field<'_, '_>) {
    if capacity.len() == 0 {
        capacity.missing("");
    } else if capacity.len() > 1 || capacity.value().get("storage").is_none() {
        capacity.report(FieldError {
            value: Some(capacity.value().to_string()),
            ..FieldError::not_supported(capacity.path(), "", &["storage"])
        });
    }
    for (_, amount) in capacity.entries() {
        if !Quantity::of(amount.value()).is_some_and(Quantity::is_positive) {
            amount.invalid("must be greater than zero");
        }
    }
}

fn source(spec: &Field<'_, '_>) {
    let mut count = 0;
    for (kind, required) in SOURCES {
        let source = spec.get(kind);
        if !source.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            source.forbidden("may not specify more than 1 volume type");
            continue;
        }
        for field in *required {
            source.get(field).required();
        }
        match *kind {
            "hostPath" => {
                no_way_up(&source.get("path"));
                let types = [
                    "",
                    "BlockDevice",
                    "CharDevice",
                    "Directory",
                    "DirectoryOrCreate",
                    "File",
                    "FileOrCreate",
                    "Socket",
                ];
                source.get("type").one_of(&types);
            }
            "nfs" if !source.get("path").text().is_empty() && !source.get("path").text().starts_with('/') => {
                source.get("path").invalid("must be an absolute path");
            }
            "local" => {
                no_way_up(&source.get("path"));
                let affinity = spec.get("nodeAffinity");
                if !affinity.is_set() {
                    affinity.missing("Local volume requires node affinity");
                }
            }
            "csi" => {
                source.get("driver").named(|name| names::dns_subdomain(&name.to_lowercase()));
            }
            _ => {}
        }
    }
    if count == 0 {
        spec.missing("must specify a volume type");
    }
}

fn no_way_up(path: &Field<'_, '_>) {
    if path.text().split('/').any(|part| part == "..") {
        path.invalid("must not contain '..'");
    }
}

/// What it is stays; to whom it belongs and what it is called changes.
fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let same = |(kind, _): &(&str, &[&str])| {
        let (now, was) = (spec.get(kind).value(), before.get(kind).value());
        // A secret that did not matter before may be named later.
        let (mut now, secret) = (now.clone(), "controllerExpandSecretRef");
        if was.is_object()
            && was.get(secret).is_none()
            && let Some(fields) = now.as_object_mut()
        {
            fields.remove(secret);
        }
        now == *was
    };
    if !SOURCES.iter().all(same) {
        new.report(FieldError::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
    // Upstream says where without the `spec` before.
    new.get("volumeMode").showing(&spec.get("volumeMode")).immutable(&before.get("volumeMode"));
    let was = before.get("nodeAffinity");
    if was.is_set() {
        new.get("nodeAffinity").showing(&spec.get("nodeAffinity")).immutable(&was);
    }
    let (attributes, were) = (spec.get("volumeAttributesClassName"), before.get("volumeAttributesClassName"));
    if were.is_set() && !attributes.is_set() {
        attributes.forbidden("update from non-nil value to nil is forbidden");
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let claim = match row.at("/spec/claimRef") {
        Value::Object(_) => format!("{}/{}", row.text("/spec/claimRef/namespace"), row.text("/spec/claimRef/name")),
        _ => String::new(),
    };
    vec![
        row.name(),
        amount(row.at("/spec/capacity/storage")),
        short_modes(row.at("/spec/accessModes")).into(),
        row.text("/spec/persistentVolumeReclaimPolicy").into(),
        phase(row),
        claim.into(),
        class(row),
        or_unset(row, "/spec/volumeAttributesClassName"),
        row.text("/status/reason").into(),
        row.age(),
        or_unset(row, "/spec/volumeMode"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};
    use serde_json::json;

    fn volume() -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/d"}},
        });
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_volume_may_not_say() {
        let object = volume();
        assert_eq!(object["spec"]["persistentVolumeReclaimPolicy"], "Retain");
        assert_eq!(object["spec"]["hostPath"]["type"], "");
        assert_eq!(object["status"]["phase"], "Pending");
        assert_eq!(errors(&VOLUME, &object), [""; 0]);
        for (changes, expected) in [
            (
                json!({"accessModes": null, "capacity": null, "hostPath": null}),
                vec![
                    "spec.accessModes: Required value",
                    "spec.capacity: Required value",
                    "spec: Required value: must specify a volume type",
                ],
            ),
            (
                json!({"capacity": {"cpu": "1"}}),
                vec![
                    "spec.capacity: Unsupported value: {\"cpu\":\"1\",\"storage\":\"1Gi\"}: supported values: \"storage\"",
                ],
            ),
            (
                json!({"nfs": {"server": "s", "path": "/p"}, "persistentVolumeReclaimPolicy": "Lose"}),
                vec![
                    "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Lose\": supported values: \"Delete\", \"Recycle\", \
                     \"Retain\"",
                    "spec.nfs: Forbidden: may not specify more than 1 volume type",
                ],
            ),
            (
                json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
                vec!["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
            ),
            (
                json!({"hostPath": null, "local": {"path": "a/../b"}}),
                vec![
                    "spec.local.path: Invalid value: \"a/../b\": must not contain '..'",
                    "spec.nodeAffinity: Required value: Local volume requires node affinity",
                ],
            ),
        ] {
            assert_eq!(errors(&VOLUME, &with(&volume(), &json!({"spec": changes}))), expected, "{changes}");
        }
    }

    #[test]
    fn what_of_a_volume_may_change() {
        let old = volume();
        let change = |changes: Value| errors_of_change(&VOLUME, &with(&old, &json!({"spec": changes})), &old);
        assert_eq!(change(json!({"claimRef": {"name": "a"}, "capacity": {"storage": "2Gi"}})), [""; 0]);
        assert_eq!(
            change(json!({"hostPath": {"path": "/other"}, "volumeMode": "Block"})),
            [
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
                "volumeMode: Invalid value: \"Block\": field is immutable",
            ]
        );
    }

    #[test]
    fn as_a_row() {
        let object = with(
            &volume(),
            &json!({"spec": {"claimRef": {"namespace": "a", "name": "data"}, "storageClassName": "fast"}, "status": {"phase": "Bound"}}),
        );
        let shown = ["v", "1Gi", "RWO", "Retain", "Bound", "a/data", "fast", "<unset>", "", "<unknown>", "Filesystem"]
            .map(Value::from);
        assert_eq!(cells(&VOLUME, &object), shown);
    }
}
