//! A durable store in a directory of its own.
//!
//! - here: the handle, its options, and opening it
//! - `writer`: the one task that writes: evaluates, groups, flushes, publishes
//! - `disk`: appending to the log, segment by segment; `segment`: what a segment looks like; `record`: what is logged
//! - `checkpoint`: the whole index in a file; `recovery`: opening what is there
//! - `offline`: looking at a data directory that nobody has open
//! - `restore`: a data directory from a snapshot
//! - `files`: what is asked of the operating system; `codec`: numbers and bytes

mod append;
pub(crate) mod checkpoint;
mod codec;
mod disk;
mod files;
pub(crate) mod offline;
mod record;
mod recovery;
mod restore;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::index::{Deadlines, check};
use crate::memory::whole_seconds;
use crate::published::Published;
use crate::{
    Entropy, Error, KeyValue, Lease, LeaseId, Limits, Range, Ranged, Result, Revision, Snapshot, Status, Store, Txn,
    TxnResponse, Watch, WatchRequest,
};
use files::{Files, OsFiles};
use writer::{Command, LogState, Queued, Writer};

/// The most KiB that may wait for the writer, and so be part of one group: its length is written in 32 bits.
const QUEUE_KIB_MAX: u32 = 1 << 20;

/// How large a log file is by default, in bytes.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How a [`DurableStore`] is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How much the store takes.
    pub limits: Limits,
    /// Salts the log.
    pub entropy: Entropy,
    /// Requests that may wait for the writer; further ones wait for room. Default: 4096.
    pub queue: usize,
    /// KiB of keys and values that may wait for the writer, a request counting for one at least; further requests wait for room.
    /// Default: 65,536, at most 1,048,576.
    pub queue_kib: u32,
    /// A checkpoint is taken when the log has grown by so many bytes, and log and last checkpoint are three times as long as
    /// what the store holds, old versions included: they are what is read again at the next start. Default: 64 MiB.
    pub checkpoint_bytes: u64,
    /// The size of a log file, in bytes, 1024 at least. Default: 16 MiB.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            entropy: Entropy::system(),
            queue: 4096,
            queue_kib: 64 << 10,
            checkpoint_bytes: 64 << 20,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

impl Options {
    /// Set [`limits`](Options::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Options {
        self.limits = limits;
        self
    }

    /// Set [`entropy`](Options::entropy).
    #[must_use]
    pub fn entropy(mut self, entropy: Entropy) -> Options {
        self.entropy = entropy;
        self
    }

    /// Set [`queue`](Options::queue).
    #[must_use]
    pub fn queue(mut self, requests: usize) -> Options {
        self.queue = requests;
        self
    }

    /// Set [`queue_kib`](Options::queue_kib).
    #[must_use]
    pub fn queue_kib(mut self, kib: u32) -> Options {
        self.queue_kib = kib;
        self
    }

    /// Set [`checkpoint_bytes`](Options::checkpoint_bytes).
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Options {
        self.checkpoint_bytes = bytes;
        self
    }

    /// Set [`segment_bytes`](Options::segment_bytes).
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }
}

/// Does a store's work. Nothing is written unless it is polled; dropping it stops the store.
pub type Run = BoxFuture<'static, Result<()>>;

/// A store in a directory of its own, which survives crashes of the process and of the machine. Clones are handles of the
/// same store.
///
/// The directory and its files are readable by the process's user alone.
///
/// A write is answered, and shown to readers and watchers, when it is durable (`fdatasync`). Whatever comes in during one flush
/// is the next one's group; nothing waits on purpose. All data is held in memory; [`Limits::quota_bytes`] guards it.
///
/// # The allocator
///
/// What a caller has allocated for a request, the run future drops; with glibc's allocator, threads wait for each other then. A
/// program with many writers does well to take another one, such as mimalloc: where it was measured, a thousand writers got about half
/// as much again of writes a second, and a key took an eighth less memory.
///
/// # Stopping
///
/// [`close`](DurableStore::close) finishes what was asked before it, and the run future ends; so does dropping the last handle, and
/// watches end with it. Dropping the run future is as good as a crash: what was answered is durable. After any of these, every call
/// fails with [`Error::Unavailable`]. Nothing is written, and nothing closed, while nobody polls the run future.
///
/// # When the disk fails
///
/// After any failed write or flush the store stops for good, since nobody can know what a disk holds after that: the run future ends
/// with the error, writes that were waiting for the flush fail with [`Error::OutcomeUnknown`], and every other call with
/// [`Error::Unavailable`]. Opening the directory again tells.
///
/// ```
/// use kore_store::{DurableStore, Options, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let (store, run) = DurableStore::open(dir.path(), Options::default()).await?;
/// let work = async {
///     store.put("greeting".into(), "hello".into()).await?;
///     store.close().await
/// };
/// tokio::try_join!(run, work)?;
///
/// let (store, _run) = DurableStore::open(dir.path(), Options::default()).await?;
/// assert!(store.get("greeting".into()).await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DurableStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Queued>,
}

/// What handles and writer share.
struct Shared {
    published: Arc<Published>,
    deadlines: Mutex<Deadlines>,
    limits: Limits,
    /// KiB that may wait for the writer.
    room: Arc<Semaphore>,
    room_kib: u32,
}

impl Shared {
    fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DurableStore {
    /// Opens the store in this directory, and makes both if they are not there. Answers with a handle and the future that
    /// does the work. A directory that an earlier version wrote states the format of this one from then on: the earlier version
    /// refuses it.
    ///
    /// Errors: [`InUse`](Error::InUse), [`Format`](Error::Format), [`Corrupt`](Error::Corrupt), [`Io`](Error::Io).
    pub async fn open(dir: impl AsRef<Path>, options: Options) -> Result<(DurableStore, Run)> {
        DurableStore::open_on(Arc::new(OsFiles), dir.as_ref(), options).await
    }

    async fn open_on(files: Arc<dyn Files>, dir: &Path, options: Options) -> Result<(DurableStore, Run)> {
        let opening = {
            let (dir, entropy) = (dir.to_owned(), options.entropy.clone());
            move || recovery::open(files, &dir, entropy, options.segment_bytes)
        };
        let opened = tokio::task::spawn_blocking(opening).await;
        let recovered = opened.map_err(|_| unavailable("the runtime is shutting down"))??;

        let recovery::Recovered { index, disk, log_bytes, checkpoint_bytes } = recovered;
        let status = (index.revision, index.len());
        tracing::info!(dir = %dir.display(), revision = status.0, keys = status.1, "the store is open");
        let mut deadlines = Deadlines::default();
        let now = Instant::now();
        for (id, attached) in &index.leases {
            deadlines.set(*id, Duration::from_secs(attached.ttl_seconds), now);
        }
        let (queue, commands) = mpsc::channel(options.queue.clamp(1, Semaphore::MAX_PERMITS));
        let room_kib = options.queue_kib.clamp(1, QUEUE_KIB_MAX);
        let published = Published::new(index).ok_or_else(|| Error::Corrupt {
            file: dir.to_owned(),
            offset: 0,
            reason: "a revision is missing between the oldest and the current one",
        })?;
        let shared = Arc::new(Shared {
            published: Arc::new(published),
            deadlines: Mutex::new(deadlines),
            limits: options.limits,
            room: Arc::new(Semaphore::new(room_kib as usize)),
            room_kib,
        });
        let log =
            LogState { disk, log_bytes, last_checkpoint: checkpoint_bytes, checkpoint_bytes: options.checkpoint_bytes };
        let writer = Writer::new(shared.clone(), commands, log);
        Ok((DurableStore { shared, queue }, Box::pin(writer.run())))
    }

    /// Makes a data directory that holds what a snapshot of a [`DurableStore`] or a [`MemoryStore`](crate::MemoryStore) holds:
    /// keys with their history, and leases, each with its full time. Answers with the revision that it is at. A snapshot that
    /// `etcdctl snapshot save` has saved from an `EtcdServer` over such a store is one, too.
    ///
    /// The directory must not hold a store. When this fails, it does not hold one after it either, and is to be removed.
    ///
    /// Errors: [`Corrupt`](Error::Corrupt), when that is no snapshot, or not a whole one; [`InUse`](Error::InUse);
    /// [`Io`](Error::Io), also when there is a store; and those of the snapshot.
    ///
    /// ```
    /// use kore_store::{DurableStore, MemoryStore, Options, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let memory = MemoryStore::default();
    /// let revision = memory.put("greeting".into(), "hello".into()).await?;
    ///
    /// let dir = tempfile::tempdir()?;
    /// assert_eq!(DurableStore::restore(dir.path(), memory.snapshot().await?).await?, revision);
    /// let (store, _run) = DurableStore::open(dir.path(), Options::default()).await?;
    /// assert_eq!(store.get("greeting".into()).await?, memory.get("greeting".into()).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn restore(dir: impl AsRef<Path>, snapshot: impl Stream<Item = Result<Bytes>>) -> Result<Revision> {
        restore::restore(Arc::new(OsFiles), dir.as_ref(), snapshot, Entropy::system()).await
    }

    /// Finishes what was asked before, and stops the store.
    ///
    /// Errors: [`Unavailable`](Error::Unavailable), when it has stopped already.
    pub async fn close(&self) -> Result<()> {
        self.ask(1, |reply| Command::Close { reply }).await
    }

    /// Waits for room, hands the writer a command, and waits for the answer.
    async fn ask<T>(&self, bytes: usize, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        // The room goes with the command: a caller that gives up does not make any.
        let room = self.room_for(bytes).await?;
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Queued { command: command(reply), room }).await.is_err() {
            return Err(self.why_stopped());
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(Error::OutcomeUnknown { reason: "the store stopped before it answered".into() }),
        }
    }

    /// Asks about a lease. That it has ended is told when that is durable.
    async fn of_lease(&self, id: LeaseId, ask: impl Fn() -> Result<Lease>) -> Result<Lease> {
        loop {
            match ask() {
                Err(Error::LeaseNotFound { .. }) if self.shared.published.shows_lease(id) => {
                    // It is being ended: this is answered behind that.
                    self.ask(1, |reply| Command::Txn { txn: Txn::new(), reply }).await?;
                }
                told => return told,
            }
        }
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = self.shared.room.clone().acquire_many_owned(kib.clamp(1, self.shared.room_kib));
        room.await.map_err(|_| self.why_stopped())
    }

    fn why_stopped(&self) -> Error {
        match self.shared.published.read() {
            Err(error) => error,
            Ok(_) => unavailable("the store has stopped"),
        }
    }
}

impl std::fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DurableStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for DurableStore {
    async fn range(&self, request: Range) -> Result<Ranged> {
        self.shared.published.range(&request)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        check(&txn, &self.shared.limits)?;
        if txn.is_read_only() {
            return self.shared.published.read_txn(txn);
        }
        self.ask(txn.size(), |reply| Command::Txn { txn, reply }).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        self.shared.published.watch(request, None)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.ask(1, |reply| Command::Compact { revision, reply }).await
    }

    async fn status(&self) -> Result<Status> {
        self.shared.published.status(&self.shared.limits)
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        let ttl_seconds = whole_seconds(ttl);
        self.ask(1, |reply| Command::Grant { id, ttl_seconds, reply }).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        let shared = &self.shared;
        self.of_lease(id, || shared.published.keep_alive(&mut shared.deadlines(), id, Instant::now())).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        self.ask(1, |reply| Command::Revoke { id, reply }).await
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        let shared = &self.shared;
        self.of_lease(id, || shared.published.lease(&shared.deadlines(), id, Instant::now())).await
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        self.shared.published.leases()
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.shared.published.snapshot()
    }

    async fn get(&self, key: Bytes) -> Result<Option<Arc<KeyValue>>> {
        self.shared.published.get(&key)
    }
}

fn unavailable(reason: &str) -> Error {
    Error::Unavailable { reason: reason.into() }
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |error| Error::Io { action, path: path.to_owned(), source: Arc::new(error) }
}
