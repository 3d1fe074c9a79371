//! `events.k8s.io/v1`: the newer form of an Event.

use k8s_openapi::api::events::v1::Event;
use serde_json::Value;

use super::super::entry::{ANYTHING, Entry, Rules};
use super::super::event;
use super::super::field::Field;
use super::rename;
use crate::object::ResourceType;

pub(super) static EVENT: Entry = Entry {
    selectable_fields: &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "reportingController",
        "type",
    ],
    rules: Rules { create, ..ANYTHING },
    resource: ResourceType::of::<Event>,
    ..event::SETTINGS
};

/// What is reported in this form says when.
fn create(event: &Field<'_, '_>) {
    event.get("eventTime").required();
}

/// Here, and in core `v1`.
const FIELDS: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

pub(super) fn convert(mut event: Value, to: &str) -> Value {
    for (here, stored) in FIELDS {
        match to {
            "v1" => rename(&mut event, here, stored),
            _ => rename(&mut event, stored, here),
        }
    }
    event
}

pub(super) fn stored_field(field: &str) -> Option<&'static str> {
    const SELECTED: [(&str, &str); 8] = [
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
    ];
    SELECTED.iter().find(|(here, _)| *here == field).map(|(_, stored)| *stored)
}
