//! What an autoscaler may say.

use super::metric;
use crate::error::FieldError;
use crate::kinds::counts::not_negative;
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::quantity::Quantity;

const MAX_PERIOD_SECONDS: i64 = 1800;
const MAX_WINDOW_SECONDS: i64 = 3600;

pub(super) fn always(scaler: &Field<'_, '_>) {
    let spec = scaler.get("spec");
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let wrong = |detail: &str| {
        most.report(FieldError::invalid(most.path(), most.int().unwrap_or_default(), detail));
    };
    if most.int().unwrap_or_default() < 1 {
        wrong("must be greater than 0");
    }
    if most.int().unwrap_or_default() < least.int().unwrap_or_default() {
        wrong("must be greater than or equal to `minReplicas`");
    }
    reference(&spec.get("scaleTargetRef"));
    let metrics = spec.get("metrics");
    metrics.items().for_each(|one| metric::one(&one));
    let counts_anything =
        metrics.items().any(|one| matches!(one.get("type").value().as_str(), Some("Object" | "External")));
    if least.int() == Some(0) && !counts_anything {
        metrics.forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
    }
    let behavior = spec.get("behavior");
    scaling(&behavior.get("scaleUp"));
    scaling(&behavior.get("scaleDown"));
}

pub(super) fn create(scaler: &Field<'_, '_>) {
    at_least(scaler, 1);
}

/// One that may go down to none already may go on to.
pub(super) fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let before = old.get("spec");
    at_least(new, if before.get("minReplicas").int() == Some(0) { 0 } else { 1 });
}

fn at_least(scaler: &Field<'_, '_>, bound: i64) {
    let spec = scaler.get("spec");
    let least = spec.get("minReplicas");
    if least.int().is_some_and(|least| least < bound) {
        least.invalid(format!("must be greater than or equal to {bound}"));
    }
}

pub(super) fn status(scaler: &Field<'_, '_>, _old: &Field<'_, '_>) {
    not_negative(&scaler.get("status"), &["currentReplicas", "desiredReplicas"]);
}

/// A reference to an object whose version is not said.
pub(super) fn reference(reference: &Field<'_, '_>) {
    for field in ["kind", "name"] {
        if reference.get(field).required() {
            reference.get(field).named(names::path_segment);
        }
    }
}

fn scaling(rules: &Field<'_, '_>) {
    if !rules.is_set() {
        return;
    }
    let (window, choice, tolerance) =
        (rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy"), rules.get("tolerance"));
    bounded(&window, 0, "must be greater than or equal to zero", MAX_WINDOW_SECONDS);
    choice.one_of(&["Disabled", "Max", "Min"]);
    let policies = rules.get("policies");
    if policies.len() == 0 {
        policies.missing("must specify at least one Policy");
    }
    for policy in policies.items() {
        let kind = policy.get("type");
        if !matches!(kind.text(), "Pods" | "Percent") {
            kind.report(FieldError::not_supported(kind.path(), kind.text(), &["Percent", "Pods"]));
        }
        bounded(&policy.get("value"), 1, "must be greater than zero", i64::MAX);
        bounded(&policy.get("periodSeconds"), 1, "must be greater than zero", MAX_PERIOD_SECONDS);
    }
    if Quantity::of(tolerance.value()).is_some_and(Quantity::is_negative) {
        tolerance.invalid("must be greater than or equal to 0");
    }
}

fn bounded(field: &Field<'_, '_>, least: i64, problem: &str, most: i64) {
    let Some(value) = field.int() else { return };
    if value < least {
        field.invalid(problem);
    }
    if value > most {
        field.invalid(format!("must be less than or equal to {most}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::HORIZONTAL_POD_AUTOSCALER as HPA;
    use super::super::tests::scaler;
    use crate::kinds::testing::{errors, errors_of_change, errors_of_status};
    use serde_json::json;

    #[test]
    fn what_an_autoscaler_may_not_say() {
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"maxReplicas": 0, "scaleTargetRef": {"name": null}}),
                vec![
                    "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                    "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
                    "spec.scaleTargetRef.name: Required value",
                ],
            ),
            (
                json!({"minReplicas": 0}),
                vec![
                    "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero \
                     replicas",
                    "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                ],
            ),
            (
                json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "Any", "policies": [
                    {"type": "Nodes", "value": 0, "periodSeconds": 1801}]}}}),
                vec![
                    "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                    "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Any\": supported values: \"Disabled\", \"Max\", \"Min\"",
                    "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"Nodes\": supported values: \"Percent\", \"Pods\"",
                    "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                    "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
                ],
            ),
        ] {
            assert_eq!(errors(&HPA, &scaler(&changes)), expected, "{changes}");
        }
        let none = scaler(&json!({"minReplicas": 0, "metrics": [{"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "Value", "value": "5"}}}]}));
        assert_eq!(errors_of_change(&HPA, &none, &none), [""; 0]);
        assert_eq!(errors_of_status(&HPA, &json!({"status": {"desiredReplicas": -1}}), &none).len(), 1);
    }
}
