//! What a layer sees: a request, and its answer.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Lease, LeaseId, OpResponse, Range, Ranged, Result, Revision, Snapshot, Status, Store, Txn, TxnResponse, Watch,
    WatchRequest,
};

/// A call to a store, to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call<'a> {
    /// [`Store::range`]
    Range(&'a Range),
    /// [`Store::txn`]
    Txn(&'a Txn),
    /// [`Store::watch`]
    Watch(&'a WatchRequest),
    /// [`Store::compact`]
    Compact(Revision),
    /// [`Store::status`]
    Status,
    /// [`Store::grant`]
    Grant {
        /// How long the lease shall live.
        ttl: Duration,
        /// The id it shall have; 0: one that the store chooses.
        id: LeaseId,
    },
    /// [`Store::keep_alive`]
    KeepAlive(LeaseId),
    /// [`Store::revoke`]
    Revoke(LeaseId),
    /// [`Store::lease`]
    Lease(LeaseId),
    /// [`Store::leases`]
    Leases,
    /// [`Store::snapshot`]
    Snapshot,
}

impl<'a> Call<'a> {
    /// The method's name: `range`, `txn`, `keep_alive`.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Range(_) => "range",
            Call::Txn(_) => "txn",
            Call::Watch(_) => "watch",
            Call::Compact(_) => "compact",
            Call::Status => "status",
            Call::Grant { .. } => "grant",
            Call::KeepAlive(_) => "keep_alive",
            Call::Revoke(_) => "revoke",
            Call::Lease(_) => "lease",
            Call::Leases => "leases",
            Call::Snapshot => "snapshot",
        }
    }

    /// True when it may change the store: its outcome can be unknown. A transaction that only reads does not.
    pub fn is_write(&self) -> bool {
        match self {
            Call::Txn(txn) => !txn.is_read_only(),
            Call::Compact(_) | Call::Grant { .. } | Call::KeepAlive(_) | Call::Revoke(_) => true,
            _ => false,
        }
    }

    /// The first key it is about, for logs.
    pub fn first_key(&self) -> Option<&'a Bytes> {
        match self {
            Call::Range(range) => Some(range.keys.start()),
            Call::Watch(request) => Some(request.keys.start()),
            Call::Txn(txn) => txn.first_key(),
            _ => None,
        }
    }
}

/// What a store answered, to be looked at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// Of a range.
    Range(&'a Ranged),
    /// Of a transaction.
    Txn(&'a TxnResponse),
    /// A watch has begun.
    Watch,
    /// Where the store stands.
    Status(&'a Status),
    /// A lease, granted, kept alive or asked for.
    Lease(&'a Lease),
    /// The ids of all leases.
    Leases(&'a [LeaseId]),
    /// A snapshot has begun.
    Snapshot(&'a Snapshot),
    /// It is done, and there is nothing to tell about it.
    Done,
}

impl Reply<'_> {
    /// The revision that it names.
    pub fn revision(&self) -> Option<Revision> {
        match self {
            Reply::Range(ranged) => Some(ranged.revision),
            Reply::Txn(done) => Some(done.revision),
            Reply::Status(status) => Some(status.revision),
            Reply::Snapshot(snapshot) => Some(snapshot.revision()),
            Reply::Watch | Reply::Lease(_) | Reply::Leases(_) | Reply::Done => None,
        }
    }

    /// How many keys were read or written.
    pub fn keys(&self) -> Option<u64> {
        match self {
            Reply::Range(ranged) => Some(ranged.kvs.len() as u64),
            Reply::Txn(done) => Some(keys_of(done)),
            _ => None,
        }
    }
}

fn keys_of(done: &TxnResponse) -> u64 {
    let keys = |response: &OpResponse| match response {
        OpResponse::Put { .. } => 1,
        OpResponse::Delete { deleted, .. } => *deleted,
        OpResponse::Range(ranged) => ranged.kvs.len() as u64,
        OpResponse::Txn(nested) => keys_of(nested),
    };
    done.responses.iter().map(keys).sum()
}

/// What a call is answered with.
pub trait Answer: Send + 'static {
    /// The answer, to be looked at.
    fn reply(&self) -> Reply<'_>;
}

macro_rules! answers {
    ($($answer:ty: $this:ident => $reply:expr;)*) => {
        $(impl Answer for $answer {
            fn reply(&self) -> Reply<'_> {
                let $this = self;
                $reply
            }
        })*
    };
}

answers! {
    Ranged: this => Reply::Range(this);
    TxnResponse: this => Reply::Txn(this);
    Watch: _this => Reply::Watch;
    Status: this => Reply::Status(this);
    Lease: this => Reply::Lease(this);
    Vec<LeaseId>: this => Reply::Leases(this);
    Snapshot: this => Reply::Snapshot(this);
    (): _this => Reply::Done;
}

/// A call to a store as a value: one for each of its methods. A layer looks at it and sends it; no other crate implements it.
pub trait Request: Clone + Send + Sync + 'static + sealed::Sealed {
    /// What it is answered with.
    type Answer: Answer;

    /// The call, to be looked at.
    fn call(&self) -> Call<'_>;

    /// Makes the call.
    fn send<S: Store + ?Sized>(self, store: &S) -> impl Future<Output = Result<Self::Answer>> + Send;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! requests {
    ($($request:ty => $answer:ty: |$this:ident| $call:expr, |$store:ident| $send:expr;)*) => {
        $(impl sealed::Sealed for $request {}

        impl Request for $request {
            type Answer = $answer;

            fn call(&self) -> Call<'_> {
                let $this = self;
                $call
            }

            fn send<S: Store + ?Sized>(self, $store: &S) -> impl Future<Output = Result<$answer>> + Send {
                let $this = self;
                $send
            }
        })*
    };
}

#[derive(Clone, Copy)]
pub(crate) struct Compact(pub(crate) Revision);
#[derive(Clone, Copy)]
pub(crate) struct AskStatus;
#[derive(Clone, Copy)]
pub(crate) struct Grant {
    pub(crate) ttl: Duration,
    pub(crate) id: LeaseId,
}
#[derive(Clone, Copy)]
pub(crate) struct KeepAlive(pub(crate) LeaseId);
#[derive(Clone, Copy)]
pub(crate) struct Revoke(pub(crate) LeaseId);
#[derive(Clone, Copy)]
pub(crate) struct AskLease(pub(crate) LeaseId);
#[derive(Clone, Copy)]
pub(crate) struct ListLeases;
#[derive(Clone, Copy)]
pub(crate) struct TakeSnapshot;

requests! {
    Range => Ranged: |this| Call::Range(this), |store| store.range(this);
    Txn => TxnResponse: |this| Call::Txn(this), |store| store.txn(this);
    WatchRequest => Watch: |this| Call::Watch(this), |store| store.watch(this);
    Compact => (): |this| Call::Compact(this.0), |store| store.compact(this.0);
    AskStatus => Status: |_this| Call::Status, |store| store.status();
    Grant => Lease: |this| Call::Grant { ttl: this.ttl, id: this.id }, |store| store.grant(this.ttl, this.id);
    KeepAlive => Lease: |this| Call::KeepAlive(this.0), |store| store.keep_alive(this.0);
    Revoke => (): |this| Call::Revoke(this.0), |store| store.revoke(this.0);
    AskLease => Lease: |this| Call::Lease(this.0), |store| store.lease(this.0);
    ListLeases => Vec<LeaseId>: |_this| Call::Leases, |store| store.leases();
    TakeSnapshot => Snapshot: |_this| Call::Snapshot, |store| store.snapshot();
}
