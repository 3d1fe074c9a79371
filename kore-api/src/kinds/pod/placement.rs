//! The rules of what a pod says about where it may run: affinity, tolerations, spread.

use std::collections::BTreeSet;

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::{meta, names};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Field<'_, '_>) {
    node_affinity(&affinity.get("nodeAffinity"));
    for kind in ["podAffinity", "podAntiAffinity"] {
        let kind = affinity.get(kind);
        for term in kind.get(REQUIRED).items() {
            pod_term(&term);
        }
        for preference in kind.get(PREFERRED).items() {
            weight(&preference);
            pod_term(&preference.get("podAffinityTerm"));
        }
    }
}

fn node_affinity(affinity: &Field<'_, '_>) {
    let required = affinity.get(REQUIRED);
    if required.is_set() {
        node_selector(&required);
    }
    for preference in affinity.get(PREFERRED).items() {
        weight(&preference);
        node_term(&preference.get("preference"));
    }
}

/// A `NodeSelector`.
pub(crate) fn node_selector(selector: &Field<'_, '_>) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.len() == 0 {
        terms.missing("must have at least one node selector term");
    }
    terms.items().for_each(|term| node_term(&term));
}

fn weight(preference: &Field<'_, '_>) {
    let weight = preference.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or_default()) {
        let shown = weight.int().unwrap_or_default();
        weight.report(FieldError::invalid(weight.path(), shown, "must be in the range 1-100"));
    }
}

fn node_term(term: &Field<'_, '_>) {
    for expression in term.get("matchExpressions").items() {
        let (operator, values) = (expression.get("operator"), expression.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() == 0 => {
                values.missing("must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if values.len() > 0 => {
                values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if values.len() != 1 => {
                values.missing("must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => operator.invalid("not a valid selector operator"),
        }
        meta::label_key(&expression.get("key"));
    }
    for expression in term.get("matchFields").items() {
        let (key, operator, values) = (expression.get("key"), expression.get("operator"), expression.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() != 1 => {
                values.missing("must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
            }
            "In" | "NotIn" => {}
            _ => operator.invalid("not a valid selector operator"),
        }
        if key.text() != "metadata.name" {
            key.invalid("not a valid field selector key");
        }
    }
}

fn pod_term(term: &Field<'_, '_>) {
    for selector in ["labelSelector", "namespaceSelector"] {
        meta::selector(&term.get(selector));
    }
    for namespace in term.get("namespaces").items() {
        if namespace.required() {
            namespace.named(names::dns_label);
        }
    }
    let topology = term.get("topologyKey");
    if topology.text().is_empty() {
        topology.missing("can not be empty");
    }
    topology.named(names::qualified_name);
    for keys in ["matchLabelKeys", "mismatchLabelKeys"] {
        term.get(keys).items().for_each(|key| meta::label_key(&key));
    }
}

pub(crate) fn tolerations(tolerations: &Field<'_, '_>) {
    for toleration in tolerations.items() {
        let (key, operator, value) = (toleration.get("key"), toleration.get("operator"), toleration.get("value"));
        let effect = toleration.get("effect");
        key.named(names::qualified_name);
        if key.text().is_empty() && operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            operator.report(FieldError::invalid(operator.path(), operator.text(), detail));
        }
        if toleration.get("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            effect.report(FieldError::invalid(effect.path(), effect.text(), detail));
        }
        match operator.text() {
            "Equal" | "" => {
                value.named(names::label_value);
            }
            "Exists" if !value.text().is_empty() => operator.invalid("value must be empty when `operator` is 'Exists'"),
            "Exists" => {}
            "Gt" | "Lt" if value.text().parse::<i64>().is_err() => {
                value.invalid("must be a valid integer when `operator` is 'Gt' or 'Lt'");
            }
            "Gt" | "Lt" => {}
            _ => {
                operator.one_of(&["Equal", "Exists", "Gt", "Lt"]);
            }
        }
        if !effect.text().is_empty() {
            effect.one_of(&["NoExecute", "NoSchedule", "PreferNoSchedule"]);
        }
    }
}

pub(super) fn spread(constraints: &Field<'_, '_>) {
    let mut seen = BTreeSet::new();
    for constraint in constraints.items() {
        let (skew, topology, when) =
            (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        let least = constraint.get("minDomains");
        if skew.int().unwrap_or_default() <= 0 {
            let shown = skew.int().unwrap_or_default();
            skew.report(FieldError::invalid(skew.path(), shown, "must be greater than zero"));
        }
        if topology.text().is_empty() {
            topology.missing("can not be empty");
        }
        topology.named(names::qualified_name);
        when.required_one_of(&["DoNotSchedule", "ScheduleAnyway"]);
        if !seen.insert((topology.text(), when.text())) {
            let shown = format!("{{{}, {}}}", topology.text(), when.text());
            constraint.report(FieldError::duplicate(format!("{constraint}.{{topologyKey, whenUnsatisfiable}}"), shown));
        }
        if let Some(domains) = least.int() {
            if domains <= 0 {
                least.invalid("must be greater than zero");
            }
            if when.text() == "ScheduleAnyway" {
                least.invalid("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway");
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.get(policy).one_of(&["Honor", "Ignore"]);
        }
        meta::selector(&constraint.get("labelSelector"));
        constraint.get("matchLabelKeys").items().for_each(|key| meta::label_key(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    fn found(rule: fn(&Field<'_, '_>), value: &Value) -> Vec<String> {
        let object = json!({ "x": value });
        let found = check(&object, &Value::Null, |root, _| rule(&root.get("x")));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_tolerations_may_not_say() {
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), vec![]),
            (json!({"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}), vec![]),
            (
                json!({"value": "b"}),
                vec![
                    "x[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and \
                     all keys\"",
                ],
            ),
            (
                json!({"key": "a", "tolerationSeconds": 5, "effect": "NoSchedule"}),
                vec![
                    "x[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                ],
            ),
            (
                json!({"key": "a", "operator": "Exists", "value": "b"}),
                vec!["x[0].operator: Invalid value: \"Exists\": value must be empty when `operator` is 'Exists'"],
            ),
            (
                json!({"key": "a", "effect": "Always"}),
                vec![
                    "x[0].effect: Unsupported value: \"Always\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
                ],
            ),
        ] {
            assert_eq!(found(tolerations, &json!([toleration])), expected, "{toleration}");
        }
    }

    #[test]
    fn what_affinity_may_not_say() {
        let expression = |operator: &str, values: Value| json!({"key": "a", "operator": operator, "values": values});
        let terms = json!([{"matchExpressions": [
            expression("In", json!([])), expression("Exists", json!(["b"])), expression("Gt", json!(["1", "2"])),
            expression("Near", json!([])), expression("In", json!(["b"])),
        ], "matchFields": [{"key": "spec.x", "operator": "In", "values": ["n"]}]}]);
        let value = json!({
            "nodeAffinity": {(REQUIRED): {"nodeSelectorTerms": terms}, (PREFERRED): [{"weight": 0, "preference": {}}]},
            "podAntiAffinity": {(REQUIRED): [{"labelSelector": {}}]},
        });
        let fields: Vec<String> =
            found(affinity, &value).iter().map(|error| error.split(": ").next().unwrap().to_owned()).collect();
        let term = format!("x.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0]");
        assert_eq!(
            fields,
            [
                format!("{term}.matchExpressions[0].values"),
                format!("{term}.matchExpressions[1].values"),
                format!("{term}.matchExpressions[2].values"),
                format!("{term}.matchExpressions[3].operator"),
                format!("{term}.matchFields[0].key"),
                format!("x.nodeAffinity.{PREFERRED}[0].weight"),
                format!("x.podAntiAffinity.{REQUIRED}[0].topologyKey"),
            ]
        );
        let empty = json!({"nodeAffinity": {(REQUIRED): {"nodeSelectorTerms": []}}});
        assert_eq!(
            found(affinity, &empty),
            [format!(
                "x.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Required value: must have at least one node selector term"
            ),]
        );
    }

    #[test]
    fn what_a_spread_may_not_say() {
        let good = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2});
        assert_eq!(found(spread, &json!([good])), [""; 0]);
        let bad = json!([good, good, {"topologyKey": "", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1}]);
        assert_eq!(
            found(spread, &bad),
            [
                "x[1].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"",
                "x[2].maxSkew: Invalid value: 0: must be greater than zero",
                "x[2].topologyKey: Required value: can not be empty",
                "x[2].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
            ]
        );
    }
}
