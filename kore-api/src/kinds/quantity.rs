//! Amounts of a resource, to compare.

use serde_json::Value;

use crate::schema::quantity::nano_value;

const NANO: i128 = 1_000_000_000;

/// An amount, exact to a billionth of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity {
    nano: i128,
}

impl Quantity {
    /// Reads a quantity as it stands in JSON: a text, or a plain number.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let nano = match value {
            Value::String(text) => nano_value(text),
            Value::Number(number) => nano_value(&number.to_string()),
            _ => return None,
        };
        nano.ok().map(|nano| Self { nano })
    }

    pub(crate) fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is more than nothing.
    pub(crate) fn is_positive(self) -> bool {
        self.nano > 0
    }

    /// How often `other` goes into it; infinity when that is nothing.
    pub(crate) fn over(self, other: Self) -> f64 {
        self.nano as f64 / other.nano as f64
    }

    /// Whether it is a whole number of units.
    pub(crate) fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        let of = |value: Value| Quantity::of(&value).unwrap();
        for (one, other) in [
            (json!(1), json!("1000m")),
            (json!(0.5), json!("500m")),
            (json!("1.5Gi"), json!("1536Mi")),
            (json!("2e3"), json!("2k")),
        ] {
            assert_eq!(of(one.clone()), of(other.clone()), "{one} {other}");
        }
        assert!(of(json!("1Gi")) > of(json!("1G")));
        assert!(of(json!("-1")).is_negative() && !of(json!(0)).is_negative());
        assert!(of(json!("2k")).is_whole() && !of(json!("1500m")).is_whole());
        assert_eq!(Quantity::of(&json!("1 Gi")), None);
        assert_eq!(Quantity::of(&json!(null)), None);
    }
}
