//! Storage that outlives pods: PersistentVolumeClaim and PersistentVolume.
//!
//! - `claim.rs`: what is asked for.
//! - `volume.rs`: what there is.
//! - `mod.rs`: what both say.

pub(super) mod claim;
mod volume;

pub(super) use claim::CLAIM;
pub(super) use volume::{VOLUME, spec as volume_spec};

use serde_json::Value;

use super::field::Field;
use super::names;
use super::row::{Row, list};

/// Where the class was said before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(modes: &Field<'_, '_>) {
    for mode in modes.items() {
        if !ACCESS_MODES.contains(&mode.text()) {
            modes.report(crate::error::FieldError::not_supported(modes.path(), mode.text(), &ACCESS_MODES));
        }
    }
    let alone = modes.items().filter(|mode| mode.text() == "ReadWriteOncePod").count();
    if alone > 0 && alone < modes.len() {
        modes.forbidden("may not use ReadWriteOncePod with other access modes");
    }
}

fn mode_and_classes(spec: &Field<'_, '_>) {
    spec.get("storageClassName").named(names::dns_subdomain);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"]);
}

/// Access modes as people write them: `RWO,ROX`.
fn short_modes(modes: &Value) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let there = short.into_iter().filter(|(mode, _)| list(modes).iter().any(|one| one == mode));
    there.map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

fn class(row: &Row<'_>) -> Value {
    let noted = row.at("/metadata/annotations")[CLASS_ANNOTATION].as_str();
    noted.unwrap_or_else(|| row.text("/spec/storageClassName")).into()
}

/// An amount as it is shown: that of nothing is 0.
fn amount(value: &Value) -> Value {
    value.as_str().unwrap_or("0").into()
}

/// The value, or `<unset>`.
fn or_unset(row: &Row<'_>, pointer: &str) -> Value {
    row.at(pointer).as_str().unwrap_or("<unset>").into()
}

/// What state it is in.
fn phase(row: &Row<'_>) -> Value {
    if row.at("/metadata/deletionTimestamp").is_string() { "Terminating" } else { row.text("/status/phase") }.into()
}
