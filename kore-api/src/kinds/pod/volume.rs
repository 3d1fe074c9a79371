//! The rules of volumes and of where containers mount them.

use std::collections::{BTreeMap, BTreeSet};

use super::env;
use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::quantity::Quantity;

/// A pod's volumes by name; whether each is a claim on a block device or file system that outlives the pod.
pub(super) type Volumes<'a> = BTreeMap<&'a str, bool>;

/// All permission bits.
const MAX_MODE: i64 = 0o777;

/// What each source of a volume must state.
const REQUIRED: &[(&str, &[&str])] = &[
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cephfs", &["monitors"]),
    ("cinder", &["volumeID"]),
    ("configMap", &["name"]),
    ("csi", &["driver"]),
    ("downwardAPI", &[]),
    ("emptyDir", &[]),
    ("ephemeral", &["volumeClaimTemplate"]),
    ("fc", &[]),
    ("flexVolume", &["driver"]),
    ("flocker", &[]),
    ("gcePersistentDisk", &["pdName"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("hostPath", &["path"]),
    ("image", &["reference"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("nfs", &["server", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("projected", &[]),
    ("quobyte", &["registry", "volume"]),
    ("rbd", &["monitors", "image"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("secret", &["secretName"]),
    ("storageos", &[]),
    ("vsphereVolume", &["volumePath"]),
];

/// All volumes of a pod. Answers those that mounts may name.
pub(super) fn volumes<'v>(volumes: &Field<'v, '_>) -> Volumes<'v> {
    let mut known = Volumes::new();
    for volume in volumes.items() {
        let name = volume.get("name");
        if name.required() && name.named(names::dns_label) {
            if known.contains_key(name.text()) {
                name.duplicate();
            }
            let lasts = ["persistentVolumeClaim", "ephemeral"].iter().any(|source| volume.get(source).is_set());
            known.insert(name.text(), lasts);
        }
        one_source(&volume);
    }
    known
}

fn one_source(volume: &Field<'_, '_>) {
    let mut count = 0;
    for (kind, required) in REQUIRED {
        let source = volume.get(kind);
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
        details(kind, &source);
    }
    if count == 0 {
        volume.missing("must specify a volume type");
    }
}

fn details(kind: &str, source: &Field<'_, '_>) {
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit");
            if Quantity::of(limit.value()).is_some_and(Quantity::is_negative) {
                limit.forbidden("SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => {
            no_way_up(&source.get("path"));
            let types =
                ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            source.get("type").one_of(&types);
        }
        "nfs" if !source.get("path").text().is_empty() && !source.get("path").text().starts_with('/') => {
            source.get("path").invalid("must be an absolute path");
        }
        "secret" | "configMap" => {
            mode(&source.get("defaultMode"));
            keys(&source.get("items"));
        }
        "downwardAPI" => {
            mode(&source.get("defaultMode"));
            downward(&source.get("items"));
        }
        "projected" => projected(source),
        "image" => {
            source.get("pullPolicy").one_of(&["Always", "IfNotPresent", "Never"]);
        }
        _ => {}
    }
}

/// Several sources in one directory.
fn projected(volume: &Field<'_, '_>) {
    mode(&volume.get("defaultMode"));
    let mut taken = BTreeSet::new();
    for source in volume.get("sources").items() {
        let mut count = 0;
        for kind in
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]
        {
            let part = source.get(kind);
            if !part.is_set() {
                continue;
            }
            count += 1;
            if count > 1 {
                part.forbidden("may not specify more than 1 volume type");
                continue;
            }
            match kind {
                "secret" | "configMap" => {
                    part.get("name").required();
                    keys(&part.get("items"));
                }
                "downwardAPI" => downward(&part.get("items")),
                "serviceAccountToken" => token(&part),
                _ => {}
            }
            for item in part.get("items").items().map(|item| item.get("path").value()).chain([part.get("path").value()])
            {
                if let Some(path) = item.as_str().filter(|path| !path.is_empty())
                    && !taken.insert(path)
                {
                    let detail = "conflicting duplicate paths";
                    source.report(FieldError::invalid(source.path(), path, detail));
                }
            }
        }
        if count == 0 {
            source.missing("must specify a projected volume source");
        }
    }
}

fn token(token: &Field<'_, '_>) {
    const SHORTEST: i64 = 600;
    const LONGEST: i64 = 1 << 32;
    let seconds = token.get("expirationSeconds");
    match seconds.int() {
        Some(..SHORTEST) => seconds.invalid("may not specify a duration less than 10 minutes"),
        Some(after) if after > LONGEST => seconds.invalid("may not specify a duration larger than 2^32 seconds"),
        _ => {}
    }
    inside(&token.get("path"));
}

fn keys(items: &Field<'_, '_>) {
    for item in items.items() {
        item.get("key").required();
        inside(&item.get("path"));
        mode(&item.get("mode"));
    }
}

fn downward(items: &Field<'_, '_>) {
    for item in items.items() {
        inside(&item.get("path"));
        let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
        match (field.is_set(), resource.is_set()) {
            (true, true) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                item.report(FieldError::invalid(item.path(), "resource", detail));
            }
            (false, false) => item.missing("one of fieldRef and resourceFieldRef is required"),
            _ => {}
        }
        env::field_ref(&field, &env::FILE_FIELDS);
        env::resource_ref(&resource, true);
        mode(&item.get("mode"));
    }
}

fn mode(mode: &Field<'_, '_>) {
    if mode.int().is_some_and(|bits| !(0..=MAX_MODE).contains(&bits)) {
        mode.invalid("must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A path of a file inside a volume.
fn inside(path: &Field<'_, '_>) {
    if path.required() {
        relative(path);
        if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
            path.invalid("must not start with '..'");
        }
    }
}

fn relative(path: &Field<'_, '_>) {
    if path.text().starts_with('/') {
        path.invalid("must be a relative path");
    }
    no_way_up(path);
}

fn no_way_up(path: &Field<'_, '_>) {
    if path.text().split('/').any(|step| step == "..") {
        path.invalid("must not contain '..'");
    }
}

/// Where a container mounts what.
pub(super) fn mounts(container: &Field<'_, '_>, volumes: &Volumes<'_>) {
    let mut seen = BTreeSet::new();
    for mount in container.get("volumeMounts").items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.required() && !volumes.contains_key(name.text()) {
            name.unknown();
        }
        if path.required() && !seen.insert(path.text()) {
            path.invalid("must be unique");
        }
        let (part, pattern) = (mount.get("subPath"), mount.get("subPathExpr"));
        relative(&part);
        relative(&pattern);
        if !part.text().is_empty() && !pattern.text().is_empty() {
            pattern.invalid("subPathExpr and subPath are mutually exclusive");
        }
        mount.get("mountPropagation").one_of(&["Bidirectional", "HostToContainer", "None"]);
        let recursive = mount.get("recursiveReadOnly");
        recursive.one_of(&["Disabled", "Enabled", "IfPossible"]);
        if matches!(recursive.text(), "Enabled" | "IfPossible") && !mount.get("readOnly").flag() {
            recursive.forbidden("may only be specified when readOnly is true");
        }
    }
    let mut devices = BTreeSet::new();
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        if name.required() {
            match volumes.get(name.text()) {
                None => name.unknown(),
                Some(true) => {}
                Some(false) => {
                    name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
                }
            }
        }
        if path.required() {
            if !devices.insert(path.text()) {
                path.invalid("must be unique");
            }
            if seen.contains(path.text()) {
                path.invalid("must not already exist as a path in volumeMounts");
            }
            no_way_up(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    #[test]
    fn what_volumes_may_not_say() {
        let field = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}, "path": "labels"});
        for (volume, expected) in [
            (json!({"name": "a", "emptyDir": {}}), vec![]),
            (json!({"name": "a", "hostPath": {"path": "/x", "type": ""}}), vec![]),
            (json!({"name": "a", "downwardAPI": {"items": [field]}}), vec![]),
            (json!({"name": "a"}), vec!["v[0]: Required value: must specify a volume type"]),
            (json!({"emptyDir": {}}), vec!["v[0].name: Required value"]),
            (
                json!({"name": "a", "configMap": {}, "emptyDir": {}}),
                vec![
                    "v[0].configMap.name: Required value",
                    "v[0].emptyDir: Forbidden: may not specify more than 1 volume type",
                ],
            ),
            (
                json!({"name": "a", "nfs": {"path": "x"}}),
                vec![
                    "v[0].nfs.server: Required value",
                    "v[0].nfs.path: Invalid value: \"x\": must be an absolute path",
                ],
            ),
            (
                json!({"name": "a", "hostPath": {"path": "/a/../b"}}),
                vec!["v[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
            ),
            (
                json!({"name": "a", "secret": {"defaultMode": 512, "items": [{"key": "", "path": "/x"}, {"key": "k", "path": "..x"}]}}),
                vec![
                    "v[0].secret.secretName: Required value",
                    "v[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                    "v[0].secret.items[0].key: Required value",
                    "v[0].secret.items[0].path: Invalid value: \"/x\": must be a relative path",
                    "v[0].secret.items[1].path: Invalid value: \"..x\": must not start with '..'",
                ],
            ),
            (
                json!({"name": "a", "downwardAPI": {"items": [{"path": "x"}]}}),
                vec!["v[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required"],
            ),
            (
                json!({"name": "a", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "x", "expirationSeconds": 10}},
                    {"secret": {"name": "s", "items": [{"key": "k", "path": "x"}]}, "configMap": {"name": "c"}},
                    {},
                ]}}),
                vec![
                    "v[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a duration \
                     less than 10 minutes",
                    "v[0].projected.sources[1]: Invalid value: \"x\": conflicting duplicate paths",
                    "v[0].projected.sources[1].configMap: Forbidden: may not specify more than 1 volume type",
                    "v[0].projected.sources[2]: Required value: must specify a projected volume source",
                ],
            ),
        ] {
            let object = json!({"v": [volume]});
            let found = check(&object, &Value::Null, |root, _| {
                volumes(&root.get("v"));
            });
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{volume}");
        }
    }

    #[test]
    fn what_mounts_may_not_say() {
        let known = Volumes::from([("a", false), ("b", true)]);
        let container = json!({
            "volumeMounts": [
                {"name": "a", "mountPath": "/x"},
                {"name": "c", "mountPath": "/y"},
                {"name": "a", "mountPath": "/x", "subPath": "../z"},
                {"name": "a", "mountPath": "", "subPath": "p", "subPathExpr": "q"},
            ],
            "volumeDevices": [{"name": "a", "devicePath": "/d"}, {"name": "b", "devicePath": "/x"}],
        });
        let found = check(&container, &Value::Null, |root, _| mounts(root, &known));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "volumeMounts[1].name: Not found: \"c\"",
                "volumeMounts[2].mountPath: Invalid value: \"/x\": must be unique",
                "volumeMounts[2].subPath: Invalid value: \"../z\": must not contain '..'",
                "volumeMounts[3].mountPath: Required value",
                "volumeMounts[3].subPathExpr: Invalid value: \"q\": subPathExpr and subPath are mutually exclusive",
                "volumeDevices[0].name: Invalid value: \"a\": can only use volume source type of PersistentVolumeClaim or Ephemeral for \
             block mode",
                "volumeDevices[1].devicePath: Invalid value: \"/x\": must not already exist as a path in volumeMounts",
            ]
        );
    }
}
