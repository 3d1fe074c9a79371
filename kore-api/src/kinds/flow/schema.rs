//! FlowSchema.

use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use serde_json::Value;

use super::{EXEMPT, conditions};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Nonzero;
use crate::kinds::shape::{PLAIN, Shape};
use crate::object::ResourceType;

const MAX_PRECEDENCE: i64 = 10_000;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(crate) static FLOW_SCHEMA: Entry = Entry {
    has_generation: true,
    columns: &[
        NAME,
        Title("PriorityLevel", "string", "How its requests are served.", 0),
        Title("MatchingPrecedence", "string", "Before which others it is asked; the lowest first.", 0),
        Title("DistinguisherMethod", "string", "How its requests are told apart.", 0),
        AGE,
        Title("MissingPL", "string", "Whether there is no such priority level.", 0),
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, status: |schema, _| conditions(schema), ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<FlowSchema>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { set: &[("matchingPrecedence", Nonzero(1000))], ..PLAIN };

fn always(schema: &Field<'_, '_>) {
    let (metadata, spec) = (schema.get("metadata"), schema.get("spec"));
    let precedence = spec.get("matchingPrecedence");
    match precedence.int().unwrap_or_default() {
        ..=0 => precedence.invalid("must be a positive value"),
        1 if metadata.get("name").text() != EXEMPT => {
            precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1");
        }
        high if high > MAX_PRECEDENCE => precedence.invalid(format!("must not be greater than {MAX_PRECEDENCE}")),
        _ => {}
    }
    let method = spec.get("distinguisherMethod");
    if method.is_set() {
        supported(&method.get("type"), &["ByNamespace", "ByUser"]);
    }
    let level = spec.get("priorityLevelConfiguration");
    let name = level.get("name");
    if name.text().is_empty() {
        name.missing("must reference a priority level");
    }
    name.named(names::dns_subdomain);
    for rule in spec.get("rules").items() {
        let (subjects, resources, urls) =
            (rule.get("subjects"), rule.get("resourceRules"), rule.get("nonResourceRules"));
        if subjects.len() == 0 {
            subjects.missing("subjects must contain at least one value");
        }
        subjects.items().for_each(|one| subject(&one));
        if resources.len() == 0 && urls.len() == 0 {
            rule.missing("at least one of resourceRules and nonResourceRules has to be non-empty");
        }
        resources.items().for_each(|one| resource_rule(&one));
        urls.items().for_each(|one| url_rule(&one));
    }
}

/// Must be one of them; an empty text is none.
fn supported(field: &Field<'_, '_>, values: &[&str]) {
    if !values.contains(&field.text()) {
        field.report(FieldError::not_supported(field.path(), field.text(), values));
    }
}

fn subject(subject: &Field<'_, '_>) {
    const KINDS: [(&str, &str); 3] = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = subject.get("kind");
    let Some((_, own)) = KINDS.iter().find(|(name, _)| *name == kind.text()) else {
        supported(&kind, &KINDS.map(|(name, _)| name));
        return;
    };
    for (name, field) in KINDS {
        let value = subject.get(field);
        if field != *own && value.is_set() {
            value.forbidden(format!("{field} is forbidden when subject kind is not '{name}'"));
        }
        if field == *own && !value.is_set() {
            value.missing(format!("{field} is required when subject kind is '{name}'"));
        } else if field == *own {
            value.get("name").required();
        }
    }
    let account = subject.get("serviceAccount");
    if kind.text() == "ServiceAccount" && account.is_set() {
        let (name, namespace) = (account.get("name"), account.get("namespace"));
        if name.text() != "*" {
            name.named(names::dns_subdomain);
        }
        if namespace.text().is_empty() {
            namespace.missing("must specify namespace for service account");
        }
        namespace.named(names::dns_label);
    }
}

fn verbs(verbs: &Field<'_, '_>) {
    if verbs.len() == 0 {
        verbs.missing("verbs must contain at least one value");
    } else if alone(verbs, "verbs") {
    } else if !verbs.items().all(|verb| VERBS.contains(&verb.text())) {
        verbs.report(FieldError {
            value: Some(verbs.value().to_string()),
            ..FieldError::not_supported(verbs.path(), "", &VERBS)
        });
    }
}

/// Whether there is a star among them, beside which nothing else may stand.
fn alone(all: &Field<'_, '_>, what: &str) -> bool {
    let star = all.items().any(|one| one.text() == "*");
    if star && all.len() > 1 {
        all.invalid(format!("if '*' is present, must not specify other {what}"));
    }
    star
}

fn resource_rule(rule: &Field<'_, '_>) {
    verbs(&rule.get("verbs"));
    for (field, missing, what) in [
        ("apiGroups", "resource rules must supply at least one api group", "api groups"),
        ("resources", "resource rules must supply at least one resource", "resources"),
    ] {
        let all = rule.get(field);
        if all.len() == 0 {
            all.missing(missing);
        }
        alone(&all, what);
    }
    let namespaces = rule.get("namespaces");
    if namespaces.len() == 0 && !rule.get("clusterScope").flag() {
        namespaces.missing("resource rules that are not cluster scoped must supply at least one namespace");
    } else if !alone(&namespaces, "namespaces") {
        for namespace in namespaces.items() {
            for problem in names::dns_label(namespace.text()) {
                namespace.invalid(format!("each member of this list must be '*' or a DNS-1123 label; {problem}"));
            }
        }
    }
}

fn url_rule(rule: &Field<'_, '_>) {
    verbs(&rule.get("verbs"));
    let urls = rule.get("nonResourceURLs");
    if urls.len() == 0 {
        urls.missing("nonResourceURLs must contain at least one value");
    } else if !alone(&urls, "non-resource URLs") {
        for url in urls.items() {
            if let Some(problem) = url_problem(url.text()) {
                url.invalid(problem);
            }
        }
    }
}

fn url_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("must not be empty");
    }
    let stars = path.matches('*').count();
    [
        (!path.starts_with('/'), "must start with slash"),
        (path.contains(' '), "must not contain white-space"),
        (path.contains("//"), "must not contain double slash"),
        (stars > 1 || stars == 1 && !path.ends_with("/*"), "wildcard can only do suffix matching"),
    ]
    .into_iter()
    .find_map(|(wrong, problem)| wrong.then_some(problem))
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let dangling = row.items("/status/conditions").iter().find(|condition| condition["type"] == "Dangling");
    vec![
        row.name(),
        row.text("/spec/priorityLevelConfiguration/name").into(),
        row.int("/spec/matchingPrecedence").into(),
        row.at("/spec/distinguisherMethod/type").as_str().unwrap_or("<none>").into(),
        row.age(),
        dangling.and_then(|condition| condition["status"].as_str()).unwrap_or("?").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, with};
    use serde_json::json;

    fn schema(rule: &Value) -> Value {
        let all = json!({
            "subjects": [{"kind": "User", "user": {"name": "a"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
        });
        let mut object = json!({"metadata": {"name": "s"}, "spec": {
            "priorityLevelConfiguration": {"name": "low"}, "distinguisherMethod": {"type": "ByUser"}, "rules": [with(&all, rule)],
        }});
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_a_schema_may_not_say() {
        assert_eq!(schema(&json!({}))["spec"]["matchingPrecedence"], 1000);
        for (rule, expected) in [
            (json!({}), vec![]),
            (
                json!({"subjects": [{"kind": "User", "group": {"name": "g"}}, {"kind": "Cat"}]}),
                vec![
                    "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                    "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                    "spec.rules[0].subjects[1].kind: Unsupported value: \"Cat\": supported values: \"Group\", \"ServiceAccount\", \
                     \"User\"",
                ],
            ),
            (
                json!({"resourceRules": null}),
                vec![
                    "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
                ],
            ),
            (
                json!({"resourceRules": null, "nonResourceRules": [{"verbs": ["*", "get"], "nonResourceURLs": ["/a*", "b"]}]}),
                vec![
                    "spec.rules[0].nonResourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify \
                     other verbs",
                    "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*\": wildcard can only do suffix \
                     matching",
                    "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"b\": must start with slash",
                ],
            ),
        ] {
            assert_eq!(errors(&FLOW_SCHEMA, &schema(&rule)), expected, "{rule}");
        }
        let first = with(&schema(&json!({})), &json!({"spec": {"matchingPrecedence": 1}}));
        assert_eq!(errors(&FLOW_SCHEMA, &first).len(), 1);
        assert_eq!(errors(&FLOW_SCHEMA, &with(&first, &json!({"metadata": {"name": "exempt"}}))), [""; 0]);
        assert_eq!(cells(&FLOW_SCHEMA, &schema(&json!({})))[1..4], [json!("low"), json!(1000), json!("ByUser")]);
    }
}
