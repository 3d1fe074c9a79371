//! TCP on service addresses, in user space.
//!
//! - [`UserSpace`] (`mod.rs`): the backend; binds a listener for every frontend that has somewhere to lead.
//! - `balance.rs`: which target a connection goes to.
//! - `relay.rs`: bytes from one side to the other.
//!
//! No privileges are needed where the service addresses are in 127/8, every one of which any process may bind. A connection
//! costs two sockets and two buffers that start at 4 KiB and grow with what goes through them.

mod balance;
mod relay;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::backend::{Backend, BackendError, FrontendFailure};
use crate::plan::{Delta, Entry, Frontend, Operation, Protocol, Snapshot, WhenEmpty};
use balance::Balancer;

/// How many connections are carried at once unless [`UserSpace::with_limit`] says otherwise. Further ones wait in the
/// listeners' backlogs.
pub const DEFAULT_MAX_CONNECTIONS: usize = 16_384;
/// How many accepted connections and new listeners wait for the future that carries them.
const QUEUE: usize = 256;

/// A backend that accepts connections on service addresses and carries them to targets, round robin.
///
/// A frontend without any endpoint refuses connections (nothing listens there); one whose endpoints policy rules out leaves
/// them waiting. A target that does not answer is passed over for the next one. TCP only.
pub struct UserSpace {
    table: Mutex<Table>,
    work: mpsc::Sender<Work>,
}

#[derive(Default)]
struct Table {
    revision: u64,
    routes: BTreeMap<Frontend, Route>,
}

/// One frontend that is served.
struct Route {
    entry: Arc<Entry>,
    /// What accepts its connections; `None` where they are refused.
    listening: Option<Listening>,
}

struct Listening {
    entry: watch::Sender<Arc<Entry>>,
    /// Answered when the listener is closed.
    closed: oneshot::Receiver<()>,
}

/// What the future that carries connections is given.
enum Work {
    Accept(Accepting),
    Carry(Accepted),
}

/// A listener and what its connections need.
struct Accepting {
    listener: TcpListener,
    entry: watch::Receiver<Arc<Entry>>,
    /// Dropped when the listener is closed.
    closed: oneshot::Sender<()>,
}

/// A connection that is to be carried.
struct Accepted {
    client: TcpStream,
    /// Where to, in the order in which to try.
    targets: Vec<SocketAddr>,
    permit: OwnedSemaphorePermit,
}

impl UserSpace {
    /// A backend that carries connections while the returned future runs; when that is dropped, all of them end.
    pub fn new() -> (Self, impl Future<Output = ()> + Send + use<>) {
        Self::with_limit(DEFAULT_MAX_CONNECTIONS)
    }

    /// As [`UserSpace::new`], with at most `max_connections` at once.
    pub fn with_limit(max_connections: usize) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let run = carry(receiver, sender.downgrade(), Arc::new(Semaphore::new(max_connections)));
        (Self { table: Mutex::default(), work: sender }, run)
    }

    async fn upsert(&self, table: &mut Table, frontend: Frontend, entry: &Arc<Entry>) -> Result<(), BackendError> {
        let refuses = entry.targets.is_empty() && entry.when_empty == WhenEmpty::Reject;
        let listening = match table.routes.remove(&frontend).and_then(|route| route.listening) {
            Some(listening) if refuses => {
                listening.close().await;
                None
            }
            Some(listening) => {
                listening.entry.send_replace(entry.clone());
                Some(listening)
            }
            None if refuses => None,
            None => Some(self.listen(frontend, entry).await?),
        };
        table.routes.insert(frontend, Route { entry: entry.clone(), listening });
        Ok(())
    }

    async fn listen(&self, frontend: Frontend, entry: &Arc<Entry>) -> Result<Listening, BackendError> {
        let failure = |problem: String| {
            BackendError::Frontends(vec![FrontendFailure { frontend, service: entry.service.clone(), problem }])
        };
        if frontend.protocol != Protocol::Tcp {
            return Err(failure(format!("the user-space proxy does not serve {}", frontend.protocol)));
        }
        let listener = TcpListener::bind(frontend.socket()).await.map_err(|error| failure(error.to_string()))?;
        let (sender, receiver) = watch::channel(entry.clone());
        let (closed_sender, closed) = oneshot::channel();
        let accepting = Accepting { listener, entry: receiver, closed: closed_sender };
        self.work.send(Work::Accept(accepting)).await.map_err(|_| BackendError::Stopped)?;
        Ok(Listening { entry: sender, closed })
    }

    async fn remove(table: &mut Table, frontend: &Frontend) {
        if let Some(listening) = table.routes.remove(frontend).and_then(|route| route.listening) {
            listening.close().await;
        }
    }

    async fn apply_all(
        &self,
        table: &mut Table,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Result<(), BackendError> {
        let mut failures = Vec::new();
        for operation in operations {
            match operation {
                Operation::Remove(frontend) => Self::remove(table, &frontend).await,
                Operation::Upsert(frontend, entry) => match self.upsert(table, frontend, &entry).await {
                    Ok(()) => {}
                    Err(BackendError::Frontends(failed)) => failures.extend(failed),
                    Err(error) => return Err(error),
                },
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(BackendError::Frontends(failures)) }
    }
}

impl Listening {
    /// Stops listening; the address is free when this returns.
    async fn close(self) {
        drop(self.entry);
        // An error means that the sender was dropped, and with it the listener.
        let _ = self.closed.await;
    }
}

#[async_trait]
impl Backend for UserSpace {
    fn supports(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Tcp
    }

    async fn apply(&self, delta: &Delta) -> Result<(), BackendError> {
        let mut table = self.table.lock().await;
        table.revision = delta.revision;
        // What is removed first makes room for what comes.
        let (removals, upserts): (Vec<_>, Vec<_>) =
            delta.operations.iter().cloned().partition(|operation| matches!(operation, Operation::Remove(_)));
        self.apply_all(&mut table, removals.into_iter().chain(upserts)).await
    }

    async fn replace(&self, snapshot: &Snapshot) -> Result<(), BackendError> {
        let mut table = self.table.lock().await;
        table.revision = snapshot.revision;
        let gone = table.routes.keys().filter(|frontend| !snapshot.entries.contains_key(frontend));
        let mut operations: Vec<_> = gone.copied().map(Operation::Remove).collect();
        for (frontend, entry) in &snapshot.entries {
            operations.push(Operation::Upsert(*frontend, entry.clone()));
        }
        self.apply_all(&mut table, operations).await
    }

    async fn observe(&self) -> Result<Snapshot, BackendError> {
        let table = self.table.lock().await;
        let entries = table.routes.iter().map(|(frontend, route)| (*frontend, route.entry.clone()));
        Ok(Snapshot { revision: table.revision, entries: entries.collect() })
    }
}

impl fmt::Debug for UserSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserSpace")
    }
}

/// Accepts and carries connections until the backend is dropped and its last connection has ended.
async fn carry(mut work: mpsc::Receiver<Work>, back: mpsc::WeakSender<Work>, limit: Arc<Semaphore>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = tasks.join_next() => {}
            given = work.recv() => match given {
                Some(Work::Accept(accepting)) => {
                    tasks.spawn(accept_all(accepting, back.clone(), limit.clone()));
                }
                Some(Work::Carry(accepted)) => {
                    tasks.spawn(relay::carry(accepted.client, accepted.targets, accepted.permit));
                }
                None => break,
            },
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Accepts the connections of one frontend until it is removed.
async fn accept_all(accepting: Accepting, back: mpsc::WeakSender<Work>, limit: Arc<Semaphore>) {
    let Accepting { listener, mut entry, closed } = accepting;
    let mut balancer = Balancer::default();
    loop {
        let current = entry.borrow_and_update().clone();
        tokio::select! {
            biased;
            changed = entry.changed() => match changed {
                Ok(()) => {}
                Err(_) => break,
            },
            accepted = next_connection(&listener), if !current.targets.is_empty() => {
                let Some((client, peer)) = accepted else { continue };
                let Some(permit) = room(&limit, &mut entry).await else { break };
                let current = entry.borrow_and_update().clone();
                let allowed = current.sources.is_empty() || current.sources.iter().any(|range| range.contains(peer.ip()));
                if !allowed || current.targets.is_empty() {
                    continue;
                }
                let targets = balancer.order(&current, peer.ip(), tokio::time::Instant::now());
                let Some(back) = back.upgrade() else { break };
                if back.send(Work::Carry(Accepted { client, targets, permit })).await.is_err() {
                    break;
                }
            }
        }
    }
    drop(listener);
    drop(closed);
}

/// The next connection; `None` if accepting failed.
async fn next_connection(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            // Out of file descriptors, mostly: not again at once.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            None
        }
    }
}

/// Room for one more connection, for who has one: a frontend without clients takes none. `None`: the frontend is removed.
async fn room(limit: &Arc<Semaphore>, entry: &mut watch::Receiver<Arc<Entry>>) -> Option<OwnedSemaphorePermit> {
    let permit = limit.clone().acquire_owned();
    tokio::pin!(permit);
    loop {
        tokio::select! {
            biased;
            permit = &mut permit => return Some(permit.expect("the semaphore is never closed")),
            changed = entry.changed() => changed.ok()?,
        }
    }
}
