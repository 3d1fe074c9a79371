//! ResourceQuota: how much a namespace may have.

use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::{Map, Value};

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::quantity::Quantity;
use super::row::Row;
use crate::error::FieldError;
use crate::object::ResourceType;

pub(super) static RESOURCE_QUOTA: Entry = Entry {
    short_names: &["quota"],
    columns: &[
        NAME,
        Title("Request", "string", "How much is in use, of how much there may be.", 0),
        Title("Limit", "string", "The same of what containers may use at most.", 0),
        AGE,
    ],
    rules: Rules { always, change, status, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<ResourceQuota>)
};

/// What is counted in pieces.
const PIECES: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// What else can be limited.
const AMOUNTS: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
/// What is limited of some pods only.
const COMPUTE: [&str; 7] = ["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

pub(super) fn is_standard(name: &str) -> bool {
    PIECES.contains(&name)
        || AMOUNTS.contains(&name)
        || name.strip_prefix("requests.").unwrap_or(name).starts_with("hugepages-")
}

fn always(quota: &Field<'_, '_>) {
    let spec = quota.get("spec");
    let hard = spec.get("hard");
    amounts(&hard);
    scopes(&spec.get("scopes"), &hard);
    let selector = spec.get("scopeSelector");
    requirements(&selector, &hard);
}

fn amounts(amounts: &Field<'_, '_>) {
    for (name, amount) in amounts.entries() {
        for problem in names::qualified_name(name) {
            amount.report(FieldError::invalid(amount.path(), name, problem));
        }
        if !name.contains('/') && !is_standard(name) {
            if name != "storage" {
                let detail = "must be a standard resource type or fully qualified";
                amount.report(FieldError::invalid(amount.path(), name, detail));
            }
            amount.report(FieldError::invalid(amount.path(), name, "must be a standard resource for quota"));
        }
        let Some(quantity) = Quantity::of(amount.value()) else { continue };
        if quantity.is_negative() {
            amount.invalid("must be greater than or equal to 0");
        }
        if PIECES.contains(&name) && !quantity.is_whole() {
            amount.invalid("must be an integer");
        }
    }
}

/// The resources that a scope can narrow down; `None`: there is no such scope.
fn narrowed(scope: &str) -> Option<&'static [&'static str]> {
    match scope {
        "BestEffort" => Some(&["pods"]),
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            Some(&COMPUTE)
        }
        "VolumeAttributesClass" => Some(&["persistentvolumeclaims", "requests.storage"]),
        _ => None,
    }
}

/// How many of the things that are limited a scope does not fit.
fn misfits(scope: &str, hard: &Field<'_, '_>) -> usize {
    let Some(resources) = narrowed(scope) else { return 0 };
    hard.entries().filter(|(name, _)| is_standard(name) && !resources.contains(name)).count()
}

fn scopes(scopes: &Field<'_, '_>, hard: &Field<'_, '_>) {
    for scope in scopes.items() {
        if narrowed(scope.text()).is_none() {
            scopes.invalid("unsupported scope");
        }
        for _ in 0..misfits(scope.text(), hard) {
            scopes.invalid("unsupported scope applied to resource");
        }
    }
    let has = |name: &str| scopes.items().any(|scope| scope.text() == name);
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(one) && has(other) {
            scopes.invalid("conflicting scopes");
        }
    }
}

fn requirements(selector: &Field<'_, '_>, hard: &Field<'_, '_>) {
    let all = selector.get("matchExpressions");
    let (mut names, operators, values) = (Vec::new(), all.get("operator"), all.get("values"));
    for requirement in all.items() {
        let scope = requirement.get("scopeName").value().as_str().unwrap_or_default();
        let operator = requirement.get("operator").value().as_str().unwrap_or_default();
        let given = requirement.get("values");
        let invalid = |field: &Field<'_, '_>, value: Value, detail: &str| {
            field.report(FieldError::invalid(field.path(), value, detail));
        };
        if narrowed(scope).is_none() {
            invalid(&all.get("scopeName"), scope.into(), "unsupported scope");
        }
        for _ in 0..misfits(scope, hard) {
            all.report(FieldError::invalid(
                all.path(),
                selector.value().clone(),
                "unsupported scope applied to resource",
            ));
        }
        let exists_only = matches!(
            scope,
            "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity"
        );
        if exists_only && operator != "Exists" {
            invalid(
                &operators,
                operator.into(),
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                 ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            );
        }
        match operator {
            "In" | "NotIn" if given.len() == 0 => {
                values.missing("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" if given.len() > 0 => invalid(
                &values,
                given.value().clone(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            "Exists" | "DoesNotExist" => {}
            _ => invalid(&operators, operator.into(), "not a valid selector operator"),
        }
        names.push(scope);
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if names.contains(&one) && names.contains(&other) {
            all.invalid("conflicting scopes");
        }
    }
}

fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let set = |spec: &Field<'_, '_>| -> std::collections::BTreeSet<String> {
        spec.get("scopes").items().map(|scope| scope.value().to_string()).collect()
    };
    if set(&spec) != set(&before) {
        spec.get("scopes").invalid("field is immutable");
    }
}

fn status(quota: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = quota.get("status");
    amounts(&status.get("hard"));
    amounts(&status.get("used"));
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let nothing = Map::new();
    let hard = row.at("/status/hard").as_object().unwrap_or(&nothing);
    let used = row.at("/status/used");
    let shown = |limits: bool| {
        let names = hard.iter().filter(|(name, _)| name.starts_with("limits.") == limits);
        let pairs = names.map(|(name, hard)| {
            let (used, hard) = (used[name].as_str().unwrap_or("0"), hard.as_str().unwrap_or("0"));
            format!("{name}: {used}/{hard}")
        });
        Value::from(pairs.collect::<Vec<_>>().join(", "))
    };
    vec![row.name(), shown(false), shown(true), row.age()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, errors_of_status};
    use serde_json::json;

    #[test]
    fn what_a_quota_may_not_say() {
        let best_effort = json!({"scopeName": "BestEffort", "operator": "Exists"});
        for (spec, expected) in [
            (
                json!({"hard": {"pods": 5, "requests.cpu": "500m", "count/jobs.batch": "3", "requests.example.com/gpu": 1}}),
                vec![],
            ),
            (
                json!({"hard": {"pods": "1500m", "cpu": "-1"}}),
                vec![
                    "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                    "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                ],
            ),
            (
                json!({"hard": {"gpus": 1}}),
                vec![
                    "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource type or fully qualified",
                    "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource for quota",
                ],
            ),
            (
                json!({"hard": {"pods": 1}, "scopes": ["Terminating", "NotTerminating"]}),
                vec!["spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes"],
            ),
            (
                json!({"hard": {"cpu": 1}, "scopes": ["BestEffort", "Odd"]}),
                vec![
                    "spec.scopes: Invalid value: [\"BestEffort\",\"Odd\"]: unsupported scope applied to resource",
                    "spec.scopes: Invalid value: [\"BestEffort\",\"Odd\"]: unsupported scope",
                ],
            ),
            (json!({"hard": {"pods": 1}, "scopeSelector": {"matchExpressions": [best_effort]}}), vec![]),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
                vec![
                    "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' \
                     or 'NotIn' for scope selector",
                ],
            ),
        ] {
            assert_eq!(errors(&RESOURCE_QUOTA, &json!({"spec": spec})), expected, "{spec}");
        }
        let scoped = json!({"spec": {"scopes": ["BestEffort"]}});
        assert_eq!(
            errors_of_change(&RESOURCE_QUOTA, &json!({"spec": {}}), &scoped),
            ["spec.scopes: Invalid value: null: field is immutable"]
        );
        assert_eq!(
            errors_of_status(&RESOURCE_QUOTA, &json!({"status": {"used": {"pods": "-1"}}}), &json!({})).len(),
            1
        );
    }

    #[test]
    fn as_a_row() {
        let quota = json!({
            "metadata": {"name": "q"},
            "status": {"hard": {"limits.cpu": "4", "pods": "10", "requests.cpu": "2"}, "used": {"pods": "3", "limits.cpu": "1"}},
        });
        assert_eq!(cells(&RESOURCE_QUOTA, &quota)[1..3], ["pods: 3/10, requests.cpu: 0/2", "limits.cpu: 1/4"]);
    }
}
