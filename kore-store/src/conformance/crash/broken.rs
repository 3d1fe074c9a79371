//! Stores that lose at a crash what they must not. They are in memory: what a crash leaves is played back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::Subject;
use crate::layer::{Answer, Around, Call, Layered, Reply, Request};
use crate::{Delete, Error, KeyRange, LeaseId, MemoryStore, Op, Result, Revision, Store, Txn};

/// What is wrong with a [`Forgetful`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashFault {
    /// The last three writes are acknowledged and not synced: a crash loses them.
    NoSync,
    /// The third write from the end is lost, and later ones are not: what is recovered is no prefix.
    Gap,
    /// Of the last transaction with several operations, only the first was written.
    TornTransaction,
    /// The revision is counted from what is left: deletions leave no trace.
    ForgottenRevisions,
    /// What was overwritten is gone after a crash, although nobody compacted.
    LostHistory,
    /// Leases are gone after a crash, and the keys attached to them stay.
    ForgottenLeases,
    /// Leases that were revoked are back, and their keys.
    UndoneRevocation,
    /// Compacted revisions are back.
    UndoneCompaction,
}

impl CrashFault {
    /// Every fault, and a check that must reject it. Every check rejects one.
    pub const ALL: &[(CrashFault, &str)] = &[
        (CrashFault::NoSync, "what was acknowledged is there after a crash, all of it"),
        (CrashFault::TornTransaction, "what was acknowledged is there after a crash, all of it"),
        (CrashFault::ForgottenRevisions, "a revision is not used twice, also after a crash"),
        (CrashFault::LostHistory, "old revisions can be read and watched after a crash"),
        (
            CrashFault::ForgottenLeases,
            "leases survive a crash with their keys, and end; those that had ended do not come back",
        ),
        (
            CrashFault::UndoneRevocation,
            "leases survive a crash with their keys, and end; those that had ended do not come back",
        ),
        (CrashFault::UndoneCompaction, "a compaction survives a crash"),
        (
            CrashFault::NoSync,
            "across crashes under load, nothing acknowledged is lost, and what is recovered is a prefix",
        ),
        (CrashFault::Gap, "across crashes under load, nothing acknowledged is lost, and what is recovered is a prefix"),
        (
            CrashFault::TornTransaction,
            "across crashes under load, nothing acknowledged is lost, and what is recovered is a prefix",
        ),
    ];
}

/// A store in memory that plays its writes back after a crash, with a fault or without.
#[derive(Debug)]
pub struct Forgetful {
    fault: Option<CrashFault>,
    written: Arc<Mutex<Vec<Written>>>,
    is_gone: Arc<AtomicBool>,
    store: Option<MemoryStore>,
}

/// What was acknowledged.
#[derive(Clone, Debug)]
enum Written {
    Txn(Txn),
    Compact(Revision),
    Grant(Duration, LeaseId),
    Revoke(LeaseId),
}

impl Forgetful {
    /// A store with this fault.
    pub fn new(fault: CrashFault) -> Forgetful {
        Forgetful { fault: Some(fault), ..Forgetful::sound() }
    }

    /// A store without a fault.
    pub fn sound() -> Forgetful {
        Forgetful { fault: None, written: Arc::default(), is_gone: Arc::default(), store: None }
    }

    /// Leases that ended by themselves ended for good. (Nothing was written after that, in what is checked.)
    async fn note_ended(&self) -> Result<()> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let left = store.leases().await?;
        let mut written = lock(&self.written);
        let ended: Vec<LeaseId> = written
            .iter()
            .filter_map(|written| match written {
                Written::Grant(_, id) if !left.contains(id) => Some(*id),
                _ => None,
            })
            .collect();
        written.extend(ended.into_iter().map(Written::Revoke));
        Ok(())
    }

    /// What a crash leaves of what was written.
    fn left(&self, mut written: Vec<Written>) -> Vec<Written> {
        let Some(fault) = self.fault else {
            return written;
        };
        match fault {
            CrashFault::NoSync => written.truncate(written.len().saturating_sub(3)),
            CrashFault::Gap if written.len() > 3 => drop(written.remove(written.len() - 3)),
            CrashFault::Gap | CrashFault::LostHistory => {}
            CrashFault::TornTransaction => {
                let torn = written.iter_mut().rev().find_map(|written| match written {
                    Written::Txn(txn) if txn.success.len() > 1 => Some(txn),
                    _ => None,
                });
                if let Some(txn) = torn {
                    txn.success.truncate(1);
                }
            }
            CrashFault::ForgottenRevisions => {
                while written.last().is_some_and(is_deletion) {
                    written.pop();
                    // As long as nothing else is missed.
                    written.pop();
                }
            }
            CrashFault::ForgottenLeases => {
                written.retain(|written| !matches!(written, Written::Grant(..) | Written::Revoke(_)));
                written.iter_mut().for_each(detach);
            }
            CrashFault::UndoneRevocation => written.retain(|written| !matches!(written, Written::Revoke(_))),
            CrashFault::UndoneCompaction => written.retain(|written| !matches!(written, Written::Compact(_))),
        }
        written
    }
}

fn is_deletion(written: &Written) -> bool {
    let Written::Txn(txn) = written else { return false };
    matches!(&txn.success[..], [Op::Delete(Delete { keys: KeyRange::Key(_), .. })])
}

fn detach(written: &mut Written) {
    if let Written::Txn(txn) = written {
        for op in &mut txn.success {
            if let Op::Put(put) = op {
                put.lease = 0;
            }
        }
    }
}

#[async_trait]
impl Subject for Forgetful {
    async fn open(&mut self) -> Result<Arc<dyn Store>> {
        self.note_ended().await?;
        let store = MemoryStore::new();
        let written = std::mem::take(&mut *lock(&self.written));
        let left = self.left(written);
        for written in &left {
            // What followed something that was lost may no longer be possible.
            match written.clone() {
                Written::Txn(txn) => drop(store.txn(txn).await),
                Written::Compact(revision) => drop(store.compact(revision).await),
                Written::Grant(ttl, id) => drop(store.grant(ttl, id).await),
                Written::Revoke(id) => drop(store.revoke(id).await),
            }
        }
        if self.fault == Some(CrashFault::LostHistory) {
            drop(store.compact(store.status().await?.revision).await);
        }
        *lock(&self.written) = left;
        self.is_gone = Arc::default();
        let kept = Kept { written: self.written.clone(), is_gone: self.is_gone.clone() };
        self.store = Some(store.clone());
        Ok(Arc::new(Layered::new(store, kept)))
    }

    async fn crash(&mut self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }
}

fn lock(written: &Mutex<Vec<Written>>) -> MutexGuard<'_, Vec<Written>> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what is acknowledged, until the crash.
struct Kept {
    written: Arc<Mutex<Vec<Written>>>,
    is_gone: Arc<AtomicBool>,
}

impl Around for Kept {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(Error::Unavailable { reason: "the store has crashed".into() });
        }
        let answer = request.clone().send(store).await?;
        let written = match (request.call(), answer.reply()) {
            (Call::Txn(txn), Reply::Txn(_)) if !txn.is_read_only() => Some(Written::Txn(txn.clone())),
            (Call::Compact(revision), _) => Some(Written::Compact(revision)),
            (Call::Grant { ttl, .. }, Reply::Lease(lease)) => Some(Written::Grant(ttl, lease.id)),
            (Call::Revoke(id), _) => Some(Written::Revoke(id)),
            _ => None,
        };
        lock(&self.written).extend(written);
        Ok(answer)
    }
}
