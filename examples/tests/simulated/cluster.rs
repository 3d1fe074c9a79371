//! A whole cluster in one process and from one seed, for tests that look at how its parts work together.
//!
//! Every part is in a task of its own, so that it can be killed. Under a paused clock and with one seed, two runs are the same run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kore_api::auth::User;
use kore_api::client::{Client, Selection};
use kore_api::object::{Kind, View};
use kore_api::server::Server;
use kore_api::simulation::{CrashPoint, EventLog};
use kore_api::{Clock, Entropy};
use kore_controller::Controllers;
use kore_node::agent::Agent;
use kore_node::task::TaskRuntime;
use kore_proxy::{Proxy, UserSpace};
use kore_sched::Scheduler;
use kore_store::MemoryStore;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::web;

/// How long a test waits for something before it has failed, on the test's own clock.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The parts that can be killed and opened anew.
pub(crate) const SCHEDULER: &str = "system:kube-scheduler";
pub(crate) const CONTROLLERS: &str = "system:kube-controller-manager";
pub(crate) const PROXY: &str = "system:kube-proxy";

/// What a part's client goes through: given the user's name, its client, and an administrator's.
type Way = Arc<dyn Fn(&str, Client, &Client) -> Client + Send + Sync>;

/// Opens a part, given what its client goes through.
type Opener = Box<dyn Fn(&Way) -> BoxFuture<'static, ()> + Send + Sync>;

pub(crate) struct Setup {
    seed: u64,
    nodes: u32,
    /// 127.N.…: clusters of tests that run at once have addresses of their own.
    addresses: u8,
    proxy: bool,
    way: Way,
    crash: Option<(String, CrashPoint)>,
}

/// A cluster that runs. Dropping it ends everything.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) admin: Client,
    pub(crate) log: EventLog,
    way: Way,
    crash: Option<(String, CrashPoint)>,
    clock: Clock,
    addresses: u8,
    runtimes: BTreeMap<String, TaskRuntime>,
    parts: BTreeMap<String, Part>,
    dir: TempDir,
}

/// A task that ends when it is dropped.
struct Part(JoinHandle<()>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Setup {
    pub(crate) fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    pub(crate) fn addresses(mut self, second_byte: u8) -> Self {
        self.addresses = second_byte;
        self
    }

    pub(crate) fn proxy(mut self) -> Self {
        self.proxy = true;
        self
    }

    /// Every part's client goes through this.
    pub(crate) fn through(mut self, way: impl Fn(&str, Client, &Client) -> Client + Send + Sync + 'static) -> Self {
        self.way = Arc::new(way);
        self
    }

    /// This part crashes there, and is opened anew.
    pub(crate) fn crash(mut self, part: &str, crash: &CrashPoint) -> Self {
        self.crash = Some((part.to_owned(), crash.clone()));
        self
    }

    /// Opens everything.
    pub(crate) async fn open(self) -> Cluster {
        // Any moment will do, as long as it is the same in every run.
        let clock = Clock::starting_at("2030-01-01T00:00:00Z".parse::<Timestamp>().expect("a time"));
        let store = Arc::new(MemoryStore::new());
        let (server, run) = Server::builder(store)
            .clock(clock)
            .entropy(Entropy::seeded(self.seed))
            .registry(kore_api::kinds::builtin())
            .service_addresses(&format!("127.{}.128.0/24", self.addresses))
            .open()
            .await
            .expect("the server opens");
        let admin = server.client(User::admin());
        let (log, record) = EventLog::open(&admin, &server.registry());
        let mut cluster = Cluster {
            server,
            admin,
            log,
            way: self.way,
            crash: self.crash,
            clock,
            addresses: self.addresses,
            runtimes: BTreeMap::new(),
            parts: BTreeMap::new(),
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        cluster.start("server", run);
        cluster.start("log", record);
        cluster.open(SCHEDULER);
        cluster.open(CONTROLLERS);
        for number in 1..=self.nodes {
            cluster.open_runtime(number);
            cluster.open(&node(number));
        }
        if self.proxy {
            cluster.open(PROXY);
        }
        cluster
    }
}

/// The name of a node.
pub(crate) fn node(number: u32) -> String {
    format!("node-{number}")
}

/// Runs to the end under a paused clock, in a runtime of its own.
pub(crate) fn simulate<T>(run: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().expect("a runtime").block_on(run)
}

impl Cluster {
    /// One node, nothing in the way.
    pub(crate) fn seeded(seed: u64) -> Setup {
        Setup { seed, nodes: 1, addresses: 80, proxy: false, way: Arc::new(|_, client, _| client), crash: None }
    }

    /// Opens a part; it takes over from one that was there before. A node's containers have stayed.
    pub(crate) fn open(&mut self, part: &str) {
        let open = self.opener(part);
        let way = self.way.clone();
        let crash = self.crash.clone().filter(|(crashes, _)| crashes == part);
        self.start(part, async move {
            if let Some((_, crash)) = crash {
                let point = crash.clone();
                let counted: Way = Arc::new(move |_, client, _| point.client(&client));
                crash.run(open(&counted)).await;
            }
            open(&way).await;
        });
    }

    /// How a part is opened, given what its client goes through.
    fn opener(&self, part: &str) -> Opener {
        let (server, admin, name) = (self.server.clone(), self.admin.clone(), part.to_owned());
        let as_user = move |way: &Way, user: User| way(&user.name.clone(), server.client(user), &admin);
        match part {
            SCHEDULER => Box::new(move |way| {
                let client = as_user(way, User::new(SCHEDULER));
                Scheduler::open(client, Default::default()).1.boxed()
            }),
            CONTROLLERS => Box::new(move |way| {
                let client = as_user(way, User::new(CONTROLLERS));
                let (way, as_user) = (way.clone(), as_user.clone());
                let identity = move |name: &str| as_user(&way, User::service_account("kube-system", name));
                Controllers::new(&client).identities(identity).open().1.boxed()
            }),
            PROXY => Box::new(move |way| {
                let client = as_user(way, User::new(PROXY));
                let (backend, forward) = UserSpace::new();
                let (_proxy, follow) = Proxy::open(client, backend, Default::default());
                futures::future::join(forward, follow).map(|_| ()).boxed()
            }),
            _ => {
                let dir = self.dir.path().join(part);
                let runtime = self.runtimes[part].clone();
                Box::new(move |way| {
                    let client = as_user(way, User::node(&name));
                    let agent = Agent::builder(client, runtime.clone(), &name, &dir);
                    let opening = agent.capacity("cpu", "16").capacity("memory", "64Gi").files_in_place().open();
                    async { opening.await.expect("an agent").1.await }.boxed()
                })
            }
        }
    }

    fn open_runtime(&mut self, number: u32) {
        let (runtime, run) = TaskRuntime::builder(self.clock)
            .addresses(format!("127.{}.{number}.0/24", self.addresses))
            .image(web::IMAGE, web::serve)
            .image(web::NEXT_IMAGE, web::serve)
            .open()
            .expect("a runtime");
        let name = node(number);
        self.start(&format!("{name}/runtime"), run);
        self.runtimes.insert(name, runtime);
    }

    /// Ends a part at once; when this returns it is gone.
    pub(crate) async fn kill(&mut self, part: &str) {
        let mut part = self.parts.remove(part).expect("it runs");
        part.0.abort();
        let _ = (&mut part.0).await;
    }

    /// Runs a part until it is killed.
    pub(crate) fn start(&mut self, name: &str, run: impl Future<Output = ()> + Send + 'static) {
        self.parts.insert(name.to_owned(), Part(tokio::spawn(run)));
    }

    /// Creates an object.
    pub(crate) async fn create<K: Kind>(&self, namespace: &str, object: Value) -> View<K> {
        let object = serde_json::from_value(object).expect("an object of its kind");
        let created = self.admin.namespaced::<K>(namespace).create(&object).await;
        created.expect("it can be created")
    }

    /// Waits until something holds of all objects of a kind.
    pub(crate) async fn until<K: Kind>(&self, what: &str, mut holds: impl FnMut(&[View<K>]) -> bool) {
        let (informer, run) = self.admin.informer::<K>(Selection::all());
        let wait = async {
            informer.synced().await;
            let mut changes = informer.subscribe();
            loop {
                while changes.try_next().is_some() {}
                let objects = informer.list();
                let views = objects.iter().map(|object| object.view().expect("of its kind"));
                if holds(&views.collect::<Vec<_>>()) {
                    return;
                }
                changes.next().await;
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = tokio::time::timeout(PATIENCE, wait) => outcome,
            () = run => unreachable!("an informer follows until it is dropped"),
        };
        if outcome.is_err() {
            let last: Vec<String> = self.log.entries().iter().rev().take(40).map(describe).collect();
            panic!("{what}: not in {PATIENCE:?}; the last changes, newest first:\n{}", last.join("\n"));
        }
    }

    /// Waits until everything has come to rest: until nothing but heartbeats has changed for a minute.
    pub(crate) async fn rest(&self) {
        let quiet = Duration::from_secs(60);
        let mut seen = self.changes_but_heartbeats();
        loop {
            tokio::time::sleep(quiet).await;
            let now = self.changes_but_heartbeats();
            if now == seen {
                return;
            }
            seen = now;
        }
    }

    fn changes_but_heartbeats(&self) -> usize {
        let entries = self.log.entries();
        let is_heartbeat = |kind: &str| matches!(kind, "Lease" | "Node");
        entries.iter().filter(|entry| !is_heartbeat(entry.object.kind())).count()
    }

    /// The pods whose containers run now, in the runtimes themselves: node and pod.
    pub(crate) async fn running(&self) -> Vec<(String, String)> {
        let lists = futures::stream::iter(&self.runtimes).then(async |(node, runtime)| {
            let listing = kore_node::runtime::Runtime::list(runtime, None).await.expect("a list");
            let running = listing.containers.into_iter().filter(|container| container.state.is_running());
            let pods: Vec<_> = running.map(|container| (node.clone(), container.pod.name.clone())).collect();
            pods
        });
        lists.collect::<Vec<_>>().await.concat()
    }
}

/// A change with what tells most about it.
fn describe(entry: &kore_api::simulation::Entry) -> String {
    let value = entry.object.to_value();
    match entry.object.kind() {
        "Event" => format!("{entry}: {} {}", value["reason"], value["message"]),
        "Pod" => format!("{entry}: on {} {}", value["spec"]["nodeName"], value["status"]["phase"]),
        _ => format!("{entry}: {}", value["status"]),
    }
}
