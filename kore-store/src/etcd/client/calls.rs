//! The calls that a store is made of, and what their refusals mean.

use bytes::Bytes;

use super::cluster::{Cluster, Failed, Method, unavailable};
use super::refusal::Refusal;
use super::translate::{Span, revision, signed, unsigned};
use crate::etcd::wire;
use crate::{Error, KeyRange, LeaseId, Op, Result, Revision, Txn};

const fn read(path: &'static str) -> Method {
    Method { path, repeatable: true }
}

const fn write(path: &'static str) -> Method {
    Method { path, repeatable: false }
}

pub(super) const RANGE: Method = read("/etcdserverpb.KV/Range");
pub(super) const TXN: Method = write("/etcdserverpb.KV/Txn");
pub(super) const TXN_READ_ONLY: Method = read("/etcdserverpb.KV/Txn");
pub(super) const COMPACT: Method = write("/etcdserverpb.KV/Compact");
pub(super) const STATUS: Method = read("/etcdserverpb.Maintenance/Status");
pub(super) const GRANT: Method = write("/etcdserverpb.Lease/LeaseGrant");
pub(super) const REVOKE: Method = write("/etcdserverpb.Lease/LeaseRevoke");
pub(super) const TIME_TO_LIVE: Method = read("/etcdserverpb.Lease/LeaseTimeToLive");

/// What a refused call was about.
#[derive(Default)]
pub(super) struct About<'a> {
    /// A key that the caller may read: where a revision is looked for.
    pub(super) key: Bytes,
    /// The revisions that were asked for, the oldest and the newest.
    pub(super) revisions: (Revision, Revision),
    pub(super) lease: LeaseId,
    pub(super) txn: Option<&'a Txn>,
}

impl<'a> About<'a> {
    pub(super) fn revision(keys: &KeyRange, revision: Revision) -> About<'a> {
        About { key: Span::new(keys, None).key, revisions: (revision, revision), ..About::default() }
    }

    pub(super) fn lease(lease: LeaseId) -> About<'a> {
        About { lease, ..About::default() }
    }

    pub(super) fn txn(txn: &'a Txn) -> About<'a> {
        let mut about = About { txn: Some(txn), ..About::default() };
        about.look(txn);
        about
    }

    fn look(&mut self, txn: &Txn) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(range) if range.revision > 0 => {
                    let (oldest, newest) = self.revisions;
                    if oldest == 0 || range.revision < oldest {
                        self.key = Span::new(&range.keys, None).key;
                    }
                    let oldest = if oldest == 0 { range.revision } else { oldest.min(range.revision) };
                    self.revisions = (oldest, newest.max(range.revision));
                }
                Op::Txn(nested) => self.look(nested),
                _ => {}
            }
        }
    }
}

impl Cluster {
    /// The current revision, by a look at this key.
    pub(super) async fn revision(&self, key: &Bytes) -> Result<Revision> {
        let answer = self.look(key, 0).await;
        answer.map_err(|failed| failed.plain())
    }

    /// Whether this revision is compacted.
    pub(super) async fn is_compacted(&self, key: &Bytes, at: Revision) -> Result<bool> {
        match self.look(key, at).await {
            Ok(_) | Err(Failed::Refused(Refusal::FutureRevision)) => Ok(false),
            Err(Failed::Refused(Refusal::Compacted)) => Ok(true),
            Err(failed) => Err(failed.plain()),
        }
    }

    async fn look(&self, key: &Bytes, at: Revision) -> Result<Revision, Failed> {
        let key = if key.is_empty() { Bytes::from_static(b"\0") } else { key.clone() };
        let request = wire::RangeRequest { key, revision: signed(at), count_only: true, ..Default::default() };
        let answer: wire::RangeResponse = self.call(RANGE, request).await?;
        Ok(revision(&answer.header))
    }

    /// The oldest revision that can be read, where this one cannot; 0 stands for the one before all others. etcd tells it
    /// nowhere, so it is searched for.
    pub(super) async fn oldest(&self, key: &Bytes, compacted: Revision) -> Result<Revision> {
        let mut compacted = compacted;
        let mut readable = self.revision(key).await?.max(compacted + 1);
        while readable - compacted > 1 {
            let between = compacted + (readable - compacted) / 2;
            match self.is_compacted(key, between).await? {
                true => compacted = between,
                false => readable = between,
            }
        }
        Ok(readable)
    }

    /// Says in the crate's words why etcd refused.
    pub(super) async fn explain(&self, failed: Failed, about: About<'_>) -> Error {
        let refusal = match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Error(error) => return error,
        };
        match self.explained(refusal, about).await {
            Ok(error) | Err(error) => error,
        }
    }

    async fn explained(&self, refusal: Refusal, about: About<'_>) -> Result<Error> {
        let limits = &self.options.limits;
        let size = about.txn.map_or(0, |txn| txn.size() as u64);
        let (oldest, newest) = about.revisions;
        Ok(match refusal {
            Refusal::Compacted => Error::Compacted { requested: oldest, at: self.oldest(&about.key, oldest).await? },
            Refusal::FutureRevision => {
                Error::FutureRevision { requested: newest, current: self.revision(&about.key).await? }
            }
            Refusal::NoSpace => {
                let status: wire::StatusResponse =
                    self.call(STATUS, wire::StatusRequest {}).await.map_err(|failed| failed.plain())?;
                let quota = unsigned(status.db_size_quota);
                Error::QuotaExceeded { used: unsigned(status.db_size), needed: size, quota }
            }
            Refusal::RequestTooLarge => {
                let what = "bytes of a request, as etcd counts them";
                Error::TooLarge { what, size, limit: limits.request_bytes as u64 }
            }
            Refusal::TooManyOps => {
                let size = about.txn.map_or(0, |txn| txn.compares.len().max(txn.success.len()).max(txn.failure.len()));
                let what = "operations in a transaction, as etcd counts them";
                Error::TooLarge { what, size: size as u64, limit: limits.txn_ops as u64 }
            }
            Refusal::LeaseTooLong => {
                Error::TooLarge { what: "seconds of a lease", size: about.lease, limit: 9_000_000_000 }
            }
            Refusal::LeaseNotFound => {
                let id = match about.txn {
                    Some(txn) => self.missing_lease(txn).await?,
                    None => about.lease,
                };
                Error::LeaseNotFound { id }
            }
            Refusal::LeaseExists => Error::LeaseExists { id: about.lease },
            Refusal::DuplicateKey => {
                Error::InvalidRequest { reason: "etcd finds a key that is written more than once" }
            }
            Refusal::EmptyKey => Error::InvalidRequest { reason: "a key must not be empty" },
            refusal => Failed::Refused(refusal).plain(),
        })
    }

    /// The lease that a transaction names and that does not exist.
    async fn missing_lease(&self, txn: &Txn) -> Result<LeaseId> {
        let mut named = Vec::new();
        leases_of(txn, &mut named);
        for id in &named {
            let request = wire::LeaseTimeToLiveRequest { id: *id as i64, keys: false };
            let answer: wire::LeaseTimeToLiveResponse =
                self.call(TIME_TO_LIVE, request).await.map_err(|failed| failed.plain())?;
            if answer.granted_ttl <= 0 {
                return Ok(*id);
            }
        }
        Ok(named.first().copied().unwrap_or(0))
    }
}

fn leases_of(txn: &Txn, named: &mut Vec<LeaseId>) {
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Put(put) if put.lease != 0 && !named.contains(&put.lease) => named.push(put.lease),
            Op::Txn(nested) => leases_of(nested, named),
            _ => {}
        }
    }
}

impl Failed {
    /// The error, for a call that is about nothing in particular.
    pub(super) fn plain(self) -> Error {
        match self {
            Failed::Error(error) => error,
            Failed::Refused(Refusal::Unsupported) => Error::Unsupported { what: "what this etcd does not offer" },
            Failed::Refused(Refusal::Other(words)) => unavailable(format!("etcd refuses: {words}")),
            Failed::Refused(refusal) => unavailable(format!("etcd refuses: {refusal:?}")),
        }
    }
}
