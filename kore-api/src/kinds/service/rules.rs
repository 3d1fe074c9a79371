//! What a Service may say.

use std::collections::BTreeSet;

use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::{meta, names};

/// A day.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

pub(super) fn always(service: &Field<'_, '_>) {
    let spec = service.get("spec");
    let kind = spec.get("type");
    kind.required_one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    ports(&spec);
    match kind.text() {
        "ExternalName" => external_name(&spec),
        _ => addresses(&spec),
    }
    meta::labels(&spec.get("selector"));
    affinity(&spec);
    traffic(&spec);
    for address in spec.get("externalIPs").items() {
        address.named(names::ip);
    }
    if kind.text() != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            let field = spec.get(field);
            if field.is_set() {
                field.forbidden("may only be used when `type` is 'LoadBalancer'");
            }
        }
    }
}

pub(super) fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let keeps_address = [&spec, &before].iter().all(|spec| spec.get("type").text() != "ExternalName");
    let (now, then) = (spec.get("clusterIPs"), before.get("clusterIPs"));
    if let Some(was) = then.items().next().filter(|_| keeps_address) {
        let first = now.items().next();
        if first.map_or("", |first| first.text()) != was.text() {
            let path = format!("{now}[0]");
            now.report(FieldError::invalid(path, now.value().clone(), "may not change once set"));
        }
    }
}

fn ports(spec: &Field<'_, '_>) {
    let (ports, kind) = (spec.get("ports"), spec.get("type"));
    let headless = spec.get("clusterIP").text() == "None";
    if ports.len() == 0 && !headless && kind.text() != "ExternalName" {
        ports.missing("");
    }
    let (mut seen_names, mut seen, mut seen_node) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for port in ports.items() {
        let (name, number, protocol) = (port.get("name"), port.get("port"), port.get("protocol"));
        if name.text().is_empty() {
            if ports.len() > 1 {
                name.missing("");
            }
        } else {
            name.named(names::dns_label);
            if !seen_names.insert(name.text()) {
                name.duplicate();
            }
        }
        if number.is_set() {
            number.within(1, 65_535);
        } else {
            number.report(FieldError::invalid(number.path(), 0, "must be between 1 and 65535, inclusive"));
        }
        protocol.required_one_of(&["SCTP", "TCP", "UDP"]);
        let target = port.get("targetPort");
        match target.value().is_string() {
            true => target.named(names::port_name),
            false => target.within(1, 65_535),
        };
        port.get("appProtocol").named(names::qualified_name);
        if number.is_set() && !seen.insert((number.int(), protocol.text())) {
            let shown = serde_json::json!({"protocol": protocol.value(), "port": number.value()});
            port.report(FieldError::duplicate(port.path(), shown));
        }
        let node = port.get("nodePort");
        if let Some(taken) = node.int().filter(|number| *number != 0) {
            if kind.text() == "ClusterIP" {
                node.forbidden("may not be used when `type` is 'ClusterIP'");
            } else if !seen_node.insert((taken, protocol.text())) {
                node.duplicate();
            }
        }
    }
}

fn external_name(spec: &Field<'_, '_>) {
    let addresses = spec.get("clusterIPs");
    if addresses.len() > 0 || !spec.get("clusterIP").text().is_empty() {
        addresses.forbidden("may not be set for ExternalName services");
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        let field = spec.get(field);
        if field.len() > 0 {
            field.forbidden("may not be set for ExternalName services");
        }
    }
    let name = spec.get("externalName");
    if name.required() {
        // A final dot says that the name is complete.
        name.named(|name| names::dns_subdomain(name.strip_suffix('.').unwrap_or(name)));
    }
}

fn addresses(spec: &Field<'_, '_>) {
    let (first, all) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    let same = all.items().next().is_none_or(|address| address.text() == first.text());
    if !same {
        all.invalid("first value must match `clusterIP`");
    }
    if all.len() > 2 {
        all.invalid("may only hold up to 2 values");
    }
    for address in all.items() {
        match address.text() {
            "None" if all.len() > 1 => all.invalid("'None' must be the first and only value"),
            "None" if spec.get("type").text() != "ClusterIP" => {
                all.invalid(format!("may not be set to 'None' for {} services", spec.get("type").text()));
            }
            "None" => {}
            _ => {
                address.named(names::ip);
            }
        }
    }
    spec.get("ipFamilyPolicy").one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let mut seen = BTreeSet::new();
    for family in spec.get("ipFamilies").items() {
        if family.one_of(&["IPv4", "IPv6"]) && !seen.insert(family.text()) {
            family.duplicate();
        }
    }
}

fn affinity(spec: &Field<'_, '_>) {
    let (affinity, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    affinity.required_one_of(&["ClientIP", "None"]);
    match affinity.text() {
        "ClientIP" => {
            let client = config.get("clientIP");
            let timeout = client.get("timeoutSeconds");
            match timeout.int() {
                None => timeout.missing("when session affinity type is ClientIP"),
                Some(1..=MAX_AFFINITY_SECONDS) => {}
                Some(_) => timeout.invalid(format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}")),
            }
        }
        "None" if config.is_set() => config.forbidden("must not be set when session affinity is None"),
        _ => {}
    }
}

fn traffic(spec: &Field<'_, '_>) {
    let reaches_out =
        matches!(spec.get("type").text(), "NodePort" | "LoadBalancer") || spec.get("externalIPs").len() > 0;
    let outward = spec.get("externalTrafficPolicy");
    if outward.text().is_empty() {
        if reaches_out {
            outward.missing("");
        }
    } else if !reaches_out {
        outward.invalid("may only be set for externally-accessible services");
    } else {
        outward.one_of(&["Cluster", "Local"]);
    }
    let inward = spec.get("internalTrafficPolicy");
    if spec.get("type").text() != "ExternalName" {
        inward.required_one_of(&["Cluster", "Local"]);
    }
    spec.get("trafficDistribution").one_of(&["PreferClose", "PreferSameNode", "PreferSameZone"]);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::service::SERVICE;
    use crate::kinds::service::tests::service;
    use crate::kinds::testing::{errors, errors_of_change};

    #[test]
    fn what_a_service_may_not_say() {
        let one = json!([{"port": 80}]);
        for (spec, expected) in [
            (json!({"ports": one}), vec![]),
            (json!({"clusterIP": "None"}), vec![]),
            (json!({"type": "ExternalName", "externalName": "a.example."}), vec![]),
            (json!({}), vec!["spec.ports: Required value"]),
            (
                json!({"ports": [{"port": 80}, {"port": 81, "name": "a"}, {"port": 82, "name": "a"}]}),
                vec!["spec.ports[0].name: Required value", "spec.ports[2].name: Duplicate value: \"a\""],
            ),
            (
                json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
                vec!["spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}"],
            ),
            (
                json!({"ports": [{"port": 65536}]}),
                vec![
                    "spec.ports[0].port: Invalid value: 65536: must be between 1 and 65535, inclusive",
                    "spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                json!({"ports": [{"port": 80, "protocol": "tcp"}]}),
                vec![
                    "spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                ],
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30080}]}),
                vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                json!({"type": "Cluster", "ports": one}),
                vec![
                    "spec.type: Unsupported value: \"Cluster\": supported values: \"ClusterIP\", \"ExternalName\", \
                     \"LoadBalancer\", \"NodePort\"",
                    "spec.internalTrafficPolicy: Required value",
                ],
            ),
            (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value"]),
            (
                json!({"ports": one, "clusterIP": "10.0.0"}),
                vec![
                    "spec.clusterIPs[0]: Invalid value: \"10.0.0\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (
                json!({"ports": one, "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
                vec![
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than \
                     86400",
                ],
            ),
            (
                json!({"ports": one, "externalTrafficPolicy": "Local"}),
                vec![
                    "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
                ],
            ),
            (
                json!({"ports": one, "type": "NodePort", "clusterIP": "None"}),
                vec!["spec.clusterIPs: Invalid value: [\"None\"]: may not be set to 'None' for NodePort services"],
            ),
        ] {
            assert_eq!(errors(&SERVICE, &service(spec.clone())), expected, "{spec}");
        }
    }

    #[test]
    fn the_address_stays() {
        let with = |address: Value| service(json!({"ports": [{"port": 80}], "clusterIP": address}));
        let found = errors_of_change(&SERVICE, &with(json!("10.0.0.8")), &with(json!("10.0.0.7")));
        assert_eq!(found, ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.8\"]: may not change once set"]);
        assert_eq!(errors_of_change(&SERVICE, &with(json!("10.0.0.7")), &with(json!("10.0.0.7"))), [""; 0]);
        let name = service(json!({"type": "ExternalName", "externalName": "a.b"}));
        assert_eq!(errors_of_change(&SERVICE, &name, &with(json!("10.0.0.7"))), [""; 0]);
    }
}
