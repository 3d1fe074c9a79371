//! The service map: upstream's behaviours as rows, and every history ends where a fresh start does.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::object::ObjectKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Frontend, Operation, Protocol, ServiceMap, Snapshot, SourceRange, Topology, WhenEmpty};

fn key(name: &str) -> ObjectKey {
    ObjectKey::namespaced("ns", name)
}

fn service(name: &str, spec: Value) -> Arc<Service> {
    let service = json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec});
    Arc::new(serde_json::from_value(service).unwrap())
}

/// A slice of `service` with one port 8080 named `http` and these endpoints.
fn slice(name: &str, service: &str, endpoints: Value) -> Arc<EndpointSlice> {
    let slice = json!({
        "metadata": {"name": name, "namespace": "ns", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    });
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn http(cluster_ip: &str) -> Value {
    json!({"clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ports": [{"name": "http", "port": 80}]})
}

fn with(mut base: Value, more: Value) -> Value {
    let (Value::Object(base_fields), Value::Object(more)) = (&mut base, more) else { unreachable!() };
    base_fields.extend(more);
    base
}

fn topology() -> Topology {
    Topology {
        nodes: ["here".into()].into(),
        zone: Some("a".into()),
        node_addresses: vec!["192.0.2.1".parse().unwrap()],
    }
}

fn map_of(spec: Value, endpoints: Value) -> ServiceMap {
    let mut map = ServiceMap::new(topology());
    map.set_service(&key("web"), Some(service("web", spec)));
    map.set_slice(&key("web-1"), Some(slice("web-1", "web", endpoints)));
    map.take_delta();
    map
}

fn tcp(address: &str, port: u16) -> Frontend {
    Frontend { address: address.parse().unwrap(), protocol: Protocol::Tcp, port }
}

/// The last numbers of the addresses that a frontend leads to.
fn targets(map: &ServiceMap, frontend: Frontend) -> Vec<u8> {
    let entry = map.served(&frontend).expect("served");
    entry
        .targets
        .iter()
        .map(|target| match target.address.ip() {
            std::net::IpAddr::V4(address) => address.octets()[3],
            std::net::IpAddr::V6(_) => unreachable!("the tests' endpoints are IPv4"),
        })
        .collect()
}

fn endpoint(last: u8, conditions: Value) -> Value {
    json!({"addresses": [format!("10.0.0.{last}")], "conditions": conditions})
}

#[test]
fn which_endpoints_are_eligible() {
    let ready = json!({"ready": true});
    let unready = json!({"ready": false});
    let stopping = json!({"ready": false, "serving": true, "terminating": true});
    let stopped = json!({"ready": false, "serving": false, "terminating": true});
    for (name, endpoints, eligible) in [
        ("ready ones", json!([endpoint(1, ready.clone()), endpoint(2, unready.clone())]), vec![1]),
        ("no conditions means ready", json!([endpoint(1, json!({}))]), vec![1]),
        (
            "terminating ones only without ready ones",
            json!([endpoint(1, ready.clone()), endpoint(2, stopping.clone())]),
            vec![1],
        ),
        (
            "those that still serve while terminating",
            json!([endpoint(1, stopping.clone()), endpoint(2, stopped)]),
            vec![1],
        ),
        ("never unready ones that do not terminate", json!([endpoint(1, unready)]), vec![]),
        (
            "ordered by address, once each",
            json!([endpoint(3, ready.clone()), endpoint(1, ready.clone()), endpoint(3, ready)]),
            vec![1, 3],
        ),
        ("none", json!([]), vec![]),
    ] {
        let map = map_of(http("10.96.0.1"), endpoints);
        assert_eq!(targets(&map, tcp("10.96.0.1", 80)), eligible, "{name}");
    }
}

#[test]
fn traffic_policy_and_hints() {
    let on = |last: u8, node: &str, zone: &str| json!({"addresses": [format!("10.0.0.{last}")], "nodeName": node, "hints": {"forZones": [{"name": zone}]}});
    let no_hint = json!({"addresses": ["10.0.0.9"], "nodeName": "there"});
    let local = json!({"internalTrafficPolicy": "Local"});
    for (name, policy, endpoints, eligible, when_empty) in [
        ("hints of the zone", json!({}), json!([on(1, "there", "a"), on(2, "here", "b")]), vec![1], WhenEmpty::Drop),
        (
            "an endpoint without hint: all",
            json!({}),
            json!([on(1, "there", "a"), no_hint]),
            vec![1, 9],
            WhenEmpty::Drop,
        ),
        (
            "no hint matches: all",
            json!({}),
            json!([on(1, "there", "b"), on(2, "here", "c")]),
            vec![1, 2],
            WhenEmpty::Drop,
        ),
        (
            "local ignores hints",
            local.clone(),
            json!([on(1, "there", "a"), on(2, "here", "b")]),
            vec![2],
            WhenEmpty::Drop,
        ),
        ("local with none: dropped", local.clone(), json!([on(1, "there", "a")]), vec![], WhenEmpty::Drop),
        ("local with none anywhere: rejected", local, json!([]), vec![], WhenEmpty::Reject),
    ] {
        let map = map_of(with(http("10.96.0.1"), policy), endpoints);
        let frontend = tcp("10.96.0.1", 80);
        assert_eq!(targets(&map, frontend), eligible, "{name}");
        assert_eq!(map.served(&frontend).unwrap().when_empty, when_empty, "{name}");
    }
}

#[test]
fn node_hints_come_before_zone_hints() {
    let hinted = |last: u8, node: &str, zone: &str| {
        let hints = json!({"forNodes": [{"name": node}], "forZones": [{"name": zone}]});
        json!({"addresses": [format!("10.0.0.{last}")], "hints": hints})
    };
    let map = map_of(http("10.96.0.1"), json!([hinted(1, "there", "a"), hinted(2, "here", "b")]));
    assert_eq!(targets(&map, tcp("10.96.0.1", 80)), [2]);
}

#[test]
fn which_frontends_a_service_has() {
    let node_port = json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    for (name, spec, frontends) in [
        ("cluster address", http("10.96.0.1"), vec!["10.96.0.1:80/TCP"]),
        ("headless", http("None"), vec![]),
        ("no address yet", json!({"ports": [{"port": 80}]}), vec![]),
        ("a name elsewhere", json!({"type": "ExternalName", "externalName": "x"}), vec![]),
        (
            "external addresses",
            with(http("10.96.0.1"), json!({"externalIPs": ["192.0.2.9"]})),
            vec!["10.96.0.1:80/TCP", "192.0.2.9:80/TCP"],
        ),
        ("node port", with(http("10.96.0.1"), node_port), vec!["10.96.0.1:80/TCP", "192.0.2.1:30080/TCP"]),
        (
            "protocols",
            json!({"clusterIP": "10.96.0.1", "ports": [{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53}]}),
            vec!["10.96.0.1:53/TCP", "10.96.0.1:53/UDP"],
        ),
        (
            "two families",
            json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 80}]}),
            vec!["10.96.0.1:80/TCP", "[fd00::1]:80/TCP"],
        ),
    ] {
        let map = map_of(spec, json!([]));
        let found: Vec<String> = map.snapshot().entries.keys().map(ToString::to_string).collect();
        assert_eq!(found, frontends, "{name}");
    }
}

#[test]
fn a_load_balancer_admits_its_source_ranges_only() {
    let mut web = Service::clone(&service(
        "web",
        with(
            http("10.96.0.1"),
            json!({
                "type": "LoadBalancer", "loadBalancerSourceRanges": ["198.51.100.0/24"],
            }),
        ),
    ));
    web.status = serde_json::from_value(
        json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}, {"ip": "203.0.113.6", "ipMode": "Proxy"}]}}),
    )
    .unwrap();
    let mut map = ServiceMap::new(topology());
    map.set_service(&key("web"), Some(Arc::new(web)));
    map.take_delta();
    let balancer = map.served(&tcp("203.0.113.5", 80)).unwrap();
    assert_eq!(balancer.sources.len(), 1);
    assert!(map.served(&tcp("10.96.0.1", 80)).unwrap().sources.is_empty());
    assert!(map.served(&tcp("203.0.113.6", 80)).is_none());
}

#[test]
fn source_ranges() {
    for (range, address, contained) in [
        ("198.51.100.0/24", "198.51.100.7", true),
        ("198.51.100.0/24", "198.51.101.7", false),
        ("0.0.0.0/0", "203.0.113.1", true),
        ("0.0.0.0/0", "::1", false),
        ("198.51.100.0/24", "::ffff:198.51.100.7", true),
        ("fd00::/8", "fd12::1", true),
        ("203.0.113.1/32", "203.0.113.2", false),
    ] {
        let range: SourceRange = range.parse().unwrap();
        assert_eq!(range.contains(address.parse().unwrap()), contained, "{range:?} {address}");
    }
    for bad in ["198.51.100.0", "198.51.100.0/33", "x/8", "fd00::/129"] {
        assert!(bad.parse::<SourceRange>().is_err(), "{bad}");
    }
}

#[test]
fn a_slice_may_come_before_its_service_and_outlive_it() {
    let mut map = ServiceMap::new(topology());
    map.set_slice(&key("web-1"), Some(slice("web-1", "web", json!([endpoint(1, json!({}))]))));
    assert_eq!(map.take_delta(), None);
    map.set_service(&key("web"), Some(service("web", http("10.96.0.1"))));
    assert!(map.take_delta().is_some());
    assert_eq!(targets(&map, tcp("10.96.0.1", 80)), [1]);
    map.set_service(&key("web"), None);
    let delta = map.take_delta().unwrap();
    assert_eq!(delta.operations, [Operation::Remove(tcp("10.96.0.1", 80))]);
    map.set_slice(&key("web-1"), None);
    assert_eq!(map.take_delta(), None);
}

#[test]
fn the_first_by_name_has_a_frontend_and_the_next_follows() {
    let mut map = ServiceMap::new(topology());
    let shared = |cluster_ip: &str| with(http(cluster_ip), json!({"externalIPs": ["192.0.2.9"]}));
    map.set_service(&key("b"), Some(service("b", shared("10.96.0.2"))));
    map.take_delta();
    let frontend = tcp("192.0.2.9", 80);
    assert_eq!(map.served(&frontend).unwrap().service, key("b"));
    map.set_service(&key("a"), Some(service("a", shared("10.96.0.1"))));
    map.take_delta();
    assert_eq!(map.served(&frontend).unwrap().service, key("a"));
    map.set_service(&key("a"), None);
    map.take_delta();
    assert_eq!(map.served(&frontend).unwrap().service, key("b"));
}

#[test]
fn udp_flows_to_targets_that_are_gone_are_stale() {
    let dns = json!({"clusterIP": "10.96.0.1", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]});
    let dns_slice = |lasts: &[u8]| {
        let endpoints: Vec<Value> = lasts.iter().map(|last| endpoint(*last, json!({}))).collect();
        let mut slice = EndpointSlice::clone(&slice("web-1", "web", json!(endpoints)));
        slice.ports = serde_json::from_value(json!([{"name": "dns", "port": 53, "protocol": "UDP"}])).unwrap();
        Some(Arc::new(slice))
    };
    let mut map = ServiceMap::new(topology());
    map.set_service(&key("web"), Some(service("web", dns)));
    map.set_slice(&key("web-1"), dns_slice(&[1, 2]));
    assert!(map.take_delta().unwrap().stale_udp.is_empty());
    map.set_slice(&key("web-1"), dns_slice(&[2, 3]));
    let frontend = Frontend { address: "10.96.0.1".parse().unwrap(), protocol: Protocol::Udp, port: 53 };
    assert_eq!(map.take_delta().unwrap().stale_udp, [(frontend, "10.0.0.1:53".parse().unwrap())]);
}

/// One change in a random history.
#[derive(Clone, Debug)]
enum Event {
    Service(u8, Option<u8>),
    Slice(u8, Option<(u8, Vec<u8>)>),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let service = (0..4_u8, proptest::option::of(0..3_u8)).prop_map(|(name, address)| Event::Service(name, address));
    let endpoints = proptest::collection::vec(1..6_u8, 0..4);
    let slice = (0..6_u8, proptest::option::of((0..4_u8, endpoints))).prop_map(|(name, of)| Event::Slice(name, of));
    proptest::collection::vec(prop_oneof![service, slice], 0..60)
}

fn feed(map: &mut ServiceMap, event: &Event) {
    match event {
        Event::Service(name, address) => {
            let name = format!("s{name}");
            let made = |address: &u8| {
                service(&name, with(http(&format!("10.96.0.{address}")), json!({"externalIPs": ["192.0.2.9"]})))
            };
            map.set_service(&key(&name), address.as_ref().map(made));
        }
        Event::Slice(name, of) => {
            let name = format!("slice{name}");
            let made = |(service, lasts): &(u8, Vec<u8>)| {
                let endpoints: Vec<Value> = lasts.iter().map(|last| endpoint(*last, json!({}))).collect();
                slice(&name, &format!("s{service}"), json!(endpoints))
            };
            map.set_slice(&key(&name), of.as_ref().map(made));
        }
    }
}

proptest! {
    #[test]
    fn deltas_end_where_a_fresh_start_does(history in events(), flush in proptest::collection::vec(any::<bool>(), 60)) {
        let mut map = ServiceMap::new(topology());
        let mut followed = Snapshot::default();
        for (event, flush) in history.iter().zip(flush) {
            feed(&mut map, event);
            if flush && let Some(delta) = map.take_delta() {
                let frontends: BTreeSet<_> = super::super::driver::touched(&delta);
                prop_assert_eq!(frontends.len(), delta.operations.len(), "one operation a frontend");
                followed.apply(&delta);
            }
        }
        if let Some(delta) = map.take_delta() {
            followed.apply(&delta);
        }
        let mut fresh = ServiceMap::new(topology());
        for event in &history {
            feed(&mut fresh, event);
        }
        fresh.take_delta();
        prop_assert_eq!(&followed.entries, &map.snapshot().entries);
        prop_assert_eq!(&followed.entries, &fresh.snapshot().entries);
    }
}
