//! The bindings of policies: where a policy holds, and with which parameters.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBinding};
use serde_json::Value;

use super::rule::{MATCH, resources_to_match};
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::row::{Row, selector};
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{PLAIN, Shape};
use crate::kinds::{meta, names};
use crate::object::ResourceType;

const COLUMNS: &[Title] = &[
    NAME,
    Title("PolicyName", "string", "The policy.", 0),
    Title("ParamRef", "string", "Where its parameters are.", 0),
    AGE,
];

pub(crate) static VALIDATING_POLICY_BINDING: Entry = Entry {
    categories: &["api-extensions"],
    has_generation: true,
    has_status: false,
    unconditional_update: false,
    columns: COLUMNS,
    defaults: &DEFAULTS,
    rules: Rules {
        always: |binding| {
            common(binding);
            actions(&binding.get("spec").get("validationActions"));
        },
        ..ANYTHING
    },
    cells,
    ..Entry::of(ResourceType::of::<ValidatingAdmissionPolicyBinding>)
};

pub(crate) static MUTATING_POLICY_BINDING: Entry = Entry {
    categories: &["api-extensions"],
    has_generation: true,
    has_status: false,
    unconditional_update: false,
    columns: COLUMNS,
    defaults: &DEFAULTS,
    rules: Rules { always: common, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<MutatingAdmissionPolicyBinding>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { parts: &[("matchResources", &MATCH), ("paramRef", &PARAMETERS)], ..PLAIN };
static PARAMETERS: Shape = Shape { set: &[("parameterNotFoundAction", Text("Deny"))], ..PLAIN };

fn common(binding: &Field<'_, '_>) {
    let spec = binding.get("spec");
    let policy = spec.get("policyName");
    if policy.required() {
        policy.named(names::dns_subdomain);
    }
    let parameters = spec.get("paramRef");
    if parameters.is_set() {
        self::parameters(&parameters);
    }
    resources_to_match(&spec.get("matchResources"));
}

fn parameters(parameters: &Field<'_, '_>) {
    let (name, selector) = (parameters.get("name"), parameters.get("selector"));
    let named = !name.text().is_empty();
    let both = "name and selector are mutually exclusive";
    name.named(names::path_segment);
    if named && selector.is_set() {
        name.forbidden(both);
    }
    meta::selector(&selector);
    if named && selector.is_set() {
        selector.forbidden(both);
    }
    if !named && !selector.is_set() {
        parameters.missing("one of name or selector must be specified");
    }
    parameters.get("parameterNotFoundAction").required_one_of(&["Allow", "Deny"]);
}

fn actions(actions: &Field<'_, '_>) {
    let mut seen = BTreeSet::new();
    for action in actions.items() {
        action.one_of(&["Audit", "Deny", "Warn"]);
        if !seen.insert(action.text()) {
            action.duplicate();
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        actions.invalid(
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and \
             headers serves no purpose)",
        );
    }
    if seen.is_empty() {
        actions.missing("at least one validation action is required");
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let [name, namespace] = ["name", "namespace"].map(|field| row.text(&format!("/spec/paramRef/{field}")));
    let parameters = match (name, namespace) {
        ("", _) if row.at("/spec/paramRef/selector").is_object() => selector(row.at("/spec/paramRef/selector")),
        ("", _) => "<unset>".into(),
        (name, "") => format!("*/{name}").into(),
        (name, namespace) => format!("{namespace}/{name}").into(),
    };
    vec![row.name(), row.text("/spec/policyName").into(), parameters, row.age()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors};
    use serde_json::json;

    #[test]
    fn what_a_binding_may_not_say() {
        for (spec, expected) in [
            (json!({"policyName": "p", "validationActions": ["Deny"]}), vec![]),
            (
                json!({"policyName": "p", "validationActions": ["Deny", "Warn", "Deny"], "paramRef": {}}),
                vec![
                    "spec.paramRef: Required value: one of name or selector must be specified",
                    "spec.validationActions[2]: Duplicate value: \"Deny\"",
                    "spec.validationActions: Invalid value: [\"Deny\",\"Warn\",\"Deny\"]: must not contain both Deny and Warn \
                     (repeating the same validation failure information in the API response and headers serves no purpose)",
                ],
            ),
            (
                json!({}),
                vec![
                    "spec.policyName: Required value",
                    "spec.validationActions: Required value: at least one validation action is required",
                ],
            ),
            (
                json!({"policyName": "p", "validationActions": ["Audit"], "paramRef": {"name": "a", "selector": {}}}),
                vec![
                    "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                    "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                ],
            ),
        ] {
            let mut binding = json!({"spec": spec});
            DEFAULTS.fill(&mut binding);
            assert_eq!(errors(&VALIDATING_POLICY_BINDING, &binding), expected, "{spec}");
        }
        let shown =
            |parameters: Value| cells(&MUTATING_POLICY_BINDING, &json!({"spec": {"paramRef": parameters}}))[2].clone();
        assert_eq!(shown(json!({"name": "a"})), "*/a");
        assert_eq!(shown(json!({"name": "a", "namespace": "b"})), "b/a");
        assert_eq!(shown(json!({"selector": {"matchLabels": {"a": "b"}}})), "a=b");
        assert_eq!(shown(json!(null)), "<unset>");
    }
}
