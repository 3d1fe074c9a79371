//! Tables, as `kubectl get` shows them.

use std::sync::Arc;

use kore_store::{Clock, Revision};
use serde_json::{Value, json};

use super::respond::{age, partial};
use crate::error::Status;
use crate::object::Object;
use crate::registry::ResourceInfo;

/// What a row of a table holds besides its cells (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    pub(super) fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "None" => Ok(Self::None),
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            _ => {
                let supported = "supported values: \"Metadata\", \"None\", \"Object\"";
                let message = format!(
                    "invalid value {text:?} for the query parameter \"includeObject\": {supported}"
                );
                Err(Status::bad_request(message))
            }
        }
    }
}

/// Shows objects of one resource as rows of a `Table`.
///
/// The first column is the name; a resource that has no columns of its own shows the age besides.
#[derive(Clone)]
pub(super) struct Table {
    resource: Arc<ResourceInfo>,
    include: IncludeObject,
    clock: Clock,
}

impl Table {
    pub(super) fn new(resource: Arc<ResourceInfo>, include: IncludeObject, clock: Clock) -> Self {
        Self {
            resource,
            include,
            clock,
        }
    }

    fn columns(&self) -> Value {
        let name = json!({"name": "Name", "type": "string", "format": "name", "description": "Name of the object.", "priority": 0});
        let own = self.resource.columns.iter().map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        });
        let age = json!({"name": "Age", "type": "string", "format": "", "description": "Time since creation.", "priority": 0});
        let age = self.resource.columns.is_empty().then_some(age);
        std::iter::once(name).chain(own).chain(age).collect()
    }

    /// The row of one object.
    pub(super) fn row(&self, object: &Object) -> Value {
        self.row_of_value(object.to_value())
    }

    fn row_of_value(&self, object: Value) -> Value {
        let now = self.clock.now();
        let name = object["metadata"]["name"].clone();
        let columns = self.resource.columns.len();
        let mut own = self.resource.strategy.cells(&object, now);
        own.resize(columns, Value::Null);
        let age = (columns == 0).then(|| age(&object, now));
        let cells: Vec<Value> = std::iter::once(name).chain(own).chain(age).collect();
        match self.include {
            IncludeObject::None => json!({"cells": cells}),
            IncludeObject::Metadata => json!({"cells": cells, "object": partial(&object)}),
            IncludeObject::Object => json!({"cells": cells, "object": object}),
        }
    }

    fn of_rows(&self, metadata: &Value, rows: Vec<Value>, columns: bool) -> Value {
        let columns = if columns { self.columns() } else { Value::Null };
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    /// A table of one object.
    pub(super) fn of_object(&self, object: &Object) -> Value {
        self.of_event(object, true)
    }

    /// A table of one object in a watch; upstream's clients take the columns from the first one.
    pub(super) fn of_event(&self, object: &Object, columns: bool) -> Value {
        self.of_rows(
            &revision(object.revision()),
            vec![self.row(object)],
            columns,
        )
    }

    /// A table without rows: a bookmark.
    pub(super) fn empty(&self, metadata: &Value) -> Value {
        self.of_rows(metadata, Vec::new(), false)
    }

    /// A table of a value that is no stored object: a `Scale`.
    pub(super) fn of_value(&self, value: Value) -> Value {
        let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
        let plain = Self {
            resource: Arc::new(ResourceInfo::new((*self.resource.resource).clone())),
            ..self.clone()
        };
        plain.of_rows(&metadata, vec![plain.row_of_value(value)], true)
    }

    /// A table up to its rows.
    pub(super) fn head(&self, metadata: &Value) -> Vec<u8> {
        let columns = self.columns();
        let head = r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1""#;
        format!(r#"{head},"metadata":{metadata},"columnDefinitions":{columns},"rows":["#)
            .into_bytes()
    }
}

fn revision(revision: Revision) -> Value {
    json!({"resourceVersion": revision.to_string()})
}

/// A duration in seconds as people read it, with two units where one would be too coarse, as upstream has it.
pub(super) fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |unit: i64, mark: char, rest: i64, rest_mark: char| {
        let (whole, rest) = (seconds / unit, seconds % unit / rest);
        if rest == 0 {
            format!("{whole}{mark}")
        } else {
            format!("{whole}{mark}{rest}{rest_mark}")
        }
    };
    match seconds {
        // A clock that is a little behind.
        -1..0 => "0s".into(),
        ..-1 => "<invalid>".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, expected) in [
            (-60, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (305, "5m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }
}
