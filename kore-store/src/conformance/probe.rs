//! Calls the store for a check, under a prefix of the check's own, and remembers what it answered: in words for the report,
//! and as a history that is judged when the check is done.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::history::{Pending, Recorder};
use super::{Outcome, Wrong};
use crate::layer::{Around, Call, Compact};
use crate::{
    Compare, Event, EventBatch, KeyRange, KeyValue, Lease, LeaseId, Op, OpResponse, Put, Range, Ranged, Result,
    Revision, Snapshot, Status, Store, Txn, TxnResponse, Watch, WatchRequest, Watched,
};

/// How long a watch may take to tell what has happened.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls that are remembered: the last ones are what matters.
const HISTORY: usize = 200;

pub(super) struct Probe<'a> {
    pub(super) store: &'a dyn Store,
    prefix: String,
    history: Arc<Mutex<Vec<String>>>,
    pub(super) recorder: Recorder,
}

impl Probe<'_> {
    /// Begins with no key under the check's prefix.
    pub(super) async fn new(store: &dyn Store, number: usize) -> Result<Probe<'_>> {
        let prefix = format!("conformance/{number:02}/");
        store.delete(KeyRange::Prefix(prefix.clone().into())).await?;
        let status = store.status().await?;
        let recorder = Recorder::of(status.revision, Vec::new(), status.compacted);
        Ok(Probe { store, prefix, history: Arc::default(), recorder })
    }

    /// Goes on with the store that was opened in its place.
    pub(super) fn on<'b>(&self, store: &'b dyn Store) -> Probe<'b> {
        let Probe { prefix, history, recorder, .. } = self;
        Probe { store, prefix: prefix.clone(), history: history.clone(), recorder: recorder.clone() }
    }

    /// Whether all that was answered and told fits together.
    pub(super) fn judge(&self) -> Outcome {
        match self.recorder.check() {
            Ok(_) => Ok(()),
            Err(violation) => Err(Wrong::Found(violation.to_string())),
        }
    }

    pub(super) fn history(&self) -> Vec<String> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note<T: Debug>(&self, call: String, answer: Result<T>) -> Result<T> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY {
            history.remove(0);
        }
        history.push(format!("{call} -> {answer:?}"));
        answer
    }

    /// A key of this check's own.
    pub(super) fn key(&self, name: &str) -> Bytes {
        format!("{}{name}", self.prefix).into()
    }

    /// All keys of this check.
    pub(super) fn keys(&self) -> KeyRange {
        KeyRange::Prefix(self.prefix.clone().into())
    }

    pub(super) async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let call = format!("txn {txn:?}");
        self.note(call, self.recorder.ask(txn, self.store).await)
    }

    pub(super) async fn range(&self, range: Range) -> Result<Ranged> {
        let call = format!("range {range:?}");
        self.note(call, self.recorder.ask(range, self.store).await)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Arc<KeyValue>>> {
        let call = format!("get {name}");
        self.note(call, self.store.get(self.key(name)).await)
    }

    pub(super) async fn put(&self, name: &str, value: &str) -> Result<Revision> {
        let call = format!("put {name} {value}");
        let txn = Txn::new().then(Op::put(self.key(name), value.to_owned()));
        let pending = Pending::begin(&self.recorder, Call::Txn(&txn));
        let answer = self.store.put(self.key(name), value.to_owned().into()).await;
        pending.end(&answer.clone().map(wrote_one));
        self.note(call, answer)
    }

    pub(super) async fn compare_and_put(&self, name: &str, value: &str, expected: Revision) -> Result<Revision> {
        let call = format!("compare {expected} and put {name} {value}");
        let compare = Compare::mod_revision(self.key(name), expected);
        let txn = Txn::new().when(compare).then(Op::put(self.key(name), value.to_owned()));
        let pending = Pending::begin(&self.recorder, Call::Txn(&txn));
        let answer = self.store.compare_and_put(self.key(name), value.to_owned().into(), expected).await;
        pending.end(&answer.clone().map(wrote_one));
        self.note(call, answer)
    }

    pub(super) async fn compare_and_delete(&self, name: &str, expected: Revision) -> Result<Revision> {
        let call = format!("compare {expected} and delete {name}");
        let compare = Compare::mod_revision(self.key(name), expected);
        let txn = Txn::new().when(compare).then(Op::delete(self.key(name)));
        let pending = Pending::begin(&self.recorder, Call::Txn(&txn));
        let answer = self.store.compare_and_delete(self.key(name), expected).await;
        let deleted = OpResponse::Delete { deleted: 1, previous: Vec::new() };
        pending.end(&answer.clone().map(|revision| TxnResponse::new(revision, true, vec![deleted])));
        self.note(call, answer)
    }

    pub(super) async fn put_leased(&self, name: &str, lease: LeaseId) -> Result<Revision> {
        let put = Put::new(self.key(name), "leased").lease(lease);
        Ok(self.txn(Txn::new().then(put.into())).await?.revision)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<u64> {
        let call = format!("delete {name}");
        // At which revision, the answer does not say: for the judge, it is one of those that nobody claims.
        let txn = Txn::new().then(Op::delete(self.key(name)));
        drop(Pending::begin(&self.recorder, Call::Txn(&txn)));
        self.note(call, self.store.delete(KeyRange::Key(self.key(name))).await)
    }

    pub(super) async fn compact(&self, revision: Revision) -> Result<()> {
        let call = format!("compact {revision}");
        self.note(call, self.recorder.ask(Compact(revision), self.store).await)
    }

    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        self.note("snapshot".into(), self.store.snapshot().await)
    }

    pub(super) async fn status(&self) -> Result<Status> {
        self.note("status".into(), self.store.status().await)
    }

    pub(super) async fn revision(&self) -> Result<Revision> {
        Ok(self.store.status().await?.revision)
    }

    pub(super) async fn grant(&self, seconds: u64, id: LeaseId) -> Result<Lease> {
        let call = format!("grant {seconds} s as {id}");
        self.note(call, self.store.grant(Duration::from_secs(seconds), id).await)
    }

    pub(super) async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        self.note(format!("keep alive {id}"), self.store.keep_alive(id).await)
    }

    pub(super) async fn revoke(&self, id: LeaseId) -> Result<()> {
        self.note(format!("revoke {id}"), self.store.revoke(id).await)
    }

    pub(super) async fn lease(&self, id: LeaseId) -> Result<Lease> {
        self.note(format!("lease {id}"), self.store.lease(id).await)
    }

    pub(super) async fn leases(&self) -> Result<Vec<LeaseId>> {
        self.note("leases".into(), self.store.leases().await)
    }

    /// Watches all keys of this check.
    pub(super) fn request(&self) -> WatchRequest {
        WatchRequest::new(self.keys()).with_previous()
    }

    pub(super) async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        let call = format!("watch {request:?}");
        let watch = self.recorder.ask(request.clone(), self.store).await;
        self.note(call, watch.map(|watch| self.recorder.watch(&request, watch)))
    }

    /// The next item of a watch; None: it ended, or has nothing to say.
    pub(super) async fn next(&self, watch: &mut Watch) -> Result<Option<Watched>> {
        let item = tokio::time::timeout(PATIENCE, watch.next()).await;
        let item = item.unwrap_or(None).transpose();
        self.note("told".into(), item)
    }

    /// Everything a watch tells up to a revision, which has something for it.
    pub(super) async fn told(&self, watch: &mut Watch, to: Revision) -> Result<Vec<EventBatch>, Wrong> {
        let mut told: Vec<EventBatch> = Vec::new();
        while told.last().is_none_or(|batch| batch.revision < to) {
            match self.next(watch).await? {
                Some(Watched::Batch(batch)) => told.push(batch),
                Some(Watched::Progress(revision)) if revision >= to => {
                    let what = format!("progress {revision} came before the events of {to}");
                    return Err(Wrong::Found(what));
                }
                Some(Watched::Progress(_)) => {}
                None => {
                    let at = told.last().map_or(0, |batch| batch.revision);
                    return Err(Wrong::Found(format!("the watch told nothing of {to}, after {at}")));
                }
            }
        }
        Ok(told)
    }
}

/// What a transaction is answered that wrote one key.
fn wrote_one(revision: Revision) -> TxnResponse {
    TxnResponse::new(revision, true, vec![OpResponse::Put { previous: None }])
}

/// Events, as a check expects them: key and value, none for a deletion, and the value before.
pub(super) fn plain(batches: &[EventBatch]) -> Vec<(Revision, Vec<Change>)> {
    let changes = |batch: &EventBatch| batch.events.iter().map(Change::from).collect();
    batches.iter().map(|batch| (batch.revision, changes(batch))).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
    pub(super) previous: Option<Bytes>,
}

impl From<&Event> for Change {
    fn from(event: &Event) -> Change {
        Change {
            key: event.kv.key.clone(),
            value: Some(event.kv.value.clone()).filter(|_| !event.is_deletion()),
            previous: event.previous.as_ref().map(|kv| kv.value.clone()),
        }
    }
}

impl Probe<'_> {
    pub(super) fn change(&self, key: &str, value: Option<&str>, previous: Option<&str>) -> Change {
        let bytes = |value: &str| Bytes::copy_from_slice(value.as_bytes());
        Change { key: self.key(key), value: value.map(bytes), previous: previous.map(bytes) }
    }
}
