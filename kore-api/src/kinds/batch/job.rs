//! What a Job may say, and what of it may change.

use serde_json::{Value, json};

use super::{NAME_LABELS, UID_LABELS, policy};
use crate::error::FieldError;
use crate::kinds::counts::not_negative;
use crate::kinds::field::Field;
use crate::kinds::pod::template;
use crate::kinds::shape::Object;
use crate::kinds::{meta, names};

/// How many pods of a Job with indexes may run at once, and how many of its indexes may fail: the lists of them are bounded.
const MAX_INDEXED: i64 = 100_000;
/// Above so many completions, with a limit for each index, fewer pods may run at once.
pub(super) const MANY_COMPLETIONS: i64 = 100_000;
pub(super) const MANY_PODS: i64 = 10_000;
const MAX_MANAGER_BYTES: usize = 63;

pub(super) fn always(job: &Field<'_, '_>) {
    let spec_field = job.get("spec");
    generated(job, &spec_field);
    spec(&spec_field);
    let (selector, template) = (spec_field.get("selector"), spec_field.get("template"));
    if selector.is_set() {
        meta::selector(&selector);
    } else {
        selector.missing("");
    }
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    if selector.is_set() && meta::matches(selector.value(), labels.value()) == Some(false) {
        let shown = if labels.is_set() { labels.value().clone() } else { Value::Object(Object::new()) };
        labels.report(FieldError::invalid(labels.path(), shown, "`selector` does not match template `labels`"));
    }
    let completions = spec_field.get("completions").int().unwrap_or_default();
    if spec_field.get("completionMode").text() == "Indexed" && completions > 0 {
        let metadata = job.get("metadata");
        let name = metadata.get("name");
        let longest = format!("{}-{}", name.text(), completions - 1);
        if !names::dns_label(&longest).is_empty() {
            name.invalid(format!("will not able to create pod with invalid DNS label: {longest}"));
        }
    }
}

/// What the server has made to select a Job's pods must be what it makes.
fn generated(job: &Field<'_, '_>, spec: &Field<'_, '_>) {
    let selector = spec.get("selector");
    if spec.get("manualSelector").flag() || !selector.is_set() {
        return;
    }
    let metadata = job.get("metadata");
    let (uid, name) = (metadata.get("uid"), metadata.get("name"));
    if uid.text().is_empty() {
        uid.missing("");
    }
    let template = spec.get("template");
    let of_pods = template.get("metadata");
    let labels = of_pods.get("labels");
    let expected = [(UID_LABELS[0], uid), (NAME_LABELS[0], name), (UID_LABELS[1], uid), (NAME_LABELS[1], name)];
    for (key, wanted) in expected {
        let label = labels.key(key);
        let detail = format!("must be '{}'", wanted.text());
        if !label.is_set() {
            label.missing(detail);
        } else if label.text() != wanted.text() {
            label.report(FieldError::invalid(label.path(), labels.value().clone(), detail));
        }
    }
    let all = Object::from_iter(expected.map(|(key, value)| (key.to_owned(), json!(value.text()))));
    if meta::matches(selector.value(), &Value::Object(all)) == Some(false) {
        selector.invalid("`selector` not auto-generated");
    }
}

/// What a Job does; also in a CronJob, where it has no selector yet.
pub(super) fn spec(spec: &Field<'_, '_>) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    not_negative(spec, &counts);
    let (per_index, failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if failed.is_set() && !per_index.is_set() {
        per_index.missing("when maxFailedIndexes is specified");
    }
    let manager = spec.get("managedBy");
    if manager.is_set() {
        names::domain_prefixed_path(&manager);
        if manager.len() > MAX_MANAGER_BYTES {
            manager.report(FieldError::too_long(manager.path(), MAX_MANAGER_BYTES));
        }
    }
    let mode = spec.get("completionMode");
    mode.one_of(&["NonIndexed", "Indexed"]);
    match mode.text() {
        "Indexed" => indexed(spec),
        "" | "NonIndexed" => {
            for field in [&per_index, &failed] {
                if field.is_set() {
                    field.invalid("requires indexed completion mode");
                }
            }
        }
        _ => {}
    }
    let failure = spec.get("podFailurePolicy");
    if failure.is_set() {
        policy::failure(&failure, spec);
    }
    let success = spec.get("successPolicy");
    if success.is_set() {
        if mode.text() == "Indexed" {
            policy::success(&success, spec.get("completions").int().unwrap_or_default());
        } else {
            success.invalid("requires indexed completion mode");
        }
    }
    let replaced = spec.get("podReplacementPolicy");
    replaced.one_of(if failure.is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] });
    let template_field = spec.get("template");
    template(&template_field);
    restarts(&template_field, failure.is_set());
}

fn indexed(spec: &Field<'_, '_>) {
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    let (per_index, failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if !completions.is_set() {
        completions.missing("when completion mode is Indexed");
    }
    let more = |field: &Field<'_, '_>, most: i64| field.int().is_some_and(|count| count > most);
    if more(&parallelism, MAX_INDEXED) {
        parallelism.invalid(format!("must be less than or equal to {MAX_INDEXED} when completion mode is Indexed"));
    }
    if completions.int().is_some_and(|completions| more(&failed, completions)) {
        failed.invalid("must be less than or equal to completions");
    }
    if more(&failed, MAX_INDEXED) {
        failed.invalid(format!("must be less than or equal to {MAX_INDEXED}"));
    }
    if more(&completions, MANY_COMPLETIONS) && per_index.is_set() {
        if !failed.is_set() {
            failed.missing(format!("must be specified when completions is above {MANY_COMPLETIONS}"));
        }
        for field in [&parallelism, &failed] {
            if more(field, MANY_PODS) {
                field.invalid(format!(
                    "must be less than or equal to {MANY_PODS} when completions are above {MANY_COMPLETIONS} and used with \
                     backoff limit per index"
                ));
            }
        }
    }
}

/// Pods of a Job come to an end.
fn restarts(template: &Field<'_, '_>, failure_policy: bool) {
    let pod = template.get("spec");
    let restart = pod.get("restartPolicy");
    match restart.text() {
        "" | "Always" => restart.missing("valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if failure_policy => {
            restart.invalid("only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" => {}
        _ => drop(restart.one_of(&["OnFailure", "Never"])),
    }
}

pub(super) fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    completions(&spec, &before);
    spec.get("selector").immutable(&before.get("selector"));
    template_stays(&spec, &before, old);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        spec.get(field).immutable(&before.get(field));
    }
}

/// A Job with indexes may grow and shrink, if all run at once.
fn completions(spec: &Field<'_, '_>, before: &Field<'_, '_>) {
    let (now, was) = (spec.get("completions"), before.get("completions"));
    if spec.get("completionMode").text() != "Indexed" {
        now.immutable(&was);
    } else if now.int() != was.int() && now.is_set() && now.int() != spec.get("parallelism").int() {
        now.invalid("can only be modified in tandem with spec.parallelism");
    }
}

/// Where a Job that has not started will run may still be said.
fn template_stays(spec: &Field<'_, '_>, before: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (template, was) = (spec.get("template"), before.get("template"));
    let waits = before.get("suspend").flag() && !old.get("status").get("startTime").is_set();
    let same = match waits {
        true => settled(template.value()) == settled(was.value()),
        false => template.value() == was.value(),
    };
    if !same {
        template.invalid("field is immutable");
    }
}

/// A template without what says where its pods may run.
fn settled(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("labels");
        metadata.remove("annotations");
    }
    if template["metadata"].as_object().is_some_and(Object::is_empty) {
        template["metadata"] = Value::Null;
    }
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            spec.remove(field);
        }
        if let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) {
            affinity.remove("nodeAffinity");
        }
        if spec.get("affinity").and_then(Value::as_object).is_some_and(Object::is_empty) {
            spec.remove("affinity");
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::batch::JOB;
    use crate::kinds::batch::tests::made;
    use crate::kinds::testing::{errors, errors_of_change, with};

    #[test]
    fn what_a_job_may_not_say() {
        for (spec, expected) in [
            (json!({}), vec![]),
            (json!({"parallelism": 3}), vec![]),
            (
                json!({"completions": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "maxFailedIndexes": 3}),
                vec![],
            ),
            (
                json!({"parallelism": -1, "backoffLimit": -1}),
                vec![
                    "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
                    "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                json!({"maxFailedIndexes": 1}),
                vec![
                    "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                    "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
                ],
            ),
            (
                json!({"parallelism": 200_000, "completionMode": "Indexed"}),
                vec![
                    "spec.completions: Required value: when completion mode is Indexed",
                    "spec.parallelism: Invalid value: 200000: must be less than or equal to 100000 when completion mode is Indexed",
                ],
            ),
            (
                json!({"template": {"spec": {"restartPolicy": "Always"}}}),
                vec!["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
            ),
            (
                json!({"managedBy": "me", "podReplacementPolicy": "Soon"}),
                vec![
                    "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                    "spec.podReplacementPolicy: Unsupported value: \"Soon\": supported values: \"Failed\", \"TerminatingOrFailed\"",
                ],
            ),
            (
                json!({"template": {"metadata": {"labels": {"job-name": "other"}}}}),
                vec!["spec.template.metadata.labels[job-name]: Invalid value: "],
            ),
            (
                json!({"selector": {"matchLabels": {"a": "b"}}}),
                vec!["spec.selector: Invalid value: ", "spec.template.metadata.labels: Invalid value: "],
            ),
            (json!({"selector": null, "manualSelector": true}), vec!["spec.selector: Required value"]),
        ] {
            let found = errors(&JOB, &made(&spec));
            assert_eq!(found.len(), expected.len(), "{spec}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{spec}: {found}");
            }
        }
        let mut long = made(&json!({"completions": 2, "completionMode": "Indexed"}));
        long["metadata"]["name"] = "a".repeat(62).into();
        assert!(errors(&JOB, &long)[0].contains("must be 'aaa"), "labels bear the name");
        let dotted =
            with(&made(&json!({"completions": 2, "completionMode": "Indexed"})), &json!({"metadata": {"name": "p.i"}}));
        let found = errors(&JOB, &dotted);
        let last = found.last().unwrap();
        assert_eq!(
            last,
            "metadata.name: Invalid value: \"p.i\": will not able to create pod with invalid DNS label: p.i-1"
        );
    }

    #[test]
    fn what_of_a_job_may_change() {
        let old = made(&json!({}));
        let change = |changes: Value| errors_of_change(&JOB, &with(&old, &json!({"spec": changes})), &old);
        assert_eq!(change(json!({"parallelism": 2, "suspend": true, "activeDeadlineSeconds": 5})), [""; 0]);
        assert_eq!(change(json!({"completions": 2})), ["spec.completions: Invalid value: 2: field is immutable"]);
        let image = json!({"template": {"spec": {"containers": [{"name": "c", "image": "pi:2"}]}}});
        assert!(change(image.clone())[0].starts_with("spec.template: Invalid value: "));
        let node = json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}});
        assert_eq!(change(node.clone()).len(), 1);
        let waiting = with(&old, &json!({"spec": {"suspend": true}}));
        let waits = |changes: Value| errors_of_change(&JOB, &with(&waiting, &json!({"spec": changes})), &waiting);
        assert_eq!(waits(node), [""; 0]);
        assert_eq!(waits(image).len(), 1);

        let indexed = made(&json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"}));
        let grow = |changes: Value| errors_of_change(&JOB, &with(&indexed, &json!({"spec": changes})), &indexed);
        assert_eq!(grow(json!({"completions": 3, "parallelism": 3})), [""; 0]);
        assert_eq!(
            grow(json!({"completions": 3})),
            ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]
        );
    }
}
