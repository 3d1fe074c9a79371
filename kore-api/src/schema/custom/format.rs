//! The formats of strings and numbers that upstream checks; others say nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;
use serde_json::Value;

/// A format that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format(usize);

type Fits = fn(&str) -> bool;

/// By name, in upstream's spelling. Numbers of these formats have a range of their own.
const FORMATS: [(&str, Fits); 30] = [
    ("date-time", |text| text.parse::<jiff::Timestamp>().is_ok()),
    ("datetime", |text| text.parse::<jiff::Timestamp>().is_ok()),
    ("date", |text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
    ("duration", duration),
    ("byte", |text| base64::engine::general_purpose::STANDARD.decode(text).is_ok()),
    ("ipv4", |text| text.parse::<Ipv4Addr>().is_ok()),
    ("ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("cidr", cidr),
    ("mac", |text| matches(text, &MAC)),
    ("uuid", |text| matches(text, &UUID)),
    ("uuid3", |text| matches(text, &UUID) && version(text, b"3")),
    ("uuid4", |text| matches(text, &UUID) && version(text, b"4") && variant(text)),
    ("uuid5", |text| matches(text, &UUID) && version(text, b"5") && variant(text)),
    ("email", |text| matches(text, &EMAIL)),
    ("hostname", hostname),
    ("uri", |text| text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some())),
    ("isbn", |text| isbn10(text) || isbn13(text)),
    ("isbn10", isbn10),
    ("isbn13", isbn13),
    ("creditcard", credit_card),
    ("ssn", |text| matches(text, &SSN)),
    ("hexcolor", |text| matches(text, &HEX_COLOR)),
    ("rgbcolor", |text| matches(text, &RGB_COLOR)),
    ("password", |_| true),
    ("int32", |_| true),
    ("int64", |_| true),
    ("uint32", |_| true),
    ("uint64", |_| true),
    ("k8s-short-name", crate::selector::is_dns_label),
    ("k8s-long-name", crate::selector::is_dns_subdomain),
];

static MAC: LazyLock<Regex> =
    LazyLock::new(|| regex("^([0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\\.)([0-9A-Fa-f:.-]+)$"));
static UUID: LazyLock<Regex> =
    LazyLock::new(|| regex("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| regex("^[^@\\s<>]+@[^@\\s<>]+$"));
static SSN: LazyLock<Regex> = LazyLock::new(|| regex("^\\d{3}[- ]?\\d{2}[- ]?\\d{4}$"));
static HEX_COLOR: LazyLock<Regex> = LazyLock::new(|| regex("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static RGB_COLOR: LazyLock<Regex> = LazyLock::new(|| {
    let part = "\\s*(0|[1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])\\s*";
    regex(&format!("^rgb\\({part},{part},{part}\\)$"))
});

impl Format {
    /// The format of this name; `None`: it is not checked.
    pub(super) fn named(name: &str) -> Option<Self> {
        FORMATS.iter().position(|(known, _)| *known == name).map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        FORMATS[self.0].0
    }

    pub(super) fn fits(self, text: &str) -> bool {
        FORMATS[self.0].1(text)
    }

    pub(super) fn fits_number(self, value: &Value) -> bool {
        let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
        match self.name() {
            "int32" => {
                value.as_f64().is_some_and(|number| number >= f64::from(i32::MIN) && number <= f64::from(i32::MAX))
                    && whole
            }
            "uint32" => value.as_f64().is_some_and(|number| number >= 0.0 && number <= f64::from(u32::MAX)) && whole,
            "int64" => value.is_i64() || (value.is_f64() && whole),
            "uint64" => value.is_u64() || (value.is_f64() && whole),
            _ => true,
        }
    }
}

fn regex(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

fn matches(text: &str, pattern: &Regex) -> bool {
    pattern.is_match(text)
}

/// The digit that says which kind of UUID it is.
fn version(text: &str, digit: &[u8]) -> bool {
    text.bytes().filter(|byte| *byte != b'-').nth(12) == digit.first().copied()
}

fn variant(text: &str) -> bool {
    let digit = text.bytes().filter(|byte| *byte != b'-').nth(16);
    digit.is_some_and(|digit| b"89abAB".contains(&digit))
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= max) && !bits.starts_with('+')
}

fn hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

/// Go's `1h2m3.5s`, or a number and a word, as upstream takes both.
fn duration(text: &str) -> bool {
    const UNITS: [&str; 34] = [
        "ns",
        "nano",
        "nanos",
        "nanosecond",
        "nanoseconds",
        "us",
        "µs",
        "μs",
        "micro",
        "micros",
        "microsecond",
        "microseconds",
        "ms",
        "milli",
        "millis",
        "millisecond",
        "milliseconds",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "m",
        "min",
        "mins",
        "minute",
        "minutes",
        "h",
        "hr",
        "hour",
        "hours",
        "d",
        "day",
        "days",
    ];
    let mut rest = text.trim().trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        if !rest[..number].bytes().any(|byte| byte.is_ascii_digit()) || rest[..number].matches('.').count() > 1 {
            return false;
        }
        rest = rest[number..].trim_start();
        let unit = rest.find(|letter: char| !letter.is_alphabetic()).unwrap_or(rest.len());
        if !UNITS.contains(&&rest[..unit]) {
            return false;
        }
        rest = rest[unit..].trim_start();
    }
    true
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter(|letter| !matches!(letter, '-' | ' ')).map(|letter| letter.to_digit(10).unwrap_or(99)).collect()
}

fn isbn10(text: &str) -> bool {
    let mut found = digits(text);
    if found.len() == 10 && found[9] == 99 && text.ends_with(['X', 'x']) {
        found[9] = 10;
    }
    let sum = || found.iter().zip((1..=10).rev()).map(|(digit, weight)| digit * weight).sum::<u32>();
    found.len() == 10 && found.iter().all(|digit| *digit <= 10) && sum() % 11 == 0
}

fn isbn13(text: &str) -> bool {
    let found = digits(text);
    let sum = || found.iter().enumerate().map(|(at, digit)| digit * if at % 2 == 0 { 1 } else { 3 }).sum::<u32>();
    found.len() == 13 && found.iter().all(|digit| *digit <= 9) && sum() % 10 == 0
}

fn credit_card(text: &str) -> bool {
    let found = digits(text);
    let luhn = || {
        let doubled = |(at, digit): (usize, &u32)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, twice) => twice / 10 + twice % 10,
        };
        found.iter().rev().enumerate().map(doubled).sum::<u32>()
    };
    (12..=19).contains(&found.len()) && found.iter().all(|digit| *digit <= 9) && luhn() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats() {
        for (name, good, bad) in [
            ("date-time", vec!["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123+01:00"], vec!["2026-01-02", "soon"]),
            ("date", vec!["2026-01-02"], vec!["2026-13-02", "2026-01-02T00:00:00Z"]),
            ("duration", vec!["1h2m3.5s", "300ms", "3 days", "0", "-5s"], vec!["", "5", "h", "1x"]),
            ("byte", vec!["aGk="], vec!["%%"]),
            ("ipv4", vec!["10.0.0.1"], vec!["10.0.0", "::1"]),
            ("ipv6", vec!["::1"], vec!["10.0.0.1"]),
            ("cidr", vec!["10.0.0.0/8", "::/0"], vec!["10.0.0.0", "10.0.0.0/33"]),
            ("mac", vec!["01:23:45:67:89:ab"], vec!["no"]),
            ("uuid", vec!["6ba7b810-9dad-11d1-80b4-00c04fd430c8"], vec!["6ba7b810"]),
            ("uuid4", vec!["6ba7b810-9dad-41d1-80b4-00c04fd430c8"], vec!["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]),
            ("email", vec!["a@example.com"], vec!["a"]),
            ("hostname", vec!["a.example.com"], vec!["-a", "a..b"]),
            ("uri", vec!["https://example.com/x"], vec!["x"]),
            ("isbn10", vec!["0-306-40615-2"], vec!["0-306-40615-3"]),
            ("isbn13", vec!["978-0-306-40615-7"], vec!["978-0-306-40615-8"]),
            ("creditcard", vec!["4111 1111 1111 1111"], vec!["4111 1111 1111 1112"]),
            ("ssn", vec!["123-45-6789"], vec!["12"]),
            ("hexcolor", vec!["#fff", "00ff00"], vec!["#ffff"]),
            ("rgbcolor", vec!["rgb(0, 127,255)"], vec!["rgb(0,0,256)"]),
            ("k8s-short-name", vec!["a-b"], vec!["A"]),
        ] {
            let format = Format::named(name).unwrap();
            for text in good {
                assert!(format.fits(text), "{name}: {text}");
            }
            for text in bad {
                assert!(!format.fits(text), "{name}: {text}");
            }
        }
        assert_eq!(Format::named("anything"), None);
        let int32 = Format::named("int32").unwrap();
        assert!(int32.fits_number(&json!(5)) && !int32.fits_number(&json!(3_000_000_000_i64)));
    }
}
