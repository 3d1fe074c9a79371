//! An object as rules see it: a value, the place where it stands, and a sink for what is wrong with it.
//!
//! A [`Field`] is made on the stack and knows the field above it; the path is only written out when there is something to
//! report. A field that is absent reads as null, as empty text, as no items: rules need not ask first. Values of a wrong
//! type read as absent, too: types are checked before rules are.

use std::cell::RefCell;
use std::fmt;

use serde_json::Value;

use crate::error::FieldError;

/// Runs `rules` over an object as it is to be and as it is (null: not at all), and returns all they have reported.
pub(crate) fn check(new: &Value, old: &Value, rules: impl FnOnce(&Field<'_, '_>, &Field<'_, '_>)) -> Vec<FieldError> {
    let sink = RefCell::new(Vec::new());
    let root = |value| Field { value, step: Step::Root, up: None, sink: &sink };
    rules(&root(new), &root(old));
    sink.into_inner()
}

/// One field of an object.
#[derive(Clone, Copy)]
pub(crate) struct Field<'v, 'p> {
    value: &'v Value,
    step: Step<'p>,
    up: Option<&'p Field<'v, 'p>>,
    sink: &'v RefCell<Vec<FieldError>>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Name(&'p str),
    Index(usize),
    Key(&'p str),
}

static NULL: Value = Value::Null;

/// Where to go from here, and what is there.
impl<'v, 'p> Field<'v, 'p> {
    /// The field `name` of this object.
    pub(crate) fn get<'s>(&'s self, name: &'s str) -> Field<'v, 's> {
        Field { value: self.value.get(name).unwrap_or(&NULL), step: Step::Name(name), up: Some(self), sink: self.sink }
    }

    /// The entry `key` of this map; its path is `map[key]`.
    pub(crate) fn key<'s>(&'s self, key: &'s str) -> Field<'v, 's> {
        Field { step: Step::Key(key), ..self.get(key) }
    }

    /// The items of this list.
    pub(crate) fn items<'s>(&'s self) -> impl Iterator<Item = Field<'v, 's>> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().enumerate().map(|(index, value)| Field {
            value,
            step: Step::Index(index),
            up: Some(self),
            sink: self.sink,
        })
    }

    /// The entries of this map, ordered by key.
    pub(crate) fn entries<'s>(&'s self) -> impl Iterator<Item = (&'v str, Field<'v, 's>)>
    where
        'v: 's,
    {
        self.value.as_object().into_iter().flatten().map(|(key, value)| {
            let field = Field { value, step: Step::Key(key), up: Some(self), sink: self.sink };
            (key.as_str(), field)
        })
    }

    /// This place with the value of another, for what is reported where it does not stand.
    pub(crate) fn showing(&self, other: &Field<'v, '_>) -> Self {
        Field { value: other.value, ..*self }
    }

    /// The value; null when absent.
    pub(crate) fn value(&self) -> &'v Value {
        self.value
    }

    /// Whether there is a value.
    pub(crate) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text; empty when absent.
    pub(crate) fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    /// The number.
    pub(crate) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether it is true.
    pub(crate) fn flag(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// The number of items or entries.
    pub(crate) fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    /// The path as it is reported.
    pub(crate) fn path(&self) -> String {
        self.to_string()
    }
}

/// What is wrong here.
impl Field<'_, '_> {
    pub(crate) fn report(&self, error: FieldError) {
        self.sink.borrow_mut().push(error);
    }

    pub(crate) fn invalid(&self, detail: impl Into<String>) {
        self.report(FieldError::invalid(self.path(), self.value.clone(), detail));
    }

    /// Something is wrong with it as a whole; the value is not shown.
    pub(crate) fn wrong(&self, detail: impl Into<String>) {
        self.report(FieldError { value: None, ..FieldError::invalid(self.path(), Value::Null, detail) });
    }

    pub(crate) fn forbidden(&self, detail: impl Into<String>) {
        self.report(FieldError::forbidden(self.path(), detail));
    }

    pub(crate) fn missing(&self, detail: impl Into<String>) {
        self.report(FieldError::required(self.path(), detail));
    }

    pub(crate) fn duplicate(&self) {
        self.report(FieldError::duplicate(self.path(), self.value.clone()));
    }

    pub(crate) fn unknown(&self) {
        self.report(FieldError::not_found(self.path(), self.value.clone()));
    }
}

/// Rules that many fields have. Each reports what is wrong and answers whether the field is as it should be.
impl Field<'_, '_> {
    /// Must be set and not be empty.
    pub(crate) fn required(&self) -> bool {
        let there = match self.value {
            Value::Null => false,
            Value::String(_) | Value::Array(_) => self.len() > 0,
            _ => true,
        };
        if !there {
            self.missing("");
        }
        there
    }

    /// If set, must be one of `supported`.
    pub(crate) fn one_of(&self, supported: &[&str]) -> bool {
        let fine = !self.is_set() || supported.contains(&self.text());
        if !fine {
            self.report(FieldError::not_supported(self.path(), self.text(), supported));
        }
        fine
    }

    /// Must be set, to one of `supported`.
    pub(crate) fn required_one_of(&self, supported: &[&str]) -> bool {
        self.required() && self.one_of(supported)
    }

    /// If set, must not be negative.
    pub(crate) fn not_negative(&self) -> bool {
        let fine = self.int().is_none_or(|value| value >= 0);
        if !fine {
            self.invalid("must be greater than or equal to 0");
        }
        fine
    }

    /// If set, must be greater than 0.
    pub(crate) fn positive(&self) -> bool {
        let fine = self.int().is_none_or(|value| value > 0);
        if !fine {
            self.invalid("must be greater than 0");
        }
        fine
    }

    /// If set, must be between `low` and `high`, inclusive.
    pub(crate) fn within(&self, low: i64, high: i64) -> bool {
        let fine = self.int().is_none_or(|value| (low..=high).contains(&value));
        if !fine {
            self.invalid(format!("must be between {low} and {high}, inclusive"));
        }
        fine
    }

    /// If not empty, must be a name by `rule`, which says what is wrong with one.
    pub(crate) fn named(&self, rule: fn(&str) -> Vec<String>) -> bool {
        self.text().is_empty() || self.named_as(self.text(), rule)
    }

    /// The part `text` of it must be a name by `rule`.
    pub(crate) fn named_as(&self, text: &str, rule: fn(&str) -> Vec<String>) -> bool {
        let problems = rule(text);
        let fine = problems.is_empty();
        for problem in problems {
            self.invalid(problem);
        }
        fine
    }

    /// Must not have changed.
    pub(crate) fn immutable(&self, old: &Field<'_, '_>) -> bool {
        let fine = self.value == old.value;
        if !fine {
            self.invalid("field is immutable");
        }
        fine
    }

    /// There must be at most `max` items.
    pub(crate) fn at_most(&self, max: usize) -> bool {
        let fine = self.len() <= max;
        if !fine {
            self.report(FieldError::too_many(self.path(), self.len(), max));
        }
        fine
    }
}

impl fmt::Display for Field<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(up) = self.up else { return Ok(()) };
        fmt::Display::fmt(up, f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Name(name) if up.up.is_none() => f.write_str(name),
            Step::Name(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_knows_where_it_stands_and_absence_is_no_special_case() {
        let object = json!({"spec": {"items": [{"name": "a"}, {"name": ""}], "data": {"k": -1}}});
        let errors = check(&object, &Value::Null, |root, _| {
            let spec = root.get("spec");
            for item in spec.get("items").items() {
                item.get("name").required();
            }
            for (_, entry) in spec.get("data").entries() {
                entry.not_negative();
            }
            assert_eq!(spec.get("absent").get("deeper").text(), "");
            assert_eq!(spec.get("absent").items().count(), 0);
            spec.get("absent").get("deeper").required();
        });
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "spec.items[1].name: Required value",
                "spec.data[k]: Invalid value: -1: must be greater than or equal to 0",
                "spec.absent.deeper: Required value",
            ]
        );
    }
}
