//! The built-in kinds: names, defaults, rules and columns, as entries of the registry.
//!
//! [`builtin`] is all of them. A kind is an [`entry::Entry`]: data, with a function where something depends on something.
//!
//! | file | holds |
//! |---|---|
//! | `entry.rs` | the form of an entry, and the one strategy that does what an entry says |
//! | `shape.rs` | defaults as data |
//! | `field.rs`, `names.rs`, `meta.rs`, `quantity.rs` | what rules are written in |
//! | `row.rs`, [`duration`] | what the cells of tables are written in |
//! | `pod/`, `service/`, `scaled.rs` (ReplicaSet, Deployment), `config.rs` (ConfigMap, Secret), … | the kinds |
//!
//! Semantics are those of Kubernetes 1.37. Nothing here does I/O.

mod config;
pub mod duration;
mod endpoint_slice;
mod entry;
mod event;
mod field;
mod lease;
mod meta;
mod names;
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
    ENTRIES.iter().fold(Registry::new(), |registry, entry| {
        registry.with(entry.info())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_is_whole() {
        let registry = builtin();
        assert_eq!(
            registry.iter().count(),
            ENTRIES.len(),
            "no two entries have the same names"
        );
        for info in registry.iter() {
            let mut object = json!({"metadata": {"name": "a", "namespace": "b"}});
            info.strategy.default(&mut object);
            let once = object.clone();
            info.strategy.default(&mut object);
            assert_eq!(object, once, "{info:?}: defaults are stable");
            let cells = info.strategy.cells(&object, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(
                cells.len(),
                info.columns.len(),
                "{info:?}: a cell for each column"
            );
            assert_eq!(
                info.columns
                    .iter()
                    .filter(|column| column.format == "name")
                    .count(),
                1,
                "{info:?}"
            );
            for (cell, column) in cells.iter().zip(&info.columns) {
                assert!(!cell.is_null(), "{info:?}: {}", column.name);
                assert!(
                    column.kind != "integer" || cell.is_i64(),
                    "{info:?}: {} is {cell}",
                    column.name
                );
            }
            // An object of which nothing is as expected is judged, not stumbled over.
            let odd = json!({"metadata": 1, "spec": [], "status": "x", "data": 3, "endpoints": {}, "ports": "y"});
            let transition = crate::registry::Transition {
                new: &odd,
                old: Some(&once),
                subresource: "",
            };
            let mut changed = odd.clone();
            info.strategy.default(&mut changed);
            info.strategy.prepare_create(&mut changed);
            info.strategy.prepare_update(&mut changed, &once);
            info.strategy.validate(&transition);
            info.strategy.claims(&odd);
            info.strategy.cells(&odd, jiff::Timestamp::UNIX_EPOCH);
        }
    }
}
