//! What a store's answers are in etcd's words.

use std::cmp::Ordering;
use std::sync::Arc;

use super::translate::{OpShape, Shape, Shapes};
use crate::etcd::wire::{self, EventKind, SortOrder, SortTarget};
use crate::{Event, KeyValue, OpResponse, Ranged, Revision, TxnResponse};

pub(super) fn kv(kv: &KeyValue) -> wire::KeyValue {
    wire::KeyValue {
        key: kv.key.clone(),
        create_revision: kv.create_revision.cast_signed(),
        mod_revision: kv.mod_revision.cast_signed(),
        version: kv.version.cast_signed(),
        value: kv.value.clone(),
        lease: kv.lease.cast_signed(),
    }
}

fn kvs(kvs: &[Arc<KeyValue>]) -> Vec<wire::KeyValue> {
    kvs.iter().map(|each| kv(each)).collect()
}

/// A change, and, if that was asked, what was there before.
pub(super) fn event(event: &Event, previous: bool) -> wire::Event {
    let kind = if event.is_deletion() { EventKind::Delete } else { EventKind::Put };
    let previous = event.previous.as_ref().filter(|_| previous);
    wire::Event { kind: kind as i32, kv: Some(kv(&event.kv)), prev_kv: previous.map(|previous| kv(previous)) }
}

/// What a read found, filtered, sorted and cut as the client asked; without a header.
pub(super) fn ranged(ranged: Ranged, shape: &Shape) -> wire::RangeResponse {
    let Ranged { kvs: mut found, count, .. } = ranged;
    if shape.filters() {
        let within = |(least, most): (i64, i64), revision: Revision| {
            let revision = revision.cast_signed();
            revision >= least && (most == 0 || revision <= most)
        };
        found.retain(|kv| {
            within(shape.mod_revisions, kv.mod_revision) && within(shape.create_revisions, kv.create_revision)
        });
    }
    if let Some((target, order)) = shape.sort {
        found.sort_by(|a, b| match order {
            SortOrder::Descend => compare(target, b, a),
            SortOrder::None | SortOrder::Ascend => compare(target, a, b),
        });
    }
    let more = shape.limit > 0 && found.len() > shape.limit;
    if more {
        found.truncate(shape.limit);
    }
    let mut kvs = kvs(&found);
    if shape.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value.clear());
    }
    wire::RangeResponse { header: None, kvs, more, count: count.cast_signed() }
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

/// What a transaction did; without a header. Its operations state the revision at which each was done, as etcd's do.
pub(super) fn txn(done: TxnResponse, shapes: &Shapes) -> wire::TxnResponse {
    let last = done.revision;
    // A transaction that writes takes a revision, and what it reads before its first write is of the one before.
    let mut at = if wrote(&done.responses) { last - 1 } else { last };
    nested(done, shapes, &mut at, last)
}

fn wrote(responses: &[OpResponse]) -> bool {
    responses.iter().any(|response| match response {
        OpResponse::Put { .. } => true,
        OpResponse::Delete { deleted, .. } => *deleted > 0,
        OpResponse::Range(_) => false,
        OpResponse::Txn(done) => wrote(&done.responses),
    })
}

fn nested(done: TxnResponse, shapes: &Shapes, at: &mut Revision, last: Revision) -> wire::TxnResponse {
    let shapes = if done.succeeded { &shapes.success } else { &shapes.failure };
    let responses = done.responses.into_iter().zip(shapes).map(|(response, shape)| {
        if wrote(std::slice::from_ref(&response)) && !matches!(response, OpResponse::Txn(_)) {
            *at = last;
        }
        let header = || Some(wire::ResponseHeader { revision: at.cast_signed(), ..Default::default() });
        wire::ResponseOp {
            response: Some(match (response, shape) {
                (OpResponse::Put { previous }, _) => {
                    let prev_kv = previous.as_ref().map(|previous| kv(previous));
                    wire::Response::Put(wire::PutResponse { header: header(), prev_kv })
                }
                (OpResponse::Delete { deleted, previous }, _) => {
                    let (deleted, prev_kvs) = (deleted.cast_signed(), kvs(&previous));
                    wire::Response::DeleteRange(wire::DeleteRangeResponse { header: header(), deleted, prev_kvs })
                }
                (OpResponse::Range(found), OpShape::Range(shape)) => {
                    let header = header();
                    wire::Response::Range(wire::RangeResponse { header, ..ranged(found, shape) })
                }
                (OpResponse::Range(found), _) => wire::Response::Range(ranged(found, &Shape::default())),
                (OpResponse::Txn(done), OpShape::Txn(shapes)) => {
                    let header = Some(wire::ResponseHeader::default());
                    wire::Response::Txn(wire::TxnResponse { header, ..nested(done, shapes, at, last) })
                }
                (OpResponse::Txn(done), _) => wire::Response::Txn(nested(done, &Shapes::default(), at, last)),
            }),
        }
    });
    let responses = responses.collect();
    wire::TxnResponse { header: None, succeeded: done.succeeded, responses }
}
