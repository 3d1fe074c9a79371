//! Addresses and node ports of Services: what each has, wants, keeps and gives up.

use serde_json::{Value, json};

use super::{has_address, has_node_ports, reaches_out, text};
use crate::kinds::row::list;
use crate::kinds::shape::{Object, is_absent};
use crate::registry::{Claim, NODE_PORTS, SERVICE_ADDRESSES};

/// A Service keeps its address and ports through changes that do not mention them, and gives up what its new type has not.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    let Some(before) = old["spec"].as_object() else {
        return;
    };
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let same = |spec: &Object, field: &str| spec.get(field) == before.get(field);
    // Clients that know one address only change that: the list follows.
    if !is_absent(spec, "clusterIP") && !same(spec, "clusterIP") && same(spec, "clusterIPs") {
        let address = spec["clusterIP"].clone();
        if let Some(first) = spec.get_mut("clusterIPs").and_then(|addresses| addresses.get_mut(0)) {
            *first = address;
        }
    }
    if has_address(before) && has_address(spec) {
        for field in ["clusterIP", "clusterIPs"] {
            if let Some(value) = before.get(field).filter(|_| is_absent(spec, field)) {
                spec.insert(field.to_owned(), value.clone());
            }
        }
    } else if has_address(before) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if same(spec, field) {
                spec.remove(field);
            }
        }
    }
    let old_ports = list(&old["spec"]["ports"]);
    let keep = has_node_ports(before) && has_node_ports(spec);
    let drop = has_node_ports(before) && !has_node_ports(spec);
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let same_port = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        let taken = old_ports.iter().find(same_port).map_or(Value::Null, |other| other["nodePort"].clone());
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        let wanted = port.get("nodePort").filter(|wanted| wanted.as_i64() != Some(0)).cloned().unwrap_or_default();
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

/// Addresses and node ports come out of pools: what a Service has and wants. Who hands it out is the server.
pub(super) fn claims(service: &Value) -> Vec<Claim> {
    let Some(spec) = service["spec"].as_object() else {
        return Vec::new();
    };
    let mut claims = Vec::new();
    if has_address(spec) {
        match text(spec, "clusterIP") {
            "None" => {}
            "" => claims.push(Claim::new(SERVICE_ADDRESSES, "spec.clusterIP", Value::Null)),
            address => claims.push(Claim::new(SERVICE_ADDRESSES, "spec.clusterIP", address.into())),
        }
    }
    if has_node_ports(spec) {
        let by_itself =
            text(spec, "type") == "NodePort" || spec.get("allocateLoadBalancerNodePorts") != Some(&json!(false));
        for (index, port) in list(&service["spec"]["ports"]).iter().enumerate() {
            let wanted = port["nodePort"].as_i64().filter(|number| *number != 0);
            let known = |claim: &Claim| wanted.is_some() && claim.value == json!(wanted);
            if (wanted.is_some() || by_itself) && !claims.iter().any(known) {
                let field = format!("spec.ports[{index}].nodePort");
                claims.push(Claim::new(NODE_PORTS, field, wanted.map_or(Value::Null, Value::from)));
            }
        }
    }
    claims
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::service::tests::service;
    use crate::kinds::testing::with;

    #[test]
    fn what_a_service_claims() {
        let claimed = |spec: Value| -> Vec<(String, Value)> {
            claims(&service(spec)).into_iter().map(|claim| (claim.field, claim.value)).collect()
        };
        let ports = json!([{"port": 80}, {"port": 81, "nodePort": 30_081}]);
        let address = |value: Value| ("spec.clusterIP".to_owned(), value);
        let port = |index: u32, value: Value| (format!("spec.ports[{index}].nodePort"), value);
        assert_eq!(claimed(json!({"ports": [{"port": 80}]})), [address(Value::Null)]);
        assert_eq!(claimed(json!({"clusterIP": "None"})), []);
        assert_eq!(claimed(json!({"clusterIP": "10.0.0.7"})), [address(json!("10.0.0.7"))]);
        assert_eq!(claimed(json!({"type": "ExternalName"})), []);
        let node = claimed(json!({"type": "NodePort", "ports": ports}));
        assert_eq!(node, [address(Value::Null), port(0, Value::Null), port(1, json!(30_081))]);
        let no_ports = claimed(json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports}));
        assert_eq!(no_ports, [address(Value::Null), port(1, json!(30_081))]);
        let shared = json!([{"port": 53, "nodePort": 30_053}, {"port": 53, "protocol": "UDP", "nodePort": 30_053}]);
        assert_eq!(claimed(json!({"type": "NodePort", "ports": shared})).len(), 2, "one number for two protocols");
    }

    #[test]
    fn address_and_ports_are_kept_or_given_up_with_the_type() {
        let old =
            service(json!({"type": "NodePort", "clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 30_080}]}));
        let changed = |spec: Value| {
            let mut new = service(spec);
            prepare_update(&mut new, &old);
            new["spec"].take()
        };
        // Whoever takes some of it away by name is not held up by the rest.
        let mut outside = service(json!({"type": "ExternalName", "externalName": "a.b", "ipFamilies": ["IPv4"]}));
        let mut before = old.clone();
        before["spec"]["ipFamilies"] = json!(["IPv4"]);
        prepare_update(&mut outside, &before);
        assert_eq!(outside["spec"]["ipFamilies"], Value::Null);
        let mut moved = old.clone();
        moved["spec"]["clusterIPs"] = json!(["10.0.0.7"]);
        let before = moved.clone();
        moved["spec"]["clusterIP"] = "10.0.0.9".into();
        prepare_update(&mut moved, &before);
        assert_eq!(moved["spec"]["clusterIPs"], json!(["10.0.0.9"]));

        let kept = changed(json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]}));
        assert_eq!((&kept["clusterIP"], &kept["clusterIPs"]), (&json!("10.0.0.7"), &json!(["10.0.0.7"])));
        assert_eq!(kept["ports"][0]["nodePort"], 30_080);
        let inward = changed(with(&old["spec"], &json!({"type": "ClusterIP"})));
        assert_eq!(inward["clusterIP"], "10.0.0.7");
        assert!(inward["ports"][0].get("nodePort").is_none() && inward.get("externalTrafficPolicy").is_none());
        let away = changed(with(&old["spec"], &json!({"type": "ExternalName", "externalName": "a.b"})));
        assert!(["clusterIP", "clusterIPs", "ipFamilies"].iter().all(|field| away.get(*field).is_none()), "{away}");
    }
}
