//! One service and its endpoints become frontends and entries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kore_api::object::ObjectKey;

use super::{Entry, Frontend, Protocol, SourceRange, Target, Topology, WhenEmpty};

/// A client keeps its target for three hours unless the service says otherwise.
const DEFAULT_AFFINITY: Duration = Duration::from_secs(10_800);
/// A service with this label is served by somebody else.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// One endpoint of one port, as far as eligibility depends on it.
struct Candidate {
    target: Target,
    ready: bool,
    serving: bool,
    terminating: bool,
    node_hints: BTreeSet<String>,
    zone_hints: BTreeSet<String>,
}

/// Every frontend of `service`, and where it leads.
pub(super) fn resolve<'a>(
    key: &ObjectKey,
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice> + Clone,
    topology: &Topology,
) -> BTreeMap<Frontend, Entry> {
    let mut entries = BTreeMap::new();
    let Some(spec) = service.spec.as_ref().filter(|spec| is_proxied(service, spec)) else {
        return entries;
    };
    let is_load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    let sources: Arc<[SourceRange]> =
        spec.load_balancer_source_ranges.iter().flatten().filter_map(|range| range.parse().ok()).collect();
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (protocol(port.protocol.as_deref()), u16::try_from(port.port)) else {
            continue;
        };
        let mut add = |address: IpAddr, number: u16, local: bool, sources: &Arc<[SourceRange]>| {
            let candidates = candidates(port, protocol, address.is_ipv4(), slices.clone(), topology);
            let (targets, when_empty) = eligible(&candidates, local, topology);
            let entry = Entry {
                service: key.clone(),
                port_name: port.name.clone().unwrap_or_default(),
                targets,
                when_empty,
                affinity: affinity(spec),
                sources: sources.clone(),
            };
            entries.insert(Frontend { address, protocol, port: number }, entry);
        };
        let anybody: Arc<[SourceRange]> = Arc::default();
        let load_balancers = load_balancer_addresses(service).filter(|_| is_load_balancer);
        for address in load_balancers {
            add(address, number, external_local, &sources);
        }
        for address in parsed(spec.external_ips.iter().flatten()) {
            add(address, number, external_local, &anybody);
        }
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        for (address, node_port) in topology.node_addresses.iter().zip(std::iter::repeat(node_port)) {
            if let Some(node_port) = node_port {
                add(*address, node_port, external_local, &anybody);
            }
        }
        for address in cluster_addresses(spec) {
            add(address, number, internal_local, &anybody);
        }
    }
    entries
}

fn is_proxied(service: &Service, spec: &ServiceSpec) -> bool {
    let labels = service.metadata.labels.as_ref();
    spec.type_.as_deref() != Some("ExternalName")
        && spec.cluster_ip.as_deref() != Some("None")
        && labels.is_none_or(|labels| !labels.contains_key(OTHER_PROXY_LABEL))
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn parsed<'a>(addresses: impl Iterator<Item = &'a String>) -> impl Iterator<Item = IpAddr> {
    addresses.filter_map(|address| address.parse().ok())
}

fn cluster_addresses(spec: &ServiceSpec) -> BTreeSet<IpAddr> {
    parsed(spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip)).collect()
}

fn load_balancer_addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingresses = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    // A balancer that delivers to the nodes as a proxy does not want its address captured.
    let captured = ingresses.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    parsed(captured.filter_map(|ingress| ingress.ip.as_ref()))
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    let client_ip = spec.session_affinity.as_deref() == Some("ClientIP");
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    client_ip.then(|| seconds.map_or(DEFAULT_AFFINITY, Duration::from_secs))
}

/// The endpoints of one service port, ordered by address. The same address in two slices counts once; ready wins.
fn candidates<'a>(
    port: &ServicePort,
    protocol_wanted: Protocol,
    ipv4: bool,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    topology: &Topology,
) -> Vec<Candidate> {
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let name = port.name.as_deref().unwrap_or_default();
    let mut found: BTreeMap<SocketAddr, Candidate> = BTreeMap::new();
    for slice in slices.filter(|slice| slice.address_type == family) {
        let ports = slice.ports.iter().flatten().filter(|port| {
            port.name.as_deref().unwrap_or_default() == name
                && protocol(port.protocol.as_deref()) == Some(protocol_wanted)
        });
        let numbers: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(address) = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok()) else {
                continue;
            };
            for number in &numbers {
                let candidate = candidate(endpoint, SocketAddr::new(address, *number), topology);
                let known = found.get(&candidate.target.address);
                if known.is_none_or(|known| !known.ready && candidate.ready) {
                    found.insert(candidate.target.address, candidate);
                }
            }
        }
    }
    found.into_values().collect()
}

fn candidate(endpoint: &Endpoint, address: SocketAddr, topology: &Topology) -> Candidate {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let hints = endpoint.hints.as_ref();
    let nodes = hints.and_then(|hints| hints.for_nodes.as_ref()).into_iter().flatten();
    let zones = hints.and_then(|hints| hints.for_zones.as_ref()).into_iter().flatten();
    let local = endpoint.node_name.as_ref().is_some_and(|name| topology.nodes.contains(name));
    Candidate {
        target: Target { address, local },
        ready,
        serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
        terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
        node_hints: nodes.map(|hint| hint.name.clone()).collect(),
        zone_hints: zones.map(|hint| hint.name.clone()).collect(),
    }
}

/// The endpoints that connections may go to: ready ones, else those that still serve while they terminate; with the policy
/// `Local` only the node's own, else those that hints assign to it, if there are hints.
fn eligible(candidates: &[Candidate], local: bool, topology: &Topology) -> (Arc<[Target]>, WhenEmpty) {
    let usable = |wanted: &dyn Fn(&Candidate) -> bool| -> Vec<&Candidate> {
        let ready: Vec<_> = candidates.iter().filter(|one| one.ready && wanted(one)).collect();
        if ready.is_empty() {
            candidates.iter().filter(|one| one.serving && one.terminating && wanted(one)).collect()
        } else {
            ready
        }
    };
    let anywhere = usable(&|_| true);
    let when_empty = if anywhere.is_empty() { WhenEmpty::Reject } else { WhenEmpty::Drop };
    let chosen = if local { usable(&|one| one.target.local) } else { hinted(&anywhere, topology).unwrap_or(anywhere) };
    (chosen.into_iter().map(|one| one.target).collect(), when_empty)
}

/// Those that hints assign to this node, else to its zone. Hints are used only if every ready endpoint has one and one matches.
fn hinted<'a>(usable: &[&'a Candidate], topology: &Topology) -> Option<Vec<&'a Candidate>> {
    let matching = |hints: fn(&Candidate) -> &BTreeSet<String>, own: &BTreeSet<String>| {
        let all_hinted = usable.iter().all(|one| one.ready && !hints(one).is_empty());
        let matching: Vec<_> = usable.iter().filter(|one| !hints(one).is_disjoint(own)).copied().collect();
        (all_hinted && !matching.is_empty()).then_some(matching)
    };
    matching(|one| &one.node_hints, &topology.nodes)
        .or_else(|| matching(|one| &one.zone_hints, &topology.zone.iter().cloned().collect()))
}
