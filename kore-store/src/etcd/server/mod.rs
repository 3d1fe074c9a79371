//! A store as an etcd: the server's side of etcd's v3 API.
//!
//! - here: the server, and how it serves a listener; `options`: how it is set up
//! - `connection`: one HTTP/2 connection, and all its calls in one task; `call`: one call's messages and answers;
//!   `dispatch`: which method answers which path; `authority`: what some clients state amiss
//! - `kv`, `watch`, `lease`, `maintenance`, `cluster`, `auth`: etcd's services; `kept`: writes that keep a key's value or
//!   lease; `bells`: which of many watches has something to say
//! - `translate`: requests, in the store's words; `answer`: answers, in etcd's; `failure`: errors, in etcd's
//!
//! Nothing here knows what kind of store it serves.

mod answer;
mod auth;
mod authority;
mod bells;
mod call;
mod cluster;
mod connection;
mod dispatch;
mod failure;
mod kept;
mod kv;
mod lease;
mod maintenance;
mod options;
mod translate;
mod watch;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as shared};
use tokio::task::JoinSet;

use super::wire;
use crate::{Revision, Store};
pub use options::EtcdServerOptions;

/// The term of an etcd of one member that has been started once.
const TERM: u64 = 2;

/// How long to wait after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a [`Store`] as an etcd: etcdctl, etcd's client libraries and programs written for etcd work with it.
///
/// It speaks etcd's v3 API over gRPC, as a cluster of one member:
///
/// - **KV, Watch, Lease**: all of it. Progress is told only when every watch it is told for has told everything up to it.
/// - **Maintenance**: `Status`, `Alarm`, `Hash`, `HashKV` (checksums of the pairs at a revision, not comparable with an
///   etcd's), `Snapshot` (the store's own format, in a frame that etcdctl accepts: see below), `Defragment` (which has
///   nothing to do). Moving the leader and downgrades are refused.
/// - **Cluster**: the list of members. Changing it is refused.
/// - **Auth**: refused, and `AuthStatus` says that it is disabled. Put a proxy or TLS with client certificates in front.
///
/// It says that it is etcd [`EtcdServer::VERSION`]: clients such as Kubernetes' API server decide by it what they may ask
/// for, and need 3.5.13 or later to ask for progress. The JSON gateway, `/health` and `/metrics` over HTTP/1, and
/// etcd's own lock and election services (which etcdctl does not use) are not there.
///
/// A snapshot is sent as the store's bytes, one byte 0x80 and as many zeros as make it a multiple of 512 bytes, and the
/// SHA-256 sum of all that, which is the frame that `etcdctl snapshot save` checks.
///
/// Everything is bounded, see [`EtcdServerOptions`]: a client that does not read stalls its own call or its own
/// connection. Large answers hold at most 16 MiB a connection, or one answer; a watch stream holds one message. A snapshot of which
/// nothing is taken for a minute is given up: while it lasts, the store keeps what it holds.
///
/// ```
/// use std::sync::Arc;
///
/// use kore_store::{EtcdServer, EtcdServerOptions, MemoryStore};
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let options = EtcdServerOptions::default().client_urls([format!("http://{}", listener.local_addr()?)]);
/// let server = EtcdServer::new(Arc::new(MemoryStore::new()), options);
/// # let told_to_stop = std::future::ready(());
/// server.serve(listener, told_to_stop).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EtcdServer {
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    store: Arc<dyn Store>,
    options: EtcdServerOptions,
    /// KiB of requests that may be under way in pieces.
    receiving: Arc<Semaphore>,
    /// Watches that there may still be.
    watching: Arc<Semaphore>,
    /// Bytes for which the store had no room the last time it had none; 0: it has had.
    no_room_for: AtomicU64,
}

impl EtcdServer {
    /// The version of etcd that this server says it is.
    pub const VERSION: &str = "3.5.21";

    /// A server for this store.
    pub fn new(store: Arc<dyn Store>, mut options: EtcdServerOptions) -> EtcdServer {
        options.progress_interval = options.progress_interval.max(watch::PROGRESS_INTERVAL_MIN);
        let room = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let (receiving, watching) = (room(options.receive_mib.saturating_mul(1024)), room(options.watches));
        let no_room_for = AtomicU64::new(0);
        EtcdServer { shared: Arc::new(Shared { store, options, receiving, watching, no_room_for }) }
    }

    /// Serves what is accepted here until `shutdown` is ready, each connection in a task of its own. Then stops
    /// listening, lets calls end for [`EtcdServerOptions::shutdown_grace`], and closes what is left: watches are told
    /// that the server has stopped, and go on at another time. The store stays open.
    ///
    /// Dropping the future ends everything at once.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let options = &self.shared.options;
        let (stop, stopping) = shared::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let full = connections.len() >= options.connections;
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                // Those that have ended make room for those that wait.
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                stream = accept(&listener), if !full => {
                    connections.spawn(connection::run(stream, self.shared.clone(), stopping.clone()));
                }
            }
        }
        drop(listener);
        stop.send_replace(true);
        let finish = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(options.shutdown_grace, finish).await.is_err() {
            tracing::warn!(connections = connections.len(), "closed before their calls were answered");
        }
    }

    /// Serves one connection until either side closes it: for listeners of one's own, such as one with TLS (for which
    /// clients expect the protocol `h2` to be agreed on).
    ///
    /// When `shutdown` is ready, calls are let to end, watches are told that the server has stopped, and the connection
    /// closes.
    pub async fn serve_connection<IO>(&self, io: IO, shutdown: impl Future<Output = ()>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stop, stopping) = shared::channel(false);
        let mut run = pin!(connection::run(io, self.shared.clone(), stopping));
        tokio::select! {
            biased;
            () = &mut run => {}
            () = shutdown => {
                stop.send_replace(true);
                run.await;
            }
        }
    }
}

impl std::fmt::Debug for EtcdServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdServer").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    /// What stands at the head of an answer.
    fn header(&self, revision: Revision) -> Option<wire::ResponseHeader> {
        Some(wire::ResponseHeader {
            cluster_id: self.options.cluster_id,
            member_id: self.options.member_id,
            revision: revision.cast_signed(),
            raft_term: TERM,
        })
    }

    /// The same, with the store's current revision.
    async fn header_now(&self) -> Result<Option<wire::ResponseHeader>, failure::Failure> {
        Ok(self.header(self.store.status().await?.revision))
    }
}

/// The next connection. What is wrong with one is no reason to stop.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A socket that refuses is served with delays.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
                _ => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}
