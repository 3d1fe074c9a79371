//! Resource quantities as whole numbers: `100m`, `1.5`, `2Gi`, `1e3`.
//!
//! Upstream rounds up, never down: a pod that asks for `1n` of something asks for one of it.

/// Billionths per unit: the finest grain a quantity has.
const NANO: i128 = 1_000_000_000;

/// The quantity in whole units, rounded up; `None` when it is not a quantity.
pub(crate) fn units(text: &str) -> Option<i64> {
    nanos(text).map(|nanos| saturate(ceil(nanos, NANO)))
}

/// The quantity in thousandths, rounded up; `None` when it is not a quantity.
pub(crate) fn milli(text: &str) -> Option<i64> {
    nanos(text).map(|nanos| saturate(ceil(nanos, NANO / 1000)))
}

fn ceil(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value > 0 { i64::MAX } else { i64::MIN })
}

fn nanos(text: &str) -> Option<i128> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = text
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .count();
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let scale = scale(suffix)?;
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut value = whole.checked_mul(scale)?;
    let mut place = scale;
    let mut lost = false;
    for digit in fraction.bytes().map(|b| i128::from(b - b'0')) {
        lost |= (place % 10 != 0 || place == 0) && digit != 0;
        place /= 10;
        value = value.checked_add(digit * place)?;
    }
    value += i128::from(lost);
    Some(if negative { -value } else { value })
}

/// Billionths in one of `suffix`.
fn scale(suffix: &str) -> Option<i128> {
    let binary = |power: u32| Some(NANO << (10 * power));
    let decimal = |power: u32| Some(NANO * 1000_i128.pow(power));
    match suffix {
        "n" => Some(1),
        "u" => Some(1_000),
        "m" => Some(1_000_000),
        "" => Some(NANO),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match exponent {
                -9..=18 => Some(10_i128.pow((exponent + 9) as u32)),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{milli, units};

    #[test]
    fn quantities_round_up() {
        for (text, expected_units, expected_milli) in [
            ("0", 0, 0),
            ("1", 1, 1000),
            ("100m", 1, 100),
            ("1500m", 2, 1500),
            ("0.5", 1, 500),
            (".5", 1, 500),
            ("1Ki", 1024, 1_024_000),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
            ("200Mi", 209_715_200, 209_715_200_000),
            ("1e3", 1000, 1_000_000),
            ("2E3", 2000, 2_000_000),
            ("1E", 1_000_000_000_000_000_000, i64::MAX),
            ("1n", 1, 1),
            ("-1", -1, -1000),
            ("0.0000000001", 1, 1),
        ] {
            assert_eq!(units(text), Some(expected_units), "{text}");
            assert_eq!(milli(text), Some(expected_milli), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "m", "1.2.3", "1X", "1e", "--1", "."] {
            assert_eq!(units(text), None, "{text}");
        }
    }
}
