//! The columns that tables of custom resources show.

use jiff::Timestamp;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{list, text};
use crate::kinds::duration;
use crate::registry::{Column, Strategy};

/// Shows what a version's `additionalPrinterColumns` name, behind the name; where it names none, the age.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<(Column, JsonPath)>,
}

impl Columns {
    /// The columns of a version.
    pub(super) fn read(version: &Value) -> Self {
        let stated = list(&version["additionalPrinterColumns"]);
        let mut columns: Vec<(Column, JsonPath)> = stated.filter_map(column).collect();
        if version["additionalPrinterColumns"].as_array().is_none_or(Vec::is_empty) {
            let age = Column {
                name: "Age".to_owned(),
                kind: "date".into(),
                format: "".into(),
                description: "How long ago the object was created.".to_owned(),
                priority: 0,
            };
            columns.extend(path(".metadata.creationTimestamp").map(|path| (age, path)));
        }
        Self { columns }
    }

    /// The headers, the name's among them.
    pub(super) fn headers(&self) -> Vec<Column> {
        let name = Column {
            name: "Name".to_owned(),
            kind: "string".into(),
            format: "name".into(),
            description: "The object's name, unique among objects of its kind in its namespace.".to_owned(),
            priority: 0,
        };
        std::iter::once(name).chain(self.columns.iter().map(|(column, _)| column.clone())).collect()
    }
}

fn column(stated: &Value) -> Option<(Column, JsonPath)> {
    let column = Column {
        name: text(&stated["name"]).to_owned(),
        kind: text(&stated["type"]).to_owned().into(),
        format: text(&stated["format"]).to_owned().into(),
        description: text(&stated["description"]).to_owned(),
        priority: stated["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default(),
    };
    path(text(&stated["jsonPath"])).map(|path| (column, path))
}

/// A path in the notation of definitions, `.spec.replicas`, in which a dot within a name is escaped: `.metadata.labels.example\.com/x`.
pub(crate) fn path(text: &str) -> Option<JsonPath> {
    let mut standard = String::from("$");
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    while let Some(at) = rest.find("\\.") {
        // The segment that has the escaped dot, to its end.
        let start = rest[..at].rfind('.')?;
        standard.push_str(&rest[..start]);
        let mut name = String::new();
        let mut letters = rest[start + 1..].char_indices().peekable();
        let mut end = rest.len();
        while let Some((offset, letter)) = letters.next() {
            match letter {
                '\\' => name.extend(letters.next().map(|(_, escaped)| escaped)),
                '.' | '[' => {
                    end = start + 1 + offset;
                    break;
                }
                letter => name.push(letter),
            }
        }
        standard.push_str(&format!("['{}']", name.replace('\'', "\\'")));
        rest = &rest[end..];
    }
    standard.push_str(rest);
    JsonPath::parse(&standard).ok()
}

impl Strategy for Columns {
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cell = |(column, path): &(Column, JsonPath)| {
            path.query(object).first().map_or(Value::Null, |found| cell(&column.kind, found, now))
        };
        std::iter::once(object["metadata"]["name"].clone()).chain(self.columns.iter().map(cell)).collect()
    }
}

/// What a column of this type shows of a value.
fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => (number as i64).into(),
            _ => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("integer" | "number" | "boolean", _) => Value::Null,
        ("date", Value::String(time)) => match time.parse::<Timestamp>() {
            Ok(time) => duration::between(time, now).into(),
            Err(_) => "<invalid>".into(),
        },
        ("date", _) => "<invalid>".into(),
        (_, Value::String(text)) => text.as_str().into(),
        (_, other) => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_by_path_and_type() {
        let object = json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"example.com/team": "blue"}},
            "spec": {"replicas": 3, "ratio": 0.5, "on": true, "ports": [{"port": 80}, {"port": 443}]},
            "status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Synced", "status": "True"}]},
        });
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        for (kind, path, expected) in [
            ("integer", ".spec.replicas", json!(3)),
            ("string", ".spec.replicas", json!("3")),
            ("number", ".spec.ratio", json!(0.5)),
            ("integer", ".spec.on", json!(null)),
            ("boolean", ".spec.on", json!(true)),
            ("string", ".spec.none.at.all", json!(null)),
            ("date", ".metadata.creationTimestamp", json!("2m")),
            ("date", ".metadata.name", json!("<invalid>")),
            ("string", ".status.conditions[?(@.type==\"Synced\")].status", json!("True")),
            ("string", ".status.conditions[?(@.type=='Ready')].status", json!("False")),
            ("string", ".metadata.labels.example\\.com/team", json!("blue")),
            ("integer", ".spec.ports[1].port", json!(443)),
            ("string", ".spec.ports[*].port", json!("80")),
            ("string", ".spec.ports", json!("[{\"port\":80},{\"port\":443}]")),
        ] {
            let version = json!({"additionalPrinterColumns": [{"name": "X", "type": kind, "jsonPath": path}]});
            let cells = Columns::read(&version).cells(&object, now);
            assert_eq!(cells, [json!("a"), expected], "{path}");
        }
        let plain = Columns::read(&json!({}));
        assert_eq!(plain.cells(&object, now), [json!("a"), json!("2m")]);
        assert_eq!(plain.headers().iter().map(|column| &*column.name).collect::<Vec<_>>(), ["Name", "Age"]);
    }
}
