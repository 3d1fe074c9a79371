//! The built-in kinds: names, defaults, rules and columns, as entries of the registry.
//!
//! [`builtin`] is all of them. A kind is an `Entry`: data, with a function where something depends on something.
//!
//! | file | holds |
//! |---|---|
//! | `entry.rs` | the form of an entry, and the one strategy that does what an entry says |
//! | `shape.rs` | defaults as data |
//! | `field.rs`, `names.rs`, `meta.rs`, `quantity.rs` | what rules are written in |
//! | `row.rs`, [`duration`] | what the cells of tables are written in |
//! | `pod/`, `service/`, `scaled/` (ReplicaSet, Deployment), `config.rs` (ConfigMap, Secret), … | the kinds |
//!
//! Semantics are those of Kubernetes 1.37. Nothing here does I/O.

mod config;
pub mod duration;
mod endpoint_slice;
mod entry;
mod event;
pub(crate) mod field;
mod lease;
pub(crate) mod meta;
pub(crate) mod names;
mod namespace;
mod node;
mod pod;
mod quantity;
mod row;
mod scaled;
mod service;
mod service_account;
mod shape;
#[cfg(test)]
mod testing;

use crate::registry::Registry;
use entry::Entry;

/// Every built-in kind.
static ENTRIES: [&Entry; 12] = [
    &config::CONFIG_MAP,
    &config::SECRET,
    &endpoint_slice::ENDPOINT_SLICE,
    &event::EVENT,
    &lease::LEASE,
    &namespace::NAMESPACE,
    &node::NODE,
    &pod::POD,
    &scaled::DEPLOYMENT,
    &scaled::REPLICA_SET,
    &service::SERVICE,
    &service_account::SERVICE_ACCOUNT,
];

/// A registry of all built-in kinds. More are added, or some replaced, by [`Registry::with`].
///
/// ```
/// let registry = kore_api::kinds::builtin();
/// let pods = registry.get("", "v1", "pods").expect("pods are built in");
/// assert_eq!(pods.short_names, ["po"]);
/// assert!(pods.selectable_fields.contains(&"spec.nodeName"));
/// ```
pub fn builtin() -> Registry {
    ENTRIES.iter().fold(Registry::new(), |registry, entry| registry.with(entry.info()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, check, normalize};
    use serde_json::{Value, json};

    /// Small objects of each kind, with as many parts that have defaults as fit.
    fn samples() -> Vec<(&'static Entry, Value)> {
        let container = json!({
            "name": "c", "image": "i", "ports": [{"containerPort": 80}], "startupProbe": {"grpc": {"port": 80}},
            "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1"}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
        });
        let spec = json!({"containers": [container], "volumes": [
            {"name": "a"}, {"name": "b", "hostPath": {"path": "/x"}}, {"name": "c", "configMap": {"name": "c"}},
            {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"name": "e", "iscsi": {"targetPortal": "t", "iqn": "i", "lun": 0}}, {"name": "f", "rbd": {"monitors": ["m"], "image": "i"}},
            {"name": "g", "azureDisk": {"diskName": "d", "diskURI": "u"}}, {"name": "h", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "j", "scaleIO": {"gateway": "g", "system": "s", "volumeName": "v", "secretRef": {}}},
        ]});
        let scaled = json!({
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}},
        });
        vec![
            (&config::CONFIG_MAP, json!({"data": {"a": "b"}})),
            (&config::SECRET, json!({"stringData": {"a": "b"}})),
            (&endpoint_slice::ENDPOINT_SLICE, json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []})),
            (&event::EVENT, json!({"involvedObject": {"kind": "Pod", "name": "a", "namespace": "b"}})),
            (&lease::LEASE, json!({"spec": {"holderIdentity": "a"}})),
            (&namespace::NAMESPACE, json!({})),
            (&node::NODE, json!({"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "1"}}})),
            (&pod::POD, json!({"spec": spec})),
            (&scaled::DEPLOYMENT, scaled.clone()),
            (&scaled::REPLICA_SET, scaled),
            (
                &service::SERVICE,
                json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}}),
            ),
            (&service_account::SERVICE_ACCOUNT, json!({})),
        ]
    }

    #[test]
    fn what_is_filled_in_fits_the_schema_and_stays_when_stored() {
        let samples = samples();
        assert_eq!(samples.len(), ENTRIES.len());
        for (entry, mut object) in samples {
            let info = entry.info();
            let (api_version, kind) = (info.resource.api_version(), info.resource.kind.clone());
            object["apiVersion"] = api_version.as_ref().into();
            object["kind"] = kind.as_ref().into();
            object["metadata"] = json!({"name": "a"});
            if info.resource.is_namespaced() {
                object["metadata"]["namespace"] = "b".into();
            }
            info.strategy.default(&mut object);
            info.strategy.prepare_create(&mut object);
            let schema = Schema::of(&api_version, &kind).unwrap();
            assert!(check(&schema, &object).is_empty(), "{kind}: {:?}", check(&schema, &object));
            let mut stored = object.clone();
            normalize(&schema, &mut stored);
            info.strategy.default(&mut stored);
            assert_eq!(stored, object, "{kind}");
            let transition = crate::registry::Transition { new: &object, old: None, subresource: "" };
            assert_eq!(info.strategy.validate(&transition), [], "{kind}");
            let transition = crate::registry::Transition { old: Some(&object), ..transition };
            assert_eq!(info.strategy.validate(&transition), [], "{kind}: no change is no offence");
        }
    }

    #[test]
    fn every_kind_is_whole() {
        let registry = builtin();
        assert_eq!(registry.iter().count(), ENTRIES.len(), "no two entries have the same names");
        for info in registry.iter() {
            let mut object = json!({"metadata": {"name": "a", "namespace": "b"}});
            info.strategy.default(&mut object);
            let once = object.clone();
            info.strategy.default(&mut object);
            assert_eq!(object, once, "{info:?}: defaults are stable");
            let cells = info.strategy.cells(&object, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), info.columns.len(), "{info:?}: a cell for each column");
            assert_eq!(info.columns.iter().filter(|column| column.format == "name").count(), 1, "{info:?}");
            for (cell, column) in cells.iter().zip(&info.columns) {
                assert!(!cell.is_null(), "{info:?}: {}", column.name);
                assert!(column.kind != "integer" || cell.is_i64(), "{info:?}: {} is {cell}", column.name);
            }
        }
    }

    /// Every place in a value, as a JSON pointer.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    places(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    places(item, &format!("{at}/{index}"), found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn flags_that_are_absent_are_selected_as_false() {
        for (kind, field, name) in
            [("pods", "spec.hostNetwork", "hostNetwork"), ("nodes", "spec.unschedulable", "unschedulable")]
        {
            let info = builtin().get("", "v1", kind).unwrap().clone();
            assert!(info.selectable_fields.contains(&field));
            let mut object = json!({"spec": {}});
            assert_eq!(info.strategy.selectable(&object, field).as_deref(), Some("false"));
            object["spec"][name] = json!(true);
            assert_eq!(info.strategy.selectable(&object, field).as_deref(), Some("true"));
            assert_eq!(info.strategy.selectable(&object, "metadata.name"), None);
        }
    }

    proptest::proptest! {
        /// Values of wrong types are reported before rules are asked, but rules and cells must not stumble over them.
        #[test]
        fn odd_objects_are_judged_not_stumbled_over(
            which in 0..ENTRIES.len(),
            changes in proptest::collection::vec((proptest::prelude::any::<u16>(), 0..9_usize), 1..6),
        ) {
            let odd = [
                json!(null), json!("x"), json!(-1), json!(1.5), json!(true), json!([]), json!({}), json!([null]), json!({"a": {"b": 1}}),
            ];
            let (entry, mut sample) = samples().swap_remove(which);
            let strategy = entry.info().strategy;
            strategy.default(&mut sample);
            strategy.prepare_create(&mut sample);
            let mut object = sample.clone();
            for (place, value) in changes {
                let mut found = Vec::new();
                places(&object, "", &mut found);
                let place = &found[usize::from(place) % found.len()];
                *object.pointer_mut(place).unwrap() = odd[value].clone();
            }
            for (new, old) in [(&object, &sample), (&sample, &object), (&object, &object)] {
                let mut changed = new.clone();
                strategy.default(&mut changed);
                strategy.prepare_create(&mut changed);
                strategy.prepare_update(&mut changed, old);
                strategy.begin_deletion(&mut changed);
                for subresource in ["", "status"] {
                    let transition = crate::registry::Transition { new: &changed, old: Some(old), subresource };
                    strategy.validate(&transition);
                    strategy.warnings(&transition);
                }
                strategy.claims(&changed);
                strategy.is_held(&changed);
                strategy.grace_period_seconds(&changed);
                strategy.cells(&changed, jiff::Timestamp::UNIX_EPOCH);
            }
        }
    }
}
