//! Defaults as data: what a type's fields are when nobody sets them.

use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// The defaults of one type, and which of its fields hold types with defaults of their own.
pub(crate) struct Shape {
    /// What a field is when it is absent.
    pub(crate) set: &'static [(&'static str, Literal)],
    /// Defaults that depend on other fields. Runs after `set`, before `parts`.
    pub(crate) rule: Option<fn(&mut Object)>,
    /// Fields that hold an object of another shape, or a list of such.
    pub(crate) parts: &'static [(&'static str, &'static Shape)],
}

/// A value for a field that is absent. Null counts as absent everywhere.
#[derive(Clone, Copy)]
pub(crate) enum Literal {
    /// A text; the empty text counts as absent.
    Text(&'static str),
    /// A number; 0 is a choice of the writer's.
    Number(i64),
    /// A number; 0 counts as absent.
    Nonzero(i64),
    /// A flag; `false` is a choice of the writer's.
    Flag(bool),
    /// An object with nothing in it but its own defaults.
    Empty,
}

/// The shape with no defaults.
pub(crate) const PLAIN: Shape = Shape { set: &[], rule: None, parts: &[] };

impl Shape {
    /// Fills in what is absent, at every depth.
    pub(crate) fn fill(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Value::Object(object) => self.fill_object(object),
            _ => {}
        }
    }

    fn fill_object(&self, object: &mut Object) {
        for (field, default) in self.set {
            if default.is_due(object.get(*field)) {
                object.insert((*field).to_owned(), default.value());
            }
        }
        if let Some(rule) = self.rule {
            rule(object);
        }
        for (field, shape) in self.parts {
            if let Some(part) = object.get_mut(*field) {
                shape.fill(part);
            }
        }
    }
}

impl Literal {
    fn is_due(self, present: Option<&Value>) -> bool {
        match (self, present) {
            (_, None | Some(Value::Null)) => true,
            (Self::Text(_), Some(Value::String(text))) => text.is_empty(),
            (Self::Nonzero(_), Some(number)) => number.as_i64() == Some(0),
            _ => false,
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) | Self::Nonzero(number) => number.into(),
            Self::Flag(flag) => flag.into(),
            Self::Empty => Object::new().into(),
        }
    }
}

/// Whether the field is absent, or as good as.
pub(crate) fn is_absent(object: &Object, field: &str) -> bool {
    match object.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(_) => false,
    }
}

/// Sets the field if it is absent.
pub(crate) fn or_insert(object: &mut Object, field: &str, value: impl Into<Value>) {
    if is_absent(object, field) {
        object.insert(field.to_owned(), value.into());
    }
}

/// The object in the field; an empty one is made there if there is none.
pub(crate) fn object_in<'a>(object: &'a mut Object, field: &str) -> &'a mut Object {
    let entry = object.entry(field).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = Object::new().into();
    }
    entry.as_object_mut().expect("made an object above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    static INNER: Shape = Shape { set: &[("protocol", Literal::Text("TCP"))], ..PLAIN };
    static OUTER: Shape = Shape {
        set: &[
            ("replicas", Literal::Number(1)),
            ("timeoutSeconds", Literal::Nonzero(1)),
            ("links", Literal::Flag(true)),
            ("context", Literal::Empty),
        ],
        rule: Some(|object| or_insert(object, "ports", json!([{}]))),
        parts: &[("ports", &INNER), ("context", &INNER)],
    };

    #[test]
    fn what_is_absent_is_filled_in_and_what_is_there_stays() {
        let filled = |mut value: Value| {
            OUTER.fill(&mut value);
            value
        };
        let all = json!({
            "replicas": 1, "timeoutSeconds": 1, "links": true, "context": {"protocol": "TCP"}, "ports": [{"protocol": "TCP"}],
        });
        assert_eq!(filled(json!({})), all);
        assert_eq!(filled(json!({"replicas": null, "timeoutSeconds": 0, "ports": [{"protocol": ""}]})), all);
        let chosen = json!({
            "replicas": 0, "timeoutSeconds": 5, "links": false, "context": {"protocol": "UDP"}, "ports": [{"protocol": "UDP"}],
        });
        assert_eq!(filled(chosen.clone()), chosen);
        assert_eq!(filled(all.clone()), all, "filling twice changes nothing");
    }
}
