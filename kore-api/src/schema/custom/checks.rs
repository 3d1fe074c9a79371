//! The checks of one value, in the words of upstream's validator (kube-openapi).

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::below;
use super::format::Format;
use super::read::word;
use super::validate::wrong_type;
use crate::error::FieldError;

/// A compiled pattern may take so much memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What a value must be besides what its place in the tree says.
#[derive(Debug, Default)]
pub(super) struct Checks {
    enumeration: Vec<Value>,
    format: Option<Format>,
    pattern: Option<Regex>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<f64>,
    length: Range,
    items: Range,
    properties: Range,
    required: Vec<String>,
    all_of: Vec<Branch>,
    any_of: Vec<Branch>,
    one_of: Vec<Branch>,
    not: Option<Box<Branch>>,
}

/// At least, at most.
#[derive(Debug, Default, PartialEq)]
struct Range(Option<u64>, Option<u64>);

#[derive(Debug)]
struct Bound {
    value: f64,
    is_exclusive: bool,
}

/// An alternative: checks of a value and of what is in it. It shapes nothing.
#[derive(Debug, Default)]
struct Branch {
    kind: Option<&'static str>,
    checks: Checks,
    fields: BTreeMap<String, Branch>,
    additional: Option<Box<Branch>>,
    of_items: Option<Box<Branch>>,
}

impl Checks {
    /// The checks that a schema states; `None`: none.
    ///
    /// # Errors
    /// What cannot be checked.
    pub(super) fn read(schema: &Map<String, Value>) -> Result<Option<Self>, String> {
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
        let list = |name: &str| schema.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let branches = |name: &str| list(name).iter().map(Branch::read).collect::<Result<Vec<Branch>, String>>();
        let bound =
            |name: &str, exclusive: &str| number(name).map(|value| Bound { value, is_exclusive: flag(exclusive) });
        let checks = Self {
            enumeration: list("enum").to_vec(),
            format: schema.get("format").and_then(Value::as_str).and_then(Format::named),
            pattern: schema.get("pattern").and_then(Value::as_str).map(pattern).transpose()?,
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: number("multipleOf").filter(|step| *step > 0.0),
            length: Range(count("minLength"), count("maxLength")),
            items: Range(count("minItems"), count("maxItems")),
            properties: Range(count("minProperties"), count("maxProperties")),
            required: list("required").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            all_of: branches("allOf")?,
            any_of: branches("anyOf")?,
            one_of: branches("oneOf")?,
            not: schema.get("not").map(Branch::read).transpose()?.map(Box::new),
        };
        Ok((!checks.is_empty()).then_some(checks))
    }

    fn is_empty(&self) -> bool {
        let nothing = Range::default();
        let lists = [&self.all_of, &self.any_of, &self.one_of];
        self.enumeration.is_empty()
            && self.required.is_empty()
            && lists.iter().all(|list| list.is_empty())
            && [&self.length, &self.items, &self.properties].iter().all(|range| **range == nothing)
            && self.format.is_none()
            && self.pattern.is_none()
            && self.minimum.is_none()
            && self.maximum.is_none()
            && self.multiple_of.is_none()
            && self.not.is_none()
    }

    /// Notes what is wrong with a value.
    pub(super) fn run(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if !self.enumeration.is_empty() && !self.enumeration.iter().any(|one| same(one, value)) {
            let supported: Vec<String> = self.enumeration.iter().map(plain).collect();
            errors.push(FieldError::unsupported(path, value.clone(), &supported));
        }
        match value {
            Value::String(text) => self.text(text, path, errors),
            Value::Number(number) => self.number(number.as_f64().unwrap_or_default(), value, path, errors),
            Value::Array(items) => {
                let Range(min, max) = self.items;
                let count = items.len();
                if let Some(min) = min.filter(|min| (count as u64) < *min) {
                    errors.push(invalid(path, Value::from(count), &format!("should have at least {min} items")));
                }
                too_many(path, count, max, errors);
            }
            Value::Object(members) => {
                let Range(min, max) = self.properties;
                let count = members.len();
                if let Some(min) = min.filter(|min| (count as u64) < *min) {
                    errors.push(invalid(path, Value::from(count), &format!("should have at least {min} properties")));
                }
                too_many(path, count, max, errors);
                for name in self.required.iter().filter(|name| !members.contains_key(*name)) {
                    errors.push(FieldError::required(below(path, name), ""));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        self.alternatives(value, path, errors);
    }

    fn text(&self, text: &str, path: &str, errors: &mut Vec<FieldError>) {
        let Range(min, max) = self.length;
        if min.is_some() || max.is_some() {
            let length = text.chars().count() as u64;
            if let Some(max) = max.filter(|max| length > *max) {
                errors.push(FieldError::too_long(path, usize::try_from(max).unwrap_or(usize::MAX)));
            }
            if let Some(min) = min.filter(|min| length < *min) {
                errors.push(invalid(path, text, &format!("should be at least {min} chars long")));
            }
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            errors.push(invalid(path, text, &format!("should match '{pattern}'")));
        }
        if let Some(format) = self.format.filter(|format| !format.fits(text)) {
            errors.push(invalid(path, text, &format!("must be of type {}: {text:?}", format.name())));
        }
    }

    fn number(&self, number: f64, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if let Some(Bound { value: min, is_exclusive }) = &self.minimum {
            match is_exclusive {
                true if number <= *min => {
                    errors.push(invalid(path, value.clone(), &format!("should be greater than {min}")))
                }
                false if number < *min => {
                    errors.push(invalid(path, value.clone(), &format!("should be greater than or equal to {min}")));
                }
                _ => {}
            }
        }
        if let Some(Bound { value: max, is_exclusive }) = &self.maximum {
            match is_exclusive {
                true if number >= *max => {
                    errors.push(invalid(path, value.clone(), &format!("should be less than {max}")))
                }
                false if number > *max => {
                    errors.push(invalid(path, value.clone(), &format!("should be less than or equal to {max}")));
                }
                _ => {}
            }
        }
        if let Some(step) = self.multiple_of {
            let times = number / step;
            if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
                errors.push(invalid(path, value.clone(), &format!("should be a multiple of {step}")));
            }
        }
        if let Some(format) = self.format.filter(|format| !format.fits_number(value)) {
            errors.push(invalid(path, value.clone(), &format!("must be of type {}: {value}", format.name())));
        }
    }

    fn alternatives(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let failures = |branch: &Branch| {
            let mut errors = Vec::new();
            branch.run(value, path, &mut errors);
            errors
        };
        // Upstream tells of these without a place of their own.
        let composed = |problem: String| FieldError::invalid("<nil>", "", format!("{path:?} {problem}"));
        if !self.any_of.is_empty() {
            let failed: Vec<Vec<FieldError>> = self.any_of.iter().map(failures).collect();
            if failed.iter().all(|failures| !failures.is_empty()) {
                errors.push(composed("must validate at least one schema (anyOf)".to_owned()));
                errors.extend(failed.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
        }
        if !self.one_of.is_empty() {
            let failed: Vec<Vec<FieldError>> = self.one_of.iter().map(failures).collect();
            match failed.iter().filter(|failures| failures.is_empty()).count() {
                1 => {}
                0 => {
                    errors.push(composed("must validate one and only one schema (oneOf). Found none valid".to_owned()));
                    errors.extend(failed.into_iter().min_by_key(Vec::len).unwrap_or_default());
                }
                valid => {
                    let problem = "must validate one and only one schema (oneOf)";
                    errors.push(composed(format!("{problem}. Found {valid} valid alternatives")));
                }
            }
        }
        if !self.all_of.is_empty() {
            let failed: Vec<FieldError> = self.all_of.iter().flat_map(failures).collect();
            if !failed.is_empty() {
                errors.push(composed("must validate all the schemas (allOf)".to_owned()));
                errors.extend(failed);
            }
        }
        if self.not.as_ref().is_some_and(|not| failures(not).is_empty()) {
            errors.push(composed("must not validate the schema (not)".to_owned()));
        }
    }
}

impl Branch {
    /// The depth is that of the schema, which has been measured by who read the tree: a branch is part of a document that fits a request.
    fn read(schema: &Value) -> Result<Self, String> {
        let Value::Object(schema) = schema else {
            return Err("a schema must be an object".to_owned());
        };
        let boxed = |name: &str| schema.get(name).filter(|inner| inner.is_object()).map(Self::read).transpose();
        let mut fields = BTreeMap::new();
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            fields.insert(name.clone(), Self::read(field)?);
        }
        Ok(Self {
            kind: schema.get("type").and_then(Value::as_str).and_then(word),
            checks: Checks::read(schema)?.unwrap_or_default(),
            fields,
            additional: boxed("additionalProperties")?.map(Box::new),
            of_items: boxed("items")?.map(Box::new),
        })
    }

    fn run(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        if let Some(kind) = self.kind.filter(|kind| !is_of(kind, value)) {
            errors.push(wrong_type(path, kind, value));
            return;
        }
        self.checks.run(value, path, errors);
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if let Some(inner) = self.fields.get(name).or(self.additional.as_deref()) {
                        inner.run(member, &below(path, name), errors);
                    }
                }
            }
            Value::Array(items) => {
                for (inner, (index, item)) in
                    self.of_items.iter().flat_map(|of| items.iter().enumerate().map(move |item| (of, item)))
                {
                    inner.run(item, &format!("{path}[{index}]"), errors);
                }
            }
            _ => {}
        }
    }
}

/// Compiles a pattern, which is found anywhere in a text, as upstream's are.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|error| format!("pattern must be a valid regular expression, but isn't: {error}"))
}

fn invalid(path: &str, value: impl Into<Value>, rule: &str) -> FieldError {
    FieldError::invalid(path, value, format!("{path} in body {rule}"))
}

fn too_many(path: &str, count: usize, max: Option<u64>, errors: &mut Vec<FieldError>) {
    if let Some(max) = max.filter(|max| count as u64 > *max) {
        errors.push(FieldError::too_many(path, count, usize::try_from(max).unwrap_or(usize::MAX)));
    }
}

/// Whether two values are the same: 1 is 1.0.
fn same(left: &Value, right: &Value) -> bool {
    left == right || matches!((left.as_f64(), right.as_f64()), (Some(left), Some(right)) if left == right)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value is of this type.
pub(super) fn is_of(kind: &str, value: &Value) -> bool {
    let is_whole = || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => is_whole(),
        _ => value.is_string() || is_whole(),
    }
}

/// The word for the type of a value.
pub(super) fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
