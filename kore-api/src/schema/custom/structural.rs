//! All that is wrong with a schema, for who writes a definition: what is not structural, and what contradicts itself. The messages are
//! upstream's.

use kube_cel::{Rule, compile_schema};
use serde_json::{Map, Value, json};

use super::checks::pattern;
use super::read::word;
use super::rules::too_deep;
use super::{KindSchema, SchemaProblem};
use crate::error::FieldError;

/// Schemas nested deeper than this are refused.
const DEPTH_MAX: usize = 64;
/// What only the tree itself says: alternatives shape nothing.
const SHAPE: [&str; 12] = [
    "description",
    "title",
    "type",
    "default",
    "nullable",
    "additionalProperties",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
];
/// What JSON schemas can say and structural ones cannot.
const NEVER: [(&str, &str); 7] = [
    ("$ref", "$ref is not supported"),
    ("$schema", "$schema is not supported"),
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies are not supported"),
    ("patternProperties", "patternProperties is not supported"),
];

/// All that is wrong with the schema of a kind, which stands at `path`.
pub(crate) fn structural(schema: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !schema.is_object() {
        errors.push(FieldError::required(path, "schemas are required"));
        return errors;
    }
    let mut checker = Checker { errors: Vec::new() };
    checker.node(schema, path, Place::Root, 0);
    errors.extend(checker.errors);
    if !errors.is_empty() {
        return errors;
    }
    match KindSchema::read(schema) {
        Err(SchemaProblem { path: inner, problem }) => {
            errors.push(FieldError::invalid(format!("{path}.{inner}"), "", problem));
        }
        // The rules are compiled with the types that they are about.
        Ok(_) => defaults(schema, path, &mut errors),
    }
    errors
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Field,
    Item,
}

struct Checker {
    errors: Vec<FieldError>,
}

impl Checker {
    fn forbid(&mut self, path: &str, field: &str, problem: &str) {
        self.errors.push(FieldError::forbidden(format!("{path}.{field}"), problem));
    }

    fn node(&mut self, schema: &Value, path: &str, place: Place, depth: usize) {
        if depth > DEPTH_MAX {
            self.errors.push(FieldError::forbidden(path, "the schema is nested too deeply"));
            return;
        }
        let Value::Object(schema) = schema else {
            self.errors.push(FieldError::wrong_type(path, "", "a schema must be an object"));
            return;
        };
        let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        let (is_either, preserves) = (flag("x-kubernetes-int-or-string"), flag("x-kubernetes-preserve-unknown-fields"));
        for (field, problem) in NEVER.iter().filter(|(field, _)| schema.contains_key(*field)) {
            self.forbid(path, field, problem);
        }
        if kind.is_empty() && !is_either && !preserves {
            let problem = match place {
                Place::Root => "must not be empty at the root",
                Place::Field => "must not be empty for specified object fields",
                Place::Item => "must not be empty for specified array items",
            };
            self.errors.push(FieldError::required(format!("{path}.type"), problem));
        } else if place == Place::Root && kind != "object" && !kind.is_empty() {
            self.errors.push(FieldError::invalid(format!("{path}.type"), kind, "must be object at the root"));
        } else if !kind.is_empty() && word(kind).is_none() {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            self.errors.push(FieldError::not_supported(format!("{path}.type"), kind, &known));
        }
        if is_either && !kind.is_empty() {
            let problem = "must be empty if x-kubernetes-int-or-string is true";
            self.errors.push(FieldError::invalid(format!("{path}.type"), kind, problem));
        }
        if flag("x-kubernetes-embedded-resource") {
            if kind != "object" {
                let problem = "must be object if x-kubernetes-embedded-resource is true";
                self.errors.push(FieldError::invalid(format!("{path}.type"), kind, problem));
            }
            if !preserves && !schema.contains_key("properties") {
                let problem = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
                self.errors.push(FieldError::required(format!("{path}.properties"), problem));
            }
        }
        if flag("uniqueItems") {
            let problem = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.forbid(path, "uniqueItems", problem);
        }
        self.collections(schema, path, kind);
        self.rules(schema, path);
        self.checks(schema, path);
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let at = format!("{path}.properties[{name}]");
            if place == Place::Root && name == "metadata" {
                self.metadata(inner, &at);
            }
            self.node(inner, &at, Place::Field, depth + 1);
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                self.forbid(path, "additionalProperties", "additionalProperties cannot be set to false");
            }
            Some(inner @ Value::Object(_)) => {
                if schema.get("properties").and_then(Value::as_object).is_some_and(|fields| !fields.is_empty()) {
                    let problem = "additionalProperties and properties are mutual exclusive";
                    self.forbid(path, "additionalProperties", problem);
                }
                self.node(inner, &format!("{path}.additionalProperties"), Place::Field, depth + 1);
            }
            _ => {}
        }
        match schema.get("items") {
            Some(Value::Array(_)) => self.forbid(path, "items", "items must be a schema object and not an array"),
            Some(inner) => self.node(inner, &format!("{path}.items"), Place::Item, depth + 1),
            None if kind == "array" => {
                self.errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
            }
            None => {}
        }
        self.alternatives(schema, path, depth, is_either);
    }

    fn alternatives(&mut self, schema: &Map<String, Value>, path: &str, depth: usize, is_either: bool) {
        for name in ["allOf", "anyOf", "oneOf"] {
            for (index, branch) in schema.get(name).and_then(Value::as_array).into_iter().flatten().enumerate() {
                self.branch(branch, &format!("{path}.{name}[{index}]"), depth + 1, is_either);
            }
        }
        if let Some(branch) = schema.get("not") {
            self.branch(branch, &format!("{path}.not"), depth + 1, false);
        }
    }

    /// What stands in an alternative checks, and shapes nothing.
    fn branch(&mut self, branch: &Value, path: &str, depth: usize, is_either: bool) {
        if depth > DEPTH_MAX {
            self.errors.push(FieldError::forbidden(path, "the schema is nested too deeply"));
            return;
        }
        let Value::Object(members) = branch else {
            self.errors.push(FieldError::wrong_type(path, "", "a schema must be an object"));
            return;
        };
        for field in SHAPE.iter().filter(|field| members.contains_key(**field)) {
            // The one type that may be stated: what an integer-or-string is.
            let allowed =
                *field == "type" && is_either && matches!(members["type"].as_str(), Some("integer" | "string"));
            if !allowed {
                self.forbid(path, field, "must be empty to be structural");
            }
        }
        self.checks(members, path);
        for (name, inner) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.branch(inner, &format!("{path}.properties[{name}]"), depth + 1, false);
        }
        if let Some(inner) = members.get("items") {
            self.branch(inner, &format!("{path}.items"), depth + 1, false);
        }
        self.alternatives(members, path, depth, is_either);
    }

    fn checks(&mut self, schema: &Map<String, Value>, path: &str) {
        if let Some(text) = schema.get("pattern").and_then(Value::as_str)
            && let Err(problem) = pattern(text)
        {
            let problem = problem.trim_start_matches("pattern ").to_owned();
            self.errors.push(FieldError::invalid(format!("{path}.pattern"), text, problem));
        }
    }

    fn collections(&mut self, schema: &Map<String, Value>, path: &str, kind: &str) {
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        if let Some(stated) = text("x-kubernetes-map-type") {
            let at = format!("{path}.x-kubernetes-map-type");
            if kind != "object" {
                let problem = "must be object if x-kubernetes-map-type is specified";
                self.errors.push(FieldError::invalid(format!("{path}.type"), kind, problem));
            }
            if !matches!(stated, "atomic" | "granular") {
                self.errors.push(FieldError::not_supported(at, stated, &["atomic", "granular"]));
            }
        }
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let keys_at = format!("{path}.x-kubernetes-list-map-keys");
        let Some(stated) = text("x-kubernetes-list-type") else {
            if !keys.is_empty() {
                let problem = "must be map if x-kubernetes-list-map-keys is non-empty";
                self.errors.push(FieldError::required(format!("{path}.x-kubernetes-list-type"), problem));
            }
            return;
        };
        if kind != "array" {
            let problem = "must be array if x-kubernetes-list-type is specified";
            self.errors.push(FieldError::invalid(format!("{path}.type"), kind, problem));
        }
        let items = &schema.get("items").cloned().unwrap_or_default();
        match stated {
            "atomic" => {}
            "set" => {
                let kind = items["type"].as_str().unwrap_or_default();
                let atomic = match kind {
                    "object" => items["x-kubernetes-map-type"] == "atomic",
                    "array" => matches!(items["x-kubernetes-list-type"].as_str(), None | Some("atomic")),
                    _ => true,
                };
                if !atomic || items["nullable"] == true {
                    let problem =
                        "items must be of an atomic type that is not nullable if x-kubernetes-list-type is set";
                    self.errors.push(FieldError::invalid(format!("{path}.items"), "", problem));
                }
            }
            "map" if keys.is_empty() => {
                let problem = "must not be empty if x-kubernetes-list-type is map";
                self.errors.push(FieldError::required(keys_at, problem));
            }
            "map" => self.keys(&keys, items, path, &keys_at),
            other => {
                let at = format!("{path}.x-kubernetes-list-type");
                self.errors.push(FieldError::not_supported(at, other, &["atomic", "map", "set"]));
            }
        }
    }

    fn keys(&mut self, keys: &[&str], items: &Value, path: &str, keys_at: &str) {
        if items["type"] != "object" {
            let problem = "must be object if parent array's x-kubernetes-list-type is map";
            self.errors.push(FieldError::invalid(format!("{path}.items.type"), items["type"].clone(), problem));
            return;
        }
        let required = items["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].contains(key) {
                self.errors.push(FieldError::duplicate(format!("{keys_at}[{index}]"), *key));
            }
            let field = &items["properties"][*key];
            if field.is_null() {
                let problem = "entries must all be names of item properties";
                self.errors.push(FieldError::invalid(format!("{keys_at}[{index}]"), *key, problem));
            } else if !matches!(field["type"].as_str(), Some("string" | "integer" | "boolean" | "number")) {
                let problem = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let at = format!("{path}.items.properties[{key}].type");
                self.errors.push(FieldError::invalid(at, field["type"].clone(), problem));
            } else if field["default"].is_null() && !required.iter().any(|name| name == key) {
                let problem = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                self.errors.push(FieldError::required(format!("{path}.items.properties[{key}].default"), problem));
            }
        }
    }

    /// At the root, metadata is what it is in every object.
    fn metadata(&mut self, schema: &Value, path: &str) {
        let only_names = schema["properties"]
            .as_object()
            .is_none_or(|fields| fields.keys().all(|name| matches!(name.as_str(), "name" | "generateName")));
        let allowed = ["type", "description", "properties"];
        let nothing_else = schema.as_object().is_some_and(|all| all.keys().all(|key| allowed.contains(&key.as_str())));
        if !only_names || !nothing_else {
            let problem =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.errors.push(FieldError::forbidden(path, problem));
        }
    }

    fn rules(&mut self, schema: &Map<String, Value>, path: &str) {
        for (index, stated) in
            schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            let at = format!("{path}.x-kubernetes-validations[{index}]");
            let rule: Rule = match serde_json::from_value(stated.clone()) {
                Ok(rule) => rule,
                Err(error) => {
                    self.errors.push(FieldError::invalid(at, stated.clone(), error.to_string()));
                    continue;
                }
            };
            if rule.rule.trim().is_empty() {
                self.errors.push(FieldError::required(format!("{at}.rule"), "rule is not specified"));
                continue;
            }
            let expressions = [Some(&rule.rule), rule.message_expression.as_ref()];
            if let Some(problem) = expressions.into_iter().flatten().find_map(|text| too_deep(text)) {
                self.errors.push(FieldError::invalid(format!("{at}.rule"), rule.rule.clone(), problem));
                continue;
            }
            let alone = compile_schema(&json!({"x-kubernetes-validations": [stated]}));
            for error in alone.compilation_errors() {
                let problem = format!("compilation failed: {error}");
                self.errors.push(FieldError::invalid(format!("{at}.rule"), rule.rule.clone(), problem));
            }
            let scope = kube_cel::check_rule_scope(&rule.rule, kube_cel::ScopeContext::CrdValidation);
            for warning in scope {
                let problem = format!("compilation failed: {}", warning.message);
                self.errors.push(FieldError::invalid(format!("{at}.rule"), rule.rule.clone(), problem));
            }
            let reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
            if let Some(reason) = rule.reason.as_deref().filter(|reason| !reasons.contains(reason)) {
                self.errors.push(FieldError::not_supported(format!("{at}.reason"), reason, &reasons));
            }
        }
    }
}

/// A default is of the type that its place has, and knows no field that the schema does not. The schema has been read.
fn defaults(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Value::Object(members) = schema else {
        return;
    };
    if let Some(default) = members.get("default").filter(|default| !default.is_null())
        && let Ok(place) = super::Custom::read(schema)
    {
        let at = format!("{path}.default");
        let mut pruned = default.clone();
        if !super::prune::prune(&place, &mut pruned).is_empty() {
            errors.push(FieldError::invalid(at, default.clone(), "must not have unknown fields"));
        } else {
            super::defaults::fill(&place, &mut pruned);
            for mut error in super::validate::validate(&place, &pruned, None) {
                error.field = if error.field.is_empty() { at.clone() } else { format!("{at}.{}", error.field) };
                errors.push(error);
            }
        }
    }
    for (name, inner) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        defaults(inner, &format!("{path}.properties[{name}]"), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = members.get(name) {
            defaults(inner, &format!("{path}.{name}"), errors);
        }
    }
}
