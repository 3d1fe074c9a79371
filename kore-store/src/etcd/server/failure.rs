//! How a call fails: gRPC's codes, and etcd's sentences, by which its clients know what went wrong.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};

use crate::Error;

/// gRPC's status codes, those that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Code::Cancelled => "1",
            Code::InvalidArgument => "3",
            Code::DeadlineExceeded => "4",
            Code::NotFound => "5",
            Code::ResourceExhausted => "8",
            Code::FailedPrecondition => "9",
            Code::OutOfRange => "11",
            Code::Unimplemented => "12",
            Code::Internal => "13",
            Code::Unavailable => "14",
            Code::DataLoss => "15",
        }
    }
}

/// Why a call failed, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: Cow<'static, str>,
}

pub(super) const EMPTY_KEY: Failure = Failure::new(Code::InvalidArgument, "etcdserver: key is not provided");
pub(super) const KEY_NOT_FOUND: Failure = Failure::new(Code::InvalidArgument, "etcdserver: key not found");
pub(super) const VALUE_PROVIDED: Failure = Failure::new(Code::InvalidArgument, "etcdserver: value is provided");
pub(super) const LEASE_PROVIDED: Failure = Failure::new(Code::InvalidArgument, "etcdserver: lease is provided");
pub(super) const TOO_MANY_OPS: Failure =
    Failure::new(Code::InvalidArgument, "etcdserver: too many operations in txn request");
pub(super) const DUPLICATE_KEY: Failure =
    Failure::new(Code::InvalidArgument, "etcdserver: duplicate key given in txn request");
pub(super) const INVALID_SORT: Failure = Failure::new(Code::InvalidArgument, "etcdserver: invalid sort option");
pub(super) const COMPACTED: Failure =
    Failure::new(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
pub(super) const FUTURE_REVISION: Failure =
    Failure::new(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
pub(super) const NO_SPACE: Failure = Failure::new(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
pub(super) const LEASE_NOT_FOUND: Failure = Failure::new(Code::NotFound, "etcdserver: requested lease not found");
pub(super) const LEASE_EXISTS: Failure = Failure::new(Code::FailedPrecondition, "etcdserver: lease already exists");
pub(super) const TTL_TOO_LARGE: Failure = Failure::new(Code::OutOfRange, "etcdserver: too large lease TTL");
pub(super) const REQUEST_TOO_LARGE: Failure = Failure::new(Code::InvalidArgument, "etcdserver: request is too large");
pub(super) const TOO_MANY_REQUESTS: Failure = Failure::new(Code::ResourceExhausted, "etcdserver: too many requests");
pub(super) const AUTH_NOT_ENABLED: Failure =
    Failure::new(Code::FailedPrecondition, "etcdserver: authentication is not enabled");
pub(super) const BAD_TRANSFEREE: Failure = Failure::new(Code::FailedPrecondition, "etcdserver: bad leader transferee");
pub(super) const STOPPED: Failure = Failure::new(Code::Unavailable, "etcdserver: server stopped");
/// What etcd says when it does not know whether a write happened.
pub(super) const TIMED_OUT: Failure = Failure::new(Code::Unavailable, "etcdserver: request timed out");

impl Failure {
    pub(super) const fn new(code: Code, message: &'static str) -> Failure {
        Failure { code, message: Cow::Borrowed(message) }
    }

    pub(super) fn with(code: Code, message: String) -> Failure {
        Failure { code, message: Cow::Owned(message) }
    }

    /// What stands at the end of the call.
    pub(super) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert("grpc-status", HeaderValue::from_static(self.code.text()));
        let message = HeaderValue::from_str(&percent_encoded(&self.message));
        trailers.insert("grpc-message", message.expect("what is percent-encoded is visible ASCII"));
        trailers
    }
}

/// Everything but visible ASCII as `%XX`, and `%` itself.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Compacted { .. } => COMPACTED,
            Error::FutureRevision { .. } => FUTURE_REVISION,
            Error::QuotaExceeded { .. } => NO_SPACE,
            Error::TooLarge { what, .. } => match what {
                what if what.contains("operations") || what.contains("comparisons") => TOO_MANY_OPS,
                what if what.contains("leases") => TOO_MANY_REQUESTS,
                _ => REQUEST_TOO_LARGE,
            },
            Error::DuplicateKey { .. } => DUPLICATE_KEY,
            Error::LeaseNotFound { .. } => LEASE_NOT_FOUND,
            Error::LeaseExists { .. } => LEASE_EXISTS,
            Error::InvalidRequest { reason } => Failure::with(Code::InvalidArgument, format!("etcdserver: {reason}")),
            Error::Unsupported { .. } => Failure::with(Code::Unimplemented, format!("etcdserver: {error}")),
            Error::OutcomeUnknown { reason } => {
                tracing::warn!(%reason, "the outcome of a write is unknown");
                TIMED_OUT
            }
            Error::Unavailable { .. } => Failure::with(Code::Unavailable, format!("etcdserver: {error}")),
            Error::Corrupt { .. } => Failure::with(Code::DataLoss, format!("etcdserver: {error}")),
            error => Failure::with(Code::Internal, format!("etcdserver: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_visible_is_encoded() {
        assert_eq!(percent_encoded("a 100% \n\u{fc}"), "a 100%25 %0A%C3%BC");
        let trailers = Failure::with(Code::Internal, "a\nb".into()).trailers();
        assert_eq!(trailers["grpc-message"], "a%0Ab");
        assert_eq!(trailers["grpc-status"], "13");
    }

    #[test]
    fn clients_know_the_errors_by_their_sentences() {
        let cases = [
            (Error::Compacted { requested: 1, at: 2 }, COMPACTED),
            (Error::FutureRevision { requested: 2, current: 1 }, FUTURE_REVISION),
            (Error::QuotaExceeded { used: 1, needed: 1, quota: 1 }, NO_SPACE),
            (Error::TooLarge { what: "operations in a transaction", size: 2, limit: 1 }, TOO_MANY_OPS),
            (
                Error::TooLarge { what: "bytes of keys and values in a transaction", size: 2, limit: 1 },
                REQUEST_TOO_LARGE,
            ),
            (Error::TooLarge { what: "leases", size: 2, limit: 1 }, TOO_MANY_REQUESTS),
            (Error::LeaseNotFound { id: 1 }, LEASE_NOT_FOUND),
            (Error::OutcomeUnknown { reason: "no answer".into() }, TIMED_OUT),
        ];
        for (error, failure) in cases {
            assert_eq!(Failure::from(error.clone()), failure, "{error}");
        }
        let down = Failure::from(Error::Unavailable { reason: "closed".into() });
        assert_eq!(down.code, Code::Unavailable);
        assert!(down.message.contains("closed"), "{down:?}");
    }
}
