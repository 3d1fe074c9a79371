//! Writes that keep the value or the lease that a key has. A store has no such operation: the key is read, and written
//! if it has not changed since; else it is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::failure::{Failure, KEY_NOT_FOUND, TOO_MANY_REQUESTS};
use super::{Shared, answer, translate};
use crate::etcd::wire::{self, PutRequest, PutResponse, Request, RequestOp, TxnRequest, TxnResponse};
use crate::{Compare, Error, KeyValue, Op, OpResponse, Revision, Txn};

/// How often a key is read again: each time, somebody else has written it.
const TRIES: usize = 100;

/// No store gets there. A read at this revision stands before a write to a key that does not exist: it lets the
/// transaction fail, if it is done.
const NEVER: Revision = i64::MAX.cast_unsigned();

/// What the keys hold whose value or lease is kept.
type Known = BTreeMap<Bytes, Option<Arc<KeyValue>>>;

/// True when a transaction keeps a key's value or lease somewhere.
pub(super) fn keeps(request: &TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.any(|op| match &op.request {
        Some(Request::Put(put)) => put.ignore_value || put.ignore_lease,
        Some(Request::Txn(nested)) => keeps(nested),
        _ => false,
    })
}

pub(super) async fn put(shared: &Shared, request: PutRequest) -> Result<PutResponse, Failure> {
    let put = RequestOp { request: Some(Request::Put(request)) };
    let txn = TxnRequest { success: vec![put], ..TxnRequest::default() };
    let done = self::txn(shared, txn).await?;
    let prev_kv = match done.responses.into_iter().next().and_then(|done| done.response) {
        Some(wire::Response::Put(done)) => done.prev_kv,
        _ => None,
    };
    Ok(PutResponse { header: done.header, prev_kv })
}

pub(super) async fn txn(shared: &Shared, request: TxnRequest) -> Result<TxnResponse, Failure> {
    // What is wrong with the request is said whatever the keys hold.
    translate::txn(request.clone(), shared.options.txn_ops)?;
    let mut known = Known::new();
    keys(&request, &mut known);
    for _ in 0..TRIES {
        let read = known.keys().fold(Txn::new(), |txn, key| txn.then(Op::get(key.clone())));
        let read = shared.store.txn(read).await?;
        for (known, found) in known.values_mut().zip(read.responses) {
            *known = match found {
                OpResponse::Range(ranged) => ranged.kvs.into_iter().next(),
                _ => None,
            };
        }
        let mut filled = request.clone();
        fill(&mut filled, &known);
        let (filled, shapes) = translate::txn(filled, shared.options.txn_ops)?;
        let unchanged = |txn: Txn, (key, kv): (&Bytes, &Option<Arc<KeyValue>>)| {
            txn.when(Compare::mod_revision(key.clone(), kv.as_ref().map_or(0, |kv| kv.mod_revision)))
        };
        let guarded = known.iter().fold(Txn::new(), unchanged).then(Op::Txn(filled));
        let done = match shared.write(guarded).await {
            Err(Error::FutureRevision { requested: NEVER, .. }) => return Err(KEY_NOT_FOUND),
            done => done?,
        };
        if let Some(OpResponse::Txn(done)) = done.responses.into_iter().next() {
            let header = shared.header(done.revision);
            return Ok(TxnResponse { header, ..answer::txn(done, &shapes) });
        }
    }
    Err(TOO_MANY_REQUESTS)
}

/// Which keys' values or leases are kept.
fn keys(request: &TxnRequest, known: &mut Known) {
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::Put(put)) if put.ignore_value || put.ignore_lease => {
                known.insert(put.key.clone(), None);
            }
            Some(Request::Txn(nested)) => keys(nested, known),
            _ => {}
        }
    }
}

/// Puts what is kept into the writes that keep it.
fn fill(request: &mut TxnRequest, known: &Known) {
    for op in request.success.iter_mut().chain(&mut request.failure) {
        match &mut op.request {
            Some(Request::Put(put)) if put.ignore_value || put.ignore_lease => match &known[&put.key] {
                Some(kv) => {
                    if std::mem::take(&mut put.ignore_value) {
                        put.value = kv.value.clone();
                    }
                    if std::mem::take(&mut put.ignore_lease) {
                        put.lease = kv.lease.cast_signed();
                    }
                }
                None => {
                    (put.ignore_value, put.ignore_lease) = (false, false);
                    let (key, revision) = (put.key.clone(), NEVER.cast_signed());
                    let never = wire::RangeRequest { key, revision, ..Default::default() };
                    let never = RequestOp { request: Some(Request::Range(never)) };
                    let put = std::mem::take(op);
                    let both = TxnRequest { success: vec![never, put], ..TxnRequest::default() };
                    op.request = Some(Request::Txn(both));
                }
            },
            Some(Request::Txn(nested)) => fill(nested, known),
            _ => {}
        }
    }
}
