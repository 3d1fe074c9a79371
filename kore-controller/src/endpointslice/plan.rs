//! How a service's endpoints are spread over slices: pure.

use super::endpoints::{Family, endpoint, families, ports};
use crate::objects::claim::controller_reference;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::ops::Deref;

/// The most endpoints in one slice.
pub(crate) const MOST: usize = 100;
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The writes, in this order: an endpoint that moves is never missing in between.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan<S> {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<(S, EndpointSlice)>,
    pub(crate) delete: Vec<S>,
}

/// Decides. `pods` are those that the service selects, `slices` those that this controller made for it, `zone` says in
/// which zone a node is.
pub(crate) fn plan<P, S>(service: &Service, pods: &[P], slices: &[S], zone: &dyn Fn(&str) -> Option<String>) -> Plan<S>
where
    P: Deref<Target = Pod>,
    S: Deref<Target = EndpointSlice> + Clone,
{
    let mut plan = Plan { create: vec![], update: vec![], delete: vec![] };
    let families = service.spec.as_ref().map(families).unwrap_or_default();
    let family_of = |slice: &S| families.iter().copied().find(|family| family.as_str() == slice.address_type);
    let (kept, lost): (Vec<&S>, Vec<&S>) = slices.iter().partition(|slice| family_of(slice).is_some());
    plan.delete.extend(lost.into_iter().cloned());
    for family in families.iter().copied() {
        let mut desired: BTreeMap<PortsKey, Group> = BTreeMap::new();
        for pod in pods {
            if let Some(endpoint) = endpoint(service, pod, family, zone) {
                let ports = ports(service, pod);
                let empty = |ports| Group { ports, endpoints: BTreeMap::new() };
                let group = desired.entry(key_of(&ports)).or_insert_with(|| empty(ports));
                group.endpoints.insert(identity(&endpoint), endpoint);
            }
        }
        let slices = kept.iter().copied().filter(|slice| family_of(slice) == Some(family)).collect();
        spread(&mut plan, &Blueprint::new(service, family), desired, slices);
    }
    plan
}

/// The endpoints that share their ports, and so may share a slice.
struct Group {
    ports: Vec<EndpointPort>,
    endpoints: BTreeMap<Identity, Endpoint>,
}

/// Ports in a form that has an order.
type PortsKey = Vec<(String, i32, String, String)>;
/// What makes an endpoint the same one when its conditions change: its address and its pod.
type Identity = (Vec<String>, Option<String>);

fn key_of(ports: &[EndpointPort]) -> PortsKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let key = |port: &EndpointPort| {
        (text(&port.name), port.port.unwrap_or(0), text(&port.protocol), text(&port.app_protocol))
    };
    let mut keys: PortsKey = ports.iter().map(key).collect();
    keys.sort();
    keys
}

fn identity(endpoint: &Endpoint) -> Identity {
    (endpoint.addresses.clone(), endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()))
}

/// What all slices of one service and family have in common.
struct Blueprint {
    metadata: ObjectMeta,
    family: Family,
}

impl Blueprint {
    fn new(service: &Service, family: Family) -> Self {
        let meta = &service.metadata;
        let name = meta.name.clone().unwrap_or_default();
        let mut labels = meta.labels.clone().unwrap_or_default();
        labels.remove(HEADLESS);
        labels.insert(SERVICE_NAME.into(), name.clone());
        labels.insert(MANAGED_BY.into(), MANAGER.into());
        if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
            labels.insert(HEADLESS.into(), String::new());
        }
        let metadata = ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference::<Service>(meta)]),
            ..ObjectMeta::default()
        };
        Blueprint { metadata, family }
    }

    fn slice(&self, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
        EndpointSlice {
            address_type: self.family.as_str().into(),
            metadata: self.metadata.clone(),
            ports: Some(ports.to_vec()),
            endpoints: Some(endpoints),
        }
    }

    /// The slice `base` with this content and up-to-date metadata, if that is a change.
    fn rewritten(&self, base: &EndpointSlice, content: EndpointSlice) -> Option<EndpointSlice> {
        let metadata = ObjectMeta {
            labels: self.metadata.labels.clone(),
            owner_references: self.metadata.owner_references.clone(),
            ..base.metadata.clone()
        };
        let same = metadata == base.metadata
            && listed(&base.ports) == listed(&content.ports)
            && listed(&base.endpoints) == listed(&content.endpoints);
        (!same).then_some(EndpointSlice { metadata, ..content })
    }
}

/// A list that may be absent.
pub(crate) fn listed<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

fn spread<S>(plan: &mut Plan<S>, blueprint: &Blueprint, desired: BTreeMap<PortsKey, Group>, slices: Vec<&S>)
where
    S: Deref<Target = EndpointSlice> + Clone,
{
    let mut by_ports: BTreeMap<PortsKey, Vec<&S>> = BTreeMap::new();
    for slice in slices {
        by_ports.entry(key_of(listed(&slice.ports))).or_default().push(slice);
    }
    let mut fresh: Vec<EndpointSlice> = Vec::new();
    let mut unused: Vec<&S> = Vec::new();
    if desired.is_empty() {
        // A service without endpoints has one empty slice, so that "none" differs from "not looked at yet".
        fresh.push(blueprint.slice(&[], Vec::new()));
    }
    for (key, group) in desired {
        let existing = by_ports.remove(&key).unwrap_or_default();
        for (slice, content) in fill(blueprint, group, existing, &mut fresh) {
            if listed(&content.endpoints).is_empty() {
                unused.push(slice);
            } else if let Some(new) = blueprint.rewritten(slice, content) {
                plan.update.push((slice.clone(), new));
            }
        }
    }
    unused.extend(by_ports.into_values().flatten());
    // A slice that would go is rewritten into one that would come.
    let mut unused = unused.into_iter();
    for content in fresh {
        match unused.next() {
            Some(slice) => {
                plan.update.extend(blueprint.rewritten(slice, content).map(|new| (slice.clone(), new)));
            }
            None => plan.create.push(content),
        }
    }
    plan.delete.extend(unused.cloned());
}

/// Spreads one group: endpoints stay in the slice they are in; new ones fill slices that change anyway, then the fullest
/// slice with room for all that is left, then new slices. Returns the existing slices with their content.
fn fill<'s, S: Deref<Target = EndpointSlice>>(
    blueprint: &Blueprint,
    group: Group,
    existing: Vec<&'s S>,
    fresh: &mut Vec<EndpointSlice>,
) -> Vec<(&'s S, EndpointSlice)> {
    let Group { ports, mut endpoints } = group;
    let mut kept: Vec<(&S, Vec<Endpoint>)> = Vec::new();
    for slice in existing {
        // Hints are not this controller's: they stay as they are.
        let with_hints = |old: &Endpoint, new| Endpoint { hints: old.hints.clone(), ..new };
        let stays = |old: &Endpoint| endpoints.remove(&identity(old)).map(|new| with_hints(old, new));
        let content = listed(&slice.endpoints).iter().take(MOST).filter_map(stays).collect();
        kept.push((slice, content));
    }
    let mut rest: Vec<Endpoint> = endpoints.into_values().collect();
    kept.sort_by_key(|(_, content)| std::cmp::Reverse(content.len()));
    for (slice, content) in &mut kept {
        let changes = content[..] != *listed(&slice.endpoints);
        if changes && !content.is_empty() {
            top_up(content, &mut rest);
        }
    }
    while rest.len() >= MOST {
        let full = rest.drain(..MOST).collect();
        fresh.push(blueprint.slice(&ports, full));
    }
    if !rest.is_empty() {
        match kept.iter_mut().find(|(_, content)| content.len() + rest.len() <= MOST) {
            Some((_, content)) => top_up(content, &mut rest),
            None => fresh.push(blueprint.slice(&ports, rest)),
        }
    }
    kept.into_iter().map(|(slice, content)| (slice, blueprint.slice(&ports, content))).collect()
}

fn top_up(content: &mut Vec<Endpoint>, rest: &mut Vec<Endpoint>) {
    let room = MOST.saturating_sub(content.len()).min(rest.len());
    content.extend(rest.drain(..room));
}
