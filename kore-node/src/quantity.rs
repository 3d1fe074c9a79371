//! Quantities: `100m`, `1Gi`, `1e3`.

/// The value in billionths; None if it is not a quantity. What is smaller rounds up.
pub(crate) fn nanos(text: &str) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let binary = |power: u32| NANO.checked_mul(1 << (10 * power));
    let decimal = |power: i32| match power {
        -9..=18 => 10i128.checked_pow((9 + power) as u32),
        _ => None,
    };
    let unit = match suffix {
        "" => Some(NANO),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    }?;
    let scale = 10i128.checked_pow(fraction.len().try_into().ok()?)?;
    let value = mantissa.checked_mul(unit)?;
    let value = value.div_euclid(scale) + i128::from(value.rem_euclid(scale) != 0);
    Some(if negative { -value } else { value })
}

/// The value in units of `divisor` nanos, rounded up.
pub(crate) fn divided(text: &str, divisor: i128) -> Option<i128> {
    let value = nanos(text)?;
    let divisor = Some(divisor).filter(|divisor| *divisor > 0)?;
    Some(value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        let cases = [
            ("1", Some(1_000_000_000)),
            ("100m", Some(100_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("2Ki", Some(2048 * 1_000_000_000)),
            ("1e3", Some(1_000_000_000_000)),
            ("1E", Some(1_000_000_000_000_000_000 * 1_000_000_000)),
            ("-1", Some(-1_000_000_000)),
            (".5", Some(500_000_000)),
            ("0.1n", Some(1)),
            ("", None),
            ("x", None),
            ("1Zi", None),
            ("1e99", None),
        ];
        for (text, value) in cases {
            assert_eq!(nanos(text), value, "{text}");
        }
        assert_eq!(divided("100m", 1_000_000_000), Some(1));
        assert_eq!(divided("1Gi", 1_000_000_000), Some(1 << 30));
    }
}
