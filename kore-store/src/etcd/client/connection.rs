//! One connection to one member: TCP, TLS, HTTP/2, and gRPC calls on it. It knows whether a request has left.
//!
//! The protocol's own machinery, pings among it, runs as one task a connection, which ends with the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::options::EtcdOptions;
use super::version::Version;
use crate::etcd::wire;
use crate::{Error, Result};

/// The largest answer that is taken: the largest that etcd sends. Page with a limit where an answer may grow to that.
const ANSWER_BYTES: usize = i32::MAX as usize;

/// Where a member is reached.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) origin: Uri,
    host: String,
    port: u16,
    name: Option<ServerName<'static>>,
}

impl Target {
    pub(super) fn new(endpoint: &str, options: &EtcdOptions) -> Result<Target> {
        let invalid = |reason| Error::InvalidRequest { reason };
        let origin: Uri = endpoint.parse().map_err(|_| invalid("an endpoint is not a URI"))?;
        let host = origin.host().ok_or(invalid("an endpoint has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = match origin.scheme_str() {
            Some("http") => None,
            Some("https") => {
                let name = options.server_name.clone().unwrap_or_else(|| host.clone());
                Some(ServerName::try_from(name).map_err(|_| invalid("the server's name is no name"))?)
            }
            _ => return Err(invalid("an endpoint begins with neither http:// nor https://")),
        };
        let port = origin.port_u16().unwrap_or(2379);
        Ok(Target { origin, host, port, name })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.name.is_some()
    }
}

/// A connection. Clones share it; it closes when the last of them, and the last stream on it, is gone.
#[derive(Clone)]
pub(super) struct Connection {
    grpc: Grpc<Caller>,
    sender: SendRequest<Body>,
    /// Tells connections apart.
    pub(super) number: u64,
    pub(super) version: Version,
    /// The member knows no leader.
    pub(super) leaderless: bool,
}

/// What goes along with a call.
#[derive(Clone, Default)]
pub(super) struct Metadata {
    pub(super) token: Option<MetadataValue<Ascii>>,
    /// A member without a leader shall refuse rather than let wait.
    pub(super) leader: bool,
}

impl Connection {
    /// Connects, and asks for the member's version.
    pub(super) async fn open(
        target: &Target,
        tls: Option<&TlsConnector>,
        options: &EtcdOptions,
        metadata: Metadata,
    ) -> Result<Connection, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let told = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect((&target.host[..], target.port)).await.map_err(|error| told(&error))?;
        stream.set_nodelay(true).map_err(|error| told(&error))?;
        let sender = match (&target.name, tls) {
            (Some(name), Some(tls)) => {
                let stream = tls.connect(name.clone(), stream).await.map_err(|error| told(&error))?;
                handshake(TokioIo::new(stream), options).await
            }
            _ => handshake(TokioIo::new(stream), options).await,
        };
        let sender = sender.map_err(|error| told(&error))?;
        let caller = Caller { sender: sender.clone() };
        let grpc = Grpc::with_origin(caller, target.origin.clone()).max_decoding_message_size(ANSWER_BYTES);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection { grpc, sender, number, version: Version::default(), leaderless: false };
        let status: Result<wire::StatusResponse, Status> =
            connection.unary("/etcdserverpb.Maintenance/Status", wire::StatusRequest {}, metadata).await;
        match status {
            Ok(status) => {
                connection.version = Version::parse(&status.version);
                connection.leaderless = status.leader == 0;
            }
            // A member that does not tell is none of those whose bugs are known to be fixed.
            Err(status) if matches!(status.code(), tonic::Code::PermissionDenied | tonic::Code::Unauthenticated) => {}
            Err(status) => return Err(status.to_string()),
        }
        Ok(connection)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// A request, and its answer.
    pub(super) async fn unary<Q, A>(&self, path: &'static str, request: Q, metadata: Metadata) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(metadata.on(request), PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }

    /// A stream of requests, and one of answers.
    pub(super) async fn streaming<Q, A>(
        &self,
        path: &'static str,
        requests: impl Stream<Item = Q> + Send + 'static,
        metadata: Metadata,
    ) -> Result<Streaming<A>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let codec = ProstCodec::<Q, A>::default();
        let answers = grpc.streaming(metadata.on(requests), PathAndQuery::from_static(path), codec).await?;
        Ok(answers.into_inner())
    }
}

impl Metadata {
    fn on<Q>(self, request: Q) -> tonic::Request<Q> {
        let mut request = tonic::Request::new(request);
        if self.leader {
            request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        }
        if let Some(token) = self.token {
            request.metadata_mut().insert("token", token);
        }
        request
    }
}

async fn handshake<T>(io: T, options: &EtcdOptions) -> hyper::Result<SendRequest<Body>>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(options.keep_alive_timeout)
        .handshake(io)
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to etcd broke");
        }
    });
    Ok(sender)
}

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(super) struct Lost {
    /// It surely has not left.
    pub(super) unsent: bool,
    source: Arc<hyper::Error>,
}

/// Hands requests to the connection.
#[derive(Clone)]
struct Caller {
    sender: SendRequest<Body>,
}

impl GrpcService<Body> for Caller {
    type ResponseBody = Incoming;
    type Error = Lost;
    type Future = BoxFuture<'static, Result<Response<Incoming>, Lost>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.sender.poll_ready(context).map_err(|error| Lost { unsent: true, source: Arc::new(error) })
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sent = self.sender.try_send_request(request);
        Box::pin(async move {
            // A request that is handed back has not left.
            sent.await.map_err(|mut error| {
                let unsent = error.take_message().is_some();
                Lost { unsent, source: Arc::new(error.into_error()) }
            })
        })
    }
}
