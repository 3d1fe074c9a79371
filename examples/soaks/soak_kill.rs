//! kill -9 at random moments of apply, scale and delete: after each restart the state is what had been acknowledged, and no
//! workload process is orphaned or doubled.
//!
//! `KORE_SOAK_SECONDS` says for how long (default 20); there are at least ten kills. The seed is printed; `KORE_SOAK_SEED` repeats
//! one.
#![allow(missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kore_api::client::Client;
use kore_api::error::Error;
use kore_api::kubeconfig::Kubeconfig;
use kore_api::patch::PatchKind;
use kore_api::remote::Remote;
use kore_api::request::{Options, Propagation};
use kore_store::{Clock, Entropy};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use support::{PATIENCE, Standalone};

const KILLS: u32 = 10;
const NAMES: u64 = 4;
const REPLICAS: u64 = 4;
/// A kill comes at most so long after the work began.
const KILL_WITHIN_MS: u64 = 1_500;

/// What a Deployment's replicas may be, as far as answers tell; `None`: it does not exist.
type Possible = BTreeMap<String, BTreeSet<Option<u64>>>;

fn main() {
    let seconds = std::env::var("KORE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let seed = std::env::var("KORE_SOAK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| Entropy::system().next_u64());
    println!("soak_kill: seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(soak(Duration::from_secs(seconds), &Entropy::seeded(seed)));
}

async fn soak(duration: Duration, random: &Entropy) {
    let mut cluster = Standalone::start(&[]);
    let mut possible = Possible::new();
    let (mut kills, mut writes, mut unknown) = (0, 0, 0);
    let start = Instant::now();
    while kills < KILLS || start.elapsed() < duration {
        let kill_after = Duration::from_millis(random.next_u64() % KILL_WITHIN_MS);
        let (acknowledged, lost) = work_until_killed(&mut cluster, &mut possible, random, kill_after).await;
        kills += 1;
        writes += acknowledged;
        unknown += lost;
        cluster.start_again();
        check(&cluster, &mut possible).await;
    }
    println!(
        "soak_kill: {kills} kills, {writes} acknowledged writes, {unknown} of unknown outcome: nothing lost, nothing doubled"
    );
    assert!(writes >= u64::from(KILLS), "hardly anything was written");
    let status = cluster.interrupt();
    assert!(status.success(), "{status}");
    assert_eq!(cluster.workloads(), [], "left behind by an orderly stop");
}

async fn connected<T>(cluster: &Standalone, work: impl AsyncFnOnce(Client) -> T) -> T {
    let access =
        Kubeconfig::read(&cluster.kubeconfig()).await.expect("a kubeconfig").access(None).await.expect("usable");
    let (remote, run) = Remote::open(&access, Clock::system()).expect("usable");
    let client = Client::new(remote, Clock::system(), Entropy::system());
    tokio::select! {
        biased;
        outcome = work(client) => outcome,
        () = run => unreachable!("it runs until it is dropped"),
    }
}

/// Writes at random from several clients at once until the cluster is killed. Answers how many writes were acknowledged, and
/// how many were not answered.
async fn work_until_killed(
    cluster: &mut Standalone,
    possible: &mut Possible,
    random: &Entropy,
    kill_after: Duration,
) -> (u64, u64) {
    let pid = cluster.pid();
    let outcomes = connected(cluster, async |client| {
        let mut under_way: FuturesUnordered<_> = (0..NAMES).map(|name| write(&client, name, random)).collect();
        let mut outcomes = Vec::new();
        let kill = sleep(kill_after);
        tokio::pin!(kill);
        let mut killed = false;
        loop {
            tokio::select! {
                biased;
                () = &mut kill, if !killed => {
                    support::signal(pid, "-KILL");
                    killed = true;
                }
                outcome = under_way.next() => match outcome {
                    Some((number, outcome)) => {
                        if !killed {
                            under_way.push(write(&client, number, random));
                        }
                        outcomes.push(outcome);
                    }
                    None if killed => return outcomes,
                    None => kill.as_mut().await,
                }
            }
        }
    })
    .await;
    cluster.kill();
    let (mut acknowledged, mut lost) = (0, 0);
    for Written { name, replicas, outcome } in outcomes {
        let states = possible.entry(name).or_insert_with(|| BTreeSet::from([None]));
        match outcome {
            Ok(()) => {
                acknowledged += 1;
                *states = BTreeSet::from([replicas]);
            }
            Err(error) if error.status().is_none() => {
                lost += 1;
                states.insert(replicas);
            }
            // The server said no: nothing has changed.
            Err(_) => {}
        }
    }
    (acknowledged, lost)
}

struct Written {
    name: String,
    replicas: Option<u64>,
    outcome: Result<(), Error>,
}

async fn write(client: &Client, number: u64, random: &Entropy) -> (u64, Written) {
    let name = format!("web-{number}");
    let api = client.namespaced::<Deployment>("default");
    let replicas = random.next_u64() % (REPLICAS + 1);
    let (replicas, outcome) = match random.next_u64() % 4 {
        0 => {
            let options = Options::default().propagation(Propagation::Background);
            let outcome = api.delete(&name, &options).await.map(drop);
            (None, outcome)
        }
        1 => {
            let patch = json!({"spec": {"replicas": replicas}});
            (Some(replicas), api.patch(&name, PatchKind::Merge, patch).await.map(drop))
        }
        _ => (Some(replicas), api.create(&deployment(&name, replicas)).await.map(drop)),
    };
    (number, Written { name, replicas, outcome })
}

fn deployment(name: &str, replicas: u64) -> Deployment {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let container = json!({
        "name": "server", "image": "kore.dev/hello",
        "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
    });
    let template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    });
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).expect("a deployment")
}

/// What there is after a restart is what had been acknowledged; and it settles with one process a pod, and no other.
async fn check(cluster: &Standalone, possible: &mut Possible) {
    connected(cluster, async |client| {
        let api = client.namespaced::<Deployment>("default");
        let mut wanted = 0;
        for (name, states) in &mut *possible {
            let found = api.get_opt(name).await.expect("answered");
            let found = found.map(|found| u64::try_from(found.spec.replicas.unwrap_or(1)).expect("not negative"));
            assert!(states.contains(&found), "{name} has {found:?} replicas, and may have {states:?}");
            *states = BTreeSet::from([found]);
            wanted += found.unwrap_or(0);
        }
        let settled = timeout(PATIENCE, async {
            while !is_settled(cluster, &client, wanted).await {
                sleep(Duration::from_millis(100)).await;
            }
        });
        if settled.await.is_err() {
            let pods = client.namespaced::<Pod>("default").list(&Options::default()).await.expect("answered");
            let pods: Vec<_> = pods.items.iter().map(|pod| (pod.key().clone(), pod.status.clone())).collect();
            panic!("not settled: {wanted} pods wanted, {:?} run; {pods:#?}", cluster.workloads());
        }
    })
    .await;
}

async fn is_settled(cluster: &Standalone, client: &Client, wanted: u64) -> bool {
    let pods = client.namespaced::<Pod>("default").list(&Options::default()).await.expect("answered");
    let sets = client.namespaced::<ReplicaSet>("default").list(&Options::default()).await.expect("answered");
    let deployments = client.namespaced::<Deployment>("default").list(&Options::default()).await.expect("answered");
    let running = pods.items.iter().filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        phase == Some("Running") && !pod.object().is_deleting()
    });
    let names: BTreeSet<String> = running.map(|pod| pod.object().name().to_owned()).collect();
    let processes = cluster.workloads();
    let with_process: BTreeSet<String> = processes.iter().map(|process| process.pod.clone()).collect();
    pods.items.len() as u64 == wanted
        && names.len() as u64 == wanted
        && processes.len() as u64 == wanted
        && with_process == names
        && sets.items.len() == deployments.items.len()
}
