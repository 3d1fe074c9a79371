//! `metadata.managedFields` on the wire: who owns what, since when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields_v1;
use super::owners::{Owned, Owners};
use super::set::FieldSet;
use crate::schema::canonical_time;

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// Who owns fields. One who applies is the same at every version of the API; one who updates is another at each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manager {
    pub(crate) operation: Operation,
    pub(crate) name: String,
    /// Empty for one who applies.
    pub(crate) version: String,
    /// Through which part it wrote; empty: the object itself.
    pub(crate) subresource: String,
}

impl Manager {
    pub(crate) fn new(operation: Operation, name: &str, version: &str, subresource: &str) -> Self {
        Self {
            operation,
            // Upstream's name for those who give none.
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            version: if operation == Operation::Update { version } else { "" }.to_owned(),
            subresource: subresource.to_owned(),
        }
    }
}

/// The owners of an object, and when each last wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Managed {
    pub(crate) owners: Owners<Manager>,
    /// RFC 3339, whole seconds.
    pub(crate) times: BTreeMap<Manager, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'w> {
    #[serde(default)]
    manager: String,
    operation: Operation,
    api_version: String,
    #[serde(default)]
    time: Option<String>,
    fields_type: String,
    #[serde(rename = "fieldsV1", borrow, default)]
    fields: Option<&'w RawValue>,
    #[serde(default)]
    subresource: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'e> {
    api_version: &'e str,
    fields_type: &'static str,
    #[serde(rename = "fieldsV1")]
    fields: Box<RawValue>,
    #[serde(skip_serializing_if = "str::is_empty")]
    manager: &'e str,
    operation: Operation,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'e str>,
}

impl Managed {
    /// Reads a list of entries.
    ///
    /// # Errors
    /// Where it is no such list: an operation, version or type of fields that there is not, or fields that are none.
    pub(crate) fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        let entries: Vec<Wire<'_>> = serde_json::from_slice(text)?;
        let mut managed = Self::default();
        for entry in entries {
            let invalid = |problem: String| <serde_json::Error as serde::de::Error>::custom(problem);
            if entry.api_version.is_empty() {
                return Err(invalid("apiVersion: must not be empty".to_owned()));
            }
            if entry.fields_type != "FieldsV1" {
                return Err(invalid(format!("fieldsType: must be FieldsV1, not {:?}", entry.fields_type)));
            }
            let manager = Manager {
                operation: entry.operation,
                version: if entry.operation == Operation::Update { entry.api_version.clone() } else { String::new() },
                name: entry.manager,
                subresource: entry.subresource,
            };
            let fields = match entry.fields {
                Some(fields) if fields.get() != "null" => fields_v1::read(fields.get().as_bytes())?,
                _ => FieldSet::default(),
            };
            if let Some(time) = entry.time.and_then(|time| canonical_time(&time, false)) {
                managed.times.insert(manager.clone(), time);
            }
            let applied = manager.operation == Operation::Apply;
            managed.owners.insert(manager, Owned { fields, version: entry.api_version, applied });
        }
        Ok(managed)
    }

    /// The list of entries: those who applied, then those who updated, each from the oldest to the newest. `None`: nobody owns
    /// anything.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        if self.owners.is_empty() {
            return None;
        }
        let mut sorted: Vec<(&Manager, &Owned, Option<&str>)> = self
            .owners
            .iter()
            .map(|(manager, owned)| (manager, owned, self.times.get(manager).map(String::as_str)))
            .collect();
        sorted.sort_by(|(left, left_owned, left_time), (right, right_owned, right_time)| {
            (left.operation, left_time, &left.name, &left_owned.version, &left.subresource).cmp(&(
                right.operation,
                right_time,
                &right.name,
                &right_owned.version,
                &right.subresource,
            ))
        });
        let entries: Vec<Entry<'_>> = sorted
            .into_iter()
            .map(|(manager, owned, time)| {
                let mut fields = Vec::new();
                fields_v1::write(&owned.fields, &mut fields);
                let fields = String::from_utf8(fields).expect("what is written is text");
                Entry {
                    api_version: &owned.version,
                    fields_type: "FieldsV1",
                    fields: RawValue::from_string(fields).expect("what is written is JSON"),
                    manager: &manager.name,
                    operation: manager.operation,
                    subresource: &manager.subresource,
                    time,
                }
            })
            .collect();
        Some(serde_json::to_vec(&entries).expect("entries are JSON"))
    }
}

/// The list of one entry, of a manager with these fields.
pub(crate) fn write_one(manager: &Manager, version: &str, time: &str, fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.len() + 192);
    let mut member = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        fields_v1::write_text(value, &mut out);
    };
    member("[{\"apiVersion\":", version);
    member(",\"fieldsType\":", "FieldsV1");
    out.extend_from_slice(b",\"fieldsV1\":");
    out.extend_from_slice(fields);
    let mut member = |name: &str, value: &str| {
        if !value.is_empty() {
            out.extend_from_slice(name.as_bytes());
            fields_v1::write_text(value, &mut out);
        }
    };
    member(",\"manager\":", &manager.name);
    member(",\"operation\":", if manager.operation == Operation::Apply { "Apply" } else { "Update" });
    member(",\"subresource\":", &manager.subresource);
    member(",\"time\":", time);
    out.extend_from_slice(b"}]");
    out
}

/// Whether two lists of entries say the same but for the time.
pub(crate) fn same_owners(left: &[u8], right: &[u8]) -> bool {
    match (Managed::read(left), Managed::read(right)) {
        (Ok(left), Ok(right)) => left.owners == right.owners,
        _ => false,
    }
}
