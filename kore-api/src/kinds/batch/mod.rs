//! Job and CronJob: pods that come to an end.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the entry of Job, defaults, what the server sets itself, rows of tables |
//! | `job.rs` | what a Job may say, and what of it may change |
//! | `policy.rs` | the rules of when a Job counts as failed or as done |
//! | `status.rs` | how the parts of a Job's status fit together |
//! | `indexes.rs` | lists of completed indexes: `1,3-5` |
//! | `cron_job.rs` | CronJob |
//! | `schedule.rs` | the syntax of a CronJob's schedule |

mod cron_job;
mod indexes;
mod job;
mod policy;
mod schedule;
mod status;

pub(super) use cron_job::CRON_JOB;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::duration;
use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::pod::{TEMPLATE, template_warnings};
use super::row::{Row, selector, timestamp};
use super::shape::Literal::{Flag, Text};
use super::shape::{Object, PLAIN, Shape, is_absent, object_in, or_insert};
use crate::object::ResourceType;

const CONTAINERS: Title = Title("Containers", "string", "The names of the containers in its template.", 1);
const IMAGES: Title = Title("Images", "string", "The images in its template.", 1);
const SELECTOR: Title = Title("Selector", "string", "Which pods it counts as its own.", 1);

/// The labels by which a Job knows its pods; the older ones are still read.
const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

pub(super) static JOB: Entry = Entry {
    categories: &["all"],
    has_generation: true,
    selectable_fields: &["status.successful"],
    columns: &[
        NAME,
        Title("Status", "string", "How far it is.", 0),
        Title("Completions", "string", "How many pods have succeeded, of those that must.", 0),
        Title("Duration", "string", "How long it took, or has taken so far.", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    defaults: &DEFAULTS,
    prepare_create,
    rules: Rules { always: job::always, change: job::change, status: status::rules, ..ANYTHING },
    warnings,
    selectable: |job, field| {
        (field == "status.successful").then(|| job["status"]["succeeded"].as_i64().unwrap_or_default().to_string())
    },
    cells,
    ..Entry::of(ResourceType::of::<Job>)
};

static DEFAULTS: Shape = Shape { rule: Some(labels_of_template), parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape {
    set: &[("completionMode", Text("NonIndexed")), ("suspend", Flag(false)), ("manualSelector", Flag(false))],
    rule: Some(numbers),
    parts: &[("template", &TEMPLATE), ("podFailurePolicy", &FAILURE_POLICY)],
};
static FAILURE_POLICY: Shape = Shape { parts: &[("rules", &FAILURE_RULE)], ..PLAIN };
static FAILURE_RULE: Shape = Shape { parts: &[("onPodConditions", &ON_CONDITION)], ..PLAIN };
static ON_CONDITION: Shape = Shape { set: &[("status", Text("True"))], ..PLAIN };

fn labels_of_template(job: &mut Object) {
    let found = job.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels"));
    if let Some(labels) = found.and_then(Value::as_object).filter(|labels| !labels.is_empty()).cloned() {
        or_insert(object_in(job, "metadata"), "labels", labels);
    }
}

/// A Job that says nothing of numbers runs one pod; one that says how many run at once leaves open how many must succeed.
fn numbers(spec: &mut Object) {
    if is_absent(spec, "completions") && is_absent(spec, "parallelism") {
        spec.insert("completions".to_owned(), 1.into());
    }
    or_insert(spec, "parallelism", 1);
    let tries = if is_absent(spec, "backoffLimitPerIndex") { 6 } else { i32::MAX };
    or_insert(spec, "backoffLimit", tries);
    let replaced = if is_absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    or_insert(spec, "podReplacementPolicy", replaced);
}

/// A Job selects its pods by its own uid, unless people say how.
fn prepare_create(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let [uid, name] = ["uid", "name"].map(|field| job["metadata"][field].clone());
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let labels = object_in(object_in(object_in(spec, "template"), "metadata"), "labels");
    for (keys, value) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
        for key in keys {
            // What people have put there must be right, which is checked.
            labels.entry(key).or_insert_with(|| value.as_str().unwrap_or_default().into());
        }
    }
    let wanted = object_in(object_in(spec, "selector"), "matchLabels");
    wanted.entry(UID_LABELS[1]).or_insert_with(|| uid.as_str().unwrap_or_default().into());
}

fn warnings(job: &Field<'_, '_>) -> Vec<String> {
    let spec = job.get("spec");
    let (completions, parallelism) = (spec.get("completions").int(), spec.get("parallelism").int());
    let mut warnings = Vec::new();
    if spec.get("completionMode").text() == "Indexed"
        && completions.is_some_and(|completions| completions > job::MANY_COMPLETIONS)
        && parallelism.is_some_and(|parallelism| parallelism > job::MANY_PODS)
    {
        warnings.push(
            "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might \
             not be able to track completedIndexes when a big number of indexes fail"
                .to_owned(),
        );
    }
    warnings.extend(template_warnings(job));
    warnings
}

/// Whether a Job has a condition, and it is true.
fn has_condition(conditions: &[Value], kind: &str) -> bool {
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let conditions = row.items("/status/conditions");
    let state = if has_condition(conditions, "Complete") {
        "Complete"
    } else if has_condition(conditions, "Failed") {
        "Failed"
    } else if row.at("/metadata/deletionTimestamp").is_string() {
        "Terminating"
    } else if has_condition(conditions, "Suspended") {
        "Suspended"
    } else if has_condition(conditions, "FailureTarget") {
        "FailureTarget"
    } else if has_condition(conditions, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let succeeded = row.int("/status/succeeded");
    let completions = match (row.at("/spec/completions").as_i64(), row.int("/spec/parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let [names, images] = row.containers("/spec/template/spec/containers");
    vec![
        row.name(),
        state.into(),
        completions.into(),
        took(row).into(),
        row.age(),
        names,
        images,
        selector(row.at("/spec/selector")),
    ]
}

/// How long it took, or has taken so far.
fn took(row: &Row<'_>) -> String {
    let at = |pointer: &str| timestamp(row.at(pointer));
    let failed = || {
        let failed =
            row.items("/status/conditions").iter().find(|one| one["type"] == "Failed" && one["status"] == "True");
        failed.and_then(|failed| timestamp(&failed["lastTransitionTime"]))
    };
    let Some(start) = at("/status/startTime") else {
        return String::new();
    };
    let end: Timestamp = at("/status/completionTime").or_else(failed).unwrap_or(row.now);
    duration::between(start, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::with;
    use serde_json::json;

    /// A Job as it is after it has been made.
    pub(super) fn made(spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pi", "uid": "u"},
            "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "pi:1"}], "restartPolicy": "Never"}}},
        });
        object = with(&object, &json!({"spec": spec}));
        DEFAULTS.fill(&mut object);
        prepare_create(&mut object);
        object
    }

    #[test]
    fn a_job_gets_numbers_labels_and_a_selector() {
        let spec = &made(&json!({}))["spec"];
        assert_eq!(
            (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!(1), &json!(1), &json!(6))
        );
        assert_eq!((&spec["completionMode"], &spec["suspend"]), (&json!("NonIndexed"), &json!(false)));
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
        assert_eq!(spec["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        assert_eq!(
            spec["template"]["metadata"]["labels"],
            json!({
                "job-name": "pi", "batch.kubernetes.io/job-name": "pi",
                "controller-uid": "u", "batch.kubernetes.io/controller-uid": "u",
            })
        );
        let queue = &made(&json!({"parallelism": 3}))["spec"];
        assert_eq!((queue.get("completions"), &queue["parallelism"]), (None, &json!(3)));
        let indexed = json!({"completions": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1, "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}});
        let indexed = &made(&indexed)["spec"];
        assert_eq!((&indexed["backoffLimit"], &indexed["podReplacementPolicy"]), (&json!(i32::MAX), &json!("Failed")));
        assert_eq!(indexed["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
        let manual = made(&json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}}));
        assert_eq!(manual["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
        let mut labelled = json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
        DEFAULTS.fill(&mut labelled);
        assert_eq!(labelled["metadata"]["labels"], json!({"a": "b"}));
    }

    #[test]
    fn as_rows() {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        let shown = |spec: Value, status: Value| {
            let object = with(&made(&spec), &json!({"status": status}));
            cells(&Row { object: &object, now })[1..4]
                .iter()
                .map(|cell| cell.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let started = json!({"startTime": "2026-01-01T00:59:00Z"});
        assert_eq!(shown(json!({}), json!({})), ["Running", "0/1", ""]);
        assert_eq!(shown(json!({"parallelism": 3}), started), ["Running", "0/1 of 3", "60s"]);
        let done = json!({
            "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:30Z", "succeeded": 2,
            "conditions": [{"type": "Complete", "status": "True"}],
        });
        assert_eq!(shown(json!({"completions": 2}), done), ["Complete", "2/2", "30s"]);
        let failed = json!({
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"}],
        });
        assert_eq!(shown(json!({}), failed), ["Failed", "0/1", "5s"]);
        assert_eq!((JOB.selectable)(&json!({"status": {"succeeded": 2}}), "status.successful").as_deref(), Some("2"));
    }
}
