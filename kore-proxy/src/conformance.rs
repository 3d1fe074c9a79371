//! The suite that every backend passes.
//!
//! [`run`] checks what a backend says it serves ([`Backend::observe`]) against the contract of [`Backend`], and [`traffic`] sends real
//! connections through one that carries TCP on addresses of this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use kore_api::object::ObjectKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{Backend, BackendError};
use crate::plan::{Delta, Entry, Frontend, Operation, Protocol, Snapshot, Target, WhenEmpty};

/// How many steps [`run`] takes.
const STEPS: u64 = 200;

/// A rule of the contract that a backend breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The backend failed where it must not.
    #[error("{step}: {error}")]
    Failed {
        /// What it was asked to do.
        step: String,
        /// What it said.
        error: BackendError,
    },
    /// What the backend serves is not what it was told.
    #[error("{step}: serves {found:?} instead of {expected:?}")]
    Differs {
        /// What it was asked to do.
        step: String,
        /// What it serves.
        found: Box<Snapshot>,
        /// What it should serve.
        expected: Box<Snapshot>,
    },
    /// A connection did not do what it should.
    #[error("{step}: {problem}")]
    Traffic {
        /// What was tried.
        step: String,
        /// What happened.
        problem: String,
    },
}

/// TCP frontends on loopback addresses that nobody else is likely to use, for backends on this machine.
pub fn loopback_frontends() -> Vec<Frontend> {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let frontend = |last: u8| Frontend {
        address: IpAddr::V4(Ipv4Addr::new(127, 192 | (high & 0x1f), low, last)),
        protocol: Protocol::Tcp,
        port: 20_000 + u16::from(last),
    };
    (1..=6).map(frontend).collect()
}

/// Takes a backend through random states, by single steps and at once, and checks what it says it serves after each.
///
/// # Errors
/// The first rule that is broken.
pub async fn run(backend: &impl Backend) -> Result<(), Violation> {
    let frontends = loopback_frontends();
    let mut random = Random(0x5eed);
    let mut model = Snapshot::default();
    replace(backend, &model, "replace with nothing").await?;
    for step in 0..STEPS {
        if random.below(10) == 0 {
            let chosen = frontends.iter().filter(|_| random.below(2) == 0).copied().collect::<Vec<_>>();
            let entries = chosen.into_iter().map(|frontend| (frontend, random.entry())).collect();
            model = Snapshot { revision: model.revision + 1, entries };
            replace(backend, &model, &format!("step {step}: replace")).await?;
        } else {
            let delta = random.delta(&frontends, &model);
            model.apply(&delta);
            let name = format!("step {step}: apply {delta:?}");
            backend.apply(&delta).await.map_err(|error| Violation::Failed { step: name.clone(), error })?;
            expect(backend, &model, name).await?;
        }
        // The same again changes nothing: a driver that has lost track replaces.
        if random.below(20) == 0 {
            replace(backend, &model, &format!("step {step}: replace with the same")).await?;
        }
    }
    replace(backend, &Snapshot::default(), "replace with nothing at the end").await
}

async fn replace(backend: &impl Backend, snapshot: &Snapshot, step: &str) -> Result<(), Violation> {
    backend.replace(snapshot).await.map_err(|error| Violation::Failed { step: step.to_owned(), error })?;
    expect(backend, snapshot, step.to_owned()).await
}

async fn expect(backend: &impl Backend, expected: &Snapshot, step: String) -> Result<(), Violation> {
    let found = backend.observe().await.map_err(|error| Violation::Failed { step: step.clone(), error })?;
    if found.entries == expected.entries {
        return Ok(());
    }
    Err(Violation::Differs { step, found: Box::new(found), expected: Box::new(expected.clone()) })
}

/// Sends connections through a backend that carries TCP on loopback addresses: they reach every target, open ones outlive
/// changes and removals, a frontend without endpoints refuses.
///
/// # Errors
/// The first rule that is broken.
pub async fn traffic(backend: &impl Backend) -> Result<(), Violation> {
    let frontend = loopback_frontends()[0];
    let (first, first_target) = Server::bind().await?;
    let (second, second_target) = Server::bind().await?;
    let servers = async { futures::join!(first.serve(b'1'), second.serve(b'2')) };
    let scenario = async {
        let step = |name: &str| format!("{name} ({frontend})");
        upsert(backend, 1, frontend, &[first_target, second_target]).await?;
        let mut reached = Vec::new();
        for _ in 0..4 {
            reached.push(Connection::open(frontend, "connect").await?.ask(&step("ask")).await?);
        }
        check(reached.contains(&b'1') && reached.contains(&b'2'), &step("balance"), || {
            format!("{reached:?} answered")
        })?;

        upsert(backend, 2, frontend, &[first_target]).await?;
        let mut kept = Connection::open(frontend, "connect to the one target").await?;
        check(kept.ask(&step("ask")).await? == b'1', &step("one target"), || "another answered".into())?;
        upsert(backend, 3, frontend, &[second_target]).await?;
        check(kept.ask(&step("keep")).await? == b'1', &step("keep over a change"), || "moved".into())?;
        let answer = Connection::open(frontend, "connect after the change").await?.ask(&step("ask")).await?;
        check(answer == b'2', &step("new connection after a change"), || "went to a removed target".into())?;

        upsert(backend, 4, frontend, &[]).await?;
        let refused = TcpStream::connect(frontend.socket()).await.is_err();
        check(refused, &step("no endpoints"), || "a connection was accepted".into())?;
        upsert(backend, 5, frontend, &[second_target]).await?;
        let answer = Connection::open(frontend, "connect when endpoints are back").await?.ask(&step("ask")).await?;
        check(answer == b'2', &step("endpoints are back"), || "another answered".into())?;

        let delta = Delta { revision: 6, operations: vec![Operation::Remove(frontend)], ..Delta::default() };
        backend.apply(&delta).await.map_err(|error| Violation::Failed { step: step("remove"), error })?;
        let refused = TcpStream::connect(frontend.socket()).await.is_err();
        check(refused, &step("removed"), || "a connection was accepted".into())?;
        check(kept.ask(&step("keep")).await? == b'1', &step("keep over a removal"), || "moved".into())
    };
    tokio::select! {
        biased;
        outcome = scenario => outcome,
        _ = servers => unreachable!("servers run until they are dropped"),
    }
}

fn check(holds: bool, step: &str, problem: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::Traffic { step: step.to_owned(), problem: problem() }) }
}

async fn upsert(
    backend: &impl Backend,
    revision: u64,
    frontend: Frontend,
    targets: &[SocketAddr],
) -> Result<(), Violation> {
    let targets = targets.iter().map(|address| Target { address: *address, local: true }).collect();
    let operations = vec![Operation::Upsert(frontend, Arc::new(entry(targets)))];
    let delta = Delta { revision, operations, ..Delta::default() };
    let step = || format!("upsert {frontend}, revision {revision}");
    backend.apply(&delta).await.map_err(|error| Violation::Failed { step: step(), error })
}

pub(crate) fn entry(targets: Arc<[Target]>) -> Entry {
    Entry {
        service: ObjectKey::namespaced("conformance", "service"),
        port_name: String::new(),
        targets,
        when_empty: WhenEmpty::Reject,
        affinity: None,
        sources: Arc::default(),
    }
}

/// A server that answers every byte with its own.
struct Server(TcpListener);

impl Server {
    async fn bind() -> Result<(Self, SocketAddr), Violation> {
        let bound = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            Ok::<_, std::io::Error>((Self(listener), address))
        };
        let failed = |error: std::io::Error| Violation::Traffic { step: "a server".into(), problem: error.to_string() };
        bound.await.map_err(failed)
    }

    async fn serve(&self, answer: u8) {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = self.0.accept().await {
            connections.spawn(async move {
                let mut asked = [0];
                while stream.read_exact(&mut asked).await.is_ok() && stream.write_all(&[answer]).await.is_ok() {}
            });
        }
    }
}

struct Connection(TcpStream);

impl Connection {
    async fn open(frontend: Frontend, step: &str) -> Result<Self, Violation> {
        let problem = |error: std::io::Error| Violation::Traffic { step: step.to_owned(), problem: error.to_string() };
        TcpStream::connect(frontend.socket()).await.map(Self).map_err(problem)
    }

    async fn ask(&mut self, step: &str) -> Result<u8, Violation> {
        let mut answer = [0];
        let asked = async {
            self.0.write_all(b"?").await?;
            self.0.read_exact(&mut answer).await
        };
        let problem = |error: std::io::Error| Violation::Traffic { step: step.to_owned(), problem: error.to_string() };
        asked.await.map_err(problem)?;
        Ok(answer[0])
    }
}

/// A small generator of its own (splitmix64), so that every run takes the same steps.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn entry(&mut self) -> Arc<Entry> {
        let target = |last: u64| Target {
            address: SocketAddr::from(([127, 0, 0, 1], 10_000 + u16::try_from(last).expect("below 4"))),
            local: last == 0,
        };
        let targets = (0..4).filter(|_| self.below(2) == 0).map(target).collect();
        let when_empty = if self.below(2) == 0 { WhenEmpty::Drop } else { WhenEmpty::Reject };
        Arc::new(Entry { when_empty, ..entry(targets) })
    }

    fn delta(&mut self, frontends: &[Frontend], from: &Snapshot) -> Delta {
        let mut operations = BTreeMap::new();
        for frontend in frontends {
            match self.below(4) {
                0 => operations.insert(*frontend, Operation::Upsert(*frontend, self.entry())),
                1 if from.entries.contains_key(frontend) => operations.insert(*frontend, Operation::Remove(*frontend)),
                _ => None,
            };
        }
        Delta { revision: from.revision + 1, operations: operations.into_values().collect(), ..Delta::default() }
    }
}
