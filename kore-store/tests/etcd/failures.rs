//! Members that die or are cut off under load: what was acknowledged is there, what is unknown is said to be, and watches
//! go on exactly.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kore_store::{Error, EtcdOptions, EtcdStore, Op, Revision, Store, Txn, Watch, WatchRequest, Watched};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::harness::{Etcd, Member, command, connect};
use crate::network::Network;

const MEMBERS: usize = 3;
const WRITERS: usize = 8;
const ROUNDS: usize = 3;

/// Three members, each in a network namespace. Fields are dropped in this order.
struct Cluster {
    members: Vec<Member>,
    network: Network,
    _directory: TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let network = Network::enter(MEMBERS);
        let directory = tempfile::tempdir().unwrap();
        let url = |number, port: u16| format!("http://{}:{port}", Network::address(number));
        let peers: Vec<String> = (0..MEMBERS).map(|number| format!("m{number}={}", url(number, 2380))).collect();
        let peers = peers.join(",");
        let members = (0..MEMBERS).map(|number| {
            let endpoint = url(number, 2379);
            // Pings as often as these tests need them.
            let pings = ["--grpc-keepalive-min-time", "200ms"];
            let etcd = command(directory.path(), number, &endpoint, &url(number, 2380), &peers, &pings);
            let mut inside = Command::new("ip");
            inside.args(["netns", "exec", &network.member(number)]).arg(etcd.get_program()).args(etcd.get_args());
            Member::start(inside, endpoint)
        });
        let members = members.collect();
        let cluster = Cluster { members, network, _directory: directory };
        for number in 0..MEMBERS {
            cluster.store(number).await;
        }
        cluster
    }

    /// A store that talks to this member first.
    async fn store(&self, first: usize) -> EtcdStore {
        let endpoints = (0..MEMBERS).map(|offset| self.members[(first + offset) % MEMBERS].endpoint.clone());
        let options = EtcdOptions::new(endpoints)
            .connect_timeout(Duration::from_secs(1))
            .request_timeout(Duration::from_secs(4))
            .keep_alive(Duration::from_secs(1), Duration::from_secs(1));
        connect(options).await
    }

    /// The member that leads, as soon as one does.
    async fn leader(&self) -> usize {
        let endpoints: Vec<&str> = self.members.iter().map(|member| &member.endpoint[..]).collect();
        for _ in 0..20 {
            let mut etcdctl = tokio::process::Command::new("etcdctl");
            etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &endpoints.join(",")]).args(["endpoint", "status"]);
            // It fails when one of them does not answer, and tells of the others.
            let status = etcdctl.output().await.expect("these tests need an `etcdctl` in the PATH");
            let status = String::from_utf8(status.stdout).unwrap();
            let leads =
                |endpoint: &str| status.lines().any(|line| line.starts_with(endpoint) && line.contains(", true, "));
            if let Some(leader) = endpoints.iter().position(|endpoint| leads(endpoint)) {
                return leader;
            }
            sleep(Duration::from_millis(500)).await;
        }
        panic!("nobody leads");
    }
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Done(Revision),
    Unknown,
    NotDone,
}

const PARTS: [&str; 3] = ["a", "b", "c"];

/// Writes three keys at a time, each once, until it is told to stop.
async fn write(store: EtcdStore, writer: usize, stop: &Cell<bool>, outcomes: &RefCell<BTreeMap<String, Outcome>>) {
    for number in 0.. {
        if stop.get() {
            return;
        }
        let name = format!("w{writer}/{number}/");
        let puts = PARTS.iter().map(|part| Op::put(format!("{name}{part}"), "v"));
        let outcome = match store.txn(puts.fold(Txn::new(), Txn::then)).await {
            Ok(done) => Outcome::Done(done.revision),
            Err(Error::OutcomeUnknown { .. }) => Outcome::Unknown,
            Err(Error::Unavailable { .. }) => Outcome::NotDone,
            Err(error) => panic!("{error}"),
        };
        outcomes.borrow_mut().insert(name, outcome);
    }
}

/// Everything told until this key is: revision and name of each write.
async fn read(mut watch: Watch, last: &str) -> Vec<(Revision, String)> {
    let mut told: Vec<(Revision, String)> = Vec::new();
    loop {
        let item = timeout(Duration::from_secs(60), watch.next()).await.expect("the watch does not go on");
        let batch = match item.expect("the watch ended").unwrap() {
            Watched::Batch(batch) => batch,
            Watched::Progress(revision) => {
                assert!(told.last().is_none_or(|(last, _)| *last <= revision), "progress runs backwards");
                continue;
            }
            other => panic!("{other:?}"),
        };
        let keys: Vec<String> =
            batch.events.iter().map(|event| String::from_utf8_lossy(&event.kv.key).into_owned()).collect();
        if keys == [last] {
            return told;
        }
        let name = keys[0].trim_end_matches('a').to_owned();
        assert_eq!(keys, PARTS.map(|part| format!("{name}{part}")), "a revision was split, or a write was");
        assert!(told.last().is_none_or(|(last, _)| *last < batch.revision), "told twice, or out of order");
        told.push((batch.revision, name));
    }
}

/// Loads the cluster while this happens, and checks what is left.
async fn under_load(cluster: &mut Cluster, mut fault: impl AsyncFnMut(&mut Cluster)) {
    let stop = Cell::new(false);
    let outcomes = RefCell::new(BTreeMap::new());
    let mut watches = Vec::new();
    let mut stores = Vec::new();
    for number in 0..MEMBERS {
        let store = cluster.store(number).await;
        watches.push(store.watch(WatchRequest::prefix("w").with_progress()).await.unwrap());
        stores.push(store);
    }
    let writers = (0..WRITERS).map(|writer| write(stores[writer % MEMBERS].clone(), writer, &stop, &outcomes));
    let readers = futures::future::join_all(watches.into_iter().map(|watch| read(watch, "w-last")));
    let faults = async {
        sleep(Duration::from_secs(1)).await;
        for _ in 0..ROUNDS {
            fault(cluster).await;
            sleep(Duration::from_secs(2)).await;
        }
        stop.set(true);
    };
    let load = futures::future::join(futures::future::join_all(writers), faults)
        .then(async |_| while stores[0].put("w-last".into(), "v".into()).await.is_err() {});
    let (told, ()) = futures::future::join(readers, load).await;

    let outcomes = outcomes.into_inner();
    let count = |wanted: fn(&Outcome) -> bool| outcomes.values().filter(|outcome| wanted(outcome)).count();
    let (done, unknown, not_done) = (
        count(|outcome| matches!(outcome, Outcome::Done(_))),
        count(|outcome| *outcome == Outcome::Unknown),
        count(|outcome| *outcome == Outcome::NotDone),
    );
    let found: BTreeMap<&String, Revision> = told[0].iter().map(|(revision, name)| (name, *revision)).collect();
    let happened = outcomes.iter().filter(|(name, outcome)| **outcome == Outcome::Unknown && found.contains_key(name));
    println!("{done} done, {unknown} unknown of which {} happened, {not_done} not done", happened.count());
    assert!(done > 200, "hardly any load: {done}");
    for (name, outcome) in &outcomes {
        match (outcome, found.get(name)) {
            (Outcome::Done(revision), found) => assert_eq!(found, Some(revision), "{name} was acknowledged"),
            (Outcome::NotDone, Some(revision)) => panic!("{name} was not to be done, and was at {revision}"),
            _ => {}
        }
    }
    assert_eq!(found.len(), told[0].len(), "a write was done twice");
    assert!(told.iter().all(|others| *others == told[0]), "two watches differ");
    let listed = stores[0].range(kore_store::Range::prefix("w").count_only()).await.unwrap();
    assert_eq!(listed.count as usize, told[0].len() * PARTS.len() + 1, "what is there is not what was told");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn leaders_die_under_load() {
    let mut cluster = Cluster::start().await;
    under_load(&mut cluster, async |cluster: &mut Cluster| {
        let leader = cluster.leader().await;
        cluster.members[leader].kill();
        sleep(Duration::from_secs(4)).await;
        cluster.members[leader].restart();
        cluster.store(leader).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn leaders_are_cut_off_under_load() {
    let mut cluster = Cluster::start().await;
    under_load(&mut cluster, async |cluster: &mut Cluster| {
        let leader = cluster.leader().await;
        cluster.network.cut(leader);
        sleep(Duration::from_secs(6)).await;
        cluster.network.join(leader);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn followers_are_cut_off_and_die_under_load() {
    let mut cluster = Cluster::start().await;
    let mut round = 0;
    under_load(&mut cluster, async |cluster: &mut Cluster| {
        let follower = (cluster.leader().await + 1 + round % 2) % MEMBERS;
        round += 1;
        cluster.network.cut(follower);
        sleep(Duration::from_secs(5)).await;
        cluster.members[follower].kill();
        cluster.network.join(follower);
        cluster.members[follower].restart();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn without_a_majority_nothing_is_done_and_that_is_said() {
    let mut etcd = Etcd::start(MEMBERS, &[]).await;
    let store = connect(etcd.options().request_timeout(Duration::from_secs(2))).await;
    let before = store.put("before".into(), "v".into()).await.unwrap();
    let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
    etcd.members[0].kill();
    etcd.members[1].kill();
    let mut refused = Vec::new();
    for number in 0..20 {
        let key = format!("key-{number}");
        match store.put(key.clone().into(), "v".into()).await {
            Err(Error::Unavailable { .. }) => refused.push(key),
            Err(Error::OutcomeUnknown { .. }) => {}
            other => panic!("{other:?}"),
        }
        if refused.len() == 3 {
            break;
        }
    }
    assert_eq!(refused.len(), 3, "it goes on saying that it does not know");
    let read = store.get("before".into()).await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");

    etcd.members[0].restart();
    etcd.members[1].restart();
    let store = etcd.store().await;
    for key in refused {
        assert_eq!(store.get(key.clone().into()).await.unwrap(), None, "{key} was said not to be written");
    }
    let after = store.put("after".into(), "v".into()).await.unwrap();
    let mut told = before;
    while told < after {
        let Some(Ok(Watched::Batch(batch))) = watch.next().await else { panic!("the watch did not go on") };
        assert!(batch.revision == told + 1, "a gap behind {told}");
        told = batch.revision;
    }
}
