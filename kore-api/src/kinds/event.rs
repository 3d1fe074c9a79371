//! Event.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use super::entry::{ANYTHING, Entry, Rules, Title};
use super::field::Field;
use super::names;
use super::row::Row;
use crate::object::ResourceType;

const COLUMNS: [Title; 10] = [
    Title("Last Seen", "string", "How long ago it happened last.", 0),
    Title("Type", "string", "Normal or Warning.", 0),
    Title("Reason", "string", "A word for what happened.", 0),
    Title("Object", "string", "What it happened to.", 0),
    Title("Subobject", "string", "The part of the object it is about.", 1),
    Title("Source", "string", "Who reported it.", 1),
    Title("Message", "string", "What happened, in words.", 0),
    Title("First Seen", "string", "How long ago it happened first.", 1),
    Title("Count", "string", "How often it has happened.", 1),
    Title("Name", "string", "The object's name, unique among objects of its kind in its namespace.", 1),
];

/// What all versions have in common.
pub(super) const SETTINGS: Entry = Entry {
    short_names: &["ev"],
    has_status: false,
    create_on_update: true,
    // Upstream's default (`--event-ttl`).
    time_to_live: Some(Duration::from_secs(3600)),
    columns: &COLUMNS,
    ..Entry::of(ResourceType::of::<Event>)
};

pub(super) static EVENT: Entry = Entry {
    selectable_fields: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    rules: Rules { always, ..ANYTHING },
    selectable: |event, field| (field == "source").then(|| component(event).to_owned()),
    cells,
    ..SETTINGS
};

/// Events about objects without a namespace live in this one.
const NAMESPACE_OF_CLUSTER_OBJECTS: &str = "default";

fn always(event: &Field<'_, '_>) {
    let metadata = event.get("metadata");
    let (namespace, involved) = (metadata.get("namespace"), event.get("involvedObject"));
    let about = involved.get("namespace");
    let fits = match about.text() {
        "" => matches!(namespace.text(), "" | NAMESPACE_OF_CLUSTER_OBJECTS | "kube-system"),
        about => about == namespace.text(),
    };
    if !fits {
        about.report(crate::error::FieldError::invalid(about.path(), about.text(), "does not match event.namespace"));
    }
    // Events of the newer form say when they happened, who reports them and what was done.
    if event.get("eventTime").is_set() {
        let controller = event.get("reportingComponent");
        if controller.required() {
            controller.named(names::qualified_name);
        }
        event.get("reportingInstance").required();
        event.get("action").required();
        event.get("reason").required();
        event.get("type").required_one_of(&["Normal", "Warning"]);
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    const UNKNOWN: &str = "<unknown>";
    let since = |pointer: &str| row.since(row.at(pointer));
    let first = since("/firstTimestamp").or_else(|| since("/eventTime")).unwrap_or_else(|| UNKNOWN.to_owned());
    let mut last = since("/lastTimestamp").unwrap_or_else(|| first.clone());
    let mut count = row.int("/count").max(1);
    if row.at("/series").is_object() {
        last = since("/series/lastObservedTime").unwrap_or_else(|| UNKNOWN.to_owned());
        count = row.int("/series/count");
    }
    let kind = row.text("/involvedObject/kind").to_lowercase();
    let object = match row.text("/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        last.into(),
        row.text("/type").into(),
        row.text("/reason").into(),
        object.into(),
        row.text("/involvedObject/fieldPath").into(),
        source(row).into(),
        row.text("/message").trim().into(),
        first.into(),
        count.into(),
        row.name(),
    ]
}

/// Who reported it.
fn component(event: &Value) -> &str {
    let given = [&event["source"]["component"], &event["reportingComponent"]];
    given.into_iter().filter_map(Value::as_str).find(|name| !name.is_empty()).unwrap_or_default()
}

fn source(row: &Row<'_>) -> String {
    let or = |text: &str, pointer: &str| {
        if text.is_empty() { row.text(pointer).to_owned() } else { text.to_owned() }
    };
    let component = component(row.object).to_owned();
    let host = or(row.text("/source/host"), "/reportingInstance");
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn events_as_rows() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let about = json!({"kind": "Pod", "name": "web-1", "namespace": "a", "fieldPath": "spec.containers{c}"});
        let old = json!({
            "metadata": {"name": "e"}, "involvedObject": about, "type": "Normal", "reason": "Pulled", "message": " done \n",
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:59:00Z", "count": 4,
            "source": {"component": "kubelet", "host": "n1"},
        });
        let shown = |event: &Value| -> Vec<String> {
            let cells = cells(&Row { object: event, now });
            assert_eq!(cells.len(), EVENT.columns.len());
            cells.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned)).collect()
        };
        assert_eq!(
            shown(&old),
            ["60s", "Normal", "Pulled", "pod/web-1", "spec.containers{c}", "kubelet, n1", "done", "60m", "4", "e",]
        );
        let new = json!({
            "metadata": {"name": "f"}, "involvedObject": {"kind": "Node", "name": "n"}, "type": "Warning", "reason": "Gone",
            "eventTime": "2026-01-01T00:30:00Z", "reportingComponent": "watcher", "message": "m",
        });
        let source = |event: &Value| EVENT.info().strategy.selectable(event, "source");
        assert_eq!(source(&old).as_deref(), Some("kubelet"));
        assert_eq!(source(&new).as_deref(), Some("watcher"));
        assert_eq!(shown(&new), ["30m", "Warning", "Gone", "node/n", "", "watcher", "m", "30m", "1", "f"]);
        let series = json!({"series": {"count": 7, "lastObservedTime": "2026-01-01T00:59:30Z"}});
        assert_eq!(shown(&series)[0], "30s");
        assert_eq!(shown(&series)[8], "7");
    }

    #[test]
    fn an_event_lives_where_its_object_lives() {
        let event = |namespace: &str, about: &str| {
            let event = json!({"metadata": {"namespace": namespace}, "involvedObject": {"namespace": about}});
            errors(&EVENT, &event)
        };
        assert_eq!(event("a", "a"), [""; 0]);
        assert_eq!(event("default", ""), [""; 0]);
        assert_eq!(event("a", "b"), ["involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"]);
        let new = errors(&EVENT, &json!({"eventTime": "2026-01-01T00:30:00Z", "type": "Sad", "reason": "R"}));
        assert_eq!(new.len(), 4, "{new:?}");
    }
}
