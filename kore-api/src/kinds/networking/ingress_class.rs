//! IngressClass.

use k8s_openapi::api::networking::v1::IngressClass;
use serde_json::Value;

use super::typed_reference;
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::Text;
use crate::kinds::shape::{PLAIN, Shape};
use crate::object::ResourceType;

const MAX_CONTROLLER_BYTES: usize = 250;

pub(crate) static INGRESS_CLASS: Entry = Entry {
    has_generation: true,
    has_status: false,
    columns: &[
        NAME,
        Title("Controller", "string", "Who serves its Ingresses.", 0),
        Title("Parameters", "string", "Where more is said of how.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    rules: Rules {
        always,
        change: |new, old| {
            let (spec, before) = (new.get("spec"), old.get("spec"));
            spec.get("controller").immutable(&before.get("controller"));
        },
        ..ANYTHING
    },
    cells: |row| vec![row.name(), row.text("/spec/controller").into(), parameters(row).into(), row.age()],
    ..Entry::of(ResourceType::of::<IngressClass>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { parts: &[("parameters", &PARAMETERS)], ..PLAIN };
static PARAMETERS: Shape = Shape { set: &[("scope", Text("Cluster"))], ..PLAIN };

fn always(class: &Field<'_, '_>) {
    let spec = class.get("spec");
    let controller = spec.get("controller");
    if controller.len() > MAX_CONTROLLER_BYTES {
        controller.report(FieldError::too_long(controller.path(), MAX_CONTROLLER_BYTES));
    }
    names::domain_prefixed_path(&controller);
    let parameters = spec.get("parameters");
    if !parameters.is_set() {
        return;
    }
    typed_reference(&parameters);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    match scope.text() {
        "Namespace" if !namespace.is_set() => namespace.missing("`parameters.scope` is set to 'Namespace'"),
        "Namespace" => drop(namespace.named_as(namespace.text(), names::dns_label)),
        "Cluster" if namespace.is_set() => namespace.forbidden("`parameters.scope` is set to 'Cluster'"),
        "Cluster" => {}
        _ => drop(scope.required_one_of(&["Cluster", "Namespace"])),
    }
}

fn parameters(row: &Row<'_>) -> String {
    let parameters = row.at("/spec/parameters");
    if !parameters.is_object() {
        return "<none>".to_owned();
    }
    let text = |field: &str| parameters[field].as_str().unwrap_or_default();
    match &parameters["apiGroup"] {
        Value::String(group) => format!("{}.{group}/{}", text("kind"), text("name")),
        _ => format!("{}/{}", text("kind"), text("name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change};
    use serde_json::json;

    #[test]
    fn what_a_class_may_not_say() {
        let parameters = |changes: Value| json!({"controller": "example.com/ingress", "parameters": changes});
        for (spec, expected) in [
            (json!({"controller": "example.com/ingress"}), vec![]),
            (json!({}), vec!["spec.controller: Required value"]),
            (
                json!({"controller": "nginx"}),
                vec![
                    "spec.controller: Invalid value: \"nginx\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                ],
            ),
            (parameters(json!({"kind": "Config", "name": "a"})), vec![]),
            (parameters(json!({"kind": "Config"})), vec!["spec.parameters.name: Required value: name is required"]),
            (
                parameters(json!({"kind": "Config", "name": "a", "scope": "Namespace"})),
                vec!["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
            ),
            (
                parameters(json!({"kind": "Config", "name": "a", "namespace": "b"})),
                vec!["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
            ),
        ] {
            let mut class = json!({"spec": spec});
            DEFAULTS.fill(&mut class);
            assert_eq!(errors(&INGRESS_CLASS, &class), expected, "{spec}");
        }
        let old = json!({"spec": {"controller": "a.b/c"}});
        assert_eq!(
            errors_of_change(&INGRESS_CLASS, &json!({"spec": {"controller": "a.b/d"}}), &old),
            ["spec.controller: Invalid value: \"a.b/d\": field is immutable"]
        );
        let class = json!({"spec": parameters(json!({"apiGroup": "x.y", "kind": "Config", "name": "a"}))});
        assert_eq!(cells(&INGRESS_CLASS, &class)[2], "Config.x.y/a");
    }
}
