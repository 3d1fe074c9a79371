//! LimitRange: how much each thing in a namespace may have.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::LimitRange;
use serde_json::{Map, Value};

use super::entry::{ANYTHING, CREATED_AT, Entry, NAME, Rules, dated};
use super::field::Field;
use super::names;
use super::quantity::Quantity;
use super::quota::is_standard;
use super::shape::{Object, PLAIN, Shape, object_in};
use crate::error::FieldError;
use crate::object::ResourceType;

pub(super) static LIMIT_RANGE: Entry = Entry {
    short_names: &["limits"],
    has_status: false,
    create_on_update: true,
    columns: &[NAME, CREATED_AT],
    defaults: &DEFAULTS,
    rules: Rules { always, ..ANYTHING },
    cells: dated,
    ..Entry::of(ResourceType::of::<LimitRange>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { parts: &[("limits", &ITEM)], ..PLAIN };
static ITEM: Shape = Shape { rule: Some(of_containers), ..PLAIN };

/// What a container gets that does not say: as much as it may have at most; and it asks for what it gets, else for the least.
fn of_containers(item: &mut Object) {
    if item.get("type").and_then(Value::as_str) != Some("Container") {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let given = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
        if given.is_empty() {
            continue;
        }
        let filled = object_in(item, to);
        for (resource, amount) in given {
            filled.entry(resource).or_insert(amount);
        }
    }
}

fn always(range: &Field<'_, '_>) {
    let spec = range.get("spec");
    let mut seen = BTreeSet::new();
    for item in spec.get("limits").items() {
        let kind = item.get("type");
        let known = ["Pod", "Container", "PersistentVolumeClaim"];
        if kind.named_as(kind.text(), names::qualified_name)
            && !kind.text().contains('/')
            && !known.contains(&kind.text())
        {
            kind.invalid("must be a standard limit type or fully qualified");
        }
        if !seen.insert(kind.value().as_str()) {
            kind.duplicate();
        }
        one(&item);
    }
}

fn one(item: &Field<'_, '_>) {
    let kind = item.get("type").value().as_str().unwrap_or_default();
    for side in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let amounts = item.get(side);
        if kind == "Pod" && matches!(side, "default" | "defaultRequest") {
            if amounts.len() > 0 {
                amounts.forbidden("may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, amount) in amounts.entries() {
            resource(kind, name, &amount);
        }
    }
    let says_storage = |side: &str| item.value()[side].get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !says_storage("min") && !says_storage("max") {
        item.get("limits").missing("either minimum or maximum storage value is required, but neither was provided");
    }
    let mut resources = BTreeSet::new();
    for side in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let nothing = &Map::new();
        resources.extend(item.value()[side].as_object().unwrap_or(nothing).keys().cloned());
    }
    for name in &resources {
        in_order(item, name);
    }
}

fn resource(kind: &str, name: &str, amount: &Field<'_, '_>) {
    let wrong = |detail: &str| amount.report(FieldError::invalid(amount.path(), name, detail));
    let problems = names::qualified_name(name);
    problems.iter().for_each(|problem| wrong(problem));
    if !problems.is_empty() {
        return;
    }
    let of_containers = matches!(kind, "Pod" | "Container");
    if name.contains('/') {
        let extended = !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty();
        if of_containers && !name.contains("kubernetes.io/") && !extended {
            wrong("doesn't follow extended resource name standard");
        }
        return;
    }
    if name != "storage" && !is_standard(name) {
        wrong("must be a standard resource type or fully qualified");
    }
    if of_containers && !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        wrong("must be a standard resource for containers");
    }
}

/// The least is not more than what is asked for by default, nor that more than what is given by default, nor that more than the most.
fn in_order(item: &Field<'_, '_>, name: &str) {
    let amounts: BTreeMap<&str, (String, Quantity)> =
        ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"]
            .into_iter()
            .filter_map(|side| {
                let value = item.value()[side].get(name)?;
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Some((side, (shown, Quantity::of(value)?)))
            })
            .collect();
    let of = |side: &str| amounts.get(side);
    let less = |low: &str, high: &str, at: &str, shown: &str, words: (&str, &str)| {
        let (Some(low), Some(high)) = (of(low), of(high)) else { return };
        if low.1 > high.1 {
            let place = item.get(at);
            let place = place.key(name);
            let value = of(shown).map(|(text, _)| text.as_str()).unwrap_or_default();
            let detail = format!("{} value {} is greater than {} value {}", words.0, low.0, words.1, high.0);
            place.report(FieldError::invalid(place.path(), value, detail));
        }
    };
    less("min", "max", "min", "min", ("min", "max"));
    less("min", "defaultRequest", "defaultRequest", "defaultRequest", ("min", "default request"));
    less("defaultRequest", "max", "defaultRequest", "defaultRequest", ("default request", "max"));
    less("defaultRequest", "default", "defaultRequest", "defaultRequest", ("default request", "default limit"));
    less("min", "default", "default", "min", ("min", "default"));
    less("default", "max", "default", "max", ("default", "max"));
    if let Some((shown, ratio)) = of("maxLimitRequestRatio") {
        let place = item.get("maxLimitRequestRatio");
        let place = place.key(name);
        let wrong = |detail: String| place.report(FieldError::invalid(place.path(), shown.as_str(), detail));
        let one = Quantity::of(&Value::from(1)).unwrap_or_default();
        if *ratio < one {
            wrong(format!("ratio {shown} is less than 1"));
        }
        if let (Some((_, least)), Some((_, most))) = (of("min"), of("max"))
            && least.is_positive()
            && ratio.over(one) > most.over(*least)
        {
            wrong(format!("ratio {shown} is greater than max/min = {:.6}", most.over(*least)));
        }
    }
    let overcommitted = !name.starts_with("hugepages-") && (!name.contains('/') || name.contains("kubernetes.io/"));
    if let (false, Some((given, limit)), Some((asked, request))) = (overcommitted, of("default"), of("defaultRequest"))
        && limit != request
    {
        let place = item.get("defaultRequest");
        let place = place.key(name);
        let detail = format!("default value {given} must equal to defaultRequest value {asked} in {name}");
        place.report(FieldError::invalid(place.path(), asked.as_str(), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn containers_get_what_they_may_have() {
        let mut range = json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}, "default": {"memory": "8Mi"}},
            {"type": "Pod", "max": {"cpu": "4"}},
        ]}});
        DEFAULTS.fill(&mut range);
        assert_eq!(
            range["spec"]["limits"][0],
            json!({
                "type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"},
                "default": {"cpu": "2", "memory": "8Mi"}, "defaultRequest": {"cpu": "2", "memory": "8Mi"},
            })
        );
        assert_eq!(range["spec"]["limits"][1], json!({"type": "Pod", "max": {"cpu": "4"}}));
        assert_eq!(errors(&LIMIT_RANGE, &range), [""; 0]);
    }

    #[test]
    fn what_a_limit_range_may_not_say() {
        for (item, expected) in [
            (
                json!({"type": "Node"}),
                vec!["spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified"],
            ),
            (
                json!({"type": "Pod", "default": {"cpu": 1}}),
                vec!["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
            ),
            (
                json!({"type": "PersistentVolumeClaim", "max": {"cpu": 1}}),
                vec![
                    "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was \
                     provided",
                ],
            ),
            (
                json!({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
                vec!["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
            ),
            (
                json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}}),
                vec![
                    "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit \
                     value 1",
                ],
            ),
            (
                json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                vec![
                    "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
                ],
            ),
        ] {
            assert_eq!(errors(&LIMIT_RANGE, &json!({"spec": {"limits": [item]}})), expected, "{item}");
        }
        let twice = json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}});
        assert_eq!(errors(&LIMIT_RANGE, &twice), ["spec.limits[1].type: Duplicate value: \"Pod\""]);
    }
}
