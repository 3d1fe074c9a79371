//! What became of a request that was not answered as hoped.

use std::error::Error as _;
use std::sync::Arc;

use tonic::{Code, Status};

use super::connection::Lost;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// etcd looked at it and refuses: it did nothing, and would not elsewhere either.
    Refused(Refusal),
    /// It surely was not done, for a reason that is the member's own: another may do it, or this one later.
    NotDone(Arc<str>),
    /// It was not done, since the token is not known, or not any more.
    Token,
    /// It may or may not have been done.
    Open(Arc<str>),
}

/// Why etcd refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Compacted,
    FutureRevision,
    NoSpace,
    RequestTooLarge,
    TooManyOps,
    DuplicateKey,
    EmptyKey,
    LeaseNotFound,
    LeaseExists,
    LeaseTooLong,
    AuthNotEnabled,
    Unsupported,
    Other(Arc<str>),
}

/// etcd's own words, which its codes alone are too coarse for.
const REFUSALS: &[(&str, Refusal)] = &[
    ("etcdserver: mvcc: required revision has been compacted", Refusal::Compacted),
    ("etcdserver: mvcc: required revision is a future revision", Refusal::FutureRevision),
    ("etcdserver: mvcc: database space exceeded", Refusal::NoSpace),
    ("etcdserver: request is too large", Refusal::RequestTooLarge),
    ("etcdserver: too many operations in txn request", Refusal::TooManyOps),
    ("etcdserver: duplicate key given in txn request", Refusal::DuplicateKey),
    ("etcdserver: key is not provided", Refusal::EmptyKey),
    ("etcdserver: requested lease not found", Refusal::LeaseNotFound),
    ("etcdserver: lease already exists", Refusal::LeaseExists),
    ("etcdserver: too large lease TTL", Refusal::LeaseTooLong),
    ("etcdserver: authentication is not enabled", Refusal::AuthNotEnabled),
];

/// Said before the request goes to the log.
const NOT_DONE: &[&str] = &[
    "etcdserver: no leader",
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
    "etcdserver: too many requests",
];

/// Said of the token, before anything is done.
const TOKEN: &[&str] = &[
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
    "etcdserver: user name is empty",
    "auth: revision in header is old",
    "auth: invalid auth token",
];

impl Failure {
    /// Reads a status. What is not surely undone is open: a connection that broke behind the request, a time that ran out,
    /// a leader that changed.
    pub(super) fn of(status: &Status) -> Failure {
        let mut source = status.source();
        while let Some(error) = source {
            match error.downcast_ref::<Lost>() {
                Some(lost) if lost.unsent => return Failure::NotDone(lost.to_string().into()),
                Some(lost) => return Failure::Open(lost.to_string().into()),
                None => source = error.source(),
            }
        }
        Failure::said(status.message()).unwrap_or_else(|| {
            let words: Arc<str> = status.message().into();
            match status.code() {
                // gRPC itself, before etcd sees the request.
                Code::ResourceExhausted if words.starts_with("grpc: received message larger") => {
                    Failure::Refused(Refusal::RequestTooLarge)
                }
                Code::Unimplemented => Failure::Refused(Refusal::Unsupported),
                Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::DataLoss => Failure::Refused(Refusal::Other(words)),
                _ => Failure::Open(words),
            }
        })
    }

    /// Reads etcd's words; a watch that etcd ends carries nothing else.
    pub(super) fn said(words: &str) -> Option<Failure> {
        let known = |list: &[&str]| list.iter().any(|known| words.ends_with(known));
        if let Some((_, refusal)) = REFUSALS.iter().find(|(known, _)| words.ends_with(known)) {
            return Some(Failure::Refused(refusal.clone()));
        }
        if known(TOKEN) {
            return Some(Failure::Token);
        }
        known(NOT_DONE).then(|| Failure::NotDone(words.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_open() {
        let open = |status: Status| {
            let failure = Failure::of(&status);
            assert!(matches!(failure, Failure::Open(_)), "{status:?}: {failure:?}");
        };
        for words in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: request timed out, possibly due to connection lost",
            "etcdserver: leader changed",
            "etcdserver: server stopped",
            "transport is closing",
        ] {
            open(Status::unavailable(words));
        }
        open(Status::deadline_exceeded("context deadline exceeded"));
        open(Status::cancelled("context canceled"));
        open(Status::unknown("raft proposal dropped"));
        open(Status::internal("h2 protocol error"));
    }

    #[test]
    fn what_surely_was_not_done_is_told_apart() {
        for words in ["etcdserver: no leader", "etcdserver: not capable", "etcdserver: rpc not supported for learner"] {
            assert_eq!(Failure::of(&Status::unavailable(words)), Failure::NotDone(words.into()));
        }
        let busy = "etcdserver: too many requests";
        assert_eq!(Failure::of(&Status::unknown(busy)), Failure::NotDone(busy.into()));
        for status in [
            Status::unauthenticated("etcdserver: invalid auth token"),
            Status::invalid_argument("etcdserver: revision of auth store is old"),
        ] {
            assert_eq!(Failure::of(&status), Failure::Token);
        }
    }

    #[test]
    fn refusals_are_recognized() {
        for (status, refusal) in [
            (Status::out_of_range("etcdserver: mvcc: required revision has been compacted"), Refusal::Compacted),
            (Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), Refusal::NoSpace),
            (Status::resource_exhausted("grpc: received message larger than max (3 vs. 2)"), Refusal::RequestTooLarge),
            (Status::unimplemented("unknown service"), Refusal::Unsupported),
            (
                Status::permission_denied("etcdserver: permission denied"),
                Refusal::Other("etcdserver: permission denied".into()),
            ),
        ] {
            assert_eq!(Failure::of(&status), Failure::Refused(refusal), "{status:?}");
        }
    }
}
