//! Upstream's behaviours as rows: which slices a service has.

use super::plan::{HEADLESS, MANAGED_BY, MANAGER, MOST, SERVICE_NAME, listed, plan};
use crate::objects::testing::{deleting, labels, meta, phase, pod, ready};
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod, PodIP, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn service(target: IntOrString) -> Service {
    let port = ServicePort { port: 80, target_port: Some(target), ..ServicePort::default() };
    let spec = ServiceSpec {
        selector: labels(&[("app", "web")]),
        ports: Some(vec![port]),
        cluster_ip: Some("127.96.0.9".into()),
        ..ServiceSpec::default()
    };
    Service { metadata: meta("web"), spec: Some(spec), ..Service::default() }
}

fn at(name: &str, ip: &str) -> Pod {
    let mut pod = ready(pod(name, "set"), 0);
    pod.status.get_or_insert_default().pod_ip = Some(ip.into());
    pod
}

fn many(count: usize) -> Vec<Pod> {
    (0..count).map(|n| at(&format!("pod-{n:04}"), &format!("10.0.{}.{}", n / 256, n % 256))).collect()
}

/// Applies the plan to the slices, naming the created ones; how many were created, updated, deleted. The plan after that
/// must be to do nothing.
fn apply(service: &Service, pods: &[Pod], slices: &mut Vec<EndpointSlice>) -> (usize, usize, usize) {
    let pods: Vec<&Pod> = pods.iter().collect();
    let zone = |node: &str| Some(format!("zone-of-{node}"));
    let before = slices.clone();
    let before: Vec<&EndpointSlice> = before.iter().collect();
    let decided = plan(service, &pods, &before, &zone);
    let counts = (decided.create.len(), decided.update.len(), decided.delete.len());
    for (base, new) in decided.update {
        *slices.iter_mut().find(|slice| slice.metadata.name == base.metadata.name).expect("there") = new;
    }
    slices.retain(|slice| !decided.delete.iter().any(|gone| gone.metadata.name == slice.metadata.name));
    for mut slice in decided.create {
        slice.metadata.name = Some(format!("s{}-{}", slices.len(), before.len()));
        slices.push(slice);
    }
    let after: Vec<&EndpointSlice> = slices.iter().collect();
    let again = plan(service, &pods, &after, &zone);
    assert_eq!((again.create.len(), again.update.len(), again.delete.len()), (0, 0, 0), "settled at once");
    counts
}

fn sizes(slices: &[EndpointSlice]) -> Vec<usize> {
    slices.iter().map(|slice| listed(&slice.endpoints).len()).collect()
}

#[test]
fn a_slice_says_all_about_its_service() {
    let mut slices = vec![];
    apply(&service(IntOrString::Int(8080)), &[at("a", "10.0.0.7")], &mut slices);
    let slice = &slices[0];
    assert_eq!(slice.metadata.labels, labels(&[(SERVICE_NAME, "web"), (MANAGED_BY, MANAGER)]));
    assert_eq!(slice.metadata.owner_references.as_ref().map(|owners| owners[0].kind.as_str()), Some("Service"));
    assert_eq!((slice.address_type.as_str(), listed(&slice.ports)[0].port), ("IPv4", Some(8080)));
    let endpoint = &listed(&slice.endpoints)[0];
    assert_eq!(endpoint.addresses, ["10.0.0.7"]);
    assert_eq!((endpoint.node_name.as_deref(), endpoint.zone.as_deref()), (Some("n1"), Some("zone-of-n1")));
    assert_eq!(endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()), Some("uid-a"));
}

#[test]
fn conditions() {
    let web = || at("a", "10.0.0.7");
    let unready = || {
        let mut pod = web();
        pod.status.get_or_insert_default().conditions = None;
        pod
    };
    // (pod, publishNotReadyAddresses) -> ready, serving, terminating
    let rows = [
        ("ready", web(), false, Some((true, true, false))),
        ("not ready", unready(), false, Some((false, false, false))),
        ("not ready but published", unready(), true, Some((true, false, false))),
        ("terminating", deleting(web(), 1), false, Some((false, true, true))),
        ("terminating and published", deleting(web(), 1), true, Some((true, true, true))),
        ("over", phase(web(), "Succeeded"), true, None),
        ("no address yet", pod("a", "set"), true, None),
        ("another family", at("a", "fd00::7"), true, None),
    ];
    for (what, pod, published, expected) in rows {
        let mut service = service(IntOrString::Int(1));
        service.spec.as_mut().expect("a spec").publish_not_ready_addresses = Some(published);
        let mut slices = vec![];
        apply(&service, &[pod], &mut slices);
        let found = listed(&slices[0].endpoints).first().and_then(|endpoint| endpoint.conditions.clone());
        let is = |flag: Option<bool>| flag == Some(true);
        assert_eq!(found.map(|c| (is(c.ready), is(c.serving), is(c.terminating))), expected, "{what}");
    }
}

#[test]
fn pods_that_name_the_port_differently_are_in_different_slices() {
    let named = |name: &str, ip: &str, number: Option<i32>| {
        let mut pod = at(name, ip);
        let port =
            |container_port| ContainerPort { name: Some("http".into()), container_port, ..ContainerPort::default() };
        let container = Container { ports: Some(number.map(port).into_iter().collect()), ..Container::default() };
        pod.spec.as_mut().expect("a spec").containers = vec![container];
        pod
    };
    let pods = [
        named("a", "10.0.0.1", Some(80)),
        named("b", "10.0.0.2", Some(81)),
        named("c", "10.0.0.3", Some(80)),
        named("d", "10.0.0.4", None),
    ];
    let mut slices = vec![];
    apply(&service(IntOrString::String("http".into())), &pods, &mut slices);
    let content = |slice: &EndpointSlice| {
        (listed(&slice.ports).first().and_then(|port| port.port), listed(&slice.endpoints).len())
    };
    let mut found: Vec<_> = slices.iter().map(content).collect();
    found.sort();
    assert_eq!(found, [(None, 1), (Some(80), 2), (Some(81), 1)]);
}

#[test]
fn both_families() {
    let mut service = service(IntOrString::Int(1));
    service.spec.as_mut().expect("a spec").ip_families = Some(vec!["IPv6".into(), "IPv4".into()]);
    let mut pod = at("a", "10.0.0.1");
    let ips = ["10.0.0.1", "fd00::1"].map(|ip| PodIP { ip: ip.into() });
    pod.status.as_mut().expect("a status").pod_ips = Some(ips.to_vec());
    let mut slices = vec![];
    assert_eq!(apply(&service, std::slice::from_ref(&pod), &mut slices), (2, 0, 0));
    service.spec.as_mut().expect("a spec").ip_families = Some(vec!["IPv4".into()]);
    assert_eq!(apply(&service, &[pod], &mut slices), (0, 0, 1), "a family that is given up");
}

#[test]
fn few_writes() {
    let service = service(IntOrString::Int(8080));
    let mut slices = vec![];
    assert_eq!(apply(&service, &[], &mut slices), (1, 0, 0), "a service without pods has an empty slice");
    assert_eq!(apply(&service, &many(3), &mut slices), (0, 1, 0), "which becomes the first one");
    assert_eq!(apply(&service, &many(250), &mut slices), (2, 1, 0));
    assert_eq!(sizes(&slices).iter().sum::<usize>(), 250);
    assert!(sizes(&slices).iter().all(|size| *size <= MOST));
    assert_eq!(apply(&service, &many(251), &mut slices), (0, 1, 0), "one more pod, one write");
    let mut pods = many(251);
    pods.remove(120);
    assert_eq!(apply(&service, &pods, &mut slices), (0, 1, 0), "one fewer, one write");
    pods.push(at("other", "10.9.9.9"));
    pods.remove(7);
    assert_eq!(apply(&service, &pods, &mut slices), (0, 1, 0), "a change that makes room takes the new one in");
    assert_eq!(apply(&service, &[], &mut slices), (0, 1, 2), "and back to one empty slice");
    assert_eq!(sizes(&slices), [0]);
}

#[test]
fn labels_follow_the_service() {
    let mut service = service(IntOrString::Int(1));
    let mut slices = vec![];
    apply(&service, &many(1), &mut slices);
    service.metadata.labels = labels(&[("tier", "front"), (MANAGED_BY, "me"), (HEADLESS, "no")]);
    service.spec.as_mut().expect("a spec").cluster_ip = Some("None".into());
    assert_eq!(apply(&service, &many(1), &mut slices), (0, 1, 0));
    let expected = labels(&[("tier", "front"), (SERVICE_NAME, "web"), (MANAGED_BY, MANAGER), (HEADLESS, "")]);
    assert_eq!(slices[0].metadata.labels, expected);
}
