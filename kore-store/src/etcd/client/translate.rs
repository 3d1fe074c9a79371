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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Delete;

    fn span(keys: KeyRange) -> Span {
        Span::new(&keys, None)
    }

    fn interval(start: &'static str, end: Option<&'static str>) -> KeyRange {
        KeyRange::Interval { start: start.into(), end: end.map(Into::into) }
    }

    fn pair_of(key: &'static [u8], end: &'static [u8]) -> Span {
        Span { key: Bytes::from_static(key), end: Bytes::from_static(end) }
    }

    #[test]
    fn sets_of_keys_are_said_as_etcd_says_them() {
        let prefix = |prefix: &'static [u8]| KeyRange::Prefix(Bytes::from_static(prefix));
        for (keys, expected) in [
            (KeyRange::Key("a".into()), pair_of(b"a", b"")),
            (prefix(b"a/"), pair_of(b"a/", b"a0")),
            (prefix(b"a\xff"), pair_of(b"a\xff", b"b")),
            (prefix(b"\xff\xff"), pair_of(b"\xff\xff", b"\0")),
            (prefix(b""), pair_of(b"\0", b"\0")),
            (interval("a", Some("b")), pair_of(b"a", b"b")),
            (interval("a", None), pair_of(b"a", b"\0")),
            (interval("", None), pair_of(b"\0", b"\0")),
            (interval("", Some("b")), pair_of(b"\0", b"b")),
        ] {
            assert_eq!(span(keys.clone()), expected, "{keys:?}");
        }
        assert!(span(KeyRange::all()).is_everything());
    }

    #[test]
    fn a_set_without_keys_is_nothing_and_never_everything() {
        for keys in [
            KeyRange::Key(Bytes::new()),
            interval("b", Some("a")),
            interval("b", Some("b")),
            interval("b", Some("")),
            interval("b", Some("\0")),
            interval("", Some("")),
            interval("", Some("\0")),
            interval("\0", Some("\0")),
        ] {
            let span = span(keys.clone());
            assert!(span.is_nothing() && !span.is_everything() && !span.key.is_empty(), "{keys:?}: {span:?}");
        }
    }

    #[test]
    fn a_page_begins_behind_the_last() {
        let after = |keys: KeyRange, key: &'static str| Span::new(&keys, Some(&key.into()));
        assert_eq!(after(KeyRange::Prefix("a/".into()), "a/7"), pair_of(b"a/7\0", b"a0"));
        assert_eq!(after(KeyRange::Prefix("a/".into()), "0"), pair_of(b"a/", b"a0"));
        assert_eq!(after(KeyRange::Key("a".into()), "0"), pair_of(b"a", b""));
        assert!(after(KeyRange::Key("a".into()), "a").is_nothing());
        assert!(after(interval("a", Some("b")), "b").is_nothing());
        assert_eq!(after(KeyRange::all(), "a"), pair_of(b"a\0", b"\0"));
    }

    #[test]
    fn a_marker_is_directly_behind_what_is_watched() {
        let marked = |keys: KeyRange| {
            let (span, marker) = span(keys).with_marker();
            (span, marker.unwrap())
        };
        let (wider, marker) = marked(KeyRange::Prefix("a/".into()));
        assert_eq!((wider, &marker[..]), (pair_of(b"a/", b"a0\0"), &b"a0"[..]));
        let (wider, marker) = marked(KeyRange::Key("a".into()));
        assert_eq!((wider, &marker[..]), (pair_of(b"a", b"a\0\0"), &b"a\0"[..]));
        let (wider, marker) = marked(interval("a", Some("c")));
        assert_eq!((wider, &marker[..]), (pair_of(b"a", b"c\0"), &b"c"[..]));
        let (same, marker) = marked(interval("a", None));
        assert_eq!(same, pair_of(b"a", b"\0"));
        assert!(interval("a", None).contains(&marker));
        // Nothing, and a marker.
        let (wider, marker) = marked(interval("b", Some("a")));
        assert_eq!((wider, &marker[..]), (pair_of(b"b", b"b\0"), &b"b"[..]));
        assert_eq!(span(KeyRange::all()).with_marker(), (pair_of(b"\0", b"\0"), None));
    }

    #[test]
    fn numbers_that_etcd_cannot_have_are_beyond_all_it_has() {
        assert_eq!((signed(7), signed(u64::MAX)), (7, i64::MAX));
        assert_eq!((unsigned(7), unsigned(-1)), (7, 0));
        let lease = wire::KeyValue { lease: -2, ..Default::default() };
        assert_eq!(pair(lease).lease as i64, -2);
    }

    #[test]
    fn a_transaction_without_operations_looks_at_something() {
        let compares = Txn::new().when(Compare::version("a", 1));
        let request = txn(&compares);
        assert_eq!((request.success.len(), request.failure.len()), (1, 1));
        let answer = wire::TxnResponse {
            header: Some(wire::ResponseHeader { revision: 9, ..Default::default() }),
            succeeded: true,
            responses: vec![wire::ResponseOp { response: Some(wire::Response::Range(Default::default())) }],
        };
        assert_eq!(txn_response(&compares, answer), Some(TxnResponse::new(9, true, vec![])));
        assert_eq!(txn(&compares.otherwise(Op::get("a"))).success.len(), 0);
    }

    #[test]
    fn answers_fit_their_operations_also_nested_ones() {
        let inner = Txn::new().then(Range::key("a").at(3).into());
        let request = Txn::new()
            .then(Op::put("b", "1"))
            .then(Delete::new(KeyRange::Key("c".into())).previous().into())
            .then(Op::Txn(inner))
            .then(Op::get("d"));
        let found = |key: &'static str| wire::KeyValue { key: key.into(), version: 1, ..Default::default() };
        let done = |response| wire::ResponseOp { response: Some(response) };
        let range = |kv| wire::RangeResponse { kvs: vec![kv], count: 1, ..Default::default() };
        let answer = wire::TxnResponse {
            header: Some(wire::ResponseHeader { revision: 9, ..Default::default() }),
            succeeded: true,
            responses: vec![
                done(wire::Response::Put(wire::PutResponse::default())),
                done(wire::Response::DeleteRange(wire::DeleteRangeResponse {
                    deleted: 1,
                    prev_kvs: vec![found("c")],
                    ..Default::default()
                })),
                done(wire::Response::Txn(wire::TxnResponse {
                    succeeded: true,
                    responses: vec![done(wire::Response::Range(range(found("a"))))],
                    ..Default::default()
                })),
                done(wire::Response::Range(range(found("d")))),
            ],
        };
        let ranged = |revision, key| Ranged::new(revision, vec![pair(found(key))]);
        let expected = vec![
            OpResponse::Put { previous: None },
            OpResponse::Delete { deleted: 1, previous: vec![pair(found("c"))] },
            OpResponse::Txn(TxnResponse::new(9, true, vec![OpResponse::Range(ranged(3, "a"))])),
            OpResponse::Range(ranged(9, "d")),
        ];
        assert_eq!(txn_response(&request, answer.clone()), Some(TxnResponse::new(9, true, expected)));
        let mut short = answer.clone();
        short.responses.pop();
        assert_eq!(txn_response(&request, short), None);
        let mut swapped = answer;
        swapped.responses.swap(0, 3);
        assert_eq!(txn_response(&request, swapped), None);
    }

    #[test]
    fn a_lease_is_gone_only_when_etcd_knows_none() {
        let gone = wire::LeaseTimeToLiveResponse { id: 7, ttl: -1, ..Default::default() };
        assert_eq!(lease(gone), None);
        let late = wire::LeaseTimeToLiveResponse {
            id: 7,
            ttl: -1,
            granted_ttl: 5,
            keys: vec!["b".into(), "a".into()],
            ..Default::default()
        };
        let five = std::time::Duration::from_secs(5);
        let expected = Lease::fresh(7, five).remaining(Default::default()).keys(vec!["a".into(), "b".into()]);
        assert_eq!(lease(late), Some(expected));
    }
}
