//! Which requests something is about.

use std::collections::BTreeSet;

use crate::kinds::field::Field;
use crate::kinds::shape::Literal::{Empty, Text};
use crate::kinds::shape::{PLAIN, Shape};
use crate::kinds::{meta, names};

pub(super) static RULE: Shape = Shape { set: &[("scope", Text("*"))], ..PLAIN };

/// What a policy, or its binding, is about.
pub(super) static MATCH: Shape = Shape {
    set: &[("matchPolicy", Text("Equivalent")), ("namespaceSelector", Empty), ("objectSelector", Empty)],
    parts: &[("resourceRules", &RULE), ("excludeResourceRules", &RULE)],
    ..PLAIN
};

/// A `RuleWithOperations`.
pub(super) fn rule(rule: &Field<'_, '_>) {
    let operations = rule.get("operations");
    filled(&operations, "operations");
    for operation in operations.items() {
        operation.one_of(&["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    }
    filled(&rule.get("apiGroups"), "API groups");
    let versions = rule.get("apiVersions");
    filled(&versions, "API versions");
    for version in versions.items() {
        version.required();
    }
    resources(&rule.get("resources"));
    rule.get("scope").one_of(&["*", "Cluster", "Namespaced"]);
}

/// A `NamedRuleWithOperations`.
fn named_rule(named: &Field<'_, '_>) {
    let mut seen = BTreeSet::new();
    for name in named.get("resourceNames").items() {
        name.named_as(name.text(), names::path_segment);
        if !seen.insert(name.text()) {
            name.duplicate();
        }
    }
    rule(named);
}

/// A `MatchResources`.
pub(super) fn resources_to_match(matched: &Field<'_, '_>) {
    if !matched.is_set() {
        return;
    }
    matched.get("matchPolicy").required_one_of(&["Equivalent", "Exact"]);
    for selector in ["namespaceSelector", "objectSelector"] {
        let selector = matched.get(selector);
        if !selector.is_set() {
            selector.missing("");
        }
        meta::selector(&selector);
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        matched.get(rules).items().for_each(|rule| named_rule(&rule));
    }
}

/// There must be something, and nothing beside a star.
fn filled(all: &Field<'_, '_>, what: &str) {
    if all.len() == 0 {
        all.missing("");
    }
    if all.len() > 1 && all.items().any(|one| one.text() == "*") {
        all.invalid(format!("if '*' is present, must not specify other {what}"));
    }
}

/// Resources, with their parts: `pods`, `pods/log`, `pods/*`, `*/scale`.
fn resources(resources: &Field<'_, '_>) {
    if resources.len() == 0 {
        resources.missing("");
    }
    let (mut whole, mut parts) = (BTreeSet::new(), BTreeSet::new());
    let (mut everything, mut any, mut plain) = (false, false, false);
    for resource in resources.items() {
        match resource.value().as_str().unwrap_or_default() {
            "" => {
                resource.missing("");
                continue;
            }
            "*/*" => everything = true,
            "*" => any = true,
            _ => {}
        }
        let Some((name, part)) = resource.value().as_str().unwrap_or_default().split_once('/') else {
            plain = resource.text() != "*";
            continue;
        };
        let text = resource.text();
        if whole.contains(name) {
            resource.invalid(format!("if '{name}/*' is present, must not specify {text}"));
        }
        if parts.contains(part) {
            resource.invalid(format!("if '*/{part}' is present, must not specify {text}"));
        }
        if part == "*" {
            whole.insert(name);
        }
        if name == "*" {
            parts.insert(part);
        }
    }
    if resources.len() > 1 && everything {
        resources.invalid("if '*/*' is present, must not specify other resources");
    }
    if any && plain {
        resources.invalid("if '*' is present, must not specify other resources without subresources");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    #[test]
    fn what_a_rule_may_not_say() {
        for (changes, expected) in [
            (json!({"resources": ["pods", "pods/*", "*/scale"]}), vec![]),
            (
                json!({"operations": ["*", "CREATE"], "apiGroups": [], "apiVersions": [""]}),
                vec![
                    "r.operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
                    "r.apiGroups: Required value",
                    "r.apiVersions[0]: Required value",
                ],
            ),
            (
                json!({"resources": ["pods/*", "pods/log", "*/*"], "scope": "Galaxy"}),
                vec![
                    "r.resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
                    "r.resources: Invalid value: [\"pods/*\",\"pods/log\",\"*/*\"]: if '*/*' is present, must not specify other \
                     resources",
                    "r.scope: Unsupported value: \"Galaxy\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
                ],
            ),
            (
                json!({"resources": ["*", "pods"]}),
                vec![
                    "r.resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without \
                     subresources",
                ],
            ),
        ] {
            let base =
                json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
            let object = json!({"r": crate::kinds::testing::with(&base, &changes)});
            let found = check(&object, &Value::Null, |root, _| rule(&root.get("r")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{changes}");
        }
    }
}
