//! Transactions and leases, applied to the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdSet;

use super::history::{bytes_of, version_bytes};
use super::{Attached, History, Index};
use crate::{
    Compare, Delete, Error, Event, EventBatch, KeyRange, KeyValue, LeaseId, Limits, Op, OpResponse, Put, Result,
    Revision, Txn, TxnResponse,
};

/// What a transaction did.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) response: TxnResponse,
    /// What it changed; None: nothing.
    pub(crate) batch: Option<EventBatch>,
}

/// Refuses a transaction that no store would take, whatever it holds.
pub(crate) fn check(txn: &Txn, limits: &Limits) -> Result<()> {
    let within = |what, size: usize, limit: usize| match size > limit {
        true => Err(Error::TooLarge { what, size: size as u64, limit: limit as u64 }),
        false => Ok(()),
    };
    within("bytes of keys and values in a transaction", txn.size(), limits.request_bytes)?;
    let (compares, ops) = count(txn);
    within("comparisons in a transaction", compares, limits.txn_ops)?;
    within("operations in a transaction", ops, limits.txn_ops)?;
    check_keys(txn)?;
    Ok(())
}

/// How many comparisons there are, and how many operations in the longer branch, those of nested transactions included.
fn count(txn: &Txn) -> (usize, usize) {
    let branch = |ops: &[Op]| {
        ops.iter().fold((0, 0), |(compares, total), op| match op {
            Op::Txn(nested) => {
                let (more, ops) = count(nested);
                (compares + more, total + 1 + ops)
            }
            _ => (compares, total + 1),
        })
    };
    let (success, failure) = (branch(&txn.success), branch(&txn.failure));
    (txn.compares.len() + success.0 + failure.0, success.1.max(failure.1))
}

/// What a transaction may write, each by which of its operations.
#[derive(Default)]
struct Written<'a> {
    puts: BTreeMap<&'a Bytes, usize>,
    deletes: Vec<(&'a KeyRange, usize)>,
}

/// Refuses a transaction that may write a key twice, and tells what it may write.
fn check_keys(txn: &Txn) -> Result<Written<'_>> {
    let mut either = check_branch(&txn.success)?;
    let or = check_branch(&txn.failure)?;
    either.puts.extend(or.puts);
    either.deletes.extend(or.deletes);
    Ok(either)
}

fn check_branch(ops: &[Op]) -> Result<Written<'_>> {
    let twice = |key: &Bytes| Err(Error::DuplicateKey { key: key.clone() });
    let mut written = Written::default();
    for (number, op) in ops.iter().enumerate() {
        let nested = match op {
            Op::Put(put) if put.key.is_empty() => {
                return Err(Error::InvalidRequest { reason: "a key must not be empty" });
            }
            Op::Put(put) => Written { puts: BTreeMap::from([(&put.key, number)]), deletes: Vec::new() },
            Op::Delete(delete) => Written { puts: BTreeMap::new(), deletes: vec![(&delete.keys, number)] },
            Op::Range(_) => continue,
            Op::Txn(nested) => check_keys(nested)?,
        };
        for key in nested.puts.into_keys() {
            if written.puts.insert(key, number).is_some() {
                return twice(key);
            }
        }
        written.deletes.extend(nested.deletes.into_iter().map(|(keys, _)| (keys, number)));
    }
    // What one operation writes and deletes itself is in different branches of it.
    for (keys, by) in &written.deletes {
        if let Some((key, _)) = written.puts.iter().find(|(key, number)| *number != by && keys.contains(key)) {
            return twice(key);
        }
    }
    Ok(written)
}

/// The branch that a transaction takes, and those that its nested transactions take, in order.
struct Path<'a> {
    succeeded: bool,
    ops: &'a [Op],
    nested: Vec<Path<'a>>,
}

impl Index {
    /// Does a transaction, or fails and changes nothing.
    pub(crate) fn apply(&mut self, txn: &Txn, quota_bytes: u64) -> Result<Applied> {
        let path = self.path(txn);
        let mut needed = 0;
        self.check_state(&path, &mut needed)?;
        if needed > 0 && self.bytes + needed > quota_bytes {
            return Err(Error::QuotaExceeded { used: self.bytes, needed, quota: quota_bytes });
        }
        let revision = self.revision + 1;
        let mut events = Vec::new();
        let mut response = self.follow(path, revision, &mut events);
        let batch = self.commit(revision, events);
        response.settle(self.revision);
        Ok(Applied { response, batch })
    }

    /// Makes all comparisons.
    fn path<'a>(&self, txn: &'a Txn) -> Path<'a> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = match succeeded {
            true => &txn.success,
            false => &txn.failure,
        };
        let nested = ops.iter().filter_map(|op| match op {
            Op::Txn(nested) => Some(self.path(nested)),
            _ => None,
        });
        Path { succeeded, ops, nested: nested.collect() }
    }

    /// Everything about the operations that depends on what the store holds, so that nothing fails half-way; adds up the
    /// bytes they need.
    fn check_state(&self, path: &Path<'_>, needed: &mut u64) -> Result<()> {
        for op in path.ops {
            match op {
                Op::Put(put) => {
                    if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                        return Err(Error::LeaseNotFound { id: put.lease });
                    }
                    *needed += version_bytes(put.key.len(), put.value.len());
                }
                Op::Range(range) => {
                    self.readable(range.revision)?;
                }
                Op::Delete(_) | Op::Txn(_) => {}
            }
        }
        path.nested.iter().try_for_each(|nested| self.check_state(nested, needed))
    }

    /// Does the operations of a path, at this revision.
    fn follow(&mut self, path: Path<'_>, revision: Revision, events: &mut Vec<Event>) -> TxnResponse {
        let mut nested = path.nested.into_iter();
        let mut responses = Vec::with_capacity(path.ops.len());
        for op in path.ops {
            responses.push(match op {
                Op::Put(put) => OpResponse::Put { previous: self.put(put, revision, events) },
                Op::Delete(delete) => self.delete(delete, revision, events),
                Op::Range(range) => OpResponse::Range(match range.revision {
                    0 => self.range_at(range, revision),
                    at => self.range_at(range, at),
                }),
                Op::Txn(_) => {
                    let path = nested.next().expect("every nested transaction has a path");
                    OpResponse::Txn(self.follow(path, revision, events))
                }
            });
        }
        TxnResponse::new(revision, path.succeeded, responses)
    }

    fn holds(&self, compare: &Compare) -> bool {
        match &compare.keys {
            KeyRange::Key(key) => compare.holds(self.get(key).map(|kv| &**kv)),
            keys => self.visible(keys, None, self.revision).all(|kv| compare.holds(Some(kv))),
        }
    }

    fn put(&mut self, put: &Put, revision: Revision, events: &mut Vec<Event>) -> Option<Arc<KeyValue>> {
        let previous = self.get(&put.key).cloned();
        let old_lease = previous.as_ref().map_or(0, |kv| kv.lease);
        let kv = Arc::new(KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: previous.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: previous.as_ref().map_or(1, |kv| kv.version + 1),
            lease: put.lease,
        });
        if old_lease != put.lease {
            self.detach(old_lease, &put.key);
            self.attach(put.lease, &put.key);
        }
        self.live += u64::from(previous.is_none());
        self.push(kv.clone());
        events.push(Event::new(kv, previous.clone()));
        previous.filter(|_| put.previous)
    }

    fn delete(&mut self, delete: &Delete, revision: Revision, events: &mut Vec<Event>) -> OpResponse {
        let found: Vec<_> = self.visible(&delete.keys, None, revision).cloned().collect();
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
        self.push(mark.clone());
        events.push(Event::new(mark, Some(previous)));
    }

    fn push(&mut self, kv: Arc<KeyValue>) {
        self.bytes += bytes_of(&kv);
        match self.keys.get_mut(&kv.key[..]) {
            Some(history) => history.push(kv),
            None => {
                self.keys.insert(kv.key.clone(), History::new(kv));
            }
        }
    }

    /// Takes in a key as a checkpoint has it.
    pub(crate) fn restore(&mut self, key: Bytes, history: History) {
        self.bytes += history.bytes();
        let lease = history.live().map(|kv| kv.lease);
        self.live += u64::from(lease.is_some());
        self.attach(lease.unwrap_or(0), &key);
        self.keys.insert(key, history);
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
            if let Some(kv) = self.get(key).cloned() {
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
