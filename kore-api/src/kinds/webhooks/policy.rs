//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, ValidatingAdmissionPolicy};
use serde_json::Value;

use super::match_conditions;
use super::rule::{MATCH, resources_to_match};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{PLAIN, Shape};
use crate::kinds::{meta, names};
use crate::object::ResourceType;

const MAX_ANNOTATIONS: usize = 20;
const MAX_ANNOTATION_BYTES: usize = 5 * 1024;

const PARAM_KIND: Title = Title("ParamKind", "string", "The kind of its parameters.", 0);

pub(crate) static VALIDATING_POLICY: Entry = Entry {
    categories: &["api-extensions"],
    has_generation: true,
    unconditional_update: false,
    columns: &[NAME, Title("Validations", "integer", "How many rules there are in it.", 0), PARAM_KIND, AGE],
    defaults: &DEFAULTS,
    rules: Rules {
        always: validating,
        status: |policy, _| meta::conditions(&policy.get("status").get("conditions")),
        ..ANYTHING
    },
    cells: |row| vec![row.name(), row.count("/spec/validations").into(), param_kind(row), row.age()],
    ..Entry::of(ResourceType::of::<ValidatingAdmissionPolicy>)
};

pub(crate) static MUTATING_POLICY: Entry = Entry {
    categories: &["api-extensions"],
    has_generation: true,
    has_status: false,
    unconditional_update: false,
    columns: &[NAME, Title("Mutations", "integer", "How many changes it makes.", 0), PARAM_KIND, AGE],
    defaults: &DEFAULTS,
    rules: Rules { always: mutating, ..ANYTHING },
    cells: |row| vec![row.name(), row.count("/spec/mutations").into(), param_kind(row), row.age()],
    ..Entry::of(ResourceType::of::<MutatingAdmissionPolicy>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { set: &[("failurePolicy", Text("Fail"))], parts: &[("matchConstraints", &MATCH)], ..PLAIN };

fn validating(policy: &Field<'_, '_>) {
    let spec = policy.get("spec");
    common(&spec);
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.len() == 0 && annotations.len() == 0 {
        for field in [&validations, &annotations] {
            field.missing("validations or auditAnnotations must contain at least one item");
        }
        return;
    }
    validations.items().for_each(|one| validation(&one));
    if annotations.len() > MAX_ANNOTATIONS {
        annotations.invalid(format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations"));
    }
    let metadata = policy.get("metadata");
    let name = metadata.get("name");
    let mut keys = BTreeSet::new();
    for annotation in annotations.items() {
        let (key, value) = (annotation.get("key"), annotation.get("valueExpression"));
        let whole = format!("{}/{}", name.text(), key.text());
        for problem in names::qualified_name(&whole) {
            key.report(FieldError::invalid(key.path(), whole.as_str(), problem));
        }
        match value.text().trim() {
            "" => value.missing("valueExpression is not specified"),
            long if long.len() > MAX_ANNOTATION_BYTES => {
                value.missing(format!("must not exceed {MAX_ANNOTATION_BYTES} bytes in length"));
            }
            _ => {}
        }
        if !keys.insert(key.value().as_str()) {
            key.duplicate();
        }
    }
}

/// What both kinds of policy say.
fn common(spec: &Field<'_, '_>) {
    spec.get("failurePolicy").required_one_of(&["Fail", "Ignore"]);
    let parameters = spec.get("paramKind");
    if parameters.is_set() {
        kind(&parameters);
    }
    let matched = spec.get("matchConstraints");
    if matched.is_set() {
        resources_to_match(&matched);
        if matched.get("resourceRules").len() == 0 {
            matched.get("resourceRules").missing("");
        }
    } else {
        matched.missing("");
    }
    match_conditions(&spec.get("matchConditions"));
    for variable in spec.get("variables").items() {
        let (name, expression) = (variable.get("name"), variable.get("expression"));
        if name.text().trim().is_empty() {
            name.missing("name is not specified");
        } else if !is_identifier(name.text()) {
            name.invalid("name is not a valid CEL identifier");
        }
        if expression.text().trim().is_empty() {
            expression.missing("expression is not specified");
        }
    }
}

fn is_identifier(text: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_start) && text.chars().all(|c| is_start(c) || c.is_ascii_digit()) && !RESERVED.contains(&text)
}

fn kind(kind: &Field<'_, '_>) {
    let (version, name) = (kind.get("apiVersion"), kind.get("kind"));
    let wrong = |value: &str, problems: Vec<String>| {
        if !problems.is_empty() {
            version.report(FieldError::invalid(version.path(), value, problems.join(",")));
        }
    };
    if version.required() {
        match version.text().split('/').collect::<Vec<_>>()[..] {
            [only] => wrong(only, names::letter_label(only)),
            [group, version] => {
                wrong(group, names::dns_subdomain(group));
                wrong(version, names::letter_label(version));
            }
            _ => version.invalid(format!("unexpected GroupVersion string: {}", version.text())),
        }
    }
    if name.required() {
        let problems = names::letter_label(&name.text().to_lowercase());
        if !problems.is_empty() {
            name.invalid(format!("may have mixed case, but should otherwise match: {}", problems.join(",")));
        }
    }
}

fn validation(validation: &Field<'_, '_>) {
    let [expression, message, computed] = ["expression", "message", "messageExpression"]
        .map(|field| validation.value()[field].as_str().unwrap_or_default());
    if expression.trim().is_empty() {
        validation.get("expression").missing("expression is not specified");
    }
    if !computed.is_empty() && computed.trim().is_empty() {
        validation.get("messageExpression").invalid("must be non-empty if specified");
    }
    if !message.is_empty() && message.trim().is_empty() {
        validation.get("message").invalid("message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        validation.get("message").invalid("message must not contain line breaks");
    }
    validation.get("reason").one_of(&["Forbidden", "Invalid", "RequestEntityTooLarge"]);
}

fn mutating(policy: &Field<'_, '_>) {
    let spec = policy.get("spec");
    common(&spec);
    let mutations = spec.get("mutations");
    if mutations.len() == 0 {
        mutations.missing("mutations must contain at least one item");
    }
    for mutation in mutations.items() {
        let (kind, apply, patch) =
            (mutation.get("patchType"), mutation.get("applyConfiguration"), mutation.get("jsonPatch"));
        let (own, other) = match kind.text() {
            "ApplyConfiguration" => (&apply, &patch),
            "JSONPatch" => (&patch, &apply),
            _ => {
                kind.required_one_of(&["ApplyConfiguration", "JSONPatch"]);
                continue;
            }
        };
        if !own.is_set() {
            own.missing(format!("must be specified when patchType is {}", kind.text()));
        } else if own.get("expression").text().trim().is_empty() {
            own.get("expression").missing("expression is not specified");
        }
        if other.is_set() {
            other.invalid(format!("must not be specified when patchType is {}", kind.text()));
        }
    }
    spec.get("reinvocationPolicy").required_one_of(&["IfNeeded", "Never"]);
}

fn param_kind(row: &Row<'_>) -> Value {
    match row.at("/spec/paramKind") {
        Value::Object(_) => {
            format!("{}/{}", row.text("/spec/paramKind/apiVersion"), row.text("/spec/paramKind/kind")).into()
        }
        _ => "<unset>".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, with};
    use serde_json::json;

    fn policy(changes: &Value) -> Value {
        let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
        let spec = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]});
        let mut object = json!({"metadata": {"name": "p"}, "spec": with(&spec, changes)});
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_validating_policy_may_not_say() {
        let object = policy(&json!({}));
        assert_eq!(
            (&object["spec"]["failurePolicy"], &object["spec"]["matchConstraints"]["matchPolicy"]),
            (&json!("Fail"), &json!("Equivalent"))
        );
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"validations": [{"expression": " ", "message": "a\nb", "reason": "Teapot"}]}),
                vec![
                    "spec.validations[0].expression: Required value: expression is not specified",
                    "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                    "spec.validations[0].reason: Unsupported value: \"Teapot\": supported values: \"Forbidden\", \"Invalid\", \
                     \"RequestEntityTooLarge\"",
                ],
            ),
            (
                json!({"validations": null, "matchConstraints": null}),
                vec![
                    "spec.matchConstraints: Required value",
                    "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                    "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
                ],
            ),
            (
                json!({"paramKind": {"apiVersion": "a/b/c", "kind": "R2"}, "variables": [{"name": "1a", "expression": "1"}]}),
                vec![
                    "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                    "spec.variables[0].name: Invalid value: \"1a\": name is not a valid CEL identifier",
                ],
            ),
            (
                json!({"auditAnnotations": [{"key": "a", "valueExpression": "'x'"}, {"key": "a", "valueExpression": ""}]}),
                vec![
                    "spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified",
                    "spec.auditAnnotations[1].key: Duplicate value: \"a\"",
                ],
            ),
        ] {
            assert_eq!(errors(&VALIDATING_POLICY, &policy(&changes)), expected, "{changes}");
        }
        let parameters = policy(&json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}));
        assert_eq!(cells(&VALIDATING_POLICY, &parameters)[1..3], [json!(1), json!("v1/ConfigMap")]);
    }

    #[test]
    fn what_a_mutating_policy_may_not_say() {
        let mutate =
            |mutation: Value| json!({"validations": null, "reinvocationPolicy": "Never", "mutations": [mutation]});
        for (changes, expected) in [
            (mutate(json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}})), vec![]),
            (
                mutate(json!({"patchType": "JSONPatch", "applyConfiguration": {"expression": "Object{}"}})),
                vec![
                    "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                    "spec.mutations[0].applyConfiguration: Invalid value: {\"expression\":\"Object{}\"}: must not be specified when \
                     patchType is JSONPatch",
                ],
            ),
            (
                json!({"validations": null}),
                vec![
                    "spec.mutations: Required value: mutations must contain at least one item",
                    "spec.reinvocationPolicy: Required value",
                ],
            ),
        ] {
            assert_eq!(errors(&MUTATING_POLICY, &policy(&changes)), expected, "{changes}");
        }
    }
}
