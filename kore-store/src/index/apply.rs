//! Transactions and leases, applied to the index.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdSet;

use super::history::version_bytes;
use super::{Attached, History, Index, readable};
use crate::{
    Compare, Delete, Error, Event, EventBatch, KeyRange, KeyValue, LeaseId, Op, OpResponse, Put, Range, Result,
    Revision, Txn, TxnResponse,
};

/// What a transaction did.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) response: TxnResponse,
    /// What it changed; None: nothing.
    pub(crate) batch: Option<EventBatch>,
}

/// One thing that a transaction wrote.
pub(crate) enum Write<'a> {
    Put(&'a KeyValue),
    Delete(&'a KeyRange),
}

/// What a transaction does, its comparisons made: the operations of the branches it takes.
pub(crate) struct Path {
    pub(crate) succeeded: bool,
    pub(crate) steps: Vec<Step>,
}

impl Path {
    /// The lowest revision that it reads at, when it reads at `at` where it says none.
    pub(crate) fn lowest(&self, at: Revision, compacted: Revision) -> Result<Revision> {
        let of = |step: &Step| match step {
            Step::Range(range) => readable(range.revision, at, compacted),
            Step::Txn(nested) => nested.lowest(at, compacted),
            Step::Put(_) | Step::Delete(_) => Ok(at),
        };
        self.steps.iter().try_fold(at, |lowest, step| Ok(lowest.min(of(step)?)))
    }
}

pub(crate) enum Step {
    Put(Put),
    Delete(Delete),
    Range(Range),
    Txn(Path),
}

impl Index {
    /// Does a transaction, or fails and changes nothing. Tells `log` what it writes, in order.
    pub(crate) fn apply(&mut self, txn: Txn, quota_bytes: u64, log: &mut impl FnMut(Write<'_>)) -> Result<Applied> {
        let path = self.path(txn, self.revision);
        let mut needed = 0;
        self.check_state(&path, &mut needed)?;
        if needed > 0 && self.size.bytes + needed > quota_bytes {
            return Err(Error::QuotaExceeded { used: self.size.bytes, needed, quota: quota_bytes });
        }
        let revision = self.revision + 1;
        let mut events = Vec::new();
        let mut response = self.follow(path, revision, &mut events, log);
        let batch = self.commit(revision, events);
        response.settle(self.revision);
        Ok(Applied { response, batch })
    }

    /// Makes all comparisons of a transaction, at a revision.
    pub(crate) fn path(&self, txn: Txn, at: Revision) -> Path {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare, at));
        let ops = match succeeded {
            true => txn.success,
            false => txn.failure,
        };
        let steps = ops.into_iter().map(|op| match op {
            Op::Put(put) => Step::Put(put),
            Op::Delete(delete) => Step::Delete(delete),
            Op::Range(range) => Step::Range(range),
            Op::Txn(nested) => Step::Txn(self.path(nested, at)),
        });
        Path { succeeded, steps: steps.collect() }
    }

    fn holds(&self, compare: &Compare, at: Revision) -> bool {
        match &compare.keys {
            KeyRange::Key(key) => compare.holds(self.get(key, at).map(|kv| &**kv)),
            keys => {
                let mut found = self.visible(keys, at).peekable();
                match found.peek() {
                    Some(_) => found.all(|kv| compare.holds(Some(kv))),
                    None => compare.holds(None),
                }
            }
        }
    }

    /// Everything about the operations that depends on what the store holds, so that nothing fails half-way; adds up the
    /// bytes they need.
    fn check_state(&self, path: &Path, needed: &mut u64) -> Result<()> {
        for step in &path.steps {
            match step {
                Step::Put(put) => {
                    if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                        return Err(Error::LeaseNotFound { id: put.lease });
                    }
                    *needed += version_bytes(put.key.len(), put.value.len());
                }
                Step::Range(range) => drop(readable(range.revision, self.revision, self.compacted)?),
                Step::Delete(_) => {}
                Step::Txn(nested) => self.check_state(nested, needed)?,
            }
        }
        Ok(())
    }

    /// Does the operations of a path, at this revision.
    fn follow(
        &mut self,
        path: Path,
        revision: Revision,
        events: &mut Vec<Event>,
        log: &mut impl FnMut(Write<'_>),
    ) -> TxnResponse {
        let mut responses = Vec::with_capacity(path.steps.len());
        for step in path.steps {
            responses.push(match step {
                Step::Put(put) => {
                    let wants_previous = put.previous;
                    let event = self.put(put, revision);
                    log(Write::Put(&event.kv));
                    let previous = event.previous.clone().filter(|_| wants_previous);
                    events.push(event);
                    OpResponse::Put { previous }
                }
                Step::Delete(delete) => {
                    log(Write::Delete(&delete.keys));
                    self.delete(&delete, revision, events)
                }
                Step::Range(range) => {
                    let at = if range.revision == 0 { revision } else { range.revision };
                    OpResponse::Range(self.range(&range, at))
                }
                Step::Txn(nested) => OpResponse::Txn(self.follow(nested, revision, events, log)),
            });
        }
        TxnResponse::new(revision, path.succeeded, responses)
    }

    fn put(&mut self, put: Put, revision: Revision) -> Event {
        let Put { key, value, lease, .. } = put;
        let kv = KeyValue { key, value, create_revision: revision, mod_revision: revision, version: 1, lease };
        self.size.add(&kv);
        let event = self
            .keys
            .upsert(History::new(Arc::new(kv)), History::replace, |first| Event::new(first.newest().clone(), None));
        let old_lease = event.previous.as_ref().map_or(0, |kv| kv.lease);
        if old_lease != lease {
            self.detach(old_lease, &event.kv.key);
            self.attach(lease, &event.kv.key);
        }
        self.live += u64::from(event.previous.is_none());
        event
    }

    fn delete(&mut self, delete: &Delete, revision: Revision, events: &mut Vec<Event>) -> OpResponse {
        let found: Vec<_> = self.visible(&delete.keys, revision).cloned().collect();
        for kv in &found {
            self.remove(kv.clone(), revision, events);
        }
        OpResponse::Delete {
            deleted: found.len() as u64,
            previous: match delete.previous {
                true => found,
                false => Vec::new(),
            },
        }
    }

    fn remove(&mut self, previous: Arc<KeyValue>, revision: Revision, events: &mut Vec<Event>) {
        let mark = Arc::new(KeyValue { key: previous.key.clone(), mod_revision: revision, ..KeyValue::default() });
        self.detach(previous.lease, &previous.key);
        self.live -= 1;
        self.size.add(&mark);
        let history = self.keys.get_mut(&mark.key).expect("what is deleted is there");
        history.push(mark.clone());
        events.push(Event::new(mark, Some(previous)));
    }

    /// Takes in a key as a checkpoint has it.
    pub(crate) fn restore(&mut self, history: History) {
        history.versions().for_each(|kv| self.size.add(kv));
        if let Some(kv) = history.live() {
            self.live += 1;
            let (lease, key) = (kv.lease, kv.key.clone());
            self.attach(lease, &key);
        }
        self.keys.upsert(history, |before, history| *before = history, |_| ());
    }

    fn commit(&mut self, revision: Revision, mut events: Vec<Event>) -> Option<EventBatch> {
        if events.is_empty() {
            return None;
        }
        events.sort_by(|a, b| a.kv.key.cmp(&b.kv.key));
        self.revision = revision;
        Some(EventBatch::new(revision, events))
    }

    fn attach(&mut self, lease: LeaseId, key: &Bytes) {
        if let Some(attached) = self.leases.get_mut(&lease) {
            attached.keys.insert(key.clone());
        }
    }

    fn detach(&mut self, lease: LeaseId, key: &Bytes) {
        if let Some(attached) = self.leases.get_mut(&lease) {
            attached.keys.remove(key);
        }
    }

    /// Grants a lease under this id or, for 0, the next free one.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl_seconds: u64, limit: usize) -> Result<LeaseId> {
        if self.leases.len() >= limit {
            return Err(Error::TooLarge { what: "leases", size: self.leases.len() as u64 + 1, limit: limit as u64 });
        }
        let id = match id {
            0 => {
                let mut next = self.last_lease + 1;
                while self.leases.contains_key(&next) {
                    next += 1;
                }
                self.last_lease = next;
                next
            }
            id if self.leases.contains_key(&id) => return Err(Error::LeaseExists { id }),
            id => id,
        };
        let keys = OrdSet::new();
        self.leases.insert(id, Attached { ttl_seconds, keys });
        Ok(id)
    }

    /// Ends a lease and deletes its keys.
    pub(crate) fn revoke(&mut self, id: LeaseId) -> Result<Option<EventBatch>> {
        let Some(attached) = self.leases.remove(&id) else {
            return Err(Error::LeaseNotFound { id });
        };
        let revision = self.revision + 1;
        let mut events = Vec::new();
        for key in &attached.keys {
            if let Some(kv) = self.get(key, revision).cloned() {
                self.remove(kv, revision, &mut events);
            }
        }
        Ok(self.commit(revision, events))
    }

    /// Makes `revision` the oldest that can be read. What that leaves unreadable is swept out later.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<()> {
        if revision > self.revision {
            return Err(Error::FutureRevision { requested: revision, current: self.revision });
        }
        if revision <= self.compacted {
            return Err(Error::Compacted { requested: revision, at: self.compacted });
        }
        self.compacted = revision;
        Ok(())
    }
}

impl TxnResponse {
    /// States the revision that the store is at in the end: a transaction that wrote nothing took none.
    fn settle(&mut self, revision: Revision) {
        self.revision = revision;
        for response in &mut self.responses {
            match response {
                OpResponse::Range(ranged) => ranged.revision = ranged.revision.min(revision),
                OpResponse::Txn(nested) => nested.settle(revision),
                OpResponse::Put { .. } | OpResponse::Delete { .. } => {}
            }
        }
    }
}
