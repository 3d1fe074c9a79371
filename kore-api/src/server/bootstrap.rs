//! What every server has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::Server;
use super::commit::store_failed;
use super::core::{Call, Core};
use crate::auth::{MASTERS, User};
use crate::error::{Error, Reason, Status};
use crate::kinds::CRITICAL;
use crate::object::{ObjectKey, ResourceType};
use crate::registry::SERVICE_ADDRESSES;
use crate::request::Options;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// How often the caches may fail to catch up with the store in time before the server gives up.
const ATTEMPTS: usize = 20;

/// Waits until the caches are filled, and makes what is not there yet of what every server has, as far as its kinds are
/// registered.
pub(super) async fn make(core: &Core) -> Result<(), Status> {
    let revision = core.store.status().await.map_err(store_failed)?.revision;
    let mut attempt = 1;
    while let Err(status) = core.caches.reach(revision).await {
        if attempt == ATTEMPTS || status.reason != Reason::Timeout {
            return Err(status);
        }
        attempt += 1;
    }
    let user = itself();
    let namespaces = NAMESPACES.map(|name| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(core, &user, ("", "namespaces"), None, namespace)
    });
    futures::future::try_join_all(namespaces).await?;
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    });
    if let Some(pool) = core.pools.get(SERVICE_ADDRESSES) {
        service["spec"]["clusterIP"] = pool.value(0);
    }
    create(core, &user, ("", "services"), Some("default"), service).await?;
    for (name, value, description) in CRITICAL {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        });
        create(core, &user, ("scheduling.k8s.io", "priorityclasses"), None, class).await?;
    }
    // Who reads before the server's future has been polled finds the caches up to date.
    core.catch_up().await.map(drop)
}

/// Where the Service `kubernetes` leads.
pub(super) async fn advertise(server: &Server, address: SocketAddr) -> Result<(), Error> {
    let resource = ResourceType::of::<EndpointSlice>();
    if server.core.cache_of(&resource).is_none() {
        return Ok(());
    }
    let slices = server.client(itself()).dynamic(resource).in_namespace("default");
    // A listener on every address is reached at the loopback one.
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let slice = json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [host.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    });
    let options = Options::default();
    let before = slices.get_opt("kubernetes").await?;
    if before.is_some_and(|before| before.to_value()["addressType"] != slice["addressType"]) {
        // The family of a slice cannot be changed.
        match slices.delete("kubernetes", &options).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    match slices.create(slice.clone(), &options).await {
        Err(error) if error.is_already_exists() => slices.replace("kubernetes", None, slice, &options).await.map(drop),
        outcome => outcome.map(drop),
    }
}

/// As whom the server writes.
pub(super) fn itself() -> User {
    User::new("system:apiserver").in_group(MASTERS)
}

/// Makes an object of the resource, by group and plural, unless it is there.
async fn create(
    core: &Core,
    user: &User,
    (group, plural): (&str, &str),
    namespace: Option<&str>,
    object: Value,
) -> Result<(), Status> {
    let routes = core.resources.now();
    let Some(route) = routes.get(group, "v1", plural) else {
        return Ok(());
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let key = ObjectKey::namespaced(namespace.unwrap_or_default(), name);
    if route.cache.get(&key).is_some() {
        return Ok(());
    }
    let options = Options::default();
    let namespace = namespace.map(Arc::from);
    let mut call = Call {
        core,
        user,
        route,
        namespace: namespace.as_ref(),
        options: &options,
        user_agent: "kube-apiserver",
        warnings: Vec::new(),
    };
    match call.create_object(object).await {
        Ok(_) => Ok(()),
        // Another server over the same store was faster.
        Err(status) if status.reason == Reason::AlreadyExists => Ok(()),
        // A user's own Service may hold the address that this one had.
        Err(status) if status.reason == Reason::Invalid && plural == "services" => {
            tracing::warn!(%status, "the Service default/kubernetes cannot be made");
            Ok(())
        }
        Err(status) => Err(status),
    }
}
