//! Clients that write, read and compare the same few keys at once, watchers of every kind, and compactions: recorded, and
//! judged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{join, try_join, try_join_all};
use tokio::sync::watch;

use super::history::{Recorder, Summary};
use super::linearizability::{Property, Violation};
use super::watchers::Kind;
use crate::layer::Around;
use crate::{
    Compare, Delete, Entropy, Error, KeyRange, Op, Put, Range, Relation, Result, Revision, Store, Target, Txn,
};

/// Clients that use the same few keys at once, while watchers of every kind watch and somebody compacts. What they ask and are
/// told is recorded and [judged](super::linearizability).
///
/// A store that sometimes fails with [`Error::Unavailable`] or [`Error::OutcomeUnknown`], or whose watches break, is tried again:
/// put [`Faults`](crate::layer::Faults) around a store to have it fail. Pauses are drawn, so that calls overlap differently for each
/// seed.
///
/// ```
/// use std::time::Duration;
///
/// use kore_store::conformance::Workload;
/// use kore_store::layer::{Faults, Layer};
/// use kore_store::{Entropy, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// for seed in 0..10 {
///     let faults = Faults::new(Entropy::seeded(seed)).lost_answers(50).broken_watches(50);
///     let store = faults.layer(MemoryStore::new());
///     match Workload::default().run(&store, Entropy::seeded(seed)).await {
///         Ok(summary) => assert!(summary.writes > 0 && summary.overlaps > 0),
///         Err(violation) => panic!("seed {seed}: {violation}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Workload {
    prefix: Bytes,
    clients: usize,
    calls: usize,
    keys: u64,
    compacts: bool,
    is_shared: bool,
}

impl Default for Workload {
    fn default() -> Workload {
        let prefix = "conformance/workload/".into();
        Workload { prefix, clients: 8, calls: 25, keys: 4, compacts: true, is_shared: false }
    }
}

impl Workload {
    /// All keys begin so. Default: `conformance/workload/`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Bytes>) -> Workload {
        self.prefix = prefix.into();
        self
    }

    /// So many clients. Default: 8.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> Workload {
        self.clients = clients;
        self
    }

    /// So many calls of each client. Default: 25.
    #[must_use]
    pub fn calls(mut self, calls: usize) -> Workload {
        self.calls = calls;
        self
    }

    /// So many keys, at least one. Default: 4.
    #[must_use]
    pub fn keys(mut self, keys: u64) -> Workload {
        self.keys = keys.max(1);
        self
    }

    /// Nobody compacts.
    #[must_use]
    pub fn without_compaction(mut self) -> Workload {
        self.compacts = false;
        self
    }

    /// As [`Recorder::beside_others`].
    #[must_use]
    pub fn beside_others(mut self) -> Workload {
        self.is_shared = true;
        self
    }

    /// Works on the store until all clients are done and all watchers have been told everything, and judges what was
    /// recorded. Nobody else may write meanwhile. Everything happens in this future; nothing is spawned.
    pub async fn run(&self, store: &dyn Store, entropy: Entropy) -> Result<Summary, Violation> {
        let recorder = loop {
            match Recorder::begin(store).await {
                Ok(recorder) => break recorder.pausing(entropy.clone()),
                Err(error) => tolerate(error)?,
            }
        };
        let recorder = if self.is_shared { recorder.beside_others() } else { recorder };
        let world = World::new(self, store, recorder, entropy);
        let writing = async {
            join(try_join_all((0..self.clients).map(|number| world.client(number))), world.compact()).await.0?;
            world.finish().await
        };
        let watching = try_join_all(Kind::ALL.iter().map(|kind| world.watcher(*kind)));
        try_join(writing, watching).await?;
        world.recorder.check()
    }

    /// Only the clients, compactions and a watcher, on a store that may be gone before they are done: errors that say so end nothing.
    pub(super) async fn clients_on(
        &self,
        store: &dyn Store,
        recorder: &Recorder,
        entropy: Entropy,
        name: String,
    ) -> Result<(), Violation> {
        let world = World { name, ..World::new(self, store, recorder.clone(), entropy) };
        let clients = join(try_join_all((0..self.clients).map(|number| world.client(number))), world.compact());
        let following = async {
            let request = world.request(Kind::Full);
            if let Ok(watch) = recorder.ask(request.clone(), store).await {
                let mut watch = recorder.watch(&request, watch);
                while let Some(Ok(_)) = watch.next().await {}
            }
            // Whoever lost the store has nothing more to see.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            (done, ()) = clients => done.map(|_| ()),
            () = following => Ok(()),
        }
    }
}

/// Errors that a client lives with.
pub(super) fn tolerate(error: Error) -> Result<(), Violation> {
    match error {
        Error::Unavailable { .. } | Error::OutcomeUnknown { .. } => Ok(()),
        // Whether they were justified is for the judge.
        Error::Compacted { .. } | Error::FutureRevision { .. } => Ok(()),
        error => Err(Violation::new(Property::Answer, 0, format!("a call failed: {error}"))),
    }
}

pub(super) struct World<'a> {
    workload: &'a Workload,
    pub(super) store: &'a dyn Store,
    pub(super) recorder: Recorder,
    pub(super) entropy: Entropy,
    /// Part of every value: no two writes write the same.
    name: String,
    /// The last revision that anybody here was answered.
    latest: AtomicU64,
    clients_left: AtomicU64,
    /// The last revision of all, when writing is over.
    pub(super) finished: watch::Sender<Option<Revision>>,
}

impl<'a> World<'a> {
    fn new(workload: &'a Workload, store: &'a dyn Store, recorder: Recorder, entropy: Entropy) -> World<'a> {
        World {
            workload,
            store,
            recorder,
            entropy,
            name: String::new(),
            latest: AtomicU64::new(0),
            clients_left: AtomicU64::new(workload.clients as u64),
            finished: watch::Sender::new(None),
        }
    }

    /// All keys that are written. They end directly behind the last one: a store that writes a key behind a watched range, to
    /// learn of progress, writes none of them.
    pub(super) fn keys(&self) -> KeyRange {
        KeyRange::Interval { start: self.named(""), end: Some([&self.last_key()[..], b"\0"].concat().into()) }
    }

    pub(super) fn last_key(&self) -> Bytes {
        self.named("last")
    }

    fn key(&self) -> Bytes {
        match self.entropy.below(self.workload.keys) {
            0 => self.last_key(),
            number => self.named(&number.to_string()),
        }
    }

    pub(super) fn named(&self, name: &str) -> Bytes {
        [&self.workload.prefix[..], name.as_bytes()].concat().into()
    }

    fn latest(&self) -> Revision {
        self.latest.load(Ordering::Relaxed)
    }

    /// A revision that was current not long ago.
    fn recent(&self) -> Revision {
        self.latest().saturating_sub(self.entropy.below(12)).max(1)
    }

    fn seen(&self, revision: Revision) {
        self.latest.fetch_max(revision, Ordering::Relaxed);
    }

    async fn txn(&self, txn: Txn) -> Result<(), Violation> {
        match self.recorder.ask(txn, self.store).await {
            Ok(done) => self.seen(done.revision),
            Err(error) => tolerate(error)?,
        }
        Ok(())
    }

    async fn range(&self, range: Range, known: &mut BTreeMap<Bytes, Revision>) -> Result<(), Violation> {
        match self.recorder.ask(range, self.store).await {
            Ok(found) => {
                self.seen(found.revision);
                known.extend(found.kvs.iter().map(|kv| (kv.key.clone(), kv.mod_revision)));
            }
            Err(error) => tolerate(error)?,
        }
        Ok(())
    }

    async fn client(&self, number: usize) -> Result<(), Violation> {
        // The last revision of each key that this client read: what it compares with.
        let mut known = BTreeMap::new();
        for call in 0..self.workload.calls {
            let key = self.key();
            let value: Bytes = format!("{}{number}-{call}", self.name).into();
            let put = || Op::Put(Put::new(key.clone(), value.clone()));
            let seen = known.get(&key).copied().unwrap_or(0);
            let compare = Compare::mod_revision(key.clone(), seen);
            let other = self.key();
            match self.entropy.below(100) {
                0..22 => self.txn(Txn::new().then(put())).await?,
                22..27 => self.txn(Txn::new().then(Put::new(key, value).previous().into())).await?,
                27..34 => self.txn(Txn::new().then(Op::delete(key))).await?,
                34..50 => self.range(Range::key(key), &mut known).await?,
                50..58 => self.range(Range::new(self.keys()), &mut known).await?,
                58..61 => self.range(Range::new(self.keys()).limit(2), &mut known).await?,
                61..64 => self.range(Range::new(self.keys()).count_only(), &mut known).await?,
                64..70 => self.range(Range::new(self.keys()).at(self.recent()), &mut BTreeMap::new()).await?,
                70..84 => self.txn(Txn::new().when(compare).then(put()).otherwise(Op::get(key))).await?,
                84..88 => {
                    self.txn(Txn::new().when(compare).then(Op::delete(key.clone())).otherwise(Op::get(key))).await?
                }
                88..91 if other != key => {
                    let both = Txn::new().then(put()).then(Op::put(other, value.clone()));
                    self.txn(both.then(Range::new(self.keys()).into())).await?;
                }
                91..94 => {
                    // Of a whole range, with keys or without any.
                    let some = Compare::new(self.keys(), Target::Version(0)).is(Relation::Greater);
                    self.txn(Txn::new().when(some).then(put()).otherwise(Op::put(other, value.clone()))).await?;
                }
                94..97 => self.txn(Txn::new().then(Delete::new(self.keys()).previous().into())).await?,
                _ => self.txn(self.nested(key, value)).await?,
            }
        }
        self.clients_left.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Creates a key beside another one, or moves it there: what the nested comparison sees is what was there before.
    fn nested(&self, key: Bytes, value: Bytes) -> Txn {
        let exists = Compare::new(KeyRange::Key(key.clone()), Target::Version(0)).is(Relation::Greater);
        let beside = self.named("beside");
        let inner = Txn::new()
            .when(exists)
            .then(Op::put(beside.clone(), value.clone()))
            .otherwise(Op::get(beside))
            .otherwise(Op::get(key.clone()));
        Txn::new().then(Op::put(key, value)).then(Op::Txn(inner)).then(Range::new(self.keys()).keys_only().into())
    }

    /// Compacts now and then, until the clients are done.
    async fn compact(&self) {
        while self.clients_left.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5 + self.entropy.below(60))).await;
            if self.workload.compacts && self.latest() > 1 {
                let at = self.recent();
                // Refused when it was compacted there before; the judge knows.
                drop(self.recorder.ask(crate::layer::Compact(at), self.store).await);
            }
        }
    }

    /// A last look, when everybody is done: watchers shall be told everything up to there.
    async fn finish(&self) -> Result<(), Violation> {
        loop {
            match self.recorder.ask(Range::new(self.keys()), self.store).await {
                Ok(found) => {
                    self.finished.send_replace(Some(found.revision));
                    return Ok(());
                }
                Err(error) => tolerate(error)?,
            }
        }
    }
}
