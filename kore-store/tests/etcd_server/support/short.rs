//! Requests in few words.

use bytes::Bytes;

use crate::wire::*;

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

pub(crate) fn get(key: &str) -> RangeRequest {
    RangeRequest { key: bytes(key), ..Default::default() }
}

/// Every key that begins so.
pub(crate) fn prefix(prefix: &str) -> RangeRequest {
    RangeRequest { range_end: end(prefix), ..get(prefix) }
}

/// The first key behind all with this prefix.
pub(crate) fn end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    end.into()
}

pub(crate) fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: bytes(key), ..Default::default() }
}

pub(crate) fn op(request: impl Into<Request>) -> RequestOp {
    RequestOp { request: Some(request.into()) }
}

impl From<PutRequest> for Request {
    fn from(put: PutRequest) -> Request {
        Request::Put(put)
    }
}

impl From<RangeRequest> for Request {
    fn from(range: RangeRequest) -> Request {
        Request::Range(range)
    }
}

impl From<DeleteRangeRequest> for Request {
    fn from(delete: DeleteRangeRequest) -> Request {
        Request::DeleteRange(delete)
    }
}

impl From<TxnRequest> for Request {
    fn from(txn: TxnRequest) -> Request {
        Request::Txn(txn)
    }
}

pub(crate) fn compare(key: &str, result: CompareResult, target: CompareTarget, with: TargetUnion) -> Compare {
    Compare {
        result: result as i32,
        target: target as i32,
        key: bytes(key),
        range_end: Bytes::new(),
        target_union: Some(with),
    }
}

/// The key was last written by this revision.
pub(crate) fn at(key: &str, revision: i64) -> Compare {
    compare(key, CompareResult::Equal, CompareTarget::Mod, TargetUnion::ModRevision(revision))
}

pub(crate) fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success, failure }
}

pub(crate) fn create_watch(key: &str, end: Bytes) -> WatchCreateRequest {
    WatchCreateRequest { key: bytes(key), range_end: end, ..Default::default() }
}

pub(crate) fn watch(request: WatchCreateRequest) -> WatchRequest {
    WatchRequest { request_union: Some(WatchRequestUnion::Create(request)) }
}

pub(crate) fn cancel(watch_id: i64) -> WatchRequest {
    WatchRequest { request_union: Some(WatchRequestUnion::Cancel(WatchCancelRequest { watch_id })) }
}

pub(crate) fn ask_progress() -> WatchRequest {
    WatchRequest { request_union: Some(WatchRequestUnion::Progress(WatchProgressRequest {})) }
}

/// The revision at the head of an answer.
pub(crate) fn revision(header: &Option<ResponseHeader>) -> i64 {
    header.as_ref().expect("an answer has a header").revision
}
