//! PodDisruptionBudget: how many pods must stay while others are moved.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::Value;

use super::counts::{at_most_all, not_negative, number_or_percent};
use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::meta;
use super::row::Row;
use crate::object::ResourceType;

pub(super) static POD_DISRUPTION_BUDGET: Entry = Entry {
    short_names: &["pdb"],
    has_generation: true,
    unconditional_update: false,
    columns: &[
        NAME,
        Title("Min Available", "string", "How many pods must stay available.", 0),
        Title("Max Unavailable", "string", "How many pods may be unavailable.", 0),
        Title("Allowed Disruptions", "integer", "How many pods may be moved now.", 0),
        AGE,
    ],
    rules: Rules { always, status, ..ANYTHING },
    cells: |row| {
        let allowed = row.int("/status/disruptionsAllowed").into();
        vec![row.name(), amount(row, "/spec/minAvailable"), amount(row, "/spec/maxUnavailable"), allowed, row.age()]
    },
    ..Entry::of(ResourceType::of::<PodDisruptionBudget>)
};

fn always(budget: &Field<'_, '_>) {
    let spec = budget.get("spec");
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if least.is_set() && most.is_set() {
        spec.invalid("minAvailable and maxUnavailable cannot be both set");
    }
    for amount in [&least, &most] {
        number_or_percent(amount);
        at_most_all(amount);
    }
    meta::selector(&spec.get("selector"));
    spec.get("unhealthyPodEvictionPolicy").one_of(&["AlwaysAllow", "IfHealthyBudget"]);
}

fn status(budget: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = budget.get("status");
    meta::conditions(&status.get("conditions"));
    not_negative(&status, &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]);
}

fn amount(row: &Row<'_>, pointer: &str) -> Value {
    match row.at(pointer) {
        Value::Null => "N/A".into(),
        Value::String(percent) => percent.as_str().into(),
        number => number.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_status};
    use serde_json::json;

    #[test]
    fn what_a_budget_may_not_say() {
        for (spec, expected) in [
            (json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}), vec![]),
            (json!({"maxUnavailable": "50%"}), vec![]),
            (
                json!({"minAvailable": 1, "maxUnavailable": 1}),
                vec![
                    "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be \
                     both set",
                ],
            ),
            (
                json!({"minAvailable": "101%", "unhealthyPodEvictionPolicy": "Never"}),
                vec![
                    "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
                    "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \
                     \"IfHealthyBudget\"",
                ],
            ),
            (
                json!({"maxUnavailable": -1}),
                vec!["spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ] {
            assert_eq!(errors(&POD_DISRUPTION_BUDGET, &json!({"spec": spec})), expected, "{spec}");
        }
        let status =
            json!({"status": {"currentHealthy": -1, "conditions": [{"type": "a", "status": "Maybe", "reason": "1"}]}});
        assert_eq!(errors_of_status(&POD_DISRUPTION_BUDGET, &status, &json!({})).len(), 4);
    }

    #[test]
    fn as_rows() {
        let shown =
            |spec: Value| cells(&POD_DISRUPTION_BUDGET, &json!({"spec": spec, "status": {"disruptionsAllowed": 1}}));
        assert_eq!(shown(json!({"minAvailable": 2}))[1..4], [json!("2"), json!("N/A"), json!(1)]);
        assert_eq!(shown(json!({"maxUnavailable": "50%"}))[1..3], ["N/A", "50%"].map(Value::from));
    }
}
