//! The sets of a deployment in their order: which set runs the current template, what revision each one is, and what a
//! new one looks like.

use super::limits::{limits, replicas};
use crate::objects::claim::controller_reference;
use crate::objects::versions::Spec;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::collections::BTreeMap;

/// The label that tells the pods of one template from those of another.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";
/// The revision: on a set, and on the deployment that of its current set. `kubectl rollout` reads it.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that stay with the object they are on.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];
/// The longest revision history kept on a set, in characters; the oldest go.
const HISTORY_LIMIT: usize = 2000;

/// Whether two templates, in full, make the same pods: equal but for the hash label, and for empty fields being absent or not.
pub(crate) fn same_template(a: &Value, b: &Value) -> bool {
    a == b || canonical(a) == canonical(b)
}

/// The hash of a template, in full, that names its set and labels its pods. `collisions` is `status.collisionCount`.
pub(crate) fn hash(template: &Value, collisions: Option<i32>) -> String {
    let text = canonical(template).to_string();
    let collisions = collisions.map(|count| count.to_string()).unwrap_or_default();
    // FNV-1a, 32 bits.
    let hash = text
        .bytes()
        .chain(collisions.bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // No vowels: no words. The field's alphabet for generated names.
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// The set for the deployment's current template, with no replicas yet. `full` is that template in full.
pub(crate) fn new_set(deployment: &Deployment, spec: &DeploymentSpec, full: &Value) -> ReplicaSet {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = hash(full, collisions);
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());

    let meta = &deployment.metadata;
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", meta.name.as_deref().unwrap_or_default())),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference::<Deployment>(meta)]),
            ..ObjectMeta::default()
        },
        ..ReplicaSet::default()
    };
    let to = set.spec_mut();
    to.replicas = Some(0);
    to.min_ready_seconds = spec.min_ready_seconds;
    to.selector = selector;
    to.template = Some(template);
    set
}

/// The revision that a set or a deployment carries; 0 when it carries none.
pub(crate) fn revision(meta: &ObjectMeta) -> i64 {
    number(meta, REVISION).unwrap_or(0)
}

/// The number of replicas the deployment wanted when it last sized this set.
pub(crate) fn desired(meta: &ObjectMeta) -> Option<i32> {
    number(meta, DESIRED)
}

/// The most replicas all sets together could have when the deployment last sized this set.
pub(crate) fn maximum(meta: &ObjectMeta) -> Option<i32> {
    number(meta, MAXIMUM)
}

/// The annotations of a set right after the deployment sized it.
pub(crate) fn sized(annotations: &BTreeMap<String, String>, spec: &DeploymentSpec) -> BTreeMap<String, String> {
    let wanted = replicas(spec);
    let mut annotations = annotations.clone();
    annotations.insert(DESIRED.into(), wanted.to_string());
    annotations.insert(MAXIMUM.into(), (wanted + limits(spec).surge).to_string());
    annotations
}

/// The annotations of the current set: the deployment's own, and the newest revision. A set that had an older revision
/// is being rolled back to: what it was goes into its history.
pub(crate) fn current(set: &ObjectMeta, deployment: &ObjectMeta, newest_old: i64) -> BTreeMap<String, String> {
    let mut annotations = set.annotations.clone().unwrap_or_default();
    for (key, value) in deployment.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let (old, new) = (revision(set), newest_old.saturating_add(1));
    if old >= new {
        return annotations;
    }
    if let Some(old) = annotations.insert(REVISION.into(), new.to_string()) {
        let history = annotations.entry(HISTORY.into()).or_default();
        if !history.is_empty() {
            history.push(',');
        }
        history.push_str(&old);
        while history.len() > HISTORY_LIMIT {
            let cut = history.find(',').map_or(history.len(), |comma| comma + 1);
            history.drain(..cut);
        }
    }
    annotations
}

fn number<T: std::str::FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    meta.annotations.as_ref()?.get(key)?.parse().ok()
}

/// The template without the hash label and without what is empty.
fn canonical(template: &Value) -> Value {
    let mut value = template.clone();
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    // The root stays whatever happens to its fields.
    prune(&mut value);
    value
}

/// Removes empty fields, except that an empty object in `emptyDir: {}` says something: only what was written through a
/// typed view as absent-or-empty goes, which are null, empty lists and metadata.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|key, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => {
                    !fields.is_empty()
                        || !matches!(
                            key.as_str(),
                            "metadata" | "labels" | "annotations" | "nodeSelector" | "securityContext" | "resources"
                        )
                }
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{deployment, set_of, with_image};
    use crate::objects::template::Templated;
    use crate::objects::testing::labels;

    #[test]
    fn templates() {
        let web = deployment("web", 1);
        let template = &(&web).template();
        let mut labelled = template.clone();
        labelled["metadata"]["labels"][HASH_LABEL] = "x".into();
        assert!(same_template(template, &labelled), "the hash label does not count");
        assert_eq!(hash(template, None), hash(&labelled, None));
        let mut empty = labelled.clone();
        empty["metadata"]["annotations"] = serde_json::json!({});
        assert!(same_template(template, &empty), "nor does an empty field");
        let mut newer = labelled.clone();
        newer["spec"]["containers"][0]["newer"] = 1.into();
        assert!(!same_template(template, &newer), "a field that no type knows does");
        assert_ne!(hash(template, None), hash(&newer, None));
        let other = &(&with_image(web.clone(), "web:2")).template();
        assert!(!same_template(template, other));
        assert_ne!(hash(template, None), hash(other, None));
        assert_ne!(hash(template, None), hash(template, Some(1)), "a collision changes the name");
        assert_eq!(hash(template, Some(1)), hash(template, Some(1)));
    }

    #[test]
    fn a_new_set_selects_its_own_pods_only() {
        let web = deployment("web", 3);
        let spec = web.spec().expect("a spec");
        let set = new_set(&web, spec, &(&web).template());
        let hash = hash(&(&web).template(), None);
        let to = set.spec().expect("a spec");
        assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
        let expected = labels(&[("app", "web"), (HASH_LABEL, &hash)]);
        assert_eq!(to.selector.match_labels, expected);
        assert_eq!(to.template.as_ref().and_then(|t| t.metadata.clone()).and_then(|m| m.labels), expected);
        assert!(same_template(&(&set).template(), &(&web).template()));
        assert_eq!(set.metadata.owner_references.as_ref().map(|owners| owners[0].kind.as_str()), Some("Deployment"));
    }

    #[test]
    fn rolling_back_renumbers_and_remembers() {
        let mut web = deployment("web", 1);
        web.metadata.annotations = labels(&[("note", "hello"), (REVISION, "3"), (NOT_COPIED[0], "{}")]);
        let mut set = set_of(&web, "old", 0);
        set.metadata.annotations = labels(&[(REVISION, "1"), (HISTORY, "0")]);
        let annotations = current(&set.metadata, &web.metadata, 3);
        assert_eq!(Some(annotations.clone()), labels(&[("note", "hello"), (REVISION, "4"), (HISTORY, "0,1")]));
        set.metadata.annotations = Some(annotations.clone());
        assert_eq!(current(&set.metadata, &web.metadata, 3), annotations, "once");
        set.metadata.annotations = labels(&[(REVISION, "9"), (HISTORY, &"1,".repeat(1500))]);
        let annotations = current(&set.metadata, &web.metadata, 20);
        assert!(annotations[HISTORY].len() <= HISTORY_LIMIT && annotations[HISTORY].ends_with(",9"));
    }
}
