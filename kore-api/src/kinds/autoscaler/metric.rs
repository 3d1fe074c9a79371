//! What the metrics of an autoscaler may say.

use super::rules::reference;
use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::quantity::Quantity;

/// The types of metrics, and the field of each.
const TYPES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn one(metric: &Field<'_, '_>) {
    let kind = metric.get("type");
    if kind.text().is_empty() {
        kind.missing("must specify a metric source type");
    }
    let own = TYPES.iter().find(|(name, _)| *name == kind.text()).map(|(_, field)| *field);
    if own.is_none() {
        let names = TYPES.map(|(name, _)| name);
        kind.report(FieldError::not_supported(kind.path(), kind.text(), &names));
    }
    // What comes first is looked at; whatever else there is should not be there.
    let order = ["object", "external", "pods", "resource", "containerResource"];
    let there: Vec<&str> = order.into_iter().filter(|field| metric.get(field).is_set()).collect();
    if let Some(first) = there.first() {
        source(first, &metric.get(first));
    }
    if let Some(own) = own.filter(|own| !there.contains(own)) {
        metric.get(own).missing("must populate information for the given metric source");
    }
    if there.len() > 1 || there.first().is_some_and(|first| Some(*first) != own && there.len() != 1) {
        for other in there.iter().filter(|field| Some(**field) != own) {
            metric.get(other).forbidden("must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &Field<'_, '_>) {
    let place = source.get("target");
    let (value, average, share) = (place.get("value"), place.get("averageValue"), place.get("averageUtilization"));
    if kind == "object" {
        reference(&source.get("describedObject"));
    }
    match kind {
        "object" | "external" | "pods" => identifier(&source.get("metric")),
        _ => resource(kind, source),
    }
    target(&place);
    match kind {
        "object" if !value.is_set() && !average.is_set() => {
            average.missing("must set either a target value or averageValue");
        }
        "external" if !value.is_set() && !average.is_set() => {
            average.missing("must set either a target value for metric or a per-pod target");
        }
        "external" if value.is_set() && average.is_set() => {
            value.forbidden("may not set both a target value for metric and a per-pod target");
        }
        "pods" if !average.is_set() => average.missing("must specify a positive target averageValue"),
        "resource" | "containerResource" => match (share.is_set(), average.is_set()) {
            (false, false) => share.missing("must set either a target raw value or a target utilization"),
            (true, true) => average.forbidden("may not set both a target raw value and a target utilization"),
            _ => {}
        },
        _ => {}
    }
}

fn identifier(metric: &Field<'_, '_>) {
    let name = metric.get("name");
    if name.text().is_empty() {
        name.missing("must specify a metric name");
    }
    name.named(names::path_segment);
}

fn resource(kind: &str, source: &Field<'_, '_>) {
    let (name, container) = (source.get("name"), source.get("container"));
    if name.text().is_empty() {
        name.missing("must specify a resource name");
    }
    if kind == "containerResource" {
        name.named(names::qualified_name);
        if container.text().is_empty() {
            container.missing("must specify a container");
        }
        container.named(names::dns_label);
    }
}

fn target(target: &Field<'_, '_>) {
    let kind = target.get("type");
    if kind.text().is_empty() {
        kind.missing("must specify a metric target type");
    }
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        kind.report(FieldError::invalid(kind.path(), kind.text(), detail));
    }
    for amount in ["value", "averageValue"] {
        let amount = target.get(amount);
        if Quantity::of(amount.value()).is_some_and(|amount| !amount.is_positive()) {
            amount.invalid("must be positive");
        }
    }
    target.get("averageUtilization").positive();
}

#[cfg(test)]
mod tests {
    use super::super::HORIZONTAL_POD_AUTOSCALER as HPA;
    use super::super::tests::scaler;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn what_a_metric_may_not_say() {
        let utilization = json!({"type": "Utilization", "averageUtilization": 50});
        for (metric, expected) in [
            (json!({"type": "Resource", "resource": {"name": "memory", "target": utilization}}), vec![]),
            (
                json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": utilization}}),
                vec![],
            ),
            (
                json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}}),
                vec![],
            ),
            (
                json!({"type": "Pods"}),
                vec!["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
            ),
            (
                json!({"type": "Weather"}),
                vec![
                    "spec.metrics[0].type: Unsupported value: \"Weather\": supported values: \"ContainerResource\", \"External\", \
                     \"Object\", \"Pods\", \"Resource\"",
                ],
            ),
            (
                json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value", "averageUtilization": 0}}}),
                vec!["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"],
            ),
            (
                json!({"type": "Resource", "resource": {"name": "cpu", "target": utilization}, "pods": {
                    "metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}}),
                vec!["spec.metrics[0].pods: Forbidden: must populate the given metric source only"],
            ),
            (
                json!({"type": "External", "external": {"metric": {}, "target": {"type": "Value", "value": "-1"}}}),
                vec![
                    "spec.metrics[0].external.metric.name: Required value: must specify a metric name",
                    "spec.metrics[0].external.target.value: Invalid value: \"-1\": must be positive",
                ],
            ),
        ] {
            assert_eq!(errors(&HPA, &scaler(&json!({"metrics": [metric]}))), expected, "{metric}");
        }
    }
}
