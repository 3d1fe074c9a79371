//! The protobuf form of built-in kinds, driven by the table of facts: no generated code.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the envelope: four bytes `k8s\0`, then a `runtime.Unknown` message |
//! | `wire.rs` | varints, keys and length-delimited fields |
//! | `read.rs` | a message to a value |
//! | `write.rs` | a value to a message |
//!
//! JSON inlines some messages that protobuf keeps (a Volume and its VolumeSource); the table holds a path of numbers for
//! such fields. The Go encoder writes fields that are not pointers even when they are zero: reading leaves out what says
//! the same as absence.

mod read;
mod wire;
mod write;

use bytes::Bytes;
use serde_json::Value;

use super::{CodecError, json};
use crate::facts;
#[cfg(test)]
pub(crate) use wire::Wire;
pub(crate) use wire::{Reader, Writer};

const MAGIC: &[u8; 4] = b"k8s\0";

pub(super) fn decode(bytes: &[u8], depth_max: usize) -> Result<Value, CodecError> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(CodecError::MalformedProtobuf {
            message_type: "the envelope".to_owned(),
            offset: 0,
            message: "the body does not start with the four bytes of a Kubernetes protobuf message".to_owned(),
        });
    };
    let mut reader = Reader::new("runtime.Unknown", rest);
    let (mut api_version, mut kind, mut raw, mut content_type) = (String::new(), String::new(), &[][..], String::new());
    while let Some((number, wire)) = reader.key()? {
        match number {
            1 => {
                let mut type_meta = Reader::new("runtime.TypeMeta", reader.bytes(wire)?);
                while let Some((number, wire)) = type_meta.key()? {
                    match number {
                        1 => api_version = type_meta.string(wire)?.to_owned(),
                        2 => kind = type_meta.string(wire)?.to_owned(),
                        _ => type_meta.skip(wire)?,
                    }
                }
            }
            2 => raw = reader.bytes(wire)?,
            3 if !reader.string(wire)?.is_empty() => {
                return Err(reader.error("a content encoding is not supported"));
            }
            4 => content_type = reader.string(wire)?.to_owned(),
            3 => {}
            _ => reader.skip(wire)?,
        }
    }
    if content_type.starts_with("application/json") {
        return json::decode(raw, depth_max).map(|decoded| decoded.value);
    }
    let Some(found) = facts::kind(&api_version, &kind) else {
        return Err(CodecError::NoProtobuf { api_version, kind });
    };
    let mut members = read::message(found, raw, depth_max)?;
    members.insert("apiVersion".to_owned(), Value::String(api_version));
    members.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(members))
}

pub(super) fn encode(value: &Value) -> Result<Bytes, CodecError> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let Some((found, members)) = facts::kind(&api_version, &kind).zip(value.as_object()) else {
        return Err(CodecError::NoProtobuf { api_version, kind });
    };
    let mut type_meta = Writer::default();
    type_meta.bytes(1, api_version.as_bytes());
    type_meta.bytes(2, kind.as_bytes());
    let mut unknown = Writer::default();
    unknown.bytes(1, &type_meta.finish());
    unknown.bytes(2, &write::message(found, members)?);
    unknown.bytes(3, b"");
    unknown.bytes(4, b"");
    let mut body = MAGIC.to_vec();
    body.extend(unknown.finish());
    Ok(body.into())
}

#[cfg(test)]
mod tests;
