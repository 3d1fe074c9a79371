//! YAML as upstream's servers read it: version 1.1 booleans and octals, one document, aliases under a budget.

use serde::de::DeserializeSeed as _;
use serde_json::Value;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Budget, Options};

use super::json::{self, Canonical};
use super::tree::{TOO_DEEP, Watch};
use super::{CodecError, Decoded, Format};

/// The YAML parser needs far more stack for a level than the JSON parser. Bodies nested more deeply than this are written
/// by programs, and those write JSON.
const DEPTH_MAX: usize = 50;

/// Nodes that aliases may expand to: a body within the size limit never needs more, a bomb always does.
const ALIASED_EVENTS_MAX: usize = 100_000;

pub(super) fn decode(bytes: &[u8], depth_max: usize) -> Result<Decoded, CodecError> {
    // JSON is YAML, and what clients send as YAML (`kubectl apply --server-side`) is mostly JSON.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
        && let Ok(decoded) = json::decode(bytes, depth_max)
    {
        return Ok(decoded);
    }
    let depth_max = depth_max.min(DEPTH_MAX);
    let watch = Watch::new(depth_max);
    let value = serde_saphyr::with_deserializer_from_slice_with_options(
        bytes,
        options(bytes.len(), depth_max),
        |deserializer| watch.root().deserialize(deserializer),
    );
    match value {
        Ok(value) => Ok(Decoded { value, duplicates: watch.duplicates.into_inner() }),
        Err(error) => {
            let text = error.to_string();
            if text.contains(TOO_DEEP) {
                return Err(CodecError::TooDeep { limit: depth_max });
            }
            let (line, column) =
                error.location().map_or((0, 0), |place| (place.line() as usize, place.column() as usize));
            let offset = json::offset(bytes, line, column);
            Err(CodecError::Malformed { format: Format::Yaml, line, column, offset, message: text })
        }
    }
}

pub(super) fn encode(value: &Value) -> Result<bytes::Bytes, CodecError> {
    serde_saphyr::to_string(&Canonical(value))
        .map(|text| text.into_bytes().into())
        .map_err(|error| CodecError::Unwritable { format: Format::Yaml, message: error.to_string() })
}

fn options(body_bytes: usize, depth_max: usize) -> Options {
    let mut budget = Budget::default();
    budget.max_depth = depth_max + 2;
    budget.max_documents = 1;
    budget.max_events = body_bytes.saturating_mul(2) + ALIASED_EVENTS_MAX;
    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = ALIASED_EVENTS_MAX;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits = aliases;
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.merge_keys = MergeKeyPolicy::Merge;
    options.legacy_octal_numbers = true;
    options.strict_booleans = false;
    options.with_snippet = false;
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        decode(text.as_bytes(), 100).unwrap_or_else(|error| panic!("{text}: {error}")).value
    }

    #[test]
    fn scalars_as_yaml_1_1_has_them() {
        for (text, expected) in [
            ("a: yes", json!(true)),
            ("a: Off", json!(false)),
            ("a: \"yes\"", json!("yes")),
            ("a: 'on'", json!("on")),
            ("a: 0644", json!(420)),
            ("a: 0o644", json!(420)),
            ("a: 0x1F", json!(31)),
            ("a: 1_000", json!(1000)),
            ("a: 1.5", json!(1.5)),
            ("a: 1e3", json!(1000.0)),
            ("a: ~", json!(null)),
            ("a:", json!(null)),
            ("a: null", json!(null)),
            ("a: 2024-01-01", json!("2024-01-01")),
            ("a: 2024-01-01T00:00:00Z", json!("2024-01-01T00:00:00Z")),
            ("a: 10Gi", json!("10Gi")),
            ("a: 1.2.3.4", json!("1.2.3.4")),
            ("a: |\n  x\n  y\n", json!("x\ny\n")),
            ("a: >-\n  x\n  y\n", json!("x y")),
            ("a: [1, x]", json!([1, "x"])),
            ("a: {b: c}", json!({"b": "c"})),
            ("a: 9223372036854775807", json!(i64::MAX)),
            ("a: 12345678901234567890", json!(12345678901234567890_u64)),
            ("a: \"\"", json!("")),
            ("a: -5", json!(-5)),
            ("a: 'it''s'", json!("it's")),
            ("a: !!str 5", json!("5")),
        ] {
            assert_eq!(value(text)["a"], expected, "{text}");
        }
    }

    #[test]
    fn keys_anchors_and_merges() {
        assert_eq!(value("1: a\ntrue: b\n"), json!({"1": "a", "true": "b"}));
        assert_eq!(value("x: &x {a: 1}\ny: *x\n"), json!({"x": {"a": 1}, "y": {"a": 1}}));
        assert_eq!(
            value("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n"),
            json!({"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}})
        );
        assert_eq!(value("---\na: 1\n"), json!({"a": 1}));
        assert_eq!(value("{\"a\": 1}"), json!({"a": 1}));
    }

    #[test]
    fn duplicates_are_found() {
        let decoded = decode(b"a: 1\nb:\n- c: 1\n  c: 2\na: 3\n", 100).expect("well formed");
        assert_eq!(decoded.value, json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(decoded.duplicates, ["b[0].c", "a"]);
    }

    #[test]
    fn bombs_are_defused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let above = level - 1;
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{above}"); 10].join(", "));
        }
        assert!(decode(bomb.as_bytes(), 100).is_err());
        assert!(decode("[".repeat(100_000).as_bytes(), 100).is_err());
        let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(decode(deep.as_bytes(), 100).is_err());
        assert!(decode(b"a: &a [*a]", 100).is_err());
    }

    #[test]
    fn errors_say_where() {
        let Err(CodecError::Malformed { format: Format::Yaml, line, .. }) = decode(b"a: 1\nb: [1\nc: 2\n", 100) else {
            panic!("an open list is an error");
        };
        assert!((2..=4).contains(&line), "{line}");
        assert!(decode(b"a: 1\n---\nb: 2\n", 100).is_err(), "one document");
        assert!(decode(b"a: .inf\n", 100).is_err(), "JSON has no infinity");
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let value = json!({"strings": ["yes", "0644", "1e3", "null", "~", "", " x ", "a: b", "- a", "x\ny\n", "#c", "true", "1_000", "é", "0x1F", "y", "N", "2024-01-01", ".5", "=", "<<", "\u{7}"],
            "numbers": [1, -1, 1.5, 1e300], "nested": {"empty": {}, "none": [], "list": [[1], {"a": null}]}, "true": false, "12": 12});
        let text = encode(&value).expect("any value");
        let read = decode(&text, 100).expect("what was written");
        assert_eq!(read.value, value, "{}", String::from_utf8_lossy(&text));
        assert_eq!(read.duplicates, Vec::<String>::new());
    }
}
