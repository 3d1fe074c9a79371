//! Which method answers which path.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, StatusCode, header};
use prost::Message;

use super::call::{Answers, GONE, Messages, answer, refuse, refuse_http};
use super::connection::Common;
use super::failure::{Code, Failure, STOPPED};
use super::{auth, cluster, kv, lease, maintenance, watch};

/// A call that has been told apart from what is no call.
struct Call {
    messages: Messages,
    respond: SendResponse<Bytes>,
    common: Arc<Common>,
}

/// Answers a call.
pub(super) async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, common: Arc<Common>) {
    let content = request.headers().get(header::CONTENT_TYPE);
    if !content.is_some_and(|content| is_grpc(content.as_bytes())) {
        return refuse_http(&mut respond, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    if request.method() != Method::POST {
        return refuse_http(&mut respond, StatusCode::METHOD_NOT_ALLOWED);
    }
    let (head, body) = request.into_parts();
    let messages = Messages::new(body, common.shared.options.request_bytes, common.shared.receiving.clone());
    let call = Call { messages, respond, common };
    match head.uri.path() {
        "/etcdserverpb.KV/Put" => call.unary(kv::put).await,
        "/etcdserverpb.KV/Range" => call.unary(kv::range).await,
        "/etcdserverpb.KV/Txn" => call.unary(kv::txn).await,
        "/etcdserverpb.KV/DeleteRange" => call.unary(kv::delete).await,
        "/etcdserverpb.KV/Compact" => call.unary(kv::compact).await,
        "/etcdserverpb.Lease/LeaseGrant" => call.unary(lease::grant).await,
        "/etcdserverpb.Lease/LeaseRevoke" => call.unary(lease::revoke).await,
        "/etcdserverpb.Lease/LeaseTimeToLive" => call.unary(lease::time_to_live).await,
        "/etcdserverpb.Lease/LeaseLeases" => call.unary(lease::leases).await,
        path => Box::pin(call.rare(path)).await,
    }
}

/// With an encoding behind it or without one, and not a protocol with a longer name.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl Call {
    /// What is long, or seldom: not part of every call's state.
    async fn rare(self, path: &str) {
        match path {
            "/etcdserverpb.Watch/Watch" => self.streaming(watch::serve).await,
            "/etcdserverpb.Lease/LeaseKeepAlive" => self.streaming(lease::keep_alive).await,
            "/etcdserverpb.Maintenance/Snapshot" => self.streaming(maintenance::snapshot).await,
            "/etcdserverpb.Maintenance/Status" => self.unary(maintenance::status).await,
            "/etcdserverpb.Maintenance/Alarm" => self.unary(maintenance::alarm).await,
            "/etcdserverpb.Maintenance/Hash" => self.unary(maintenance::hash).await,
            "/etcdserverpb.Maintenance/HashKV" => self.unary(maintenance::hash_kv).await,
            "/etcdserverpb.Maintenance/Defragment" => self.unary(maintenance::defragment).await,
            "/etcdserverpb.Cluster/MemberList" => self.unary(cluster::member_list).await,
            "/etcdserverpb.Auth/AuthStatus" => self.unary(auth::status).await,
            _ => self.refuse(refusal(path)),
        }
    }

    /// One request, one answer.
    async fn unary<Q, A>(mut self, method: impl AsyncFnOnce(&Common, Q) -> Result<A, Failure>)
    where
        Q: Message + Default,
        A: Message,
    {
        let outcome = match self.messages.only().await {
            Ok(request) => tokio::select! {
                biased;
                outcome = method(&self.common, request) => outcome,
                // The client has given up.
                _ = poll_fn(|context| self.respond.poll_reset(context)) => return,
            },
            Err(failure) => Err(failure),
        };
        answer(&mut self.respond, outcome, &self.common.answers).await;
    }

    /// Any number of requests, any number of answers, until one side ends it.
    async fn streaming(
        mut self,
        method: impl AsyncFnOnce(&Common, &mut Messages, &mut Answers) -> Result<(), Failure>,
    ) {
        let Ok(mut answers) = Answers::begin(&mut self.respond) else { return };
        let outcome = tokio::select! {
            biased;
            outcome = method(&self.common, &mut self.messages, &mut answers) => outcome,
            () = self.common.stopping() => Err(STOPPED),
        };
        if outcome != Err(GONE) {
            answers.end(outcome);
        }
    }

    fn refuse(mut self, failure: Failure) {
        refuse(&mut self.respond, &failure);
    }
}

/// Why a method that etcd has is not there, and what is said of one that it has not.
fn refusal(path: &str) -> Failure {
    let unimplemented = |message: String| Failure::with(Code::Unimplemented, message);
    let mut parts = path.split('/').skip(1);
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("etcdserverpb.Auth", method) => auth::refusal(method),
        ("etcdserverpb.Cluster", method) => cluster::refusal(method),
        ("etcdserverpb.Maintenance", method) => maintenance::refusal(method),
        (service, method) => unimplemented(format!("unknown method {method} for service {service}")),
    }
}
