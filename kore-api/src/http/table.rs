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
                let message = format!("invalid value {text:?} for the query parameter \"includeObject\": {supported}");
                Err(Status::bad_request(message))
            }
        }
    }
}

/// Shows objects of one resource as rows of a `Table`.
///
/// A resource that states no columns shows name and age.
#[derive(Clone)]
pub(super) struct Table {
    resource: Arc<ResourceInfo>,
    include: IncludeObject,
    clock: Clock,
}

impl Table {
    pub(super) fn new(resource: Arc<ResourceInfo>, include: IncludeObject, clock: Clock) -> Self {
        Self { resource, include, clock }
    }

    fn columns(&self) -> Value {
        if self.resource.columns.is_empty() {
            return json!([
                {"name": "Name", "type": "string", "format": "name", "description": "Name of the object.", "priority": 0},
                {"name": "Age", "type": "string", "format": "", "description": "Time since creation.", "priority": 0},
            ]);
        }
        let columns = self.resource.columns.iter().map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        });
        columns.collect()
    }

    /// The row of one object.
    pub(super) fn row(&self, object: &Object) -> Value {
        self.row_of_value(object.to_value())
    }

    fn row_of_value(&self, object: Value) -> Value {
        let now = self.clock.now();
        let columns = self.resource.columns.len();
        let cells = if columns == 0 {
            vec![object["metadata"]["name"].clone(), age(&object, now)]
        } else {
            let mut cells = self.resource.strategy.cells(&object, now);
            cells.resize(columns, Value::Null);
            cells
        };
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
        self.of_rows(&revision(object.revision()), vec![self.row(object)], columns)
    }

    /// A table without rows: a bookmark.
    pub(super) fn empty(&self, metadata: &Value) -> Value {
        self.of_rows(metadata, Vec::new(), false)
    }

    /// A table of a value that is no stored object: a `Scale`.
    pub(super) fn of_value(&self, value: Value) -> Value {
        let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
        let plain = Self { resource: Arc::new(ResourceInfo::new((*self.resource.resource).clone())), ..self.clone() };
        plain.of_rows(&metadata, vec![plain.row_of_value(value)], true)
    }

    /// A table up to its rows.
    pub(super) fn head(&self, metadata: &Value) -> Vec<u8> {
        let columns = self.columns();
        let head = r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1""#;
        format!(r#"{head},"metadata":{metadata},"columnDefinitions":{columns},"rows":["#).into_bytes()
    }
}

fn revision(revision: Revision) -> Value {
    json!({"resourceVersion": revision.to_string()})
}
