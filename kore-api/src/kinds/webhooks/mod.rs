//! What has a say in writes: webhook configurations, and policies with their bindings.
//!
//! - `mod.rs`: the two webhook configurations.
//! - `rule.rs`: which requests something is about.
//! - `client.rs`: how a webhook is reached; CustomResourceDefinitions have the same.
//! - `policy.rs`, `binding.rs`: ValidatingAdmissionPolicy and MutatingAdmissionPolicy, and their bindings.
//!
//! That there are such objects does not mean that somebody asks them. Expressions are not compiled.

mod binding;
pub(super) mod client;
mod policy;
mod rule;

pub(super) use binding::{MUTATING_POLICY_BINDING, VALIDATING_POLICY_BINDING};
pub(super) use policy::{MUTATING_POLICY, VALIDATING_POLICY};

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::row::Row;
use super::shape::Literal::{Empty, Number, Text};
use super::shape::{PLAIN, Shape};
use super::{meta, names};
use crate::error::FieldError;
use crate::object::ResourceType;
use serde_json::Value;

const MAX_CONDITIONS: usize = 64;
/// The versions of reviews that webhooks are sent.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

const COLUMNS: &[Title] = &[NAME, Title("Webhooks", "integer", "How many webhooks there are in it.", 0), AGE];

pub(super) static MUTATING_WEBHOOKS: Entry = Entry {
    categories: &["api-extensions"],
    has_generation: true,
    has_status: false,
    unconditional_update: false,
    columns: COLUMNS,
    defaults: &MUTATING,
    rules: Rules { always: |all| webhooks(all, true), ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<MutatingWebhookConfiguration>)
};

pub(super) static VALIDATING_WEBHOOKS: Entry = Entry {
    categories: &["api-extensions"],
    has_generation: true,
    has_status: false,
    unconditional_update: false,
    columns: COLUMNS,
    defaults: &VALIDATING,
    rules: Rules { always: |all| webhooks(all, false), ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<ValidatingWebhookConfiguration>)
};

static MUTATING: Shape = Shape { parts: &[("webhooks", &MUTATING_WEBHOOK)], ..PLAIN };
static VALIDATING: Shape = Shape { parts: &[("webhooks", &VALIDATING_WEBHOOK)], ..PLAIN };
static MUTATING_WEBHOOK: Shape = Shape {
    set: &[
        ("failurePolicy", Text("Fail")),
        ("matchPolicy", Text("Equivalent")),
        ("namespaceSelector", Empty),
        ("objectSelector", Empty),
        ("timeoutSeconds", Number(10)),
        ("reinvocationPolicy", Text("Never")),
    ],
    parts: VALIDATING_WEBHOOK.parts,
    ..PLAIN
};
static VALIDATING_WEBHOOK: Shape = Shape {
    set: &[
        ("failurePolicy", Text("Fail")),
        ("matchPolicy", Text("Equivalent")),
        ("namespaceSelector", Empty),
        ("objectSelector", Empty),
        ("timeoutSeconds", Number(10)),
    ],
    parts: &[("clientConfig", &client::CONFIG), ("rules", &rule::RULE)],
    ..PLAIN
};

fn webhooks(all: &Field<'_, '_>, mutating: bool) {
    let mut seen = BTreeSet::new();
    for webhook in all.get("webhooks").items() {
        one(&webhook, mutating);
        let name = webhook.get("name");
        if !name.text().is_empty() && !seen.insert(name.value().as_str()) {
            name.duplicate();
        }
    }
}

fn one(webhook: &Field<'_, '_>, mutating: bool) {
    qualified(&webhook.get("name"));
    for one in webhook.get("rules").items() {
        rule::rule(&one);
    }
    webhook.get("failurePolicy").one_of(&["Fail", "Ignore"]);
    webhook.get("matchPolicy").one_of(&["Equivalent", "Exact"]);
    let effects = webhook.get("sideEffects");
    if !effects.is_set() {
        effects.missing("must specify one of None, NoneOnDryRun");
    }
    effects.one_of(&["None", "NoneOnDryRun"]);
    let timeout = webhook.get("timeoutSeconds");
    if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
        timeout.invalid("the timeout value must be between 1 and 30 seconds");
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        meta::selector(&webhook.get(selector));
    }
    if mutating {
        webhook.get("reinvocationPolicy").one_of(&["IfNeeded", "Never"]);
    }
    client::config(&webhook.get("clientConfig"));
    match_conditions(&webhook.get("matchConditions"));
    reviews(&webhook.get("admissionReviewVersions"));
}

/// A domain of three labels or more.
fn qualified(name: &Field<'_, '_>) {
    if !name.required() {
        return;
    }
    let problems = names::dns_subdomain(name.text());
    if !problems.is_empty() {
        name.invalid(problems.join(","));
    } else if name.text().split('.').count() < 3 {
        name.invalid("should be a domain with at least three segments separated by dots");
    }
}

fn reviews(versions: &Field<'_, '_>) {
    let known = REVIEWS.join(", ");
    if versions.len() == 0 {
        versions.missing(format!("must specify one of {known}"));
        return;
    }
    let mut seen = BTreeSet::new();
    for version in versions.items() {
        if !seen.insert(version.text()) {
            version.invalid("duplicate version");
            continue;
        }
        version.named_as(version.text(), names::letter_label);
    }
    if !REVIEWS.iter().any(|version| seen.contains(version)) {
        versions.invalid(format!("must include at least one of {known}"));
    }
}

/// Conditions, in expressions, under which something is asked at all.
fn match_conditions(conditions: &Field<'_, '_>) {
    if conditions.len() > MAX_CONDITIONS {
        conditions.report(FieldError::too_many(conditions.path(), conditions.len(), MAX_CONDITIONS));
    }
    let mut seen = BTreeSet::new();
    for condition in conditions.items() {
        let (name, expression) = (condition.get("name"), condition.get("expression"));
        if expression.text().trim().is_empty() {
            expression.missing("");
        }
        if name.required() {
            name.named(names::qualified_name);
            if !seen.insert(name.value().as_str()) {
                name.duplicate();
            }
        }
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.count("/webhooks").into(), row.age()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, with};
    use serde_json::json;

    fn configuration(changes: &Value) -> Value {
        let webhook = json!({
            "name": "check.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "check", "namespace": "a"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        });
        let mut object = json!({"metadata": {"name": "c"}, "webhooks": [with(&webhook, changes)]});
        MUTATING.fill(&mut object);
        object
    }

    #[test]
    fn what_is_filled_in() {
        let webhook = &configuration(&json!({}))["webhooks"][0];
        assert_eq!((&webhook["failurePolicy"], &webhook["matchPolicy"]), (&json!("Fail"), &json!("Equivalent")));
        assert_eq!((&webhook["timeoutSeconds"], &webhook["reinvocationPolicy"]), (&json!(10), &json!("Never")));
        assert_eq!((&webhook["namespaceSelector"], &webhook["rules"][0]["scope"]), (&json!({}), &json!("*")));
        assert_eq!(webhook["clientConfig"]["service"]["port"], 443);
        assert_eq!(cells(&MUTATING_WEBHOOKS, &configuration(&json!({})))[1], 1);
    }

    #[test]
    fn what_a_webhook_may_not_say() {
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"name": "check", "sideEffects": null, "timeoutSeconds": 31}),
                vec![
                    "webhooks[0].name: Invalid value: \"check\": should be a domain with at least three segments separated by dots",
                    "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                ],
            ),
            (
                json!({"admissionReviewVersions": ["v2"], "reinvocationPolicy": "Always"}),
                vec![
                    "webhooks[0].reinvocationPolicy: Unsupported value: \"Always\": supported values: \"IfNeeded\", \"Never\"",
                    "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
                ],
            ),
            (
                json!({"matchConditions": [{"name": "a", "expression": " "}, {"name": "a", "expression": "true"}]}),
                vec![
                    "webhooks[0].matchConditions[0].expression: Required value",
                    "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
                ],
            ),
        ] {
            assert_eq!(errors(&MUTATING_WEBHOOKS, &configuration(&changes)), expected, "{changes}");
        }
        let mut twice = configuration(&json!({}));
        let again = twice["webhooks"][0].clone();
        twice["webhooks"].as_array_mut().unwrap().push(again);
        assert_eq!(errors(&VALIDATING_WEBHOOKS, &twice), ["webhooks[1].name: Duplicate value: \"check.example.com\""]);
    }
}
