//! Facts about every type of the built-in API, as data: fields, types, list and merge keys, protobuf numbers.
//!
//! | file | holds |
//! |---|---|
//! | `*.txt` | the tables, one per API group, written by `examples/generate_facts.rs` |
//! | `table.rs` | the form of a table, and the structures it is parsed into |
//! | `mod.rs` | finding a type by kind or by definition name |
//!
//! A table is parsed when a type of its group is first asked for, and kept: it is a constant, not state. Nothing here
//! knows JSON, protobuf or patches; `schema`, `codec`, `patch` and `openapi` read it.

mod table;

use std::sync::OnceLock;

use table::Table;
pub(crate) use table::{Field, ListKind, MapKind, Shape, Special, Type, WireNode, WireStep};

/// A group's file: the prefix of its packages, the API group of its kinds, and the text.
struct Source {
    packages: &'static str,
    group: &'static str,
    text: &'static str,
}

macro_rules! sources {
    ($($file:literal in $packages:literal serves $group:literal,)*) => {
        static SOURCES: &[Source] = &[
            $(Source { packages: $packages, group: $group, text: include_str!(concat!($file, ".txt")) },)*
        ];
    };
}

sources! {
    "core" in "io.k8s.api.core." serves "",
    "meta" in "io.k8s.apimachinery." serves "",
    "apps" in "io.k8s.api.apps." serves "apps",
    "batch" in "io.k8s.api.batch." serves "batch",
    "autoscaling" in "io.k8s.api.autoscaling." serves "autoscaling",
    "policy" in "io.k8s.api.policy." serves "policy",
    "networking" in "io.k8s.api.networking." serves "networking.k8s.io",
    "discovery" in "io.k8s.api.discovery." serves "discovery.k8s.io",
    "coordination" in "io.k8s.api.coordination." serves "coordination.k8s.io",
    "events" in "io.k8s.api.events." serves "events.k8s.io",
    "rbac" in "io.k8s.api.rbac." serves "rbac.authorization.k8s.io",
    "storage" in "io.k8s.api.storage." serves "storage.k8s.io",
    "scheduling" in "io.k8s.api.scheduling." serves "scheduling.k8s.io",
    "node" in "io.k8s.api.node." serves "node.k8s.io",
    "certificates" in "io.k8s.api.certificates." serves "certificates.k8s.io",
    "admissionregistration" in "io.k8s.api.admissionregistration." serves "admissionregistration.k8s.io",
    "apiextensions" in "io.k8s.apiextensions-apiserver." serves "apiextensions.k8s.io",
    "apiregistration" in "io.k8s.kube-aggregator." serves "apiregistration.k8s.io",
    "authentication" in "io.k8s.api.authentication." serves "authentication.k8s.io",
    "authorization" in "io.k8s.api.authorization." serves "authorization.k8s.io",
    "flowcontrol" in "io.k8s.api.flowcontrol." serves "flowcontrol.apiserver.k8s.io",
    "resource" in "io.k8s.api.resource." serves "resource.k8s.io",
    "lifecycle" in "io.k8s.api.lifecycle." serves "lifecycle.k8s.io",
    "apiserverinternal" in "io.k8s.api.apiserverinternal." serves "internal.apiserver.k8s.io",
    "storagemigration" in "io.k8s.api.storagemigration." serves "storagemigration.k8s.io",
}

const COUNT: usize = 25;

static TABLES: [OnceLock<Table>; COUNT] = [const { OnceLock::new() }; COUNT];

fn table(index: usize) -> &'static Table {
    TABLES[index].get_or_init(|| Table::parse(SOURCES[index].text))
}

/// The type of a kind, e.g. of `apps/v1` and `Deployment`. Kinds that belong to every group version (`DeleteOptions`,
/// `WatchEvent`) are found under each.
pub(crate) fn kind(api_version: &str, kind: &str) -> Option<&'static Type> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    SOURCES
        .iter()
        .enumerate()
        .filter(|(_, source)| source.group == group)
        .find_map(|(index, _)| table(index).kind(api_version, kind))
        .or_else(|| named("io.k8s.apimachinery.pkg.apis.meta.v1", kind).filter(|found| found.every_group))
}

/// A type by its package (`io.k8s.api.core.v1`) and name (`PodSpec`).
pub(crate) fn named(package: &str, name: &str) -> Option<&'static Type> {
    let index =
        SOURCES.iter().position(|source| package.strip_suffix('.').unwrap_or(package).starts_with(source.packages))?;
    table(index).named(package, name)
}

/// What changes when any table changes.
pub(crate) fn fingerprint() -> u64 {
    use std::hash::Hasher as _;
    static FINGERPRINT: OnceLock<u64> = OnceLock::new();
    *FINGERPRINT.get_or_init(|| {
        let mut hasher = rustc_hash::FxHasher::default();
        SOURCES.iter().for_each(|source| hasher.write(source.text.as_bytes()));
        hasher.finish()
    })
}

#[cfg(test)]
/// Every type there is, in the order of the tables. Parses all of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Type> {
    (0..SOURCES.len()).flat_map(|index| table(index).types.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_there_and_every_reference_resolves() {
        assert_eq!(SOURCES.len(), COUNT);
        let mut types = 0;
        let mut fields = 0;
        for found in all() {
            types += 1;
            for field in &found.fields {
                fields += 1;
                let mut shape = &field.shape;
                while let Shape::List(inner) | Shape::Map(inner) = shape {
                    shape = inner;
                }
                if let Shape::Object(reference) = shape {
                    assert_eq!(reference.get().name, reference.name(), "{}.{}", found.name, field.name);
                }
            }
        }
        // The 862 published types less the 7 that are scalars of the table.
        assert_eq!((types, fields), (855, 3424));
        assert!(SOURCES.iter().map(|source| source.text.len()).sum::<usize>() < 300 * 1024);
    }

    #[test]
    fn kinds_are_found_by_group_version() {
        for (api_version, name, package) in [
            ("v1", "Pod", "io.k8s.api.core.v1"),
            ("v1", "Status", "io.k8s.apimachinery.pkg.apis.meta.v1"),
            ("apps/v1", "Deployment", "io.k8s.api.apps.v1"),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "io.k8s.api.autoscaling.v2"),
            ("apps/v1", "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1"),
        ] {
            let found = kind(api_version, name).expect(name);
            assert_eq!((found.name, found.package.definition), (name, package));
        }
        for (api_version, name) in
            [("v1", "PodSpec"), ("apps/v2", "Deployment"), ("nowhere/v1", "Pod"), ("v1", "Deployment")]
        {
            assert!(kind(api_version, name).is_none(), "{api_version} {name}");
        }
    }

    #[test]
    fn inlined_messages_are_paths_of_numbers() {
        let volume = named("io.k8s.api.core.v1", "Volume").expect("Volume");
        let config_map = volume.field("configMap").expect("configMap");
        assert_eq!(&*config_map.numbers, [2, 19]);
        let rule = named("io.k8s.api.admissionregistration.v1", "NamedRuleWithOperations").expect("rule");
        assert_eq!(&*rule.field("apiGroups").expect("apiGroups").numbers, [2, 2, 1]);
        let schema =
            named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "JSONSchemaProps").expect("schema");
        assert_eq!(&*schema.field("$ref").expect("$ref").numbers, [3]);
        assert_eq!(&*schema.field("x-kubernetes-int-or-string").expect("int-or-string").numbers, [40]);
    }
}
