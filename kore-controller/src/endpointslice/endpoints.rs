//! The endpoint of one pod, and the ports of one service at one pod.

use crate::objects::pods;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::IpAddr;

/// The kind of addresses in a slice: the values of `addressType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// The families for which a service has slices: those it was given, else that of its address, else IPv4.
pub(crate) fn families(spec: &ServiceSpec) -> Vec<Family> {
    let family = |name: &String| match name.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    };
    let given: Vec<Family> = spec.ip_families.iter().flatten().filter_map(family).collect();
    if !given.is_empty() {
        return given;
    }
    vec![spec.cluster_ip.as_deref().and_then(family_of).unwrap_or(Family::V4)]
}

/// The pod's endpoint for the service in this family; `None` for a pod that is over or has no address of the family.
pub(crate) fn endpoint(
    service: &Service,
    pod: &Pod,
    family: Family,
    zone: &dyn Fn(&str) -> Option<String>,
) -> Option<Endpoint> {
    if pods::is_terminated(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let mut all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).chain(status.pod_ip.as_deref());
    let address = all.find(|ip| family_of(ip) == Some(family))?.to_owned();
    let service_spec = service.spec.as_ref()?;
    let spec = pod.spec.as_ref()?;
    let node = Some(pods::node_name(pod)).filter(|node| !node.is_empty());
    let serving = pods::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let published = service_spec.publish_not_ready_addresses == Some(true);
    let has_name = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(published || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: spec.hostname.clone().filter(|hostname| has_name && !hostname.is_empty()),
        node_name: node.map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        zone: node.and_then(zone),
        ..Endpoint::default()
    })
}

/// The service's ports at this pod; a port that the pod does not name is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let spec = service.spec.as_ref();
    let ports = spec.into_iter().flat_map(|spec| spec.ports.iter().flatten());
    let endpoint_port = |port: &ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target(port, pod)?),
            protocol: Some(protocol(port.protocol.as_deref()).into()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.filter_map(endpoint_port).collect()
}

fn target(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut named = ports.filter(|found| found.name.as_ref() == Some(name));
    let found = named.find(|found| protocol(found.protocol.as_deref()) == protocol(port.protocol.as_deref()))?;
    Some(found.container_port)
}

fn protocol(protocol: Option<&str>) -> &str {
    protocol.unwrap_or("TCP")
}

fn family_of(address: &str) -> Option<Family> {
    match address.parse().ok()? {
        IpAddr::V4(_) => Some(Family::V4),
        IpAddr::V6(_) => Some(Family::V6),
    }
}
