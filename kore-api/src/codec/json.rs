//! JSON.

use bytes::Bytes;
use serde::de::DeserializeSeed as _;
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::{Map, Value};

use super::tree::{TOO_DEEP, Watch};
use super::{CodecError, Decoded, Format};

pub(super) fn decode(bytes: &[u8], depth_max: usize) -> Result<Decoded, CodecError> {
    let watch = Watch::new(depth_max);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = watch.root().deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(value) => Ok(Decoded { value, duplicates: watch.duplicates.into_inner() }),
        Err(error) => {
            let text = error.to_string();
            if text.starts_with(TOO_DEEP) {
                return Err(CodecError::TooDeep { limit: depth_max });
            }
            let (line, column) = (error.line(), error.column());
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
            Err(CodecError::Malformed {
                format: Format::Json,
                line,
                column,
                offset: offset(bytes, line, column),
                message,
            })
        }
    }
}

/// The offset of a line and a column, both counted from 1 and the column in bytes.
pub(super) fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        line => bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(line - 2)
            .map_or(bytes.len(), |(index, _)| index + 1),
    };
    (start + column.saturating_sub(1)).min(bytes.len())
}

pub(super) fn encode(value: &Value) -> Bytes {
    let mut buffer = Vec::with_capacity(512);
    serde_json::to_writer(&mut buffer, &Canonical(value)).expect("a value with string keys is always JSON");
    buffer.into()
}

/// Writes keys in order even where a dependant of ours turned on serde_json's `preserve_order`.
pub(super) struct Canonical<'a>(pub(super) &'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                if members.keys().is_sorted() {
                    for (key, value) in members {
                        map.serialize_entry(key, &Canonical(value))?;
                    }
                } else {
                    for (key, value) in sorted(members) {
                        map.serialize_entry(key, &Canonical(value))?;
                    }
                }
                map.end()
            }
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Canonical(item))?;
                }
                list.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_unstable_by_key(|(key, _)| *key);
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn duplicates_have_paths() {
        let body =
            br#"{"a":1,"spec":{"list":[{"n":1},{"n":1,"n":2}],"labels":{"x":"1","x":"2","x":"3"}},"a":{"b":1,"b":2}}"#;
        let decoded = decode(body, 100).expect("well formed");
        assert_eq!(decoded.value, json!({"a": {"b": 2}, "spec": {"list": [{"n": 1}, {"n": 2}], "labels": {"x": "3"}}}));
        assert_eq!(decoded.duplicates, ["spec.list[1].n", "spec.labels.x", "a.b", "a"]);
    }

    #[test]
    fn errors_say_where() {
        for (body, line, column, at) in [
            ("", 1, 0, 0),
            ("{", 1, 1, 0),
            ("{\"a\":1,}", 1, 8, 7),
            ("{\n \"a\": trux\n}", 2, 10, 11),
            ("{} {}", 1, 4, 3),
            ("\u{feff}{}", 1, 1, 0),
            ("{\"a\": 1e999}", 1, 11, 10),
        ] {
            match decode(body.as_bytes(), 100) {
                Err(CodecError::Malformed { format: Format::Json, line: l, column: c, offset, .. }) => {
                    assert_eq!((l, c, offset), (line, column, at), "{body}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        assert!(decode(b"\"\xff\"", 100).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(decode(nested(100).as_bytes(), 100).is_ok());
        assert_eq!(decode(nested(101).as_bytes(), 100), Err(CodecError::TooDeep { limit: 100 }));
        assert_eq!(decode("[".repeat(1_000_000).as_bytes(), 100), Err(CodecError::TooDeep { limit: 100 }));
    }

    #[test]
    fn encoding_is_canonical() {
        let decoded = decode(b" { \"b\" : [ 1 , 2.50, -3 ] , \"a\" : \"\\u00e9/\\n\" } ", 100).expect("well formed");
        assert_eq!(encode(&decoded.value), "{\"a\":\"é/\\n\",\"b\":[1,2.5,-3]}");
    }
}
