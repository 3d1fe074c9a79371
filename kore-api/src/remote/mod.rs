//! The way to a server over the network.
//!
//! - [`Remote`] (`mod.rs`): a [`Transport`] over HTTPS.
//! - `connect.rs`: TCP and TLS. `tasks.rs`: connections live as long as the run future.
//! - `encode.rs`: a request as HTTP. `decode.rs`, `watch.rs`: what the server says to it.
//!
//! What a client sees is what it would see in the server's own process: the same answers, the same errors, the same order.

mod connect;
mod decode;
mod encode;
mod tasks;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Uri};
use http_body_util::{BodyExt, BodyStream, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioTimer;
use kore_store::Clock;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::client::Transport;
use crate::error::Error;
use crate::kubeconfig::{Access, Credentials};
use crate::request::{Content, Request, Response, Verb};
use connect::Connector;
use tasks::Tasks;

/// Watches and logs that one `Remote` has open at a time; one more fails. The connection's window lets each of them wait
/// to be read without holding up the others.
const STREAMS_MAX: usize = 128;
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = (STREAMS_MAX as u32 + 16) * STREAM_WINDOW_BYTES;
/// The largest answer that is no stream.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long an answer that is no stream may take, and a stream to begin; a little longer than the server gives itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// How often the peer must show that it is alive.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a token that was read from a file is used.
const TOKEN_FILE_INTERVAL: Duration = Duration::from_secs(60);

/// A server across the network, as one identity: HTTP/2 where the server has it, one connection for everything.
///
/// Everything it opens lives until the future that [`Remote::open`] returns is dropped. It retries nothing but requests that a
/// connection which turned out to be dead never took; what to do about an error is for the caller to say.
///
/// ```
/// # async fn example(path: &std::path::Path) -> Result<(), kore_api::error::Error> {
/// use kore_api::client::Client;
/// use kore_api::kubeconfig::Kubeconfig;
/// use kore_api::remote::Remote;
/// use kore_api::{Clock, Entropy};
///
/// let access = Kubeconfig::read(path).await?.access(None).await?;
/// let (remote, run) = Remote::open(&access, Clock::system())?;
/// let client = Client::new(remote, Clock::system(), Entropy::system());
/// # let work = async { let _ = client; };
/// tokio::select! {
///     biased;
///     () = run => {}
///     () = work => {}
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    http: HttpClient<Connector, Full<Bytes>>,
    server: String,
    credentials: Bearer,
    streams: Arc<Semaphore>,
}

impl Remote {
    /// The server that `access` names. Nothing is connected yet; connections live while the future does.
    ///
    /// # Errors
    /// [`Error::Config`]: the URL, a certificate or a key cannot be used.
    pub fn open(access: &Access, clock: Clock) -> Result<(Self, impl Future<Output = ()> + Send + use<>), Error> {
        let (tasks, run) = Tasks::new();
        let connector = Connector::new(access, clock)?;
        let http = HttpClient::builder(tasks)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(45))
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL)
            .build(connector);
        let inner = Inner {
            http,
            server: access.server.clone(),
            credentials: Bearer::new(&access.credentials)?,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        };
        Ok((Self(Arc::new(inner)), run))
    }
}

#[async_trait]
impl Transport for Remote {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let inner = &*self.0;
        let encoded = encode::encode(&inner.server, &request)?;
        let target = format!("{} {}", encoded.method(), encoded.uri());
        let failed = |problem: String| Error::Transport { target: target.clone(), problem };
        let permit = if is_stream(&request) { Some(inner.stream().map_err(failed)?) } else { None };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, inner.send(encoded, &request));
        let response = answer.await.map_err(|_| failed("no answer in time".into()))?.map_err(failed)?;
        let (head, body) = response.into_parts();
        let warnings = decode::warnings(&head.headers);
        if let Some(permit) = permit.filter(|_| head.status.is_success()) {
            let frames = BodyStream::new(body).map(move |frame| {
                let _held = &permit;
                frame.map_err(|error| problem(&error))
            });
            let content = match request.verb {
                Verb::Watch => Content::Watch(watch::events(frames, request.resource.clone(), target)),
                _ => Content::Bytes(watch::bytes(frames, target)),
            };
            return Ok(Response { warnings, content });
        }
        let whole = tokio::time::timeout(ANSWER_TIMEOUT, Limited::new(body, ANSWER_BYTES_MAX).collect());
        let whole = whole.await.map_err(|_| failed("the answer did not arrive in time".into()))?;
        let bytes = whole.map_err(|error| failed(problem(&*error)))?.to_bytes();
        let content = decode::decode(head.status, &bytes, &request, &target)?;
        Ok(Response { warnings, content })
    }
}

impl Inner {
    fn stream(&self) -> Result<OwnedSemaphorePermit, String> {
        let too_many = |_| format!("more than {STREAMS_MAX} watches and logs at a time");
        self.streams.clone().try_acquire_owned().map_err(too_many)
    }

    async fn send(
        &self,
        mut encoded: http::Request<Full<Bytes>>,
        request: &Request,
    ) -> Result<http::Response<Incoming>, String> {
        let headers = encoded.headers_mut();
        let accept = if encode::is_log(request) { "*/*" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let agent = HeaderValue::try_from(format!("{}/{}", request.user_agent, env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, agent.map_err(|_| format!("the user agent {:?} is no header", request.user_agent))?);
        if let Some(token) = self.credentials.header().await? {
            headers.insert(AUTHORIZATION, token);
        }
        self.http.request(encoded).await.map_err(|error| problem(&error))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.0.server)
    }
}

/// Whether the answer is a stream.
fn is_stream(request: &Request) -> bool {
    request.verb == Verb::Watch || encode::is_log(request)
}

/// An error with all its causes: hyper's own message alone says little.
fn problem(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The bearer token that requests carry.
enum Bearer {
    None,
    Fixed(HeaderValue),
    File(PathBuf, Mutex<Option<(Instant, HeaderValue)>>),
}

impl Bearer {
    fn new(credentials: &Credentials) -> Result<Self, Error> {
        match credentials {
            Credentials::Token(token) => {
                let header = bearer(token).map_err(|problem| Error::Config { path: "token".into(), problem })?;
                Ok(Self::Fixed(header))
            }
            Credentials::TokenFile(path) => Ok(Self::File(path.clone(), Mutex::new(None))),
            Credentials::None | Credentials::Certificate { .. } => Ok(Self::None),
        }
    }

    async fn header(&self) -> Result<Option<HeaderValue>, String> {
        let (path, read) = match self {
            Self::None => return Ok(None),
            Self::Fixed(header) => return Ok(Some(header.clone())),
            Self::File(path, read) => (path, read),
        };
        let mut read = read.lock().await;
        match &*read {
            Some((at, header)) if at.elapsed() < TOKEN_FILE_INTERVAL => Ok(Some(header.clone())),
            _ => {
                let problem = |problem: String| format!("{}: {problem}", path.display());
                let token = tokio::fs::read_to_string(path).await.map_err(|error| problem(error.to_string()))?;
                let header = bearer(token.trim()).map_err(problem)?;
                *read = Some((Instant::now(), header.clone()));
                Ok(Some(header))
            }
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| "the token has characters that no header may have".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// The host and port of a URL, and whether it asks for TLS.
fn origin(server: &str) -> Result<(Uri, bool), Error> {
    let problem = |problem: &str| Error::Config { path: format!("server {server:?}"), problem: problem.into() };
    let uri: Uri = server.parse().map_err(|_| problem("not a URL"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(problem("must begin with https:// or http://")),
    };
    if uri.host().is_none() || uri.query().is_some() {
        return Err(problem("must be a host, optionally a port and a path"));
    }
    Ok((uri, tls))
}
