//! What etcd's requests ask of a store.

use bytes::Bytes;

use super::failure::{
    COMPACTED, Code, EMPTY_KEY, Failure, INVALID_SORT, KEY_NOT_FOUND, LEASE_PROVIDED, TOO_MANY_OPS, VALUE_PROVIDED,
};
use crate::etcd::wire::{self, CompareResult, CompareTarget, SortOrder, SortTarget, TargetUnion};
use crate::{Compare, Delete, KeyRange, Op, Put, Range, Relation, Target, Txn};

/// The keys that etcd means by a key and an end: without an end the key alone, with the end `\0` every key from it.
pub(super) fn keys(key: Bytes, range_end: Bytes) -> KeyRange {
    match &range_end[..] {
        b"" => KeyRange::Key(key),
        b"\0" => KeyRange::Interval { start: key, end: None },
        // What ends before it begins is empty, and must not look otherwise to a store.
        end if end < &key[..] => KeyRange::Interval { end: Some(key.clone()), start: key },
        _ => KeyRange::Interval { start: key, end: Some(range_end) },
    }
}

/// What is done to the pairs that a store found before they are an answer: what etcd can do, and a store need not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many pairs at most; 0 is all.
    pub(super) limit: usize,
    pub(super) keys_only: bool,
    pub(super) sort: Option<(SortTarget, SortOrder)>,
    /// The least and the greatest revision of the last write, and of the creation; 0 is any.
    pub(super) mod_revisions: (i64, i64),
    pub(super) create_revisions: (i64, i64),
}

impl Shape {
    pub(super) fn filters(&self) -> bool {
        self.mod_revisions != (0, 0) || self.create_revisions != (0, 0)
    }
}

/// A read by itself.
pub(super) fn range(request: wire::RangeRequest) -> Result<(Range, Shape), Failure> {
    if request.key.is_empty() {
        return Err(EMPTY_KEY);
    }
    let order = SortOrder::try_from(request.sort_order).map_err(|_| INVALID_SORT)?;
    let target = SortTarget::try_from(request.sort_target).map_err(|_| INVALID_SORT)?;
    let sort = match (target, order) {
        // A store answers in the order of the keys.
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => None,
        (target, SortOrder::None) => Some((target, SortOrder::Ascend)),
        sort => Some(sort),
    };
    let shape = Shape {
        limit: usize::try_from(request.limit).unwrap_or(0),
        keys_only: request.keys_only,
        sort,
        mod_revisions: (request.min_mod_revision, request.max_mod_revision),
        create_revisions: (request.min_create_revision, request.max_create_revision),
    };
    let mut range = Range::new(keys(request.key, request.range_end));
    // A revision below zero is the current one, too.
    range.revision = u64::try_from(request.revision).unwrap_or(0);
    range.count_only = request.count_only;
    range.keys_only = request.keys_only && target != SortTarget::Value;
    // What is sorted or filtered is cut to length afterwards; unless no order was named: then etcd sorts what it cut.
    range.limit = match shape.limit {
        0 => 0,
        _ if order != SortOrder::None && shape.sort.is_some() || shape.filters() => 0,
        limit => limit.saturating_add(1),
    };
    Ok((range, shape))
}

/// A write. Key and value are copied: a store keeps them, and they must not keep the buffer they were read into.
pub(super) fn put(request: &wire::PutRequest) -> Result<Put, Failure> {
    if request.key.is_empty() {
        return Err(EMPTY_KEY);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(VALUE_PROVIDED);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(LEASE_PROVIDED);
    }
    let mut put = Put::new(Bytes::copy_from_slice(&request.key), Bytes::copy_from_slice(&request.value));
    put.lease = request.lease.cast_unsigned();
    put.previous = request.prev_kv;
    Ok(put)
}

pub(super) fn delete(request: wire::DeleteRangeRequest) -> Result<Delete, Failure> {
    if request.key.is_empty() {
        return Err(EMPTY_KEY);
    }
    let mut delete = Delete::new(keys(request.key, request.range_end));
    delete.previous = request.prev_kv;
    Ok(delete)
}

/// How the answers of a transaction's operations are shaped, branch by branch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shapes {
    pub(super) success: Vec<OpShape>,
    pub(super) failure: Vec<OpShape>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpShape {
    Write,
    Range(Shape),
    Txn(Shapes),
}

/// A transaction of at most so many comparisons or operations, those of nested ones counted as etcd does: the longest
/// list of each level.
pub(super) fn txn(request: wire::TxnRequest, ops_max: usize) -> Result<(Txn, Shapes), Failure> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = ops_max.checked_sub(longest).ok_or(TOO_MANY_OPS)?;
    let mut txn = Txn::new();
    for compare in request.compare {
        txn.compares.extend(self::compare(compare)?);
    }
    let mut shapes = Shapes::default();
    (txn.success, shapes.success) = branch(request.success, left)?;
    (txn.failure, shapes.failure) = branch(request.failure, left)?;
    Ok((txn, shapes))
}

fn branch(requests: Vec<wire::RequestOp>, ops_left: usize) -> Result<(Vec<Op>, Vec<OpShape>), Failure> {
    let ops = requests.into_iter().map(|request| op(request, ops_left));
    Ok(ops.collect::<Result<Vec<_>, _>>()?.into_iter().unzip())
}

fn op(request: wire::RequestOp, ops_left: usize) -> Result<(Op, OpShape), Failure> {
    Ok(match request.request {
        Some(wire::Request::Range(request)) => {
            // Other than by itself, a read at a revision below zero fails here.
            if request.revision < 0 {
                return Err(COMPACTED);
            }
            let (range, shape) = range(request)?;
            (Op::Range(range), OpShape::Range(shape))
        }
        Some(wire::Request::Put(request)) => (Op::Put(put(&request)?), OpShape::Write),
        Some(wire::Request::DeleteRange(request)) => (Op::Delete(delete(request)?), OpShape::Write),
        Some(wire::Request::Txn(request)) => {
            let (txn, shapes) = txn(request, ops_left)?;
            (Op::Txn(txn), OpShape::Txn(shapes))
        }
        None => return Err(KEY_NOT_FOUND),
    })
}

/// A comparison; None: it holds, whatever the store has.
fn compare(request: wire::Compare) -> Result<Option<Compare>, Failure> {
    const UNKNOWN: Failure = Failure::new(Code::InvalidArgument, "etcdserver: unknown comparison");
    if request.key.is_empty() {
        return Err(EMPTY_KEY);
    }
    let relation = match CompareResult::try_from(request.result).map_err(|_| UNKNOWN)? {
        CompareResult::Equal => Relation::Equal,
        CompareResult::NotEqual => Relation::NotEqual,
        CompareResult::Less => Relation::Less,
        CompareResult::Greater => Relation::Greater,
    };
    let target = CompareTarget::try_from(request.target).map_err(|_| UNKNOWN)?;
    // What is compared with is zero, or empty, when nothing was given, or something else.
    let number = match (target, &request.target_union) {
        (CompareTarget::Version, Some(TargetUnion::Version(number)))
        | (CompareTarget::Create, Some(TargetUnion::CreateRevision(number)))
        | (CompareTarget::Mod, Some(TargetUnion::ModRevision(number)))
        | (CompareTarget::Lease, Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    };
    if number < 0 && target != CompareTarget::Lease {
        return Ok(match relation {
            Relation::NotEqual | Relation::Greater => None,
            // Never holds: no version is below zero.
            Relation::Equal | Relation::Less => {
                Some(Compare::new(KeyRange::Key(request.key), Target::Version(0)).is(Relation::Less))
            }
        });
    }
    let number = number.cast_unsigned();
    let target = match target {
        CompareTarget::Version => Target::Version(number),
        CompareTarget::Create => Target::CreateRevision(number),
        CompareTarget::Mod => Target::ModRevision(number),
        CompareTarget::Lease => Target::Lease(number),
        CompareTarget::Value => Target::Value(match request.target_union {
            Some(TargetUnion::Value(value)) => value,
            _ => Bytes::new(),
        }),
    };
    Ok(Some(Compare::new(keys(request.key, request.range_end), target).is(relation)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::wire::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

    fn interval(start: &'static str, end: Option<&'static str>) -> KeyRange {
        KeyRange::Interval { start: start.into(), end: end.map(Bytes::from) }
    }

    #[test]
    fn a_key_and_an_end_are_a_set_of_keys() {
        let keys = |key: &'static str, end: &'static str| super::keys(key.into(), end.into());
        assert_eq!(keys("a", ""), KeyRange::Key("a".into()));
        assert_eq!(keys("a", "\0"), interval("a", None));
        assert_eq!(keys("a", "b"), interval("a", Some("b")));
        assert_eq!(keys("b", "a"), interval("b", Some("b")), "empty, and not the other way round");
    }

    #[test]
    fn a_read_is_cut_by_the_store_only_if_nothing_is_done_to_it_afterwards() {
        let limits = |request: RangeRequest| {
            let (range, shape) = range(RangeRequest { key: "a".into(), limit: 3, ..request }).unwrap();
            (range.limit, shape.sort)
        };
        let (ascend, descend) = (SortOrder::Ascend as i32, SortOrder::Descend as i32);
        let version = SortTarget::Version as i32;
        let sorted = |sort_order, sort_target| RangeRequest { sort_order, sort_target, ..Default::default() };
        assert_eq!(limits(RangeRequest::default()), (4, None));
        assert_eq!(limits(sorted(ascend, 0)), (4, None));
        assert_eq!(limits(sorted(descend, 0)), (0, Some((SortTarget::Key, SortOrder::Descend))));
        assert_eq!(limits(sorted(ascend, version)), (0, Some((SortTarget::Version, SortOrder::Ascend))));
        // Without an order, etcd sorts what it has cut.
        assert_eq!(limits(sorted(0, version)), (4, Some((SortTarget::Version, SortOrder::Ascend))));
        assert_eq!(limits(RangeRequest { min_mod_revision: 5, ..Default::default() }), (0, None));

        let request = RangeRequest { key: "a".into(), limit: -1, revision: -1, ..Default::default() };
        let (all, _) = range(request.clone()).unwrap();
        assert_eq!((all.limit, all.revision), (0, 0));
        assert_eq!(range(RangeRequest { limit: i64::MAX, ..request }).unwrap().1.limit, i64::MAX as usize);
        // Values are needed to sort by them.
        let request = RangeRequest { key: "a".into(), keys_only: true, ..sorted(ascend, SortTarget::Value as i32) };
        let (range, shape) = range(request).unwrap();
        assert!(!range.keys_only && shape.keys_only);
        assert_eq!(super::range(RangeRequest::default()), Err(EMPTY_KEY));
    }

    #[test]
    fn what_is_kept_does_not_keep_the_buffer() {
        let buffer = Bytes::from_static(b"key and value");
        let request = PutRequest { key: buffer.slice(..3), value: buffer.slice(8..), lease: -1, ..Default::default() };
        let put = put(&request).unwrap();
        assert_eq!((&put.key[..], &put.value[..], put.lease), (&b"key"[..], &b"value"[..], u64::MAX));
        assert!(!buffer.as_ptr_range().contains(&put.key.as_ptr()) && put.key.as_ptr() != put.value.as_ptr());
        let delete = delete(DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() }).unwrap();
        assert!(delete.previous);
    }

    fn compared(target: CompareTarget, result: CompareResult, with: Option<TargetUnion>) -> Option<Compare> {
        let (key, range_end) = ("a".into(), Bytes::new());
        compare(wire::Compare { result: result as i32, target: target as i32, key, range_end, target_union: with })
            .unwrap()
    }

    #[test]
    fn comparisons_are_those_of_etcd() {
        let version = |number| Some(TargetUnion::Version(number));
        let of = |target| Compare::new(KeyRange::Key("a".into()), target);
        let (equal, less) = (CompareResult::Equal, CompareResult::Less);
        assert_eq!(compared(CompareTarget::Version, equal, version(3)), Some(of(Target::Version(3))));
        assert_eq!(compared(CompareTarget::Version, less, version(3)), Some(of(Target::Version(3)).is(Relation::Less)));
        // Nothing, or something else, is zero, or empty.
        assert_eq!(compared(CompareTarget::Mod, equal, None), Some(of(Target::ModRevision(0))));
        assert_eq!(compared(CompareTarget::Mod, equal, version(3)), Some(of(Target::ModRevision(0))));
        assert_eq!(compared(CompareTarget::Value, equal, version(3)), Some(of(Target::Value(Bytes::new()))));
        // Below zero there is nothing.
        assert_eq!(compared(CompareTarget::Version, CompareResult::Greater, version(-1)), None);
        assert_eq!(compared(CompareTarget::Version, CompareResult::NotEqual, version(-1)), None);
        for never in [equal, less] {
            let never = compared(CompareTarget::Version, never, version(-1)).unwrap();
            assert!(!never.holds(None));
        }
        let unknown = wire::Compare { target: 9, key: "a".into(), ..Default::default() };
        assert!(compare(unknown).is_err());
    }

    #[test]
    fn operations_are_counted_level_by_level() {
        let get = |count: usize| {
            let get = RangeRequest { key: "a".into(), ..Default::default() };
            vec![RequestOp { request: Some(wire::Request::Range(get)) }; count]
        };
        let with = |mut ops: Vec<RequestOp>, nested: TxnRequest| {
            ops.push(RequestOp { request: Some(wire::Request::Txn(nested)) });
            TxnRequest { success: ops, ..Default::default() }
        };
        let nested = |count| TxnRequest { failure: get(count), ..Default::default() };
        assert!(txn(with(get(1), nested(3)), 5).is_ok());
        assert_eq!(txn(with(get(1), nested(4)), 5).unwrap_err(), TOO_MANY_OPS);
        assert_eq!(txn(nested(6), 5).unwrap_err(), TOO_MANY_OPS);
        // Deep, too.
        let deep = (0..5).fold(nested(0), |inner, _| with(Vec::new(), inner));
        assert!(txn(deep.clone(), 5).is_ok());
        assert_eq!(txn(deep, 4).unwrap_err(), TOO_MANY_OPS);
    }
}
