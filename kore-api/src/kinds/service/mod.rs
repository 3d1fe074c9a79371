//! Service: a lasting name and address for a changing set of pods.
//!
//! - `mod.rs`: the entry, defaults, and rows of tables.
//! - `pools.rs`: what a Service has of its own, wants, keeps and gives up.
//! - `rules.rs`: what a Service may say.

mod pools;
mod rules;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::row::{Row, labels, or_none};
use super::shape::Literal::{Nonzero, Text};
use super::shape::{Object, PLAIN, Shape, is_absent, object_in, or_insert};
use crate::object::ResourceType;
use crate::registry::NameRule;

pub(super) static SERVICE: Entry = Entry {
    short_names: &["svc"],
    categories: &["all"],
    names: NameRule::LetterLabel,
    create_on_update: true,
    subresources: &["proxy"],
    selectable_fields: &["spec.clusterIP", "spec.type"],
    columns: &[
        NAME,
        Title("Type", "string", "How far its address reaches.", 0),
        Title("Cluster-IP", "string", "Its address inside the cluster.", 0),
        Title("External-IP", "string", "Its addresses outside the cluster.", 0),
        Title("Port(s)", "string", "Its ports, with those it takes on every node.", 0),
        AGE,
        Title("Selector", "string", "The labels of the pods behind it.", 1),
    ],
    defaults: &DEFAULTS,
    prepare_update: pools::prepare_update,
    rules: Rules { always: rules::always, change: rules::change, ..ANYTHING },
    claims: pools::claims,
    cells,
    ..Entry::of(ResourceType::of::<Service>)
};

static DEFAULTS: Shape = Shape {
    rule: Some(|service| {
        object_in(service, "spec");
        object_in(service, "status").entry("loadBalancer").or_insert_with(|| json!({}));
    }),
    parts: &[("spec", &SPEC)],
    ..PLAIN
};
static SPEC: Shape = Shape {
    set: &[("sessionAffinity", Text("None")), ("type", Text("ClusterIP"))],
    rule: Some(by_type),
    parts: &[("ports", &PORT), ("sessionAffinityConfig", &AFFINITY)],
};
static PORT: Shape = Shape { set: &[("protocol", Text("TCP"))], rule: Some(target_port), ..PLAIN };
static AFFINITY: Shape = Shape { parts: &[("clientIP", &CLIENT_IP)], ..PLAIN };
/// Three hours.
static CLIENT_IP: Shape = Shape { set: &[("timeoutSeconds", Nonzero(10_800))], ..PLAIN };

fn by_type(spec: &mut Object) {
    let kind = text(spec, "type").to_owned();
    if text(spec, "sessionAffinity") == "ClientIP" {
        object_in(object_in(spec, "sessionAffinityConfig"), "clientIP");
    }
    if reaches_out(spec) {
        or_insert(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        or_insert(spec, "allocateLoadBalancerNodePorts", true);
    }
    if !has_address(spec) {
        return;
    }
    or_insert(spec, "internalTrafficPolicy", "Cluster");
    let address = text(spec, "clusterIP").to_owned();
    if is_absent(spec, "ipFamilies") {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        spec.insert("ipFamilies".to_owned(), json!([family]));
    }
    or_insert(spec, "ipFamilyPolicy", "SingleStack");
    // The older and the newer field for the address say the same.
    if address.is_empty() {
        let first = spec.get("clusterIPs").and_then(|all| all.get(0)).cloned();
        if let Some(first) = first {
            spec.insert("clusterIP".to_owned(), first);
        }
    } else {
        or_insert(spec, "clusterIPs", json!([address]));
    }
}

/// A port leads to the same port, unless it says otherwise.
fn target_port(port: &mut Object) {
    let unset = match port.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(name)) => name.is_empty(),
        Some(_) => false,
    };
    if unset && let Some(number) = port.get("port").cloned() {
        port.insert("targetPort".to_owned(), number);
    }
}

fn text<'a>(spec: &'a Object, field: &str) -> &'a str {
    spec.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Whether Services of the type have an address of their own.
fn has_address(spec: &Object) -> bool {
    matches!(text(spec, "type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether Services of the type take ports on every node.
fn has_node_ports(spec: &Object) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

/// Whether it can be reached from outside the cluster.
fn reaches_out(spec: &Object) -> bool {
    has_node_ports(spec) || text(spec, "type") == "ClusterIP" && !is_absent(spec, "externalIPs")
}
fn cells(row: &Row<'_>) -> Vec<Value> {
    let port = |port: &Value| {
        let protocol = port["protocol"].as_str().unwrap_or_default();
        let number = port["port"].as_i64().unwrap_or_default();
        match port["nodePort"].as_i64().unwrap_or_default() {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    let ports: Vec<String> = row.items("/spec/ports").iter().map(port).collect();
    vec![
        row.name(),
        row.text("/spec/type").into(),
        or_none(row.text("/spec/clusterIP")),
        external(row).into(),
        or_none(ports.join(",")),
        row.age(),
        labels(row.at("/spec/selector")),
    ]
}

fn external(row: &Row<'_>) -> String {
    let own = row.items("/spec/externalIPs").iter().filter_map(Value::as_str);
    let mut given: Vec<&str> = Vec::new();
    match row.text("/spec/type") {
        "ClusterIP" | "NodePort" => {}
        "LoadBalancer" => {
            let address = |ingress: &'_ Value| ["ip", "hostname"].into_iter().find(|field| ingress[*field].is_string());
            for ingress in row.items("/status/loadBalancer/ingress") {
                given.extend(address(ingress).and_then(|field| ingress[field].as_str()));
            }
            given.sort_unstable();
            given.dedup();
        }
        "ExternalName" => return row.text("/spec/externalName").to_owned(),
        _ => return "<unknown>".to_owned(),
    }
    given.extend(own);
    match (given.is_empty(), row.text("/spec/type")) {
        (true, "LoadBalancer") => "<pending>".to_owned(),
        (true, _) => "<none>".to_owned(),
        _ => given.join(","),
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn service(spec: Value) -> Value {
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
        SERVICE.defaults.fill(&mut service);
        service
    }

    #[test]
    fn the_smallest_service_gets_the_usual_values() {
        let mut small = service(json!({"ports": [{"port": 80}]}));
        assert_eq!(
            small["spec"],
            json!({
                "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
                "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            })
        );
        let typed: Service = serde_json::from_value(small.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), small);
        // The server has chosen an address, and defaults again.
        small["spec"]["clusterIP"] = json!("10.0.0.7");
        SERVICE.defaults.fill(&mut small);
        assert_eq!(small["spec"]["clusterIPs"], json!(["10.0.0.7"]));

        let spec = &service(
            json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 1, "targetPort": "web"}]}),
        )["spec"];
        assert_eq!(spec["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10_800}}));
        assert_eq!(
            (&spec["allocateLoadBalancerNodePorts"], &spec["externalTrafficPolicy"]),
            (&json!(true), &json!("Cluster"))
        );
        assert_eq!(spec["ports"][0]["targetPort"], "web");
        let name = &service(json!({"type": "ExternalName", "externalName": "a.b"}))["spec"];
        assert_eq!(*name, json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}));
    }

    #[test]
    fn services_as_rows() {
        let shown = |spec: Value, status: Value| -> Vec<String> {
            let mut service = service(spec);
            service["status"] = status;
            let cells = cells(&Row { object: &service, now: jiff::Timestamp::UNIX_EPOCH });
            cells[1..].iter().map(|cell| cell.as_str().unwrap().to_owned()).collect()
        };
        let ports = json!([{"port": 80}, {"port": 53, "protocol": "UDP", "nodePort": 30_053}]);
        assert_eq!(
            shown(json!({"ports": ports, "clusterIP": "10.0.0.7", "selector": {"b": "2", "a": "1"}}), json!({})),
            ["ClusterIP", "10.0.0.7", "<none>", "80/TCP,53:30053/UDP", "<unknown>", "a=1,b=2"]
        );
        let balancer = json!({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]});
        assert_eq!(shown(json!({"type": "LoadBalancer"}), json!({}))[2], "<pending>");
        let given = json!({"loadBalancer": {"ingress": [{"hostname": "b.example"}, {"ip": "1.2.3.4"}]}});
        assert_eq!(shown(balancer, given)[2], "1.2.3.4,b.example,9.9.9.9");
        assert_eq!(
            shown(json!({"type": "ExternalName", "externalName": "a.b"}), json!({}))[1..4],
            ["<none>", "a.b", "<none>"]
        );
    }
}
