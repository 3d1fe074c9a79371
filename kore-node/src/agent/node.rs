//! The Node object and its lease.

use std::{collections::BTreeMap, path::Path, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            ContainerImage, DaemonEndpoint, Namespace, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
            NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kore_api::{client::Api, error::Error, object::View};
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;

/// How often the lease is renewed and the node's state is looked at.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// For how long a lease says that the node lives, in seconds.
const LEASE_SECONDS: i32 = 40;
/// How often the status is written though nothing has changed.
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// How soon a failed registration is tried again.
const RETRY: Duration = Duration::from_millis(500);
const LEASES: &str = "kube-node-lease";
/// Below this much available memory, in bytes, the node says so.
const MEMORY_PRESSURE: u64 = 100 * 1024 * 1024;
/// Below this part of the file system the node says so, in percent.
const DISK_PRESSURE: u64 = 10;

/// Keeps the Node and its lease up to date, for ever.
pub(super) async fn maintain(shared: &Shared) {
    while let Err(error) = register(shared).await {
        tracing::debug!(node = %shared.node, %error, "the node is not registered yet");
        tokio::time::sleep(RETRY).await;
    }
    let mut tick = interval(RENEW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (status, lease) = futures::join!(report(shared), renew(shared));
        for result in [status, lease] {
            if let Err(error) = result {
                tracing::warn!(node = %shared.node, %error, "the node's heartbeat failed");
            }
        }
    }
}

/// Makes the Node, or makes an old one this node's.
async fn register(shared: &Shared) -> Result<(), Error> {
    let api: Api<Node> = shared.client.api();
    let mut node = Node {
        metadata: ObjectMeta { name: Some(shared.node.clone()), labels: Some(labels(shared)), ..ObjectMeta::default() },
        spec: Some(NodeSpec {
            pod_cidr: shared.pod_cidr.clone(),
            pod_cidrs: shared.pod_cidr.clone().map(|range| vec![range]),
            ..NodeSpec::default()
        }),
        status: None,
    };
    node.status = Some(status(shared, None).await);
    let known = match api.get_opt(&shared.node).await? {
        Some(known) => known,
        None => match api.create(&node).await {
            Ok(created) => created,
            Err(error) if error.is_already_exists() => api.get(&shared.node).await?,
            Err(error) => return Err(error),
        },
    };
    let mut wanted = known.to_owned();
    let now = wanted.metadata.labels.get_or_insert_default();
    now.extend(labels(shared));
    let spec = wanted.spec.get_or_insert_default();
    if spec.pod_cidr.is_none() {
        spec.pod_cidr.clone_from(&shared.pod_cidr);
        spec.pod_cidrs = shared.pod_cidr.clone().map(|range| vec![range]);
    }
    let known = match wanted.metadata == known.metadata && wanted.spec == known.spec {
        true => known,
        false => api.replace(&known, &wanted).await?,
    };
    write_status(shared, &api, &known).await
}

async fn write_status(shared: &Shared, api: &Api<Node>, known: &View<Node>) -> Result<(), Error> {
    let mut new = known.to_owned();
    new.status = Some(status(shared, known.status.as_ref()).await);
    api.replace_status(known, &new).await.map(drop)
}

/// Writes the status if it has changed, or has not been written for long.
async fn report(shared: &Shared) -> Result<(), Error> {
    let api: Api<Node> = shared.client.api();
    let Some(known) = api.get_opt(&shared.node).await? else {
        // Somebody deleted it while the node lives.
        return register(shared).await;
    };
    let old = known.status.clone().unwrap_or_default();
    let new = status(shared, Some(&old)).await;
    let last = old.conditions.iter().flatten().find(|one| one.type_ == "Ready");
    let last = last.and_then(|ready| ready.last_heartbeat_time.as_ref());
    let now = shared.client.clock().now();
    let stale = last.is_none_or(|last| now.duration_since(last.0).unsigned_abs() >= REPORT_EVERY);
    if !stale && without_heartbeat(&old) == without_heartbeat(&new) {
        return Ok(());
    }
    write_status(shared, &api, &known).await
}

fn without_heartbeat(status: &NodeStatus) -> NodeStatus {
    let mut status = status.clone();
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = None;
    }
    status
}

async fn renew(shared: &Shared) -> Result<(), Error> {
    let api: Api<Lease> = shared.client.namespaced(LEASES);
    let now = MicroTime(shared.client.clock().now());
    let spec = LeaseSpec {
        holder_identity: Some(shared.node.clone()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(now),
        ..LeaseSpec::default()
    };
    if let Some(known) = api.get_opt(&shared.node).await? {
        let mut new = known.to_owned();
        new.spec = Some(LeaseSpec {
            lease_transitions: known.spec.as_ref().and_then(|spec| spec.lease_transitions),
            acquire_time: known.spec.as_ref().and_then(|spec| spec.acquire_time.clone()),
            ..spec
        });
        return api.replace(&known, &new).await.map(drop);
    }
    let node = shared.client.api::<Node>().get_opt(&shared.node).await?;
    let owner = node.map(|node| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: shared.node.clone(),
        uid: node.object().uid().to_owned(),
        ..OwnerReference::default()
    });
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(shared.node.clone()),
            namespace: Some(LEASES.into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    };
    match api.create(&lease).await {
        Err(error) if error.is_not_found() => {
            let namespace = Namespace {
                metadata: ObjectMeta { name: Some(LEASES.into()), ..ObjectMeta::default() },
                ..Namespace::default()
            };
            let made = shared.client.api::<Namespace>().create(&namespace).await;
            made.map(drop)
        }
        other => other.map(drop),
    }
}

fn labels(shared: &Shared) -> BTreeMap<String, String> {
    let mut labels = shared.labels.clone();
    let arch = architecture();
    for (key, value) in [
        ("kubernetes.io/hostname", shared.node.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ] {
        labels.entry(key.into()).or_insert_with(|| value.into());
    }
    labels
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn status(shared: &Shared, old: Option<&NodeStatus>) -> NodeStatus {
    let now = shared.client.clock().now();
    let quantities = |from: &BTreeMap<String, String>| -> BTreeMap<String, Quantity> {
        let pairs = from.iter();
        pairs.map(|(key, value)| (key.clone(), Quantity(value.clone()))).collect()
    };
    let capacity = quantities(&shared.capacity);
    let runtime = shared.runtime.status().await;
    let problem = match &runtime {
        Ok(status) => status.not_ready.clone(),
        Err(error) => Some(error.to_string()),
    };
    let version = runtime.map(|status| format!("{}://{}", status.name, status.version));
    let images = shared.runtime.images().list().await.unwrap_or_default();
    let images = images.into_iter().take(50).map(|image| ContainerImage {
        names: Some(vec![image.name]),
        size_bytes: i64::try_from(image.size_bytes).ok(),
    });
    let address = shared.settings.host_addresses.first();
    let addresses = [address.map(|ip| ("InternalIP", ip.to_string())), Some(("Hostname", shared.node.clone()))];
    let address = |(kind, address): (&str, String)| NodeAddress { type_: kind.into(), address };
    NodeStatus {
        capacity: Some(capacity.clone()),
        allocatable: Some(capacity),
        addresses: Some(addresses.into_iter().flatten().map(address).collect()),
        conditions: Some(conditions(shared, problem, old, now)),
        images: Some(images.collect()).filter(|images: &Vec<_>| !images.is_empty()),
        daemon_endpoints: shared
            .port
            .map(|port| NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: port.into() }) }),
        node_info: Some(info(version.unwrap_or_default())),
        ..old.cloned().unwrap_or_default()
    }
}

fn conditions(
    shared: &Shared,
    problem: Option<String>,
    old: Option<&NodeStatus>,
    now: Timestamp,
) -> Vec<NodeCondition> {
    let memory = meminfo("MemAvailable:").is_some_and(|available| available < MEMORY_PRESSURE);
    let disk = shared.places.free_percent().is_some_and(|free| free < DISK_PRESSURE);
    let ready = problem.is_none();
    let pressure = |kind: &'static str, has: bool, what: &str| {
        let (reason, message) = match has {
            true => (format!("KubeletHas{what}Pressure"), format!("node has {} pressure", what.to_lowercase())),
            false if what == "PID" => ("KubeletHasSufficientPID".into(), "node has sufficient PID available".into()),
            false if what == "Disk" => ("KubeletHasNoDiskPressure".into(), "node has no disk pressure".into()),
            false => ("KubeletHasSufficientMemory".into(), "node has sufficient memory available".into()),
        };
        (kind, has, reason, message)
    };
    let all = [
        pressure("MemoryPressure", memory, "Memory"),
        pressure("DiskPressure", disk, "Disk"),
        pressure("PIDPressure", false, "PID"),
        (
            "Ready",
            ready,
            if ready { "KubeletReady" } else { "KubeletNotReady" }.to_owned(),
            problem.unwrap_or_else(|| "the node agent is posting ready status".into()),
        ),
    ];
    let known = old.and_then(|old| old.conditions.as_deref()).unwrap_or_default();
    let mut conditions: Vec<NodeCondition> =
        known.iter().filter(|one| all.iter().all(|(kind, ..)| one.type_ != *kind)).cloned().collect();
    for (kind, holds, reason, message) in all {
        let status = if holds { "True" } else { "False" };
        let before = known.iter().find(|one| one.type_ == kind && one.status == status);
        let since = before.and_then(|before| before.last_transition_time.clone());
        let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        conditions.push(NodeCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason),
            message: Some(message),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: since.or(Some(now)),
        });
    }
    conditions
}

fn info(runtime: String) -> NodeSystemInfo {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    };
    let release = read("/etc/os-release");
    let pretty = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned());
    NodeSystemInfo {
        architecture: architecture().into(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: runtime,
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: concat!("v", env!("CARGO_PKG_VERSION"), "-kore").into(),
        machine_id: read("/etc/machine-id"),
        operating_system: "linux".into(),
        os_image: pretty.unwrap_or_else(|| "Linux".into()),
        system_uuid: read("/etc/machine-id"),
        ..NodeSystemInfo::default()
    }
}

/// What the machine has.
pub(super) fn machine_capacity(dir: &Path) -> BTreeMap<String, String> {
    let cpus = std::thread::available_parallelism().map_or(1, |number| number.get());
    let mut capacity: BTreeMap<String, String> =
        [("cpu".to_owned(), cpus.to_string()), ("pods".to_owned(), "110".to_owned())].into();
    if let Some(memory) = meminfo("MemTotal:") {
        capacity.insert("memory".into(), format!("{}Ki", memory / 1024));
    }
    if let Ok(disk) = rustix::fs::statvfs(dir) {
        let kibibytes = disk.f_blocks.saturating_mul(disk.f_frsize) / 1024;
        capacity.insert("ephemeral-storage".into(), format!("{kibibytes}Ki"));
    }
    capacity
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
