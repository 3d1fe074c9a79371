//! Amounts of a resource: `500m`, `1.5Gi`, `2e3`.

use serde_json::Value;

/// An amount, exact to a billionth of a unit and up to 10^29 units; what is finer is rounded up, as the API does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity {
    nano: i128,
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// Reads a quantity as it stands in JSON: a text, or a plain number.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }

    /// Reads a quantity.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let (factor, divisor) = unit(suffix)?;
        // The value is mantissa * factor / (divisor * 10^places).
        let places = u32::try_from(fraction.len()).ok()?;
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let above = mantissa.checked_mul(factor)?.checked_mul(NANO)?;
        let below = divisor.checked_mul(10_i128.checked_pow(places)?)?;
        let nano = above.checked_add(below - 1)? / below;
        Some(Self {
            nano: if negative { -nano } else { nano },
        })
    }

    pub(crate) fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is a whole number of units.
    pub(crate) fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

/// What a suffix multiplies by and divides by.
fn unit(suffix: &str) -> Option<(i128, i128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    const SMALL: [&str; 3] = ["m", "u", "n"];
    let place = |units: &[&str]| {
        units
            .iter()
            .position(|unit| *unit == suffix)
            .and_then(|place| u32::try_from(place + 1).ok())
    };
    if suffix.is_empty() {
        return Some((1, 1));
    }
    if let Some(place) = place(&BINARY) {
        return Some((1024_i128.pow(place), 1));
    }
    if let Some(place) = place(&DECIMAL) {
        return Some((1000_i128.pow(place), 1));
    }
    if let Some(place) = place(&SMALL) {
        return Some((1, 1000_i128.pow(place)));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_that_mean_the_same_are_the_same() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("2e3", "2k"),
            ("2E3", "2000"),
            ("1e-3", "1m"),
            ("+1", "1."),
            ("1n", "0.1n"),
            ("-1", "-1000m"),
        ] {
            assert_eq!(
                Quantity::parse(one).unwrap(),
                Quantity::parse(other).unwrap(),
                "{one} {other}"
            );
        }
        assert!(Quantity::parse("1E").unwrap() > Quantity::parse("1P").unwrap());
        assert!(Quantity::parse("-1").unwrap().is_negative());
        assert!(!Quantity::parse("1500m").unwrap().is_whole());
        for bad in [
            "", "-", ".", "1.2.3", "1x", "1 Gi", "Gi", "1e", "1ee3", "--1", "1e99", "ä",
        ] {
            assert_eq!(Quantity::parse(bad), None, "{bad}");
        }
    }
}
