//! The rules of when a Job counts as failed, and of when it counts as done.

use std::collections::BTreeSet;

use super::indexes;
use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::row::list;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_CONDITIONS: usize = 20;
const MAX_INDEX_BYTES: usize = 64 * 1024;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// A `podFailurePolicy` of a Job.
pub(super) fn failure(policy: &Field<'_, '_>, job: &Field<'_, '_>) {
    let rules = policy.get("rules");
    rules.at_most(MAX_RULES);
    let template = &job.value()["template"]["spec"];
    let containers: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list_of| list(&template[*list_of]))
        .filter_map(|container| container["name"].as_str())
        .collect();
    for rule in rules.items() {
        let action = rule.get("action");
        valid_values(&action, &ACTIONS);
        if action.text() == "FailIndex" && !job.get("backoffLimitPerIndex").is_set() {
            action.invalid("requires the backoffLimitPerIndex to be set");
        }
        let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
        if codes.is_set() {
            exit_codes(&codes, &containers);
        }
        conditions.at_most(MAX_CONDITIONS);
        for condition in conditions.items() {
            let kind = condition.get("type");
            kind.named_as(kind.text(), names::qualified_name);
            valid_values(&condition.get("status"), &STATUSES);
        }
        match (codes.is_set(), conditions.len() > 0) {
            (true, true) => rule.wrong("specifying both OnExitCodes and OnPodConditions is not supported"),
            (false, false) => rule.wrong("specifying one of OnExitCodes and OnPodConditions is required"),
            _ => {}
        }
    }
}

/// Must be one of the values, which are told when there is none.
fn valid_values(field: &Field<'_, '_>, values: &[&str]) {
    if field.text().is_empty() {
        field.missing(format!("valid values: {values:?}").replace(", ", " "));
    } else {
        field.one_of(values);
    }
}

fn exit_codes(codes: &Field<'_, '_>, containers: &BTreeSet<&str>) {
    let (operator, container, values) = (codes.get("operator"), codes.get("containerName"), codes.get("values"));
    valid_values(&operator, &OPERATORS);
    if container.is_set() && !containers.contains(container.text()) {
        container.invalid("must be one of the container or initContainer names in the pod template");
    }
    if values.len() == 0 {
        values.report(FieldError::invalid(values.path(), serde_json::json!([]), "at least one value is required"));
    }
    values.at_most(MAX_EXIT_CODES);
    let (mut seen, mut ordered, mut last) = (BTreeSet::new(), true, None);
    for value in values.items() {
        let code = value.int();
        if operator.text() == "In" && code == Some(0) {
            value.invalid("must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            value.duplicate();
        }
        ordered &= last <= code;
        last = code;
    }
    if !ordered {
        values.invalid("must be ordered");
    }
}

/// A `successPolicy` of a Job with so many completions.
pub(super) fn success(policy: &Field<'_, '_>, completions: i64) {
    let rules = policy.get("rules");
    if rules.len() == 0 {
        rules.missing("at least one rules must be specified when the successPolicy is specified");
    }
    rules.at_most(MAX_RULES);
    for rule in rules.items() {
        let (count, which) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
        if !count.is_set() && !which.is_set() {
            rule.missing("at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut total = 0;
        if which.is_set() {
            if which.len() > MAX_INDEX_BYTES {
                which.report(FieldError::too_long(which.path(), MAX_INDEX_BYTES));
            }
            match indexes::count(which.text(), completions) {
                Ok(count) => total = count,
                Err(problem) => which.invalid(format!("error parsing succeededIndexes: {problem}")),
            }
        }
        count.not_negative();
        let wanted = count.int().unwrap_or_default();
        if wanted > completions {
            count.invalid(format!("must be less than or equal to {completions} (the number of specified completions)"));
        }
        if which.is_set() && wanted > total {
            count.invalid(format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::batch::JOB;
    use crate::kinds::batch::tests::made;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn what_a_failure_policy_may_not_say() {
        let fine =
            json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 3], "containerName": "c"}});
        for (rules, expected) in [
            (json!([fine]), vec![]),
            (
                json!([{"action": "FailIndex", "onPodConditions": [{"type": "DisruptionTarget"}]}]),
                vec![
                    "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be \
                     set",
                ],
            ),
            (
                json!([{}]),
                vec![
                    "spec.podFailurePolicy.rules[0].action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \
                     \"Ignore\"]",
                    "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                ],
            ),
            (
                json!([{"action": "Count", "onExitCodes": {"operator": "In", "values": [3, 0, 3], "containerName": "x"}}]),
                vec![
                    "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or \
                     initContainer names in the pod template",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
                ],
            ),
        ] {
            let job = made(&json!({"podFailurePolicy": {"rules": rules}}));
            assert_eq!(errors(&JOB, &job), expected, "{rules}");
        }
    }

    #[test]
    fn what_a_success_policy_may_not_say() {
        for (rules, expected) in [
            (json!([{"succeededIndexes": "0-1", "succeededCount": 1}]), vec![]),
            (
                json!([]),
                vec![
                    "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is \
                     specified",
                ],
            ),
            (
                json!([{"succeededIndexes": "0", "succeededCount": 2}]),
                vec![
                    "spec.successPolicy.rules[0].succeededCount: Invalid value: 2: must be less than or equal to 1 (the number of \
                     indexes in the specified succeededIndexes field)",
                ],
            ),
            (
                json!([{"succeededIndexes": "5"}]),
                vec![
                    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"5\": error parsing succeededIndexes: too large \
                     index: \"5\"",
                ],
            ),
        ] {
            let spec = json!({"completions": 3, "completionMode": "Indexed", "successPolicy": {"rules": rules}});
            assert_eq!(errors(&JOB, &made(&spec)), expected, "{rules}");
        }
    }
}
