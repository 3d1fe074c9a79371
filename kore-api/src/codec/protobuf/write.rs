//! A value to a protobuf message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::{CodecError, json};
use super::wire::Writer;
use crate::facts::{Field, Shape, Special, Type, WireNode, WireStep};
use crate::schema::schema_props;

/// Writes a message of a type. Fields that are not there are not written, and neither are `apiVersion` and `kind`, which
/// have their place in the envelope.
pub(super) fn message(found: &'static Type, members: &Map<String, Value>) -> Result<Vec<u8>, CodecError> {
    for (name, value) in members {
        let has_number = found.field(name).is_some_and(|field| !field.numbers.is_empty());
        if !has_number && !value.is_null() && name != "apiVersion" && name != "kind" {
            return Err(CodecError::NotRepresentable { path: name.clone() });
        }
    }
    let mut writer = Writer::default();
    fields(found, &found.wire, members, &mut writer)?;
    Ok(writer.finish())
}

fn fields(
    found: &'static Type,
    steps: &'static [WireStep],
    members: &Map<String, Value>,
    writer: &mut Writer,
) -> Result<(), CodecError> {
    for step in steps {
        match &step.node {
            WireNode::Inlined(inner) => {
                let mut inlined = Writer::default();
                fields(found, inner, members, &mut inlined)?;
                if !inlined.is_empty() {
                    writer.bytes(step.number, &inlined.finish());
                }
            }
            WireNode::Field(index) => {
                let field = &found.fields[*index];
                match members.get(field.name) {
                    None | Some(Value::Null) => {}
                    Some(value) => {
                        field_value(field, step.number, value, writer).map_err(|error| below(field.name, error))?
                    }
                }
            }
        }
    }
    Ok(())
}

/// The error, with the path to it from one level further up.
fn below(step: &str, error: CodecError) -> CodecError {
    match error {
        CodecError::NotRepresentable { path } if path.is_empty() => {
            CodecError::NotRepresentable { path: step.to_owned() }
        }
        CodecError::NotRepresentable { path } if path.starts_with('[') => {
            CodecError::NotRepresentable { path: format!("{step}{path}") }
        }
        CodecError::NotRepresentable { path } => CodecError::NotRepresentable { path: format!("{step}.{path}") },
        other => other,
    }
}

fn here() -> CodecError {
    CodecError::NotRepresentable { path: String::new() }
}

fn field_value(field: &'static Field, number: u32, value: &Value, writer: &mut Writer) -> Result<(), CodecError> {
    match (&field.shape, value) {
        (Shape::List(inner), Value::Array(_)) if field.wrapped => {
            writer.bytes(number, &wrapped(inner, value)?);
            Ok(())
        }
        (Shape::List(inner), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                write(inner, number, item, writer).map_err(|error| below(&format!("[{index}]"), error))?;
            }
            Ok(())
        }
        (Shape::Map(inner), Value::Object(entries)) => {
            for (key, held) in entries {
                let mut entry = Writer::default();
                entry.bytes(1, key.as_bytes());
                match &**inner {
                    Shape::List(items) if field.wrapped => {
                        entry.bytes(2, &wrapped(items, held).map_err(|error| below(key, error))?)
                    }
                    inner => write(inner, 2, held, &mut entry).map_err(|error| below(key, error))?,
                }
                writer.bytes(number, &entry.finish());
            }
            Ok(())
        }
        (shape, value) => write(shape, number, value, writer),
    }
}

fn wrapped(inner: &'static Shape, value: &Value) -> Result<Vec<u8>, CodecError> {
    let mut list = Writer::default();
    for item in value.as_array().ok_or_else(here)? {
        write(inner, 1, item, &mut list)?;
    }
    Ok(list.finish())
}

fn write(shape: &'static Shape, number: u32, value: &Value, writer: &mut Writer) -> Result<(), CodecError> {
    let text = || value.as_str().ok_or_else(here);
    match shape {
        Shape::String => writer.bytes(number, text()?.as_bytes()),
        Shape::Bytes => writer.bytes(number, &STANDARD.decode(text()?).map_err(|_| here())?),
        Shape::Bool => writer.varint(number, value.as_bool().ok_or_else(here)?.into()),
        Shape::Int32 => {
            let held = value.as_i64().and_then(|held| i32::try_from(held).ok()).ok_or_else(here)?;
            writer.varint(number, i64::from(held) as u64);
        }
        Shape::Int64 => writer.varint(number, value.as_i64().ok_or_else(here)? as u64),
        Shape::Double => writer.double(number, value.as_f64().ok_or_else(here)?),
        Shape::Time | Shape::MicroTime => {
            let mut message = Writer::default();
            if !value.is_null() {
                let time: jiff::Timestamp = text()?.parse().map_err(|_| here())?;
                let nanos = time.as_nanosecond();
                let kept =
                    if matches!(shape, Shape::MicroTime) { nanos.rem_euclid(1_000_000_000) / 1000 * 1000 } else { 0 };
                message.varint(1, nanos.div_euclid(1_000_000_000) as i64 as u64);
                message.varint(2, kept as u64);
            }
            writer.bytes(number, &message.finish());
        }
        Shape::Quantity => {
            let mut message = Writer::default();
            match value {
                Value::Number(held) => message.bytes(1, held.to_string().as_bytes()),
                _ => message.bytes(1, text()?.as_bytes()),
            }
            writer.bytes(number, &message.finish());
        }
        Shape::IntOrString => {
            let mut message = Writer::default();
            match value {
                Value::String(held) => {
                    message.varint(1, 1);
                    message.varint(2, 0);
                    message.bytes(3, held.as_bytes());
                }
                _ => {
                    let held = value.as_i64().and_then(|held| i32::try_from(held).ok()).ok_or_else(here)?;
                    message.varint(1, 0);
                    message.varint(2, i64::from(held) as u64);
                    message.bytes(3, b"");
                }
            }
            writer.bytes(number, &message.finish());
        }
        Shape::Raw | Shape::FieldsV1 | Shape::Json => {
            let mut message = Writer::default();
            message.bytes(1, &json::encode(value));
            writer.bytes(number, &message.finish());
        }
        Shape::Object(reference) => writer.bytes(number, &object(reference.get(), value)?),
        Shape::List(_) | Shape::Map(_) => return Err(here()),
    }
    Ok(())
}

fn object(found: &'static Type, value: &Value) -> Result<Vec<u8>, CodecError> {
    let mut writer = Writer::default();
    match (found.special, value) {
        (Special::None, Value::Object(members)) => return message(found, members),
        (Special::SchemaOrBool, Value::Bool(allows)) => writer.varint(1, (*allows).into()),
        (Special::SchemaOrBool, Value::Object(members)) => {
            writer.varint(1, 1);
            writer.bytes(2, &message(schema_props(found), members)?);
        }
        (Special::SchemaOrArray | Special::SchemaOrStrings, Value::Object(members)) => {
            writer.bytes(1, &message(schema_props(found), members)?);
        }
        (Special::SchemaOrArray, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let members = item.as_object().ok_or_else(here)?;
                writer.bytes(
                    2,
                    &message(schema_props(found), members).map_err(|error| below(&format!("[{index}]"), error))?,
                );
            }
        }
        (Special::SchemaOrStrings, Value::Array(items)) => {
            for item in items {
                writer.bytes(2, item.as_str().ok_or_else(here)?.as_bytes());
            }
        }
        _ => return Err(here()),
    }
    Ok(writer.finish())
}
