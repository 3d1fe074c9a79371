//! APIService: who serves a version of a group.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::row::Row;
use super::shape::{PLAIN, Shape, object_in};
use super::webhooks::client;
use crate::error::FieldError;
use crate::object::ResourceType;
use crate::registry::NameRule;

const MAX_GROUP_PRIORITY: i64 = 20_000;
const MAX_VERSION_PRIORITY: i64 = 1000;

pub(super) static API_SERVICE: Entry = Entry {
    categories: &["api-extensions"],
    names: NameRule::PathSegment,
    unconditional_update: false,
    columns: &[
        NAME,
        Title("Service", "string", "Who serves it.", 0),
        Title("Available", "string", "Whether it is served now.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    prepare_create: own_are_there,
    rules: Rules { always, ..ANYTHING },
    cells,
    ..Entry::of(ResourceType::of::<APIService>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape { parts: &[("service", &client::SERVICE)], ..PLAIN };

/// What the server serves itself is there from the beginning.
fn own_are_there(service: &mut Value) {
    let since = service["metadata"]["creationTimestamp"].clone();
    if service["spec"]["service"].is_object() {
        return;
    }
    let mut condition = json!({
        "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
    });
    if since.is_string() {
        condition["lastTransitionTime"] = since;
    }
    if let Some(service) = service.as_object_mut() {
        object_in(service, "status").insert("conditions".to_owned(), json!([condition]));
    }
}

fn always(api: &Field<'_, '_>) {
    let (metadata, spec) = (api.get("metadata"), api.get("spec"));
    let (name, group, version) = (metadata.get("name"), spec.get("group"), spec.get("version"));
    let expected = format!("{}.{}", version.text(), group.text());
    if name.text() != expected {
        name.invalid(format!("must be `spec.version+\".\"+spec.group`: {expected:?}"));
    }
    if group.text().is_empty() && version.text() != "v1" {
        group.missing("only v1 may have an empty group and it better be legacy kube");
    }
    group.named(names::dns_subdomain);
    for problem in names::letter_label(version.text()) {
        version.report(FieldError::invalid(version.path(), version.text(), problem));
    }
    for (field, most) in [("groupPriorityMinimum", MAX_GROUP_PRIORITY), ("versionPriority", MAX_VERSION_PRIORITY)] {
        let priority = spec.get(field);
        let value = priority.int().unwrap_or_default();
        if value <= 0 || value > most {
            let detail = format!("must be positive and less than {most}");
            priority.report(FieldError::invalid(priority.path(), value, detail));
        }
    }
    let (service, bundle, insecure) = (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if !service.is_set() {
        if !bundle.text().is_empty() {
            let bytes = bundle.text().trim_end_matches('=').len() * 3 / 4;
            let detail = "local APIServices may not have a caBundle";
            bundle.report(FieldError::invalid(bundle.path(), format!("{bytes} bytes"), detail));
        }
        if insecure.flag() {
            insecure.invalid("local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    for field in ["namespace", "name"] {
        service.get(field).required();
    }
    let port = service.get("port");
    if port.int().is_some_and(|port| !(1..=65_535).contains(&port)) {
        port.invalid("port is not valid: must be between 1 and 65535, inclusive");
    }
    if insecure.flag() && !bundle.text().is_empty() {
        insecure.invalid("may not be true if caBundle is present");
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let service = match row.at("/spec/service") {
        Value::Object(_) => format!("{}/{}", row.text("/spec/service/namespace"), row.text("/spec/service/name")),
        _ => "Local".to_owned(),
    };
    let condition = row.items("/status/conditions").iter().find(|condition| condition["type"] == "Available");
    let text = |field: &str| condition.and_then(|condition| condition[field].as_str()).unwrap_or_default();
    let available = match (text("status"), text("reason")) {
        ("", _) => "Unknown".to_owned(),
        ("True", _) => "True".to_owned(),
        (status, "") => status.to_owned(),
        (status, reason) => format!("{status} ({reason})"),
    };
    vec![row.name(), service.into(), available.into(), row.age()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, with};

    fn metrics(changes: &Value) -> Value {
        let object = json!({
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": "metrics", "namespace": "kube-system"},
            },
        });
        let mut object = with(&object, changes);
        DEFAULTS.fill(&mut object);
        object
    }

    #[test]
    fn what_an_api_service_may_not_say() {
        assert_eq!(metrics(&json!({}))["spec"]["service"]["port"], 443);
        for (changes, expected) in [
            (json!({}), vec![]),
            (
                json!({"metadata": {"name": "metrics"}, "spec": {"versionPriority": 0}}),
                vec![
                    "metadata.name: Invalid value: \"metrics\": must be `spec.version+\".\"+spec.group`: \"v1beta1.metrics.k8s.io\"",
                    "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
                ],
            ),
            (
                json!({"spec": {"service": null, "insecureSkipTLSVerify": true}}),
                vec![
                    "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
                ],
            ),
            (
                json!({"spec": {"caBundle": "eA==", "insecureSkipTLSVerify": true}}),
                vec!["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
            ),
        ] {
            assert_eq!(errors(&API_SERVICE, &metrics(&changes)), expected, "{changes}");
        }
    }

    #[test]
    fn as_rows() {
        assert_eq!(
            cells(&API_SERVICE, &metrics(&json!({})))[1..3],
            ["kube-system/metrics", "Unknown"].map(Value::from)
        );
        let failing =
            json!({"status": {"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]}});
        assert_eq!(cells(&API_SERVICE, &metrics(&failing))[2], "False (MissingEndpoints)");
        let mut own = metrics(&json!({"spec": {"service": null}}));
        own_are_there(&mut own);
        assert_eq!(cells(&API_SERVICE, &own)[1..3], ["Local", "True"].map(Value::from));
    }
}
