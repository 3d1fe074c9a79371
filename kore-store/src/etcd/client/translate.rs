//! Requests into etcd's messages, and its answers back.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::etcd::wire;
use crate::{
    Compare, Event, KeyRange, KeyValue, Lease, Op, OpResponse, Range, Ranged, Relation, Revision, Target, Txn,
    TxnResponse,
};

/// A set of keys as etcd says it: one key when `end` is empty, everything from `key` on when it is a zero byte, nothing
/// when it is not behind `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) key: Bytes,
    pub(super) end: Bytes,
}

static ZERO: Bytes = Bytes::from_static(b"\0");
static ONE: Bytes = Bytes::from_static(b"\x01");

impl Span {
    pub(super) fn new(keys: &KeyRange, after: Option<&Bytes>) -> Span {
        let start = keys.start();
        let from = match after {
            Some(after) if after >= start => next(after),
            _ => start.clone(),
        };
        let end = match keys {
            KeyRange::Key(key) if key.is_empty() || from != *key => return Span::nothing(&from),
            KeyRange::Key(key) => return Span { key: key.clone(), end: Bytes::new() },
            KeyRange::Prefix(prefix) => behind_prefix(prefix),
            KeyRange::Interval { end, .. } => end.clone(),
        };
        // The empty key is none; the first that can exist is a zero byte.
        let key = if from.is_empty() { ZERO.clone() } else { from };
        match end {
            None => Span { key, end: ZERO.clone() },
            Some(end) if end <= key => Span::nothing(&key),
            Some(end) => Span { key, end },
        }
    }

    /// No key, near this one: who may not read everything is asked for no more than that.
    fn nothing(near: &Bytes) -> Span {
        let key = if near.is_empty() || *near == ZERO { ONE.clone() } else { near.clone() };
        Span { end: key.clone(), key }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.key == self.end
    }

    /// Every key there is.
    pub(super) fn is_everything(&self) -> bool {
        self.key == ZERO && self.end == ZERO
    }

    /// This span and one key more, and that key: the one directly behind the span or, where it has no end, one within it
    /// that nobody else writes. Everything needs none.
    pub(super) fn with_marker(&self) -> (Span, Option<Bytes>) {
        if self.is_everything() {
            return (self.clone(), None);
        }
        if self.end == ZERO {
            let mut marker = BytesMut::from(&self.key[..]);
            marker.put_slice(b"\xff\xff\xff\xffkore-progress");
            return (self.clone(), Some(marker.freeze()));
        }
        let marker = match self.end.is_empty() {
            true => next(&self.key),
            false => self.end.clone(),
        };
        (Span { key: self.key.clone(), end: next(&marker) }, Some(marker))
    }
}

/// The first key behind this one.
fn next(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// The first key that is behind all keys with this prefix; None: there is none.
fn behind_prefix(prefix: &Bytes) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = BytesMut::from(&prefix[..=last]);
    end[last] += 1;
    Some(end.freeze())
}

/// A number as etcd has it. One that etcd cannot have is beyond all that it has.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that is none below 0.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn revision(header: &Option<wire::ResponseHeader>) -> Revision {
    header.as_ref().map_or(0, |header| unsigned(header.revision))
}

pub(super) fn range(range: &Range) -> wire::RangeRequest {
    let Span { key, end } = Span::new(&range.keys, range.after.as_ref());
    wire::RangeRequest {
        key,
        range_end: end,
        limit: signed(range.limit as u64),
        revision: signed(range.revision),
        keys_only: range.keys_only,
        count_only: range.count_only,
        ..Default::default()
    }
}

/// What a range found; `current` is the revision that it was answered at.
pub(super) fn ranged(request: &Range, answer: wire::RangeResponse, current: Revision) -> Ranged {
    Ranged {
        revision: if request.revision == 0 { current } else { request.revision },
        kvs: answer.kvs.into_iter().map(pair).collect(),
        more: answer.more,
        count: unsigned(answer.count),
    }
}

pub(super) fn pair(kv: wire::KeyValue) -> Arc<KeyValue> {
    Arc::new(KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: unsigned(kv.create_revision),
        mod_revision: unsigned(kv.mod_revision),
        version: unsigned(kv.version),
        // Ids are bits: both sides have all of them.
        lease: kv.lease as u64,
    })
}

/// A transaction. One without operations is given some, which [`txn_response`] leaves out again: etcd does not see to it
/// that it is strictly serializable otherwise.
pub(super) fn txn(txn: &Txn) -> wire::TxnRequest {
    let mut request = nested(txn);
    if txn.success.is_empty() && txn.failure.is_empty() {
        let near = txn.compares.first().map_or(&ONE, |compare| compare.keys.start());
        let nothing = Span::nothing(near);
        let look =
            wire::RangeRequest { key: nothing.key, range_end: nothing.end, count_only: true, ..Default::default() };
        let look = wire::RequestOp { request: Some(wire::Request::Range(look)) };
        request.success.push(look.clone());
        request.failure.push(look);
    }
    request
}

fn nested(txn: &Txn) -> wire::TxnRequest {
    wire::TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(op).collect(),
        failure: txn.failure.iter().map(op).collect(),
    }
}

fn op(op: &Op) -> wire::RequestOp {
    let request = match op {
        Op::Put(put) => wire::Request::Put(wire::PutRequest {
            key: put.key.clone(),
            value: put.value.clone(),
            lease: put.lease as i64,
            prev_kv: put.previous,
            ..Default::default()
        }),
        Op::Delete(delete) => {
            let Span { key, end } = Span::new(&delete.keys, None);
            wire::Request::DeleteRange(wire::DeleteRangeRequest { key, range_end: end, prev_kv: delete.previous })
        }
        Op::Range(request) => wire::Request::Range(range(request)),
        Op::Txn(txn) => wire::Request::Txn(nested(txn)),
    };
    wire::RequestOp { request: Some(request) }
}

fn compare(compare: &Compare) -> wire::Compare {
    use wire::{CompareResult, CompareTarget, TargetUnion};
    let Span { key, end } = Span::new(&compare.keys, None);
    let (target, union) = match &compare.target {
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(signed(*version))),
        Target::CreateRevision(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(signed(*revision))),
        Target::ModRevision(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(signed(*revision))),
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.clone())),
        Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(*lease as i64)),
    };
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::NotEqual => CompareResult::NotEqual,
        Relation::Less => CompareResult::Less,
        Relation::Greater => CompareResult::Greater,
    };
    wire::Compare { result: result.into(), target: target.into(), key, range_end: end, target_union: Some(union) }
}

/// What a transaction did; None when the answer does not fit it.
pub(super) fn txn_response(txn: &Txn, answer: wire::TxnResponse) -> Option<TxnResponse> {
    let current = revision(&answer.header);
    response(txn, answer, current)
}

fn response(txn: &Txn, answer: wire::TxnResponse, current: Revision) -> Option<TxnResponse> {
    let ops = match answer.succeeded {
        true => &txn.success,
        false => &txn.failure,
    };
    if answer.responses.len() < ops.len() {
        return None;
    }
    let done = ops.iter().zip(answer.responses).map(|(op, answer)| {
        Some(match (op, answer.response?) {
            (Op::Put(_), wire::Response::Put(put)) => OpResponse::Put { previous: put.prev_kv.map(pair) },
            (Op::Delete(_), wire::Response::DeleteRange(delete)) => OpResponse::Delete {
                deleted: unsigned(delete.deleted),
                previous: delete.prev_kvs.into_iter().map(pair).collect(),
            },
            (Op::Range(request), wire::Response::Range(range)) => OpResponse::Range(ranged(request, range, current)),
            (Op::Txn(txn), wire::Response::Txn(answer)) => OpResponse::Txn(response(txn, answer, current)?),
            _ => return None,
        })
    });
    Some(TxnResponse::new(current, answer.succeeded, done.collect::<Option<_>>()?))
}

/// An event. A deletion's mark holds nothing but the key and the revision, as etcd's does.
pub(super) fn event(event: wire::Event) -> Option<Event> {
    Some(Event::new(pair(event.kv?), event.prev_kv.map(pair)))
}

/// A lease as it stands; None when there is none. One whose time is up is there until etcd has ended it.
pub(super) fn lease(answer: wire::LeaseTimeToLiveResponse) -> Option<Lease> {
    if answer.granted_ttl <= 0 {
        return None;
    }
    let seconds = |seconds| std::time::Duration::from_secs(unsigned(seconds));
    let mut keys = answer.keys;
    keys.sort();
    let lease = Lease::fresh(answer.id as u64, seconds(answer.granted_ttl));
    Some(lease.remaining(seconds(answer.ttl)).keys(keys))
}
