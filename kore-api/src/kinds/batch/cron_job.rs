//! CronJob: a Job again and again.

use k8s_openapi::api::batch::v1::CronJob;
use serde_json::Value;

use super::{CONTAINERS, IMAGES, SELECTOR, job, schedule};
use crate::error::FieldError;
use crate::kinds::counts::not_negative;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::pod::{TEMPLATE, template_warnings_at};
use crate::kinds::row::{Row, selector};
use crate::kinds::shape::Literal::{Flag, Number, Text};
use crate::kinds::shape::{PLAIN, Shape};
use crate::object::ResourceType;

/// A Job is called by the name of its CronJob and eleven characters more.
const MAX_NAME_BYTES: usize = 52;
const MAX_ZONE_PART_BYTES: usize = 14;

pub(crate) static CRON_JOB: Entry = Entry {
    short_names: &["cj"],
    categories: &["all"],
    has_generation: true,
    columns: &[
        NAME,
        Title("Schedule", "string", "When it makes a Job.", 0),
        Title("Timezone", "string", "Whose clock that is by.", 0),
        Title("Suspend", "boolean", "Whether it is held back from making any.", 0),
        Title("Active", "integer", "How many of its Jobs run.", 0),
        Title("Last Schedule", "string", "How long ago it made the last.", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, create, change, ..ANYTHING },
    warnings,
    cells,
    ..Entry::of(ResourceType::of::<CronJob>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape {
    set: &[
        ("concurrencyPolicy", Text("Allow")),
        ("suspend", Flag(false)),
        ("successfulJobsHistoryLimit", Number(3)),
        ("failedJobsHistoryLimit", Number(1)),
    ],
    parts: &[("jobTemplate", &JOB_TEMPLATE)],
    ..PLAIN
};
static JOB_TEMPLATE: Shape = Shape { parts: &[("spec", &JOB_SPEC)], ..PLAIN };
/// The Jobs themselves get the defaults of Jobs.
static JOB_SPEC: Shape =
    Shape { parts: &[("template", &TEMPLATE), ("podFailurePolicy", &super::FAILURE_POLICY)], ..PLAIN };

fn always(cron: &Field<'_, '_>) {
    let spec = cron.get("spec");
    let when = spec.get("schedule");
    if when.required()
        && let Err(problem) = schedule::check(when.text())
    {
        when.invalid(problem);
    }
    spec.get("startingDeadlineSeconds").not_negative();
    spec.get("concurrencyPolicy").required_one_of(&["Allow", "Forbid", "Replace"]);
    let template = spec.get("jobTemplate");
    let job_spec = template.get("spec");
    job::spec(&job_spec);
    let (selector, manual) = (job_spec.get("selector"), job_spec.get("manualSelector"));
    if selector.is_set() {
        selector.invalid("`selector` will be auto-generated");
    }
    if manual.flag() {
        manual.report(FieldError {
            value: Some("true".to_owned()),
            ..FieldError::not_supported(manual.path(), "", &["nil", "false"])
        });
    }
    not_negative(&spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]);
}

fn create(cron: &Field<'_, '_>) {
    let metadata = cron.get("metadata");
    if metadata.get("name").len() > MAX_NAME_BYTES {
        metadata.get("name").invalid(format!("must be no more than {MAX_NAME_BYTES} characters"));
    }
    let spec = cron.get("spec");
    no_zone_in_schedule(&spec.get("schedule"));
    zone(&spec.get("timeZone"));
}

fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let when = spec.get("schedule");
    if !before.get("schedule").text().contains("TZ") {
        no_zone_in_schedule(&when);
    } else if when.text().contains("TZ") && spec.get("timeZone").is_set() {
        when.invalid("cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
    if spec.get("timeZone").value() != before.get("timeZone").value() {
        zone(&spec.get("timeZone"));
    }
}

fn no_zone_in_schedule(when: &Field<'_, '_>) {
    if when.text().contains("TZ") {
        when.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
}

/// Which zones there are is not known here; what one may be called is.
fn zone(zone: &Field<'_, '_>) {
    if !zone.is_set() {
        return;
    }
    let name = zone.text();
    if name.is_empty() {
        zone.invalid("timeZone must be nil or non-empty string");
        return;
    }
    let is_part = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=MAX_ZONE_PART_BYTES).contains(&part.len())
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+'))
    };
    if !name.split('/').all(is_part) {
        zone.invalid(format!("unknown time zone {name}"));
    } else if name.eq_ignore_ascii_case("Local") {
        zone.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
}

fn warnings(cron: &Field<'_, '_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let (metadata, spec) = (cron.get("metadata"), cron.get("spec"));
    let problems = names::dns_label(metadata.get("name").text());
    if !problems.is_empty() && !metadata.get("name").text().is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            problems.join(" ")
        ));
    }
    let template = spec.get("jobTemplate");
    let job = template.get("spec");
    // Its own name has been spoken of.
    warnings.extend(template_warnings_at(&cron.get(""), &job.get("template")));
    if spec.get("schedule").text().contains("TZ") {
        warnings.push(
            "CRON_TZ or TZ used in spec.schedule is not officially supported, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                .to_owned(),
        );
    }
    warnings
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/spec/jobTemplate/spec/template/spec/containers");
    let suspended = match row.at("/spec/suspend").as_bool() {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    vec![
        row.name(),
        row.text("/spec/schedule").into(),
        row.at("/spec/timeZone").as_str().unwrap_or("<none>").into(),
        suspended.into(),
        row.count("/status/active").into(),
        row.since(row.at("/status/lastScheduleTime")).unwrap_or_else(|| "<none>".to_owned()).into(),
        row.age(),
        names,
        images,
        selector(row.at("/spec/jobTemplate/spec/selector")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, warnings, with};
    use serde_json::json;

    fn nightly() -> Value {
        let mut object = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {
                "spec": {"containers": [{"name": "c", "image": "i:1"}], "restartPolicy": "OnFailure"}}}}},
        });
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_cron_job_may_not_say() {
        let object = nightly();
        assert_eq!(
            (&object["spec"]["concurrencyPolicy"], &object["spec"]["suspend"]),
            (&json!("Allow"), &json!(false))
        );
        assert_eq!(object["spec"]["successfulJobsHistoryLimit"], 3);
        assert_eq!(object["spec"]["jobTemplate"]["spec"].get("backoffLimit"), None);
        assert_eq!(errors(&CRON_JOB, &object), [""; 0]);
        for (changes, expected) in [
            (json!({"schedule": ""}), vec!["spec.schedule: Required value"]),
            (
                json!({"schedule": "0 3 * *", "concurrencyPolicy": "Maybe"}),
                vec![
                    "spec.schedule: Invalid value: \"0 3 * *\": expected exactly 5 fields, found 4: [0 3 * *]",
                    "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
                ],
            ),
            (
                json!({"schedule": "TZ=UTC 0 3 * * *"}),
                vec![
                    "spec.schedule: Invalid value: \"TZ=UTC 0 3 * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field \
                     instead",
                ],
            ),
            (json!({"timeZone": "Europe/Berlin"}), vec![]),
            (json!({"timeZone": "a//b"}), vec!["spec.timeZone: Invalid value: \"a//b\": unknown time zone a//b"]),
            (
                json!({"jobTemplate": {"spec": {"selector": {}, "manualSelector": true, "template": {"spec": {"restartPolicy": "Always"}}}}}),
                vec![
                    "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
                    "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
                    "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
                ],
            ),
        ] {
            assert_eq!(errors(&CRON_JOB, &with(&nightly(), &json!({"spec": changes}))), expected, "{changes}");
        }
        let long = with(&nightly(), &json!({"metadata": {"name": "a".repeat(53)}}));
        assert_eq!(errors(&CRON_JOB, &long).len(), 1);
        assert_eq!(errors_of_change(&CRON_JOB, &long, &long), [""; 0], "an old one may stay");
        let old = with(&nightly(), &json!({"spec": {"schedule": "TZ=UTC 0 3 * * *"}}));
        assert_eq!(errors_of_change(&CRON_JOB, &old, &old), [""; 0]);
        assert_eq!(warnings(&CRON_JOB, &old).len(), 1);
    }

    #[test]
    fn as_a_row() {
        let object = with(
            &nightly(),
            &json!({"spec": {"suspend": true}, "status": {"active": [{"name": "a"}], "lastScheduleTime": "1970-01-01T00:00:00Z"}}),
        );
        let shown = cells(&CRON_JOB, &object);
        assert_eq!(
            shown[..6],
            [json!("nightly"), json!("0 3 * * *"), json!("<none>"), json!("True"), json!(1), json!("0s")]
        );
    }
}
