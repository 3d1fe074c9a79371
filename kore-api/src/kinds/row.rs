//! What the cells of a table are made from.

use jiff::Timestamp;
use serde_json::Value;

use super::duration;

/// An object that is to be a row of a table.
pub(crate) struct Row<'a> {
    pub(crate) object: &'a Value,
    pub(crate) now: Timestamp,
}

impl<'a> Row<'a> {
    /// The value at a JSON pointer; null when absent.
    pub(crate) fn at(&self, pointer: &str) -> &'a Value {
        static NULL: Value = Value::Null;
        self.object.pointer(pointer).unwrap_or(&NULL)
    }

    pub(crate) fn text(&self, pointer: &str) -> &'a str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    pub(crate) fn int(&self, pointer: &str) -> i64 {
        self.at(pointer).as_i64().unwrap_or_default()
    }

    pub(crate) fn items(&self, pointer: &str) -> &'a [Value] {
        list(self.at(pointer))
    }

    /// The number of items or entries.
    pub(crate) fn count(&self, pointer: &str) -> usize {
        match self.at(pointer) {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    pub(crate) fn name(&self) -> Value {
        self.text("/metadata/name").into()
    }

    /// How long ago the object was created.
    pub(crate) fn age(&self) -> Value {
        self.since(self.at("/metadata/creationTimestamp")).unwrap_or_else(|| "<unknown>".to_owned()).into()
    }

    /// How long ago `time` was, if there is one.
    pub(crate) fn since(&self, time: &Value) -> Option<String> {
        timestamp(time).map(|time| duration::between(time, self.now))
    }

    /// The names and the images of the containers in the list at `pointer`.
    pub(crate) fn containers(&self, pointer: &str) -> [Value; 2] {
        ["name", "image"].map(|field| {
            let texts: Vec<&str> =
                self.items(pointer).iter().filter_map(|container| container[field].as_str()).collect();
            texts.join(",").into()
        })
    }
}

/// The items of a list; none if it is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A time as the API writes it.
pub(crate) fn timestamp(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// `text`, or `<none>` when it is empty.
pub(crate) fn or_none(text: impl Into<String>) -> Value {
    or(text, "<none>")
}

/// `text`, or `other` when it is empty.
pub(crate) fn or(text: impl Into<String>, other: &str) -> Value {
    let text = text.into();
    if text.is_empty() { other.into() } else { text.into() }
}

/// A map of labels: `a=b,c=d`.
pub(crate) fn labels(map: &Value) -> Value {
    let pairs = map.as_object().into_iter().flatten();
    let shown: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    or_none(shown.join(","))
}

/// A `LabelSelector`, in the syntax of selectors.
pub(crate) fn selector(selector: &Value) -> Value {
    let mut shown: Vec<(String, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        shown.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in list(&selector["matchExpressions"]) {
        let key = expression["key"].as_str().unwrap_or_default();
        let mut values: Vec<&str> = list(&expression["values"]).iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("Exists") => key.to_owned(),
            Some("DoesNotExist") => format!("!{key}"),
            _ => return "<error>".into(),
        };
        shown.push((key.to_owned(), text));
    }
    shown.sort();
    or_none(shown.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_shown_in_selector_syntax() {
        for (given, shown) in [
            (json!(null), "<none>"),
            (json!({}), "<none>"),
            (json!({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
            (
                json!({"matchLabels": {"b": "2"}, "matchExpressions": [
                    {"key": "c", "operator": "In", "values": ["y", "x"]},
                    {"key": "a", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                    {"key": "e", "operator": "NotIn", "values": ["z"]},
                ]}),
                "a,b=2,c in (x,y),!d,e notin (z)",
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), "<error>"),
        ] {
            assert_eq!(selector(&given), shown, "{given}");
        }
    }
}
