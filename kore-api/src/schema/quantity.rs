//! Quantities: numbers with a decimal (`m`, `k`, `M`), binary (`Ki`, `Mi`) or exponent (`e3`) suffix.
//!
//! Upstream's API serves every quantity in one canonical form: no fraction, the largest suffix that needs none. A body that
//! says `0.5` is read back as `500m`, `1024Mi` as `1Gi`.
//! (Upstream source: the documentation of `k8s.io/apimachinery/pkg/api/resource`.)

/// Why a text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// Not a number with an optional suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Malformed,
    /// The number is followed by something that is no suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

/// A parsed quantity: `mantissa × 10^-9`, rounded up (away from zero) at the ninth decimal, saturating at ±(2^63 − 1).
#[derive(Clone, Copy)]
struct Parsed {
    nanos: i128,
    family: Family,
}

const NANO: i128 = 1_000_000_000;
const LARGEST: i128 = i64::MAX as i128 * NANO;

/// The canonical form of a quantity.
///
/// ```
/// use kore_api::schema::quantity::canonical;
///
/// for (given, served) in [("0.5", "500m"), ("1000m", "1"), ("1024Mi", "1Gi"), ("1e3", "1e3"), ("1500", "1500"), ("1.5Gi", "1536Mi")] {
///     assert_eq!(canonical(given).unwrap(), served);
/// }
/// assert!(canonical("1 Gi").is_err());
/// ```
pub fn canonical(text: &str) -> Result<String, QuantityError> {
    let Parsed { nanos, family } = parse(text)?;
    // Binary suffixes cannot express a fraction, and below 1024 they need not.
    let family = if family == Family::Binary && (nanos % NANO != 0 || nanos.abs() < 1024 * NANO) {
        Family::Decimal
    } else {
        family
    };
    Ok(match family {
        Family::Binary => {
            let mut number = nanos / NANO;
            let mut suffix = 0;
            while number != 0 && number % 1024 == 0 && suffix < BINARY.len() - 1 {
                number /= 1024;
                suffix += 1;
            }
            format!("{number}{}", BINARY[suffix])
        }
        family => {
            let mut number = nanos;
            let mut exponent = -9;
            while number != 0 && number % 1000 == 0 && exponent < 18 {
                number /= 1000;
                exponent += 3;
            }
            match (number, family) {
                (0, _) => "0".to_owned(),
                (_, Family::Exponent) if exponent == 0 => number.to_string(),
                (_, Family::Exponent) => format!("{number}e{exponent}"),
                _ => format!("{number}{}", decimal_suffix(exponent)),
            }
        }
    })
}

/// The value of a quantity in thousandths, rounded up, as upstream's `MilliValue`: what CPU is counted in.
pub fn milli_value(text: &str) -> Result<i64, QuantityError> {
    Ok(scaled(parse(text)?.nanos, NANO / 1000))
}

/// The value of a quantity in whole units, rounded up, as upstream's `Value`: what memory and pods are counted in.
pub fn value(text: &str) -> Result<i64, QuantityError> {
    Ok(scaled(parse(text)?.nanos, NANO))
}

/// The value of a quantity in units of another one, rounded up: what the downward API shows of resources. None if `unit` is not
/// positive.
///
/// ```
/// use kore_api::schema::quantity::in_units_of;
///
/// assert_eq!(in_units_of("1Gi", "1Mi"), Ok(Some(1024)));
/// assert_eq!(in_units_of("100m", "1"), Ok(Some(1)));
/// assert_eq!(in_units_of("1", "0"), Ok(None));
/// ```
pub fn in_units_of(text: &str, unit: &str) -> Result<Option<i64>, QuantityError> {
    let (nanos, unit) = (parse(text)?.nanos, parse(unit)?.nanos);
    Ok((unit > 0).then(|| scaled(nanos, unit)))
}

/// The value of a quantity in billionths of a unit: to compare exactly.
pub(crate) fn nano_value(text: &str) -> Result<i128, QuantityError> {
    Ok(parse(text)?.nanos)
}

fn scaled(nanos: i128, unit: i128) -> i64 {
    let whole = nanos / unit + (nanos % unit).signum();
    whole.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        0 => "",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        _ => "E",
    }
}

fn parse(text: &str) -> Result<Parsed, QuantityError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let end = unsigned.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Malformed);
    }
    let (family, base, exponent) = scale(suffix)?;
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let digits = digits.trim_start_matches('0');
    // mantissa × base^exponent × 10^-fraction, in units of 10^-9.
    let power = i64::from(if base == 10 { exponent } else { 0 }) - fraction.len() as i64 + 9;
    let mut nanos = decimal(digits, power);
    if base == 2 {
        nanos = match nanos.checked_mul(1_i128 << exponent) {
            Some(product) => product,
            None => LARGEST,
        };
        // The fraction was cut at 10^-9 before it was scaled: recompute exactly where that could matter.
        if !fraction.is_empty() && digits.len() as i64 + 27 - fraction.len() as i64 <= 37 {
            let exact = decimal(digits, 27 - fraction.len() as i64);
            let unit = 10_i128.pow(18);
            if let Some(product) = exact.checked_mul(1_i128 << exponent) {
                nanos = product / unit + i128::from(product % unit != 0);
            }
        }
    }
    let nanos = nanos.min(LARGEST);
    Ok(Parsed { nanos: if negative { -nanos } else { nanos }, family })
}

/// `digits × 10^power`, rounded up, saturating.
fn decimal(digits: &str, power: i64) -> i128 {
    if digits.is_empty() {
        return 0;
    }
    if digits.len() as i64 + power > 37 {
        return LARGEST;
    }
    if power >= 0 {
        return digits.parse::<i128>().unwrap_or(LARGEST).saturating_mul(10_i128.pow(power as u32));
    }
    let keep = usize::try_from(digits.len() as i64 + power).unwrap_or(0);
    let kept: i128 = if keep == 0 { 0 } else { digits[..keep].parse().unwrap_or(LARGEST) };
    kept + i128::from(digits[keep..].bytes().any(|digit| digit != b'0'))
}

fn scale(suffix: &str) -> Result<(Family, u32, i32), QuantityError> {
    let decimal = |exponent| Ok((Family::Decimal, 10, exponent));
    let binary = |exponent| Ok((Family::Binary, 2, exponent));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or_else(|| {
                let letters = |letter: char| "eEinumkKMGTP+-0123456789".contains(letter);
                if suffix.chars().all(letters) { QuantityError::Suffix } else { QuantityError::Malformed }
            })?;
            let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
            Ok((Family::Exponent, 10, exponent.clamp(-1000, 1000)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (given, served) in [
            ("0", "0"),
            ("0m", "0"),
            ("-0", "0"),
            ("0Ki", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1.0", "1"),
            ("2000m", "2"),
            ("1500m", "1500m"),
            ("1k", "1k"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1000e3", "1e6"),
            ("12e6", "12e6"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("0.5Ki", "512"),
            ("1.5Gi", "1536Mi"),
            ("100Mi", "100Mi"),
            ("1Ei", "1Ei"),
            ("-1Gi", "-1Gi"),
            ("-500m", "-500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1u", "1u"),
            ("3e-3", "3e-3"),
            ("99999999999999999999", "9223372036854775807"),
            ("0.3Ki", "307200m"),
        ] {
            assert_eq!(canonical(given).as_deref(), Ok(served), "{given}");
            assert_eq!(canonical(served).as_deref(), Ok(served), "{served} again");
        }
        for given in ["", " 1", "1 ", "a", "1.2.3", "--1", "1i", "1ki", "1KI", "1e", "1e1.5", ".", "1Zi", "１"] {
            assert!(canonical(given).is_err(), "{given}");
        }
    }

    #[test]
    fn values_round_up() {
        assert_eq!(
            (milli_value("0.5"), milli_value("1n"), milli_value("2"), milli_value("-1n")),
            (Ok(500), Ok(1), Ok(2000), Ok(-1))
        );
        assert_eq!(
            (value("1.5Gi"), value("100m"), value("1E"), value("10E")),
            (Ok(1_610_612_736), Ok(1), Ok(10_i64.pow(18)), Ok(i64::MAX))
        );
    }
}
