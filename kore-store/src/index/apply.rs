//! Transactions and leases, applied to the index.

use std::collections::BTreeSet;
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
    within("comparisons in a transaction", txn.compares.len(), limits.txn_ops)?;
    for ops in [&txn.success, &txn.failure] {
        within("operations in a transaction", ops.len(), limits.txn_ops)?;
        check_keys(ops)?;
    }
    Ok(())
}

fn check_keys(ops: &[Op]) -> Result<()> {
    let mut written = BTreeSet::new();
    for op in ops {
        let Op::Put(put) = op else { continue };
        if put.key.is_empty() {
            return Err(Error::InvalidRequest { reason: "a key must not be empty" });
        }
        if !written.insert(&put.key) {
            return Err(Error::DuplicateKey { key: put.key.clone() });
        }
    }
    for op in ops {
        let Op::Delete(delete) = op else { continue };
        if let Some(key) = written.iter().find(|key| delete.keys.contains(key)) {
            return Err(Error::DuplicateKey { key: Bytes::clone(key) });
        }
    }
    Ok(())
}

impl Index {
    /// Does a transaction, or fails and changes nothing.
    pub(crate) fn apply(&mut self, txn: &Txn, quota_bytes: u64) -> Result<Applied> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let ops = match succeeded {
            true => &txn.success,
            false => &txn.failure,
        };
        self.check_state(ops, quota_bytes)?;

        let revision = self.revision + 1;
        let mut events = Vec::new();
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            responses.push(match op {
                Op::Put(put) => OpResponse::Put { previous: self.put(put, revision, &mut events) },
                Op::Delete(delete) => self.delete(delete, revision, &mut events),
                Op::Range(range) => OpResponse::Range(match range.revision {
                    0 => self.range_at(range, revision),
                    at => self.range_at(range, at),
                }),
            });
        }
        let batch = self.commit(revision, events);
        for response in &mut responses {
            if let OpResponse::Range(ranged) = response {
                ranged.revision = ranged.revision.min(self.revision);
            }
        }
        Ok(Applied { response: TxnResponse::new(self.revision, succeeded, responses), batch })
    }

    /// Everything about the operations that depends on what the store holds, so that nothing fails half-way.
    fn check_state(&self, ops: &[Op], quota_bytes: u64) -> Result<()> {
        let mut needed = 0;
        for op in ops {
            match op {
                Op::Put(put) => {
                    if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                        return Err(Error::LeaseNotFound { id: put.lease });
                    }
                    needed += version_bytes(put.key.len(), put.value.len());
                }
                Op::Range(range) => {
                    self.readable(range.revision)?;
                }
                Op::Delete(_) => {}
            }
        }
        if needed > 0 && self.bytes + needed > quota_bytes {
            return Err(Error::QuotaExceeded { used: self.bytes, needed, quota: quota_bytes });
        }
        Ok(())
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
