//! The rules of resources: requests, limits, overhead.

use serde_json::Value;

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::quantity::Quantity;

const HUGE_PAGES: &str = "hugepages-";

/// What a container, or a pod as a whole, asks for and may use.
pub(super) fn requirements(resources: &Field<'_, '_>) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    amounts(&limits);
    amounts(&requests);
    for (name, request) in requests.entries() {
        let limit = limits.value().get(name);
        let (Some(request), Some(given)) = (Quantity::of(request.value()), limit.and_then(Quantity::of)) else {
            if limit.is_none() && !can_be_overcommitted(name) {
                limits.missing("Limit must be set for non overcommitable resources");
            }
            continue;
        };
        let asked = &requests.value()[name];
        let wrong = |must: &str| {
            let limit = shown(limit.unwrap_or(&Value::Null));
            let detail = format!("must be {must} {name} limit of {limit}");
            requests.report(FieldError::invalid(requests.path(), shown(asked), detail));
        };
        if !can_be_overcommitted(name) && request != given {
            wrong("equal to");
        } else if request > given {
            wrong("less than or equal to");
        }
    }
}

/// Amounts by resource.
pub(crate) fn amounts(amounts: &Field<'_, '_>) {
    for (name, amount) in amounts.entries() {
        for problem in names::qualified_name(name) {
            amount.report(FieldError::invalid(amount.path(), name, problem));
        }
        if !name.contains('/') && !is_native(name) {
            for detail in
                ["must be a standard resource type or fully qualified", "must be a standard resource for containers"]
            {
                amount.report(FieldError::invalid(amount.path(), name, detail));
            }
        }
        let Some(quantity) = Quantity::of(amount.value()) else {
            amount
                .invalid("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
            continue;
        };
        if quantity.is_negative() {
            amount.report(FieldError::invalid(
                amount.path(),
                shown(amount.value()),
                "must be greater than or equal to 0",
            ));
        }
        if !can_be_overcommitted(name) && !quantity.is_whole() {
            amount.report(FieldError::invalid(amount.path(), shown(amount.value()), "must be an integer"));
        }
    }
}

fn is_native(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES)
}

/// Whether more may be promised than there is: not of devices and huge pages.
fn can_be_overcommitted(name: &str) -> bool {
    let own = !name.contains('/') || name.contains("kubernetes.io/");
    own && !name.starts_with(HUGE_PAGES)
}

/// A quantity is shown as text, however it was written.
fn shown(quantity: &Value) -> String {
    quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::json;

    #[test]
    fn what_resources_may_not_say() {
        for (resources, expected) in [
            (json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m", "example.com/gpu": 1}}), vec![]),
            (
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": 1}}),
                vec!["r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"],
            ),
            (
                json!({"limits": {"memory": "-1Gi"}}),
                vec!["r.limits[memory]: Invalid value: \"-1Gi\": must be greater than or equal to 0"],
            ),
            (
                json!({"limits": {"gpu": "1"}}),
                vec![
                    "r.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                    "r.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
                ],
            ),
            (
                json!({"requests": {"example.com/gpu": "1"}}),
                vec!["r.limits: Required value: Limit must be set for non overcommitable resources"],
            ),
            (
                json!({"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}}),
                vec!["r.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2"],
            ),
            (
                json!({"limits": {"example.com/gpu": "500m"}}),
                vec!["r.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer"],
            ),
        ] {
            let object = json!({"r": resources});
            let found = check(&object, &Value::Null, |root, _| requirements(&root.get("r")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{resources}");
        }
    }
}
