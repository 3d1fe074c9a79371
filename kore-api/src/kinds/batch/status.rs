//! How the parts of a Job's status fit together.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{has_condition, indexes};
use crate::kinds::counts::not_negative;
use crate::kinds::field::Field;
use crate::kinds::row::{list, timestamp};

pub(super) fn rules(job: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, status, before) = (job.get("spec"), job.get("status"), old.get("status"));
    not_negative(&status, &["active", "succeeded", "failed", "ready", "terminating"]);
    uncounted(&status.get("uncountedTerminatedPods"));
    conditions(&status, &before);
    times(&spec, &status, &before);
    numbers(&status, &before);
    which(&spec, &status);
}

fn is_finished(conditions: &[Value]) -> bool {
    has_condition(conditions, "Complete") || has_condition(conditions, "Failed")
}

fn uncounted(pods: &Field<'_, '_>) {
    let mut seen = BTreeSet::new();
    for outcome in ["succeeded", "failed"] {
        for uid in pods.get(outcome).items() {
            if uid.text().is_empty() {
                uid.invalid("must not be empty");
            } else if !seen.insert(uid.text()) {
                uid.duplicate();
            }
        }
    }
}

/// What is over stays so, in one way.
fn conditions(status: &Field<'_, '_>, before: &Field<'_, '_>) {
    let (field, were) = (status.get("conditions"), before.get("conditions"));
    let (now, was) = (list(field.value()), list(were.value()));
    let is = |kind: &str| has_condition(now, kind);
    for (one, other) in [
        ("Complete", "Failed"),
        ("Complete", "FailureTarget"),
        ("SuccessCriteriaMet", "Failed"),
        ("SuccessCriteriaMet", "FailureTarget"),
    ] {
        if is(one) && is(other) {
            let one = if one == "Complete" { "Complete=True" } else { "SuccessCriteriaMet=True" };
            field.wrong(format!("cannot set {one} and {other}=true conditions"));
        }
    }
    for (end, first) in [("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")] {
        if is(end) && !has_condition(was, end) && !is(first) {
            field.wrong(format!("cannot set {end}=True condition without the {first}=true condition"));
        }
    }
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if has_condition(was, kind) && !is(kind) {
            field.wrong(format!("cannot disable the terminal {kind}=True condition"));
        }
    }
    if has_condition(was, "SuccessCriteriaMet") && !is("SuccessCriteriaMet") {
        field.wrong("cannot disable the SuccessCriteriaMet=True condition");
    }
}

fn times(spec: &Field<'_, '_>, status: &Field<'_, '_>, before: &Field<'_, '_>) {
    let conditions = status.get("conditions");
    let now = list(conditions.value());
    let complete = has_condition(now, "Complete");
    let (start, end) = (status.get("startTime"), status.get("completionTime"));
    if end.is_set() && !complete {
        end.invalid("cannot set completionTime when there is no Complete=True condition");
    }
    if !end.is_set() && complete {
        end.missing("completionTime is required for Complete jobs");
    }
    if let (Some(started), Some(ended)) = (timestamp(start.value()), timestamp(end.value()))
        && ended < started
    {
        end.invalid("completionTime cannot be set before startTime");
    }
    if !start.is_set() && is_finished(now) {
        start.missing("startTime is required for finished job");
    }
    let (started, ended) = (before.get("startTime"), before.get("completionTime"));
    if end.is_set() && ended.is_set() && end.value() != ended.value() {
        end.invalid("completionTime cannot be mutated");
    }
    if started.is_set() && started.value() != start.value() && !spec.get("suspend").flag() {
        start.missing("startTime cannot be removed for unsuspended job");
    }
}

fn numbers(status: &Field<'_, '_>, before: &Field<'_, '_>) {
    let count = |status: &Field<'_, '_>, field: &str| status.get(field).int().unwrap_or_default();
    let conditions = status.get("conditions");
    if is_finished(list(conditions.value())) {
        for (field, what) in [("active", "active>0"), ("terminating", "terminating>0")] {
            if count(status, field) > 0 {
                status.get(field).invalid(format!("{what} is invalid for finished job"));
            }
        }
        let pods = status.get("uncountedTerminatedPods");
        if pods.get("succeeded").len() + pods.get("failed").len() > 0 {
            pods.invalid("uncountedTerminatedPods needs to be empty for finished job");
        }
    }
    if count(status, "ready") > count(status, "active") {
        status.get("ready").invalid("cannot set more ready pods than active");
    }
    for field in ["failed", "succeeded"] {
        // Indexes that are taken away take their successes with them.
        if count(status, field) < count(before, field) && status.get("completedIndexes").text().is_empty() {
            status.get(field).invalid(format!("cannot decrease the {field} counter"));
        }
    }
}

fn which(spec: &Field<'_, '_>, status: &Field<'_, '_>) {
    let (completed, failed) = (status.get("completedIndexes"), status.get("failedIndexes"));
    if spec.get("completionMode").text() != "Indexed" && !completed.text().is_empty() {
        completed.invalid("cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if !spec.get("backoffLimitPerIndex").is_set() && failed.is_set() {
        failed.invalid("cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    let Some(completions) = spec.get("completions").int() else { return };
    for (field, name) in [(&completed, "completedIndexes"), (&failed, "failedIndexes")] {
        if let Err(problem) = indexes::count(field.text(), completions) {
            field.invalid(format!("error parsing {name}: {problem}"));
        }
    }
    if indexes::overlap(completed.text(), failed.text(), completions) {
        failed.invalid("failedIndexes and completedIndexes overlap");
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::batch::JOB;
    use crate::kinds::testing::errors_of_status;
    use serde_json::{Value, json};

    #[test]
    fn what_a_status_may_not_say() {
        let spec = json!({"completions": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
        let check = |new: &Value, old: &Value| {
            errors_of_status(&JOB, &json!({"spec": spec, "status": new}), &json!({"spec": spec, "status": old}))
        };
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let running = json!({"startTime": "2026-01-01T00:00:00Z", "active": 1});
        let done = json!({
            "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z", "succeeded": 3,
            "completedIndexes": "0-2", "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
        });
        for (new, old, expected) in [
            (&running, &json!({}), vec![]),
            (&done, &running, vec![]),
            (
                &json!({"startTime": "2026-01-01T00:00:00Z", "active": 1, "ready": 2, "failed": -1}),
                &running,
                vec![
                    "status.failed: Invalid value: -1: must be greater than or equal to 0",
                    "status.ready: Invalid value: 2: cannot set more ready pods than active",
                    "status.failed: Invalid value: -1: cannot decrease the failed counter",
                ],
            ),
            (
                &json!({"startTime": "2026-01-01T00:00:00Z", "conditions": [condition("Complete")]}),
                &running,
                vec![
                    "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true \
                     condition",
                    "status.completionTime: Required value: completionTime is required for Complete jobs",
                ],
            ),
            (
                &running,
                &done,
                vec![
                    "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                    "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
                    "status.succeeded: Invalid value: null: cannot decrease the succeeded counter",
                ],
            ),
            (
                &json!({"completedIndexes": "0-1", "failedIndexes": "1"}),
                &json!({}),
                vec!["status.failedIndexes: Invalid value: \"1\": failedIndexes and completedIndexes overlap"],
            ),
        ] {
            assert_eq!(check(new, old), expected, "{new}");
        }
    }
}
