//! One step of a path: a field, an item of a list by its keys or its value, or an index.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

/// How a child is told apart from its siblings. In the order in which sets are written: fields, keys, values, indices.
#[derive(Clone, Debug)]
pub(crate) enum Element {
    /// A field of an object, or a key of a map.
    Field(Cow<'static, str>),
    /// The item of a list of type map whose key fields have these values; sorted by name.
    Key(Box<[(Cow<'static, str>, Value)]>),
    /// The item of a list of type set that is this scalar.
    Item(Value),
    /// The item at this place.
    Index(i64),
}

impl Element {
    /// Reads the text of an element as `FieldsV1` has it: `f:spec`, `k:{"name":"a"}`, `v:"a"`, `i:0`. `Ok(None)`: of a kind that
    /// this version does not know.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let (kind, rest) = match (text.get(..1), text.get(1..2), text.get(2..)) {
            (Some(kind), Some(":"), Some(rest)) => (kind, rest),
            _ => return Err(format!("the path element {text:?} does not begin with a letter and a colon")),
        };
        let malformed = |error: serde_json::Error| format!("the path element {text:?} holds no JSON: {error}");
        Ok(Some(match kind {
            "f" => Self::Field(Cow::Owned(rest.to_owned())),
            "v" => Self::Item(serde_json::from_str(rest).map_err(malformed)?),
            "k" => {
                let keys: serde_json::Map<String, Value> = serde_json::from_str(rest).map_err(malformed)?;
                Self::key(keys.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect())
            }
            "i" => Self::Index(rest.parse().map_err(|_| format!("the path element {text:?} holds no integer"))?),
            _ => return Ok(None),
        }))
    }

    /// The item with these key fields, in any order.
    pub(crate) fn key(mut fields: Vec<(Cow<'static, str>, Value)>) -> Self {
        fields.sort_by(|(left, _), (right, _)| left.cmp(right));
        Self::Key(fields.into_boxed_slice())
    }

    /// Appends the text of the element, as [`Element::parse`] reads it.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Field(name) => {
                out.push_str("f:");
                out.push_str(name);
            }
            Self::Key(fields) => {
                out.push_str("k:{");
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::from(&**name).to_string());
                    out.push(':');
                    out.push_str(&value.to_string());
                }
                out.push('}');
            }
            Self::Item(value) => {
                out.push_str("v:");
                out.push_str(&value.to_string());
            }
            Self::Index(index) => {
                out.push_str("i:");
                out.push_str(&index.to_string());
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Item(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

/// As conflicts show it: `.spec`, `[name="a"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={value}")?;
                }
                f.write_str("]")
            }
            Self::Item(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(left), Self::Field(right)) => left.cmp(right),
            (Self::Key(left), Self::Key(right)) => {
                let fields = left.iter().zip(right.iter());
                let differing = fields
                    .map(|((name, value), (other_name, other))| name.cmp(other_name).then_with(|| order(value, other)))
                    .find(|ordering| ordering.is_ne());
                differing.unwrap_or_else(|| left.len().cmp(&right.len()))
            }
            (Self::Item(left), Self::Item(right)) => order(left, right),
            (Self::Index(left), Self::Index(right)) => left.cmp(right),
            (left, right) => left.rank().cmp(&right.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

/// A total order of values: numbers, strings, booleans, lists, maps, null. Numbers are equal when they are the same number, however
/// they are written.
pub(crate) fn order(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => {
                let float = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
                float(left).total_cmp(&float(right))
            }
        },
        (Value::Array(left), Value::Array(right)) => {
            let differing = left.iter().zip(right).map(|(left, right)| order(left, right)).find(|found| found.is_ne());
            differing.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            // By name: the order of fields says nothing.
            let sorted = |map: &serde_json::Map<String, Value>| {
                let mut names: Vec<String> = map.keys().cloned().collect();
                names.sort_unstable();
                names
            };
            let (names, others) = (sorted(left), sorted(right));
            let differing = names
                .iter()
                .zip(&others)
                .map(|(name, other)| name.cmp(other).then_with(|| order(&left[name], &right[other])))
                .find(|found| found.is_ne());
            differing.unwrap_or_else(|| names.len().cmp(&others.len()))
        }
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

/// Whether two values say the same: without regard to the order of fields and to how numbers are written.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(value, other)| same(value, other))
        }
        (Value::Number(_), Value::Number(_)) => order(left, right).is_eq(),
        _ => left == right,
    }
}
