//! Bytes to values and back: JSON, YAML and protobuf.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`Format`], [`Limits`], [`decode`], [`encode`] |
//! | `error.rs` | [`CodecError`] |
//! | `tree.rs` | building a value while watching depth and duplicate keys |
//! | `json.rs` | JSON, and its canonical form |
//! | `yaml.rs` | YAML as upstream reads it |
//! | `protobuf/` | the protobuf envelope, driven by the table of facts |
//!
//! A value is always a `serde_json::Value`. Whether its fields are known and of the right type is the business of
//! [`schema`](crate::schema); protobuf alone needs the shape to be read at all.
//!
//! ```
//! use kore_api::codec::{self, Format, Limits};
//!
//! let format = Format::from_content_type("application/yaml").unwrap();
//! let decoded = codec::decode(format, b"kind: Pod\nspec:\n  a: 1\n  a: 2\n", &Limits::default()).unwrap();
//! assert_eq!(decoded.duplicates, ["spec.a"]);
//! assert_eq!(codec::encode(Format::Json, &decoded.value).unwrap(), r#"{"kind":"Pod","spec":{"a":2}}"#);
//! ```

mod error;
mod json;
pub(crate) mod protobuf;
mod tree;
mod yaml;

use bytes::Bytes;
use serde_json::Value;

pub use error::CodecError;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`: four bytes `k8s\0`, then a `runtime.Unknown` message. Built-in kinds only.
    Protobuf,
}

impl Format {
    /// The format of a `Content-Type` or of one range of an `Accept` header; parameters are ignored. `None` if it is none
    /// of ours.
    pub fn from_content_type(content_type: &str) -> Option<Format> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/json") {
            Some(Format::Json)
        } else if is("application/yaml") || is("application/x-yaml") || is("text/yaml") {
            Some(Format::Yaml)
        } else if is("application/vnd.kubernetes.protobuf") {
            Some(Format::Protobuf)
        } else {
            None
        }
    }

    /// The `Content-Type` of a body in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What a body may cost.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Largest body, in bytes. Default 3 MiB, upstream's limit for a resource request. Beyond: [`CodecError::TooLarge`].
    pub body_bytes: usize,
    /// Deepest nesting of objects and lists. Default and maximum 100; YAML that is not JSON at most 50. Beyond: [`CodecError::TooDeep`].
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { body_bytes: 3 * 1024 * 1024, depth: DEPTH_MAX }
    }
}

impl Limits {
    /// The default limits with another size of body, in bytes.
    pub fn of_body(body_bytes: usize) -> Limits {
        Limits { body_bytes, ..Limits::default() }
    }
}

/// Below the recursion limits of the parsers, so that ours is the one that is met.
const DEPTH_MAX: usize = 100;

/// A decoded body.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Decoded {
    /// The value; where a key stood twice, the last one.
    pub value: Value,
    /// The paths of keys that stood twice, e.g. `spec.containers[0].name`; at most 100.
    pub duplicates: Vec<String>,
}

/// Reads a body.
///
/// # Errors
/// [`CodecError`]: the body is larger or deeper than allowed, not well formed (with the place), or protobuf of a kind that
/// has none.
pub fn decode(format: Format, bytes: &[u8], limits: &Limits) -> Result<Decoded, CodecError> {
    if bytes.len() > limits.body_bytes {
        return Err(CodecError::TooLarge { bytes: bytes.len(), limit_bytes: limits.body_bytes });
    }
    match format {
        Format::Json => json::decode(bytes, limits.depth.min(DEPTH_MAX)),
        Format::Yaml => yaml::decode(bytes, limits.depth.min(DEPTH_MAX)),
        Format::Protobuf => {
            let value = protobuf::decode(bytes, limits.depth.min(DEPTH_MAX))?;
            Ok(Decoded { value, duplicates: Vec::new() })
        }
    }
}

/// Writes a value. JSON is canonical: compact, with sorted keys.
///
/// # Errors
/// JSON and YAML take any value. Protobuf takes built-in kinds whose fields all have a number; otherwise
/// [`CodecError::NoProtobuf`] or [`CodecError::NotRepresentable`], upon which a server answers in JSON.
pub fn encode(format: Format, value: &Value) -> Result<Bytes, CodecError> {
    match format {
        Format::Json => Ok(json::encode(value)),
        Format::Yaml => yaml::encode(value),
        Format::Protobuf => protobuf::encode(value),
    }
}

/// A value as compact JSON with sorted keys: the form in which objects are stored.
pub(crate) fn canonical(value: &Value) -> Bytes {
    json::encode(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn content_types() {
        for (content_type, format) in [
            ("application/json", Some(Format::Json)),
            ("Application/JSON; charset=utf-8", Some(Format::Json)),
            ("application/yaml", Some(Format::Yaml)),
            ("application/vnd.kubernetes.protobuf;type=x", Some(Format::Protobuf)),
            ("application/json-patch+json", None),
            ("*/*", None),
            ("", None),
        ] {
            assert_eq!(Format::from_content_type(content_type), format, "{content_type}");
        }
    }

    #[test]
    fn bodies_have_a_limit() {
        let error = decode(Format::Json, b"[1, 2, 3]", &Limits::of_body(8));
        assert_eq!(error, Err(CodecError::TooLarge { bytes: 9, limit_bytes: 8 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Whatever arrives: a value or an error.
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}:,\"a-c0-9&*!|>%\n -]{0,120}") {
            for format in [Format::Json, Format::Yaml, Format::Protobuf] {
                for body in [&bytes[..], text.as_bytes(), &[&b"k8s\0"[..], &bytes].concat()] {
                    if let Ok(decoded) = decode(format, body, &Limits::default()) {
                        // What was read can be written, and is read back the same.
                        let written = encode(Format::Json, &decoded.value).expect("any value is JSON");
                        prop_assert_eq!(decode(Format::Json, &written, &Limits::default()).expect("canonical").value, decoded.value);
                    }
                }
            }
        }
    }
}
