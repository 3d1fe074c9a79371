//! Ingress.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

use super::typed_reference;
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::row::Row;
use crate::kinds::shape::{Object, PLAIN, Shape, object_in};
use crate::object::ResourceType;

/// Where the class was said before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// A cell lists so many hosts, and says how many more there are.
const SHOWN: usize = 3;

pub(crate) static INGRESS: Entry = Entry {
    short_names: &["ing"],
    has_generation: true,
    columns: &[
        NAME,
        Title("Class", "string", "Who is to serve it.", 0),
        Title("Hosts", "string", "The names it is for.", 0),
        Title("Address", "string", "Where it is served.", 0),
        Title("Ports", "string", "The ports it is served on.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    rules: Rules { always, create, status, ..ANYTHING },
    warnings,
    cells,
    ..Entry::of(ResourceType::of::<Ingress>)
};

static DEFAULTS: Shape = Shape { rule: Some(no_address), ..PLAIN };

fn no_address(ingress: &mut Object) {
    object_in(ingress, "status").entry("loadBalancer").or_insert_with(|| json!({}));
}

fn always(ingress: &Field<'_, '_>) {
    let spec = ingress.get("spec");
    let (rules, fallback) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.len() == 0 && !fallback.is_set() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        spec.report(FieldError::invalid(spec.path(), rules.value().clone(), detail));
    }
    if fallback.is_set() {
        backend(&fallback);
    }
    rules.items().for_each(|one| rule(&one));
    for tls in spec.get("tls").items() {
        for name in tls.get("hosts").items() {
            host(&name);
        }
        tls.get("secretName").named(names::dns_subdomain);
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        class.named_as(class.text(), names::dns_subdomain);
    }
}

/// A name, or all names below one.
fn host(host: &Field<'_, '_>) {
    let is_wild = host.text().contains('*');
    host.named_as(host.text(), if is_wild { names::wildcard_subdomain } else { names::dns_subdomain });
}

fn rule(rule: &Field<'_, '_>) {
    let name = rule.get("host");
    if !name.text().is_empty() {
        if name.text().parse::<IpAddr>().is_ok() {
            name.invalid("must be a DNS name, not an IP address");
        }
        host(&name);
    }
    let http = rule.get("http");
    if !http.is_set() {
        return;
    }
    let paths = http.get("paths");
    if paths.len() == 0 {
        paths.missing("");
    }
    for path in paths.items() {
        one_path(&path);
    }
}

fn one_path(one: &Field<'_, '_>) {
    let (kind, path) = (one.get("pathType"), one.get("path"));
    let text = path.text();
    if !kind.is_set() {
        kind.missing("pathType must be specified");
        return;
    }
    match kind.text() {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                path.report(FieldError::invalid(path.path(), text, "must be an absolute path"));
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"] {
                if text.contains(part) {
                    path.invalid(format!("must not contain '{part}'"));
                }
            }
            for end in ["/..", "/."] {
                if text.ends_with(end) {
                    path.invalid(format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                path.invalid("must be an absolute path");
            }
        }
        _ => drop(kind.one_of(&["Exact", "ImplementationSpecific", "Prefix"])),
    }
    backend(&one.get("backend"));
}

fn backend(backend: &Field<'_, '_>) {
    let wrong = |detail: &str| backend.report(FieldError::invalid(backend.path(), "", detail));
    let (resource, service) = (backend.get("resource"), backend.get("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => wrong("cannot set both resource and service backends"),
        (true, false) => typed_reference(&resource),
        (false, true) => {
            if service.get("name").required() {
                service.get("name").named(names::letter_label);
            }
            let port = service.get("port");
            let (name, number) = (port.get("name"), port.get("number"));
            match (!name.text().is_empty(), number.int().unwrap_or_default() != 0) {
                (true, true) => wrong("cannot set both port name & port number"),
                (true, false) => drop(name.named(names::port_name)),
                (false, true) => drop(number.within(1, 65_535)),
                (false, false) => backend.missing("port name or number is required"),
            }
        }
        (false, false) => wrong("resource or service backend is required"),
    }
}

fn create(ingress: &Field<'_, '_>) {
    let (metadata, spec) = (ingress.get("metadata"), ingress.get("spec"));
    let annotations = metadata.get("annotations");
    let noted = annotations.key(CLASS_ANNOTATION);
    let class = spec.get("ingressClassName");
    if noted.is_set() && class.is_set() && noted.text() != class.text() {
        let path = format!("annotations.{CLASS_ANNOTATION}");
        let detail = "must match `ingressClassName` when both are specified";
        noted.report(FieldError::invalid(path, noted.text(), detail));
    }
}

fn status(ingress: &Field<'_, '_>, _old: &Field<'_, '_>) {
    let status = ingress.get("status");
    let balancer = status.get("loadBalancer");
    for place in balancer.get("ingress").items() {
        place.get("ip").named(names::ip);
        let name = place.get("hostname");
        name.named(names::dns_subdomain);
        if name.text().parse::<IpAddr>().is_ok() {
            name.invalid("must be a DNS name, not an IP address");
        }
    }
}

fn warnings(ingress: &Field<'_, '_>) -> Vec<String> {
    let metadata = ingress.get("metadata");
    let annotations = metadata.get("annotations");
    if !annotations.key(CLASS_ANNOTATION).is_set() {
        return Vec::new();
    }
    vec![format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead")]
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let addresses: BTreeSet<&str> = row
        .items("/status/loadBalancer/ingress")
        .iter()
        .filter_map(|place| {
            ["ip", "hostname"].iter().find_map(|field| place[*field].as_str().filter(|text| !text.is_empty()))
        })
        .collect();
    let ports = if row.items("/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        row.name(),
        row.at("/spec/ingressClassName").as_str().unwrap_or("<none>").into(),
        hosts(row.items("/spec/rules")).into(),
        addresses.into_iter().collect::<Vec<_>>().join(",").into(),
        ports.into(),
        row.age(),
    ]
}

fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> =
        rules.iter().filter_map(|rule| rule["host"].as_str()).filter(|host| !host.is_empty()).collect();
    if named.is_empty() {
        return "*".to_owned();
    }
    let shown = named[..named.len().min(SHOWN)].join(",");
    if named.len() >= SHOWN && rules.len() > SHOWN {
        return format!("{shown} + {} more...", rules.len() - SHOWN);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, warnings, with};

    fn web(host: &str) -> Value {
        json!({"host": host, "http": {"paths": [{
            "path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}})
    }

    #[test]
    fn what_an_ingress_may_not_say() {
        let path =
            |changes: Value| json!({"rules": [{"http": {"paths": [with(&web("")["http"]["paths"][0], &changes)]}}]});
        let at = "spec.rules[0].http.paths[0]";
        let good = json!({"spec": {"rules": [web("a.example"), web("*.example")]}});
        assert_eq!(errors(&INGRESS, &good), [""; 0]);
        for (spec, expected) in [
            (
                json!({}),
                vec!["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified".to_owned()],
            ),
            (
                json!({"defaultBackend": {}}),
                vec!["spec.defaultBackend: Invalid value: \"\": resource or service backend is required".to_owned()],
            ),
            (
                json!({"rules": [{"host": "10.0.0.1"}]}),
                vec![
                    "spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address".to_owned(),
                ],
            ),
            (
                path(json!({"pathType": null})),
                vec![format!("{at}.pathType: Required value: pathType must be specified")],
            ),
            (
                path(json!({"pathType": "Regex"})),
                vec![format!(
                    "{at}.pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
                )],
            ),
            (
                path(json!({"path": "a//.."})),
                vec![
                    format!("{at}.path: Invalid value: \"a//..\": must be an absolute path"),
                    format!("{at}.path: Invalid value: \"a//..\": must not contain '//'"),
                    format!("{at}.path: Invalid value: \"a//..\": cannot end with '/..'"),
                ],
            ),
            (
                path(json!({"backend": {"service": {"port": null}}})),
                vec![format!("{at}.backend: Required value: port name or number is required")],
            ),
            (
                path(json!({"backend": {"service": {"name": "Web", "port": {"name": "http"}}}})),
                vec![
                    format!("{at}.backend.service.name: Invalid value: \"Web\": {}", names::letter_label("Web")[0]),
                    format!("{at}.backend: Invalid value: \"\": cannot set both port name & port number"),
                ],
            ),
            (
                json!({"rules": [web("")], "tls": [{"hosts": ["*.a", "B"], "secretName": "S"}]}),
                vec![
                    format!("spec.tls[0].hosts[1]: Invalid value: \"B\": {}", names::dns_subdomain("B")[0]),
                    format!("spec.tls[0].secretName: Invalid value: \"S\": {}", names::dns_subdomain("S")[0]),
                ],
            ),
        ] {
            assert_eq!(errors(&INGRESS, &json!({"spec": spec})), expected, "{spec}");
        }
    }

    #[test]
    fn the_class_stands_in_one_place() {
        let both = json!({
            "metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}},
            "spec": {"ingressClassName": "b", "rules": [web("")]},
        });
        assert_eq!(
            errors(&INGRESS, &both),
            [
                "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified"
            ]
        );
        assert_eq!(errors_of_change(&INGRESS, &both, &both), [""; 0]);
        assert_eq!(
            warnings(&INGRESS, &both),
            ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]
        );
    }

    #[test]
    fn as_rows() {
        let rules = ["a", "b", "c", "d"].map(web);
        let ingress = json!({
            "metadata": {"name": "i"},
            "spec": {"rules": rules, "tls": [{}], "ingressClassName": "nginx"},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}, {"hostname": "lb.example"}]}},
        });
        assert_eq!(
            cells(&INGRESS, &ingress)[..5],
            ["i", "nginx", "a,b,c + 1 more...", "10.0.0.2,lb.example", "80, 443"].map(Value::from)
        );
        assert_eq!(cells(&INGRESS, &json!({}))[1..5], ["<none>", "*", "", "80"].map(Value::from));
        let mut empty = json!({});
        DEFAULTS.fill(&mut empty);
        assert_eq!(empty, json!({"status": {"loadBalancer": {}}}));
    }
}
