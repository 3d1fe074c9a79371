//! Random objects of any type, for tests.

use serde_json::{Map, Value, json};

use super::schema_props;
use crate::facts::{Shape, Special, Type};

/// A small deterministic source of chance.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // Any full-period generator does: this is splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn text(&mut self) -> String {
        (0..self.roll(6)).map(|_| ['a', 'B', '7', '-', 'é', '\u{0}', '🦀', '"'][self.roll(8) as usize]).collect()
    }

    /// An object of a type: nearly every field at the root, fewer and fewer below `depth` 0.
    pub(crate) fn object(&mut self, found: &'static Type, depth: u64) -> Value {
        if found.special != Special::None {
            let schema = |dice: &mut Dice| dice.object(schema_props(found), depth + 1);
            return match (found.special, self.roll(2)) {
                (_, 0) => schema(self),
                (Special::SchemaOrBool, _) => Value::Bool(self.roll(2) == 0),
                (Special::SchemaOrArray, _) => (0..self.roll(3)).map(|_| schema(self)).collect(),
                _ => (0..self.roll(3)).map(|_| Value::from(self.text())).collect(),
            };
        }
        let mut members = Map::new();
        for field in found.fields.iter().filter(|field| !field.numbers.is_empty()) {
            if self.roll(depth * depth / 2 + 2) == 0 || (depth == 0 && self.roll(8) != 0) {
                members.insert(field.name.to_owned(), self.value(&field.shape, depth));
            }
        }
        Value::Object(members)
    }

    fn value(&mut self, shape: &'static Shape, depth: u64) -> Value {
        match shape {
            Shape::String => self.text().into(),
            Shape::Bytes => ["", "AA==", "/+8=", "YWJj"][self.roll(4) as usize].into(),
            Shape::Bool => (self.roll(2) == 0).into(),
            Shape::Int32 => [0, 1, -1, i32::MAX, i32::MIN][self.roll(5) as usize].into(),
            Shape::Int64 => [0, 1, -1, i64::MAX, i64::MIN][self.roll(5) as usize].into(),
            Shape::Double => [0.0, 1.0, -1.5, 1e300][self.roll(4) as usize].into(),
            Shape::Time => {
                ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "1912-06-23T00:00:00Z"][self.roll(3) as usize].into()
            }
            Shape::MicroTime => {
                ["1970-01-01T00:00:00.000000Z", "2024-02-29T23:59:59.123456Z", "1912-06-23T00:00:00.000001Z"]
                    [self.roll(3) as usize]
                    .into()
            }
            Shape::Quantity => ["0", "500m", "1Gi", "1500", "3e6"][self.roll(5) as usize].into(),
            Shape::IntOrString => {
                [json!(0), json!(80), json!(-1), json!("http"), json!("")][self.roll(5) as usize].clone()
            }
            Shape::Raw | Shape::FieldsV1 => {
                [json!({}), json!({"f:a": {"b": [1, "x", null]}})][self.roll(2) as usize].clone()
            }
            Shape::Json => [json!({}), json!([1]), json!("x"), json!(true), json!(1.5)][self.roll(5) as usize].clone(),
            Shape::List(inner) => (0..self.roll(4)).map(|_| self.value(inner, depth + 1)).collect(),
            Shape::Map(inner) => (0..self.roll(4)).map(|_| (self.text(), self.value(inner, depth + 1))).collect(),
            Shape::Object(reference) => self.object(reference.get(), depth + 1),
        }
    }
}
