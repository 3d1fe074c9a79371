//! A protobuf message to a value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::super::{CodecError, json};
use super::wire::{Reader, Wire};
use crate::facts::{Field, Shape, Special, Type, WireNode, WireStep};
use crate::schema::{double, is_absence, schema_props, time_text, zero};

/// Reads a message of a type; `depth` messages may be nested.
pub(super) fn message(found: &'static Type, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, CodecError> {
    let mut members = Map::new();
    fields(found, &found.wire, bytes, deeper(depth)?, &mut members)?;
    Ok(members)
}

fn deeper(depth: usize) -> Result<usize, CodecError> {
    depth.checked_sub(1).ok_or(CodecError::TooDeep { limit: super::super::DEPTH_MAX })
}

fn fields(
    found: &'static Type,
    steps: &'static [WireStep],
    bytes: &[u8],
    depth: usize,
    members: &mut Map<String, Value>,
) -> Result<(), CodecError> {
    let mut reader = Reader::new(found.name, bytes);
    while let Some((number, wire)) = reader.key()? {
        // Fields of a newer version are passed over, as every protobuf reader does.
        let Ok(index) = steps.binary_search_by_key(&number, |step| step.number) else {
            reader.skip(wire)?;
            continue;
        };
        match &steps[index].node {
            WireNode::Inlined(inner) => fields(found, inner, reader.bytes(wire)?, depth, members)?,
            WireNode::Field(index) => field(&found.fields[*index], &mut reader, wire, depth, members)?,
        }
    }
    Ok(())
}

fn field(
    field: &'static Field,
    reader: &mut Reader<'_>,
    wire: Wire,
    depth: usize,
    members: &mut Map<String, Value>,
) -> Result<(), CodecError> {
    match &field.shape {
        Shape::List(inner) if field.wrapped => {
            let items = wrapped(inner, reader.bytes(wire)?)?;
            members.insert(field.name.to_owned(), items);
        }
        Shape::List(inner) => {
            let slot = members.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            let items = slot.as_array_mut().expect("only lists are put where the table has a list");
            let is_number = matches!(**inner, Shape::Bool | Shape::Int32 | Shape::Int64);
            if is_number && wire == Wire::Bytes {
                let mut packed = Reader::new("a packed list", reader.bytes(wire)?);
                while !packed.is_at_end() {
                    items.push(value(inner, &mut packed, Wire::Varint, depth)?);
                }
            } else {
                items.push(value(inner, reader, wire, depth)?);
            }
        }
        Shape::Map(inner) => {
            let slot = members.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            let entries = slot.as_object_mut().expect("only maps are put where the table has a map");
            let mut entry = Reader::new("a map entry", reader.bytes(wire)?);
            let (mut key, mut held) = (String::new(), zero(inner));
            while let Some((number, wire)) = entry.key()? {
                match (number, &**inner) {
                    (1, _) => key = entry.string(wire)?.to_owned(),
                    (2, Shape::List(items)) if field.wrapped => held = wrapped(items, entry.bytes(wire)?)?,
                    (2, _) => held = value(inner, &mut entry, wire, depth)?,
                    _ => entry.skip(wire)?,
                }
            }
            entries.insert(key, held);
        }
        shape => {
            let held = value(shape, reader, wire, depth)?;
            if held.is_null() || is_absence(field, &held) {
                members.remove(field.name);
            } else {
                members.insert(field.name.to_owned(), held);
            }
        }
    }
    Ok(())
}

/// A message with one repeated field, which is a plain list in JSON.
fn wrapped(inner: &'static Shape, bytes: &[u8]) -> Result<Value, CodecError> {
    let mut reader = Reader::new("a list message", bytes);
    let mut items = Vec::new();
    while let Some((number, wire)) = reader.key()? {
        match number {
            1 => items.push(value(inner, &mut reader, wire, 0)?),
            _ => reader.skip(wire)?,
        }
    }
    Ok(Value::Array(items))
}

fn value(shape: &'static Shape, reader: &mut Reader<'_>, wire: Wire, depth: usize) -> Result<Value, CodecError> {
    Ok(match shape {
        Shape::String => Value::String(reader.string(wire)?.to_owned()),
        Shape::Bytes => Value::String(STANDARD.encode(reader.bytes(wire)?)),
        Shape::Bool => Value::Bool(reader.varint(wire)? != 0),
        Shape::Int32 => Value::from(reader.varint(wire)? as i32),
        Shape::Int64 => Value::from(reader.varint(wire)? as i64),
        Shape::Double => double(reader.double(wire)?),
        Shape::Time | Shape::MicroTime => time(reader.bytes(wire)?, matches!(shape, Shape::MicroTime))?,
        Shape::Quantity => {
            let mut inner = Reader::new("Quantity", reader.bytes(wire)?);
            let mut text = "";
            while let Some((number, wire)) = inner.key()? {
                match number {
                    1 => text = inner.string(wire)?,
                    _ => inner.skip(wire)?,
                }
            }
            Value::from(if text.is_empty() { "0" } else { text })
        }
        Shape::IntOrString => int_or_string(reader.bytes(wire)?)?,
        Shape::Raw | Shape::FieldsV1 | Shape::Json => raw(reader.bytes(wire)?, depth)?,
        Shape::Object(reference) => object(reference.get(), reader.bytes(wire)?, depth)?,
        Shape::List(_) | Shape::Map(_) => return Err(reader.error("a list inside a list")),
    })
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, CodecError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let mut reader = Reader::new("Time", bytes);
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((number, wire)) = reader.key()? {
        match number {
            1 => seconds = reader.varint(wire)? as i64,
            2 => nanos = reader.varint(wire)? as i32,
            _ => reader.skip(wire)?,
        }
    }
    Ok(Value::String(time_text(seconds, nanos, micro)))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, CodecError> {
    let mut reader = Reader::new("IntOrString", bytes);
    let (mut is_string, mut number_held, mut text) = (false, 0, "");
    while let Some((number, wire)) = reader.key()? {
        match number {
            1 => is_string = reader.varint(wire)? != 0,
            2 => number_held = reader.varint(wire)? as i32,
            3 => text = reader.string(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(if is_string { Value::from(text) } else { Value::from(number_held) })
}

/// Bytes that hold JSON, or a message with an envelope of its own.
fn raw(bytes: &[u8], depth: usize) -> Result<Value, CodecError> {
    let mut reader = Reader::new("RawExtension", bytes);
    let mut held = &[][..];
    while let Some((number, wire)) = reader.key()? {
        match number {
            1 => held = reader.bytes(wire)?,
            _ => reader.skip(wire)?,
        }
    }
    if held.is_empty() {
        Ok(Value::Null)
    } else if held.starts_with(super::MAGIC) {
        super::decode(held, deeper(depth)?)
    } else {
        json::decode(held, depth).map(|decoded| decoded.value)
    }
}

fn object(found: &'static Type, bytes: &[u8], depth: usize) -> Result<Value, CodecError> {
    if found.special == Special::None {
        return message(found, bytes, depth).map(Value::Object);
    }
    let depth = deeper(depth)?;
    let mut reader = Reader::new(found.name, bytes);
    let (mut schema, mut items, mut allows) = (None, Vec::new(), false);
    while let Some((number, wire)) = reader.key()? {
        match (found.special, number) {
            (Special::SchemaOrBool, 1) => allows = reader.varint(wire)? != 0,
            (Special::SchemaOrBool, 2) | (Special::SchemaOrArray | Special::SchemaOrStrings, 1) => {
                schema = Some(Value::Object(message(schema_props(found), reader.bytes(wire)?, depth)?));
            }
            (Special::SchemaOrArray, 2) => {
                items.push(Value::Object(message(schema_props(found), reader.bytes(wire)?, depth)?));
            }
            (Special::SchemaOrStrings, 2) => items.push(Value::from(reader.string(wire)?)),
            _ => reader.skip(wire)?,
        }
    }
    Ok(match (schema, found.special) {
        (Some(schema), _) => schema,
        (None, Special::SchemaOrBool) => Value::Bool(allows),
        (None, _) => Value::Array(items),
    })
}
