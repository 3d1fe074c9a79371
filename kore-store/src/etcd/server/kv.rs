//! etcd's KV service.

use std::sync::atomic::Ordering;

use super::connection::Common;
use super::failure::Failure;
use super::{Shared, answer, kept, translate};
use crate::etcd::wire::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::{Error, OpResponse, Txn};

pub(super) async fn range(common: &Common, request: RangeRequest) -> Result<RangeResponse, Failure> {
    let shared = &common.shared;
    let (range, shape) = translate::range(request)?;
    let past = range.revision != 0;
    let ranged = shared.store.range(range).await?;
    let mut revision = ranged.revision;
    if past {
        // Also an answer of the past states the current revision.
        revision = revision.max(shared.store.status().await?.revision);
    }
    Ok(RangeResponse { header: shared.header(revision), ..answer::ranged(ranged, &shape) })
}

pub(super) async fn put(common: &Common, request: PutRequest) -> Result<PutResponse, Failure> {
    let shared = &common.shared;
    let put = translate::put(&request)?;
    if request.ignore_value || request.ignore_lease {
        return kept::put(shared, request).await;
    }
    let done = shared.write(Txn::new().then(put.into())).await?;
    let prev_kv = match done.responses.first() {
        Some(OpResponse::Put { previous: Some(previous) }) => Some(answer::kv(previous)),
        _ => None,
    };
    Ok(PutResponse { header: shared.header(done.revision), prev_kv })
}

pub(super) async fn delete(common: &Common, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Failure> {
    let shared = &common.shared;
    let delete = translate::delete(request)?;
    let done = shared.write(Txn::new().then(delete.into())).await?;
    let header = shared.header(done.revision);
    Ok(match done.responses.into_iter().next() {
        Some(OpResponse::Delete { deleted, previous }) => {
            let prev_kvs = previous.iter().map(|kv| answer::kv(kv)).collect();
            DeleteRangeResponse { header, deleted: deleted.cast_signed(), prev_kvs }
        }
        _ => DeleteRangeResponse { header, ..DeleteRangeResponse::default() },
    })
}

pub(super) async fn txn(common: &Common, request: TxnRequest) -> Result<TxnResponse, Failure> {
    let shared = &common.shared;
    if kept::keeps(&request) {
        return kept::txn(shared, request).await;
    }
    let (txn, shapes) = translate::txn(request, shared.options.txn_ops)?;
    let done = shared.write(txn).await?;
    let header = shared.header(done.revision);
    Ok(TxnResponse { header, ..answer::txn(done, &shapes) })
}

pub(super) async fn compact(common: &Common, request: CompactionRequest) -> Result<CompactionResponse, Failure> {
    let shared = &common.shared;
    // A revision below zero has been compacted long ago, which is what the store says of 0.
    let revision = u64::try_from(request.revision).unwrap_or(0);
    shared.store.compact(revision).await?;
    Ok(CompactionResponse { header: shared.header_now().await? })
}

impl Shared {
    /// Does a transaction, and remembers if there was no room for it.
    pub(super) async fn write(&self, txn: Txn) -> Result<crate::TxnResponse, Error> {
        let done = self.store.txn(txn).await;
        if let Err(Error::QuotaExceeded { needed, .. }) = &done {
            self.no_room_for.store(*needed, Ordering::Relaxed);
        }
        done
    }
}
