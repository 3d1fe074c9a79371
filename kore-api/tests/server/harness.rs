//! A server with a few kinds of its own, driven for as long as a test works.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kore_api::auth::User;
use kore_api::client::{Client, DynamicApi};
use kore_api::error::{Error, FieldError, Status};
use kore_api::object::{Object, ResourceType, Scope};
use kore_api::registry::{
    Claim, NODE_PORTS, Pool, Registry, ResourceInfo, SERVICE_ADDRESSES, ScalePaths, Strategy, Transition,
};
use kore_api::server::{Builder, Server};
use kore_api::{Clock, Entropy};
use kore_store::{MemoryStore, Store};
use serde_json::{Value, json};

pub(crate) fn resource(group: &'static str, plural: &'static str, kind: &'static str, scope: Scope) -> ResourceType {
    ResourceType { group: group.into(), version: "v1".into(), plural: plural.into(), kind: kind.into(), scope }
}

/// A kind of the tests' own: `spec.size` may not be negative and defaults to 1; it claims an address and a port.
pub(crate) fn things() -> ResourceType {
    resource("example.com", "things", "Thing", Scope::Namespaced)
}

#[derive(Debug)]
struct Things;

impl Strategy for Things {
    fn default(&self, object: &mut Value) {
        if object["spec"]["size"].is_null() {
            object["spec"]["size"] = json!(1);
        }
    }

    fn validate(&self, transition: &Transition<'_>) -> Vec<FieldError> {
        let size = &transition.new["spec"]["size"];
        let negative = size.as_i64().is_some_and(|size| size < 0);
        let error = || FieldError::invalid("spec.size", size.clone(), "must be greater than or equal to 0");
        negative.then(error).into_iter().collect()
    }

    fn claims(&self, object: &Value) -> Vec<Claim> {
        let mut claims = Vec::new();
        if let Some(address) = object["spec"].get("address") {
            claims.push(Claim::new(SERVICE_ADDRESSES, "spec.address", address.clone()));
        }
        for (index, port) in object["spec"]["ports"].as_array().into_iter().flatten().enumerate() {
            claims.push(Claim::new(NODE_PORTS, format!("spec.ports[{index}].port"), port["port"].clone()));
        }
        claims
    }
}

#[derive(Debug)]
struct Pods;

impl Strategy for Pods {
    fn grace_period_seconds(&self, object: &Value) -> Option<i64> {
        object["spec"]["nodeName"].as_str().map(|_| 30)
    }
}

#[derive(Debug)]
struct Namespaces;

impl Strategy for Namespaces {
    fn prepare_create(&self, object: &mut Value) {
        object["spec"]["finalizers"] = json!(["kubernetes"]);
        object["status"]["phase"] = json!("Active");
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        object["spec"]["finalizers"] = old["spec"]["finalizers"].clone();
    }

    fn begin_deletion(&self, object: &mut Value) {
        object["status"]["phase"] = json!("Terminating");
    }

    fn is_held(&self, object: &Value) -> bool {
        object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
    }
}

pub(crate) fn registry() -> Registry {
    let mut pods = ResourceInfo::of::<Pod>().strategy(Pods);
    pods.selectable_fields = vec!["spec.nodeName".into(), "status.phase".into()];
    pods.subresources = vec!["binding", "log"];
    let mut namespaces = ResourceInfo::of::<Namespace>().strategy(Namespaces);
    namespaces.subresources = vec!["finalize"];
    let mut things = ResourceInfo::new(things()).strategy(Things);
    things.selectable_fields = vec!["spec.color".into()];
    let [spec_replicas, status_replicas, selector] = ["spec.size", "status.size", "spec.selector"].map(Into::into);
    things.scale = Some(ScalePaths { spec_replicas, status_replicas, selector });
    let mut configs = ResourceInfo::new(resource("", "configmaps", "ConfigMap", Scope::Namespaced));
    configs.has_status = false;
    configs.has_generation = false;
    Registry::new().with(pods).with(namespaces).with(things).with(configs)
}

pub(crate) fn builder(store: &Arc<dyn Store>) -> Builder {
    Server::builder(store.clone())
        .clock(Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()))
        .entropy(Entropy::seeded(1))
        .registry(registry())
        .pool(NODE_PORTS, Pool::numbers(30_000, 30_039))
}

pub(crate) fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// Opens a server, and drives it while `work` works with it.
pub(crate) async fn open<T>(builder: Builder, work: impl AsyncFnOnce(Server) -> T) -> T {
    let (server, run) = builder.open().await.expect("the server opens");
    tokio::select! {
        biased;
        done = work(server) => done,
        () = run => unreachable!("a server runs until it is dropped"),
    }
}

/// A server over an empty store in memory.
pub(crate) async fn serve<T>(work: impl AsyncFnOnce(Server) -> T) -> T {
    open(builder(&memory()), work).await
}

pub(crate) fn admin(server: &Server) -> Client {
    server.client(User::admin())
}

pub(crate) fn api(server: &Server, resource: ResourceType) -> DynamicApi {
    admin(server).dynamic(resource).in_namespace("default")
}

pub(crate) fn thing(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

/// What the server said no with.
pub(crate) fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Status {
    match outcome.expect_err("the server says no") {
        Error::Status(status) => *status,
        other => panic!("not a status: {other}"),
    }
}

pub(crate) fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(Object::name).collect()
}
