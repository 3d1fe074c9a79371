//! Why a body cannot be read or written.

use super::Format;

/// Why a body cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The body is larger than allowed (413).
    #[error("the body has {bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge {
        /// The size of the body, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Objects and lists are nested more deeply than allowed (400).
    #[error("the body is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// The text is not JSON or YAML (400).
    #[error("error parsing {format:?} at line {line}, column {column} (byte {offset}): {message}")]
    Malformed {
        /// The format that was expected.
        format: Format,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The offset from the start of the body, in bytes.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// The bytes are not the protobuf message they should be (400).
    #[error("error parsing protobuf in {message_type} (byte {offset}): {message}")]
    MalformedProtobuf {
        /// The message being read.
        message_type: String,
        /// The offset from the start of that message, in bytes.
        offset: usize,
        /// What is wrong there.
        message: String,
    },
    /// The kind has no protobuf form: custom resources never have (415, or an answer in JSON).
    #[error("{kind} in version {api_version:?} has no protobuf form")]
    NoProtobuf {
        /// The `apiVersion`.
        api_version: String,
        /// The `kind`.
        kind: String,
    },
    /// The value has something that its protobuf message cannot hold: an unknown field, or a value of another type.
    #[error("{path} cannot be written as protobuf")]
    NotRepresentable {
        /// Where.
        path: String,
    },
    /// The value cannot be written as text.
    #[error("error writing {format:?}: {message}")]
    Unwritable {
        /// The format.
        format: Format,
        /// Why.
        message: String,
    },
}
