//! A store that can crash, and a control plane over it that can be started again and again.
//!
//! The controllers see a server that is newer than they are: every object has fields that they do not know, and losing one
//! fails the test, whichever it is.

use crate::agent;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kore_api::auth::User;
use kore_api::client::{Client, Selection};
use kore_api::kinds;
use kore_api::object::{Kind, View};
use kore_api::request::Options;
use kore_api::server::Server;
use kore_api::simulation::Newer;
use kore_api::{Clock, Entropy};
use kore_controller::{Caches, Controllers, ControllersHandle, Resources};
use kore_store::layer::{Answer, Around, Call, Layered, Reply, Request};
use kore_store::{MemoryStore, Op, Result, Store, Txn, TxnResponse};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// What survives a crash, and what decides the run.
pub(crate) struct World {
    store: MemoryStore,
    pub(crate) writes: Writes,
    clock: Clock,
    entropy: Entropy,
    controllers: &'static str,
    newer: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let clock = Clock::starting_at("2030-01-01T00:00:00Z".parse().expect("a time"));
        World {
            store: MemoryStore::new(),
            writes: Writes::new(),
            clock,
            entropy: Entropy::seeded(seed),
            controllers: "*,-node-lifecycle,-taint-eviction",
            newer: true,
        }
    }

    /// With these controllers.
    pub(crate) fn controllers(self, controllers: &'static str) -> World {
        World { controllers, ..self }
    }

    /// With a server of the controllers' own version: faster.
    pub(crate) fn same_version(self) -> World {
        World { newer: false, ..self }
    }

    /// Runs a control plane and an agent for as long as `test` takes, then drops everything at once. `None` when the store
    /// crashed before `test` was done.
    pub(crate) async fn run<T>(&self, test: impl AsyncFnOnce(Cluster) -> T) -> Option<T> {
        let mut crashed = self.writes.0.crashed.subscribe();
        let whole = async {
            let store = Layered::new(self.store.clone(), self.writes.clone());
            let (server, serving) = Server::builder(Arc::new(store))
                .clock(self.clock)
                .entropy(self.entropy.clone())
                .registry(kinds::builtin())
                .open()
                .await
                .expect("the server opens");
            let newer = Newer::seeded(7, &server.client(User::admin()));
            let shared = server.client(User::new("system:kube-controller-manager"));
            let (identities, layer, is_newer) = (server.clone(), newer.clone(), self.newer);
            let layered = move |user: &str, client: Client| match is_newer {
                true => layer.client(user, &client),
                false => client,
            };
            let shared = layered("shared", shared);
            let (controllers, controlling) = Controllers::new(&shared)
                .select(self.controllers)
                .expect("names")
                .resources(Resources::of(&server.registry()))
                .identities(move |account| {
                    let user = User::service_account("kube-system", account);
                    layered(account, identities.client(user))
                })
                .open();
            let client = server.client(User::admin());
            let mut caches = Caches::new(&client);
            let (_, agency) = agent::open(&client, &mut caches);
            let cluster = Cluster { client, controllers, newer: newer.clone() };
            let test = async {
                cluster.register("n1").await;
                let done = test(cluster).await;
                let lost = newer.violations();
                assert!(lost.is_empty(), "fields that nobody knows were lost: {}", lost[0]);
                done
            };
            tokio::select! {
                biased;
                done = tokio::time::timeout(Duration::from_secs(24 * 3600), test) => {
                    done.expect("the test ends within a day")
                }
                () = serving => panic!("the server stopped"),
                () = controlling => panic!("the controllers stopped"),
                () = agency => panic!("the agent stopped"),
                () = caches.run() => panic!("the informers stopped"),
            }
        };
        tokio::select! {
            biased;
            done = whole => Some(done),
            _ = crashed.wait_for(|crashed| *crashed) => None,
        }
    }
}

/// What a test has in its hands.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) controllers: ControllersHandle,
    /// What was checked for fields that nobody knows.
    pub(crate) newer: Newer,
}

impl Cluster {
    /// Creates an object in the namespace that it names.
    pub(crate) async fn create<K: Kind>(&self, object: Value) -> View<K> {
        let object: K = serde_json::from_value(object).expect("of this kind");
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        self.client.namespaced::<K>(&namespace).create(&object).await.expect("created")
    }

    /// The node of this name, which is made if there is none.
    pub(crate) async fn register(&self, name: &str) -> View<Node> {
        match self.client.api::<Node>().get_opt(name).await.expect("answered") {
            Some(node) => node,
            None => self.create::<Node>(json!({"metadata": {"name": name}})).await,
        }
    }

    /// The objects of a namespace whose labels match.
    pub(crate) async fn list<K: Kind>(&self, namespace: &str, labels: &str) -> Vec<View<K>> {
        let api = self.client.namespaced::<K>(namespace);
        api.list(&Options::default().labels(labels)).await.expect("listed").items
    }

    /// Changes an object until nobody else was faster.
    pub(crate) async fn edit<K: Kind>(&self, namespace: &str, name: &str, edit: impl Fn(&mut K)) {
        let api = self.client.namespaced::<K>(namespace);
        loop {
            let base = api.get(name).await.expect("there");
            let mut new = base.to_owned();
            edit(&mut new);
            match api.replace(&base, &new).await {
                Err(error) if error.is_conflict() => {}
                other => return drop(other.expect("written")),
            }
        }
    }

    /// Waits until the objects of a kind in a namespace pass.
    pub(crate) async fn until<K: Kind>(&self, namespace: &str, test: impl Fn(&[View<K>]) -> bool) {
        let (informer, run) = self.client.informer::<K>(Selection::all().namespace(namespace));
        let mut changes = informer.subscribe();
        let wait = async {
            informer.synced().await;
            loop {
                let all: Vec<View<K>> = informer.list().iter().map(|object| object.view().expect("decodes")).collect();
                if test(&all) {
                    return;
                }
                changes.next().await.expect("the informer lives");
            }
        };
        tokio::select! {
            biased;
            () = wait => {}
            () = run => panic!("the informer stopped"),
            () = tokio::time::sleep(Duration::from_secs(3600)) => {
                let all = informer.list();
                let all: Vec<String> = all.iter().map(|object| object.to_value().to_string()).collect();
                panic!("not within an hour; there are {}", all.join("\n"));
            }
        }
    }

    /// Waits until the deployment is rolled out.
    pub(crate) async fn rolled_out(&self, namespace: &str, name: &str) {
        self.until::<Deployment>(namespace, |all| {
            all.iter().any(|deployment| deployment.object().name() == name && is_rolled_out(deployment))
        })
        .await;
    }
}

/// As `kubectl rollout status` has it.
pub(crate) fn is_rolled_out(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let count = |count: Option<i32>| count.unwrap_or(0);
    status.observed_generation >= deployment.metadata.generation
        && count(status.updated_replicas) == wanted
        && count(status.replicas) == wanted
        && count(status.available_replicas) == wanted
}

/// A deployment `web` of three pods in `default`.
pub(crate) fn web(image: &str) -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
            },
        },
    })
}

pub(crate) fn image(pod: &Pod) -> &str {
    let containers = pod.spec.as_ref().map(|spec| &spec.containers[..]).unwrap_or_default();
    containers.first().and_then(|container| container.image.as_deref()).unwrap_or("")
}

/// The writes that reach the store (those of events do not count), and where the process is made to stop: after a given number
/// of them none comes through any more.
#[derive(Clone)]
pub(crate) struct Writes(Arc<Line>);

struct Line {
    done: AtomicU64,
    left: AtomicU64,
    crashed: watch::Sender<bool>,
}

impl Writes {
    fn new() -> Self {
        let left = AtomicU64::new(u64::MAX);
        Writes(Arc::new(Line { done: AtomicU64::new(0), left, crashed: watch::Sender::new(false) }))
    }

    /// Lets so many more through.
    pub(crate) fn crash_after(&self, writes: u64) {
        self.0.left.store(writes, Ordering::SeqCst);
        self.0.crashed.send_replace(false);
    }

    /// Lets all through again.
    pub(crate) fn restore(&self) {
        self.crash_after(u64::MAX);
    }

    /// How many there have been.
    pub(crate) fn done(&self) -> u64 {
        self.0.done.load(Ordering::SeqCst)
    }
}

fn counts(txn: &Txn) -> bool {
    let is_write = |op: &Op| match op {
        Op::Put(put) => !put.key.starts_with(b"/registry/core/events/"),
        Op::Delete(_) => true,
        _ => false,
    };
    txn.success.iter().chain(&txn.failure).any(is_write)
}

impl Around for Writes {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        if !matches!(request.call(), Call::Txn(txn) if counts(txn)) {
            return request.send(store).await;
        }
        let Line { done, left, crashed } = &*self.0;
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            crashed.send_replace(true);
            return std::future::pending().await;
        }
        let answer = request.send(store).await;
        match answer.as_ref().map(R::Answer::reply) {
            Ok(Reply::Txn(TxnResponse { succeeded: true, .. })) => done.fetch_add(1, Ordering::SeqCst),
            _ => left.fetch_add(1, Ordering::SeqCst),
        };
        answer
    }
}
