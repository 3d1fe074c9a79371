//! Service: a lasting name and address for a changing set of pods.
//!
//! - `mod.rs`: the entry, defaults, what becomes of addresses and ports when a Service changes its type.
//! - `rules.rs`: what a Service may say.
//!
//! Addresses and node ports come out of pools: [`claims`] says what a Service has and wants; who hands it out is the server.

mod rules;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::entry::{AGE, Entry, NAME, Rules, Title};
use super::row::{Row, labels, list, or_none};
use super::shape::Literal::{Nonzero, Text};
use super::shape::{Object, PLAIN, Shape, is_absent, object_in, or_insert};
use crate::object::ResourceType;
use crate::registry::{Claim, NODE_PORTS, NameRule, SERVICE_ADDRESSES};

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
        Title(
            "External-IP",
            "string",
            "Its addresses outside the cluster.",
            0,
        ),
        Title(
            "Port(s)",
            "string",
            "Its ports, with those it takes on every node.",
            0,
        ),
        AGE,
        Title("Selector", "string", "The labels of the pods behind it.", 1),
    ],
    defaults: &DEFAULTS,
    prepare_update,
    rules: Rules {
        always: rules::always,
        change: rules::change,
        status: |_, _| {},
    },
    claims,
    cells,
    ..Entry::of(ResourceType::of::<Service>)
};

static DEFAULTS: Shape = Shape {
    rule: Some(|service| {
        object_in(service, "spec");
        object_in(service, "status")
            .entry("loadBalancer")
            .or_insert_with(|| json!({}));
    }),
    parts: &[("spec", &SPEC)],
    ..PLAIN
};
static SPEC: Shape = Shape {
    set: &[
        ("sessionAffinity", Text("None")),
        ("type", Text("ClusterIP")),
    ],
    rule: Some(by_type),
    parts: &[("ports", &PORT), ("sessionAffinityConfig", &AFFINITY)],
};
static PORT: Shape = Shape {
    set: &[("protocol", Text("TCP"))],
    rule: Some(target_port),
    ..PLAIN
};
static AFFINITY: Shape = Shape {
    parts: &[("clientIP", &CLIENT_IP)],
    ..PLAIN
};
/// Three hours.
static CLIENT_IP: Shape = Shape {
    set: &[("timeoutSeconds", Nonzero(10_800))],
    ..PLAIN
};

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
        let family = if address.contains(':') {
            "IPv6"
        } else {
            "IPv4"
        };
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
    matches!(
        text(spec, "type"),
        "ClusterIP" | "NodePort" | "LoadBalancer"
    )
}

/// Whether Services of the type take ports on every node.
fn has_node_ports(spec: &Object) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

/// Whether it can be reached from outside the cluster.
fn reaches_out(spec: &Object) -> bool {
    has_node_ports(spec) || text(spec, "type") == "ClusterIP" && !is_absent(spec, "externalIPs")
}

/// A Service keeps its address and ports through changes that do not mention them, and gives up what its new type has not.
fn prepare_update(new: &mut Value, old: &Value) {
    let Some(before) = old["spec"].as_object() else {
        return;
    };
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let same = |spec: &Object, field: &str| spec.get(field) == before.get(field);
    if has_address(before) && has_address(spec) {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = before.get(field).filter(|_| is_absent(spec, field)) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
    } else if has_address(before) && same(spec, "clusterIP") {
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            spec.remove(field);
        }
    }
    let old_ports = list(&old["spec"]["ports"]);
    let keep = has_node_ports(before) && has_node_ports(spec);
    let drop = has_node_ports(before) && !has_node_ports(spec);
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let same_port =
            |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let taken = old_ports
            .iter()
            .find(same_port)
            .map_or(Value::Null, |other| other["nodePort"].clone());
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        let wanted = port
            .get("nodePort")
            .filter(|wanted| wanted.as_i64() != Some(0))
            .cloned()
            .unwrap_or_default();
        if keep && wanted.is_null() && !taken.is_null() {
            port.insert("nodePort".to_owned(), taken);
        } else if drop && wanted == taken {
            port.remove("nodePort");
        }
    }
    if !reaches_out(spec) && same(spec, "externalTrafficPolicy") {
        spec.remove("externalTrafficPolicy");
    }
    if text(spec, "type") != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(spec, field) {
                spec.remove(field);
            }
        }
    }
}

fn claims(service: &Value) -> Vec<Claim> {
    let Some(spec) = service["spec"].as_object() else {
        return Vec::new();
    };
    let mut claims = Vec::new();
    if has_address(spec) {
        match text(spec, "clusterIP") {
            "None" => {}
            "" => claims.push(Claim::new(SERVICE_ADDRESSES, "spec.clusterIP", Value::Null)),
            address => claims.push(Claim::new(
                SERVICE_ADDRESSES,
                "spec.clusterIP",
                address.into(),
            )),
        }
    }
    if has_node_ports(spec) {
        let by_itself = text(spec, "type") == "NodePort"
            || spec.get("allocateLoadBalancerNodePorts") != Some(&json!(false));
        for (index, port) in list(&service["spec"]["ports"]).iter().enumerate() {
            let wanted = port["nodePort"].as_i64().filter(|number| *number != 0);
            let known = |claim: &Claim| wanted.is_some() && claim.value == json!(wanted);
            if (wanted.is_some() || by_itself) && !claims.iter().any(known) {
                let field = format!("spec.ports[{index}].nodePort");
                claims.push(Claim::new(
                    NODE_PORTS,
                    field,
                    wanted.map_or(Value::Null, Value::from),
                ));
            }
        }
    }
    claims
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
    let own = row
        .items("/spec/externalIPs")
        .iter()
        .filter_map(Value::as_str);
    let mut given: Vec<&str> = Vec::new();
    match row.text("/spec/type") {
        "ClusterIP" | "NodePort" => {}
        "LoadBalancer" => {
            let address = |ingress: &'_ Value| {
                ["ip", "hostname"]
                    .into_iter()
                    .find(|field| ingress[*field].is_string())
            };
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
    use crate::kinds::testing::with;

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
        assert_eq!(
            spec["sessionAffinityConfig"],
            json!({"clientIP": {"timeoutSeconds": 10_800}})
        );
        assert_eq!(
            (
                &spec["allocateLoadBalancerNodePorts"],
                &spec["externalTrafficPolicy"]
            ),
            (&json!(true), &json!("Cluster"))
        );
        assert_eq!(spec["ports"][0]["targetPort"], "web");
        let name = &service(json!({"type": "ExternalName", "externalName": "a.b"}))["spec"];
        assert_eq!(
            *name,
            json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"})
        );
    }

    #[test]
    fn what_a_service_claims() {
        let claimed = |spec: Value| -> Vec<(String, Value)> {
            claims(&service(spec))
                .into_iter()
                .map(|claim| (claim.field, claim.value))
                .collect()
        };
        let ports = json!([{"port": 80}, {"port": 81, "nodePort": 30_081}]);
        let address = |value: Value| ("spec.clusterIP".to_owned(), value);
        let port = |index: u32, value: Value| (format!("spec.ports[{index}].nodePort"), value);
        assert_eq!(
            claimed(json!({"ports": [{"port": 80}]})),
            [address(Value::Null)]
        );
        assert_eq!(claimed(json!({"clusterIP": "None"})), []);
        assert_eq!(
            claimed(json!({"clusterIP": "10.0.0.7"})),
            [address(json!("10.0.0.7"))]
        );
        assert_eq!(claimed(json!({"type": "ExternalName"})), []);
        let node = claimed(json!({"type": "NodePort", "ports": ports}));
        assert_eq!(
            node,
            [
                address(Value::Null),
                port(0, Value::Null),
                port(1, json!(30_081))
            ]
        );
        let no_ports = claimed(
            json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports}),
        );
        assert_eq!(no_ports, [address(Value::Null), port(1, json!(30_081))]);
        let shared = json!([{"port": 53, "nodePort": 30_053}, {"port": 53, "protocol": "UDP", "nodePort": 30_053}]);
        assert_eq!(
            claimed(json!({"type": "NodePort", "ports": shared})).len(),
            2,
            "one number for two protocols"
        );
    }

    #[test]
    fn address_and_ports_are_kept_or_given_up_with_the_type() {
        let old = service(
            json!({"type": "NodePort", "clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 30_080}]}),
        );
        let changed = |spec: Value| {
            let mut new = service(spec);
            prepare_update(&mut new, &old);
            new["spec"].take()
        };
        let kept =
            changed(json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]}));
        assert_eq!(
            (&kept["clusterIP"], &kept["clusterIPs"]),
            (&json!("10.0.0.7"), &json!(["10.0.0.7"]))
        );
        assert_eq!(kept["ports"][0]["nodePort"], 30_080);
        let inward = changed(with(&old["spec"], &json!({"type": "ClusterIP"})));
        assert_eq!(inward["clusterIP"], "10.0.0.7");
        assert!(
            inward["ports"][0].get("nodePort").is_none()
                && inward.get("externalTrafficPolicy").is_none()
        );
        let away = changed(with(
            &old["spec"],
            &json!({"type": "ExternalName", "externalName": "a.b"}),
        ));
        assert!(
            ["clusterIP", "clusterIPs", "ipFamilies"]
                .iter()
                .all(|field| away.get(*field).is_none()),
            "{away}"
        );
    }

    #[test]
    fn services_as_rows() {
        let shown = |spec: Value, status: Value| -> Vec<String> {
            let mut service = service(spec);
            service["status"] = status;
            let cells = cells(&Row {
                object: &service,
                now: jiff::Timestamp::UNIX_EPOCH,
            });
            cells[1..]
                .iter()
                .map(|cell| cell.as_str().unwrap().to_owned())
                .collect()
        };
        let ports = json!([{"port": 80}, {"port": 53, "protocol": "UDP", "nodePort": 30_053}]);
        assert_eq!(
            shown(
                json!({"ports": ports, "clusterIP": "10.0.0.7", "selector": {"b": "2", "a": "1"}}),
                json!({})
            ),
            [
                "ClusterIP",
                "10.0.0.7",
                "<none>",
                "80/TCP,53:30053/UDP",
                "<unknown>",
                "a=1,b=2"
            ]
        );
        let balancer = json!({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]});
        assert_eq!(
            shown(json!({"type": "LoadBalancer"}), json!({}))[2],
            "<pending>"
        );
        let given =
            json!({"loadBalancer": {"ingress": [{"hostname": "b.example"}, {"ip": "1.2.3.4"}]}});
        assert_eq!(shown(balancer, given)[2], "1.2.3.4,b.example,9.9.9.9");
        assert_eq!(
            shown(
                json!({"type": "ExternalName", "externalName": "a.b"}),
                json!({})
            )[1..4],
            ["<none>", "a.b", "<none>"]
        );
    }
}
