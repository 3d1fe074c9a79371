//! EndpointSlice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::row::{Row, list, or};
use super::shape::Literal::Text;
use super::shape::{Object, PLAIN, Shape};
use crate::object::ResourceType;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
/// A cell lists so many, and says how many more there are.
const SHOWN: usize = 3;

pub(super) static ENDPOINT_SLICE: Entry = Entry {
    has_generation: true,
    has_status: false,
    columns: &[
        NAME,
        Title("AddressType", "string", "What its addresses are.", 0),
        Title("Ports", "string", "The ports that each endpoint has.", 0),
        Title("Endpoints", "string", "The addresses of its endpoints.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    rules: Rules {
        always,
        change: |new, old| {
            new.get("addressType").immutable(&old.get("addressType"));
        },
        ..ANYTHING
    },
    cells,
    ..Entry::of(ResourceType::of::<EndpointSlice>)
};

static DEFAULTS: Shape = Shape { parts: &[("ports", &PORT)], ..PLAIN };
static PORT: Shape = Shape { set: &[("name", Text("")), ("protocol", Text("TCP"))], rule: Some(drop_null), ..PLAIN };

/// No port number means all ports.
fn drop_null(port: &mut Object) {
    port.retain(|_, value| !value.is_null());
}

fn always(slice: &Field<'_, '_>) {
    let kind = slice.get("addressType");
    kind.required_one_of(&["FQDN", "IPv4", "IPv6"]);
    let endpoints = slice.get("endpoints");
    if endpoints.at_most(MAX_ENDPOINTS) {
        endpoints.items().for_each(|endpoint| one_endpoint(&endpoint, kind.text()));
    }
    let ports = slice.get("ports");
    if !ports.at_most(MAX_PORTS) {
        return;
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if name.named(names::dns_label) && !seen.insert(name.text()) {
            name.duplicate();
        }
        port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"]);
        port.get("port").within(1, 65_535);
        port.get("appProtocol").named(names::qualified_name);
    }
}

fn one_endpoint(endpoint: &Field<'_, '_>, kind: &str) {
    let addresses = endpoint.get("addresses");
    if addresses.len() == 0 {
        addresses.missing("must contain at least 1 address");
    } else if addresses.at_most(MAX_ADDRESSES) {
        for address in addresses.items() {
            let text = address.text();
            match kind {
                "IPv4" if text.parse::<Ipv4Addr>().is_err() => address.invalid("must be a valid IPv4 address"),
                "IPv6" if text.parse::<Ipv6Addr>().is_err() => address.invalid("must be a valid IPv6 address"),
                "FQDN" => {
                    address.named(|name| names::dns_subdomain(name.strip_suffix('.').unwrap_or(name)));
                }
                _ => {}
            }
        }
    }
    endpoint.get("nodeName").named(names::dns_subdomain);
    endpoint.get("hostname").named(names::dns_label);
    let (hints, mut zones) = (endpoint.get("hints"), BTreeSet::new());
    for zone in hints.get("forZones").items() {
        let name = zone.get("name");
        if name.required() && !zones.insert(name.text()) {
            name.duplicate();
        }
    }
}

fn cells(row: &Row<'_>) -> Vec<Value> {
    let ports = row.items("/ports").iter().map(|port| match (&port["port"], &port["name"]) {
        (Value::Number(number), _) => number.to_string(),
        (_, Value::String(name)) if !name.is_empty() => name.clone(),
        _ => "*".to_owned(),
    });
    let addresses = row.items("/endpoints").iter().flat_map(|endpoint| list(&endpoint["addresses"]));
    let addresses = addresses.map(|address| address.as_str().unwrap_or_default().to_owned());
    vec![row.name(), row.text("/addressType").into(), some_of(ports), some_of(addresses), row.age()]
}

fn some_of(all: impl Iterator<Item = String>) -> Value {
    let all: Vec<String> = all.collect();
    let shown = all[..all.len().min(SHOWN)].join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => or(shown, "<unset>"),
        more => format!("{shown} + {more} more...").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{errors, errors_of_change};
    use serde_json::json;

    #[test]
    fn slices_as_rows() {
        let shown = |slice: Value| cells(&Row { object: &slice, now: jiff::Timestamp::UNIX_EPOCH })[2..4].to_vec();
        assert_eq!(shown(json!({})), ["<unset>", "<unset>"]);
        let endpoints =
            json!([{"addresses": ["10.0.0.1", "10.0.0.2"]}, {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"]}]);
        let slice = json!({"endpoints": endpoints, "ports": [{"port": 80}, {"name": "x"}, {}]});
        assert_eq!(shown(slice), ["80,x,*", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more..."]);
    }

    #[test]
    fn what_a_slice_may_not_say() {
        let mut good = json!({
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n"}],
            "ports": [{"port": 80}, {"name": "b", "port": null}],
        });
        ENDPOINT_SLICE.defaults.fill(&mut good);
        assert_eq!(
            good["ports"],
            json!([{"name": "", "port": 80, "protocol": "TCP"}, {"name": "b", "protocol": "TCP"}])
        );
        assert_eq!(errors(&ENDPOINT_SLICE, &good), [""; 0]);
        let bad = json!({
            "addressType": "IPv4",
            "endpoints": [{"addresses": []}, {"addresses": ["::1"], "hostname": "A"}],
            "ports": [{"name": "a", "protocol": "TCP", "port": 0}, {"name": "a", "protocol": "tcp"}],
        });
        let found = errors(&ENDPOINT_SLICE, &bad);
        let fields: Vec<&str> = found.iter().map(|error| error.split(": ").next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "endpoints[0].addresses",
                "endpoints[1].addresses[0]",
                "endpoints[1].hostname",
                "ports[0].port",
                "ports[1].name",
                "ports[1].protocol",
            ]
        );
        assert_eq!(errors(&ENDPOINT_SLICE, &json!({"endpoints": null})), ["addressType: Required value"]);
        let changed =
            errors_of_change(&ENDPOINT_SLICE, &json!({"addressType": "IPv6"}), &json!({"addressType": "IPv4"}));
        assert_eq!(changed, ["addressType: Invalid value: \"IPv6\": field is immutable"]);
    }
}
