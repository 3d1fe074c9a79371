//! The contract as a program: what a store holds at each revision, and what it must answer. Written for being read, and
//! apart from the stores that are checked against it.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use crate::{
    Delete, Event, KeyRange, KeyValue, LeaseId, Op, OpResponse, Put, Range, Ranged, Revision, Txn, TxnResponse,
};

/// What a store holds at one revision.
pub(super) type Keys = OrdMap<Bytes, Arc<KeyValue>>;

/// What a store holds, at its revision and those before it, back to where the model began. A clone costs nothing.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) revision: Revision,
    states: OrdMap<Revision, Keys>,
}

/// What a write leads to.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// What is answered.
    pub(super) response: TxnResponse,
    /// What it changes, in the order of the keys, with what was there before; nothing, if it wrote nothing.
    pub(super) events: Vec<Event>,
    /// It reads a revision from before the model began: what it must be answered is not known.
    pub(super) is_blind: bool,
    next: Keys,
}

impl Model {
    /// A store that holds this at this revision.
    pub(super) fn new(revision: Revision, kvs: impl IntoIterator<Item = Arc<KeyValue>>) -> Model {
        let keys: Keys = kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        Model { revision, states: OrdMap::unit(revision, keys) }
    }

    fn now(&self) -> &Keys {
        &self.states[&self.revision]
    }

    /// What it holds now, for telling two models apart.
    pub(super) fn keys(&self) -> &Keys {
        self.now()
    }

    /// The leases that keys are attached to.
    pub(super) fn leases(&self) -> Vec<LeaseId> {
        let mut leases: Vec<_> = self.now().values().map(|kv| kv.lease).filter(|lease| *lease != 0).collect();
        leases.sort_unstable();
        leases.dedup();
        leases
    }

    /// What a transaction would do.
    pub(super) fn txn(&self, txn: &Txn) -> Step {
        let mut run = self.run();
        let mut response = run.txn(txn);
        let written = if run.events.is_empty() { self.revision } else { self.revision + 1 };
        settle(&mut response, written);
        run.end(response)
    }

    /// What happens when a lease ends.
    pub(super) fn end(&self, lease: LeaseId) -> Step {
        let mut run = self.run();
        let attached: Vec<_> = self.now().values().filter(|kv| kv.lease == lease).cloned().collect();
        for kv in attached {
            run.remove(&kv);
        }
        run.end(TxnResponse::default())
    }

    fn run(&self) -> Run<'_> {
        Run { model: self, now: self.now().clone(), events: OrdMap::new(), is_blind: false }
    }

    /// The model after a write.
    pub(super) fn after(&self, step: &Step) -> Model {
        let revision = self.revision + u64::from(!step.events.is_empty());
        let mut states = self.states.clone();
        states.insert(revision, step.next.clone());
        Model { revision, states }
    }

    /// What a read must answer; None: the model does not know that revision.
    pub(super) fn range(&self, range: &Range) -> Option<Ranged> {
        let at = if range.revision == 0 { self.revision } else { range.revision };
        Some(select(range, at, self.states.get(&at)?))
    }
}

/// The pairs that a read selects.
fn select(range: &Range, at: Revision, keys: &Keys) -> Ranged {
    let covered = keys
        .iter()
        .filter(|(key, _)| range.keys.contains(key) && range.after.as_ref().is_none_or(|after| *key > after));
    let all: Vec<&Arc<KeyValue>> = covered.map(|(_, kv)| kv).collect();
    let limit = match (range.count_only, range.limit) {
        (true, _) => 0,
        (false, 0) => all.len(),
        (false, limit) => limit.min(all.len()),
    };
    let bare = |kv: &Arc<KeyValue>| match range.keys_only {
        true => Arc::new(KeyValue { value: Bytes::new(), ..KeyValue::clone(kv) }),
        false => kv.clone(),
    };
    Ranged {
        revision: at,
        kvs: all[..limit].iter().map(|kv| bare(kv)).collect(),
        more: !range.count_only && limit < all.len(),
        count: all.len() as u64,
    }
}

/// Puts the revision that it came to into an answer and those inside it.
fn settle(response: &mut TxnResponse, revision: Revision) {
    response.revision = revision;
    for inner in &mut response.responses {
        match inner {
            OpResponse::Range(ranged) => ranged.revision = ranged.revision.min(revision),
            OpResponse::Txn(nested) => settle(nested, revision),
            OpResponse::Put { .. } | OpResponse::Delete { .. } => {}
        }
    }
}

/// A transaction being done.
struct Run<'a> {
    /// Before it: what comparisons see, also those of nested transactions.
    model: &'a Model,
    now: Keys,
    events: OrdMap<Bytes, Event>,
    is_blind: bool,
}

impl Run<'_> {
    fn end(self, response: TxnResponse) -> Step {
        Step { response, events: self.events.values().cloned().collect(), is_blind: self.is_blind, next: self.now }
    }

    fn txn(&mut self, txn: &Txn) -> TxnResponse {
        let before = self.model.now();
        let succeeded = txn.compares.iter().all(|compare| match &compare.keys {
            KeyRange::Key(key) => compare.holds(before.get(key).map(|kv| &**kv)),
            keys => {
                let found: Vec<_> = before.iter().filter(|(key, _)| keys.contains(key)).collect();
                let holds = found.iter().all(|(_, kv)| compare.holds(Some(kv)));
                if found.is_empty() { compare.holds(None) } else { holds }
            }
        });
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let responses = ops.iter().map(|op| self.op(op)).collect();
        TxnResponse { revision: 0, succeeded, responses }
    }

    fn op(&mut self, op: &Op) -> OpResponse {
        let revision = self.model.revision + 1;
        match op {
            Op::Put(put) => OpResponse::Put { previous: self.put(put).filter(|_| put.previous) },
            Op::Delete(delete) => self.delete(delete),
            Op::Range(range) => {
                let past = self.model.states.get(&range.revision);
                self.is_blind |= range.revision != 0 && past.is_none();
                OpResponse::Range(match past {
                    Some(keys) => select(range, range.revision, keys),
                    None => select(range, revision, &self.now),
                })
            }
            Op::Txn(nested) => OpResponse::Txn(self.txn(nested)),
        }
    }

    fn put(&mut self, put: &Put) -> Option<Arc<KeyValue>> {
        let revision = self.model.revision + 1;
        let previous = self.now.get(&put.key).cloned();
        let kv = Arc::new(KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(0, |kv| kv.version) + 1,
            lease: put.lease,
        });
        self.now.insert(put.key.clone(), kv.clone());
        self.events.insert(put.key.clone(), Event { kv, previous: previous.clone() });
        previous
    }

    fn delete(&mut self, delete: &Delete) -> OpResponse {
        let gone: Vec<_> =
            self.now.iter().filter(|(key, _)| delete.keys.contains(key)).map(|(_, kv)| kv.clone()).collect();
        for kv in &gone {
            self.remove(kv);
        }
        let deleted = gone.len() as u64;
        OpResponse::Delete { deleted, previous: if delete.previous { gone } else { Vec::new() } }
    }

    fn remove(&mut self, kv: &Arc<KeyValue>) {
        let mod_revision = self.model.revision + 1;
        let mark = KeyValue { key: kv.key.clone(), mod_revision, ..KeyValue::default() };
        self.now.remove(&kv.key);
        self.events.insert(kv.key.clone(), Event { kv: Arc::new(mark), previous: Some(kv.clone()) });
    }
}
