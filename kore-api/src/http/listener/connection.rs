//! One connection.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::first_bytes::FirstBytes;
use super::{Closing, ConnectionLimits, Serve};

/// How many bytes the peer may send on one stream, and on one connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// How many bytes wait on one stream until the peer takes them.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// What every connection of a listener starts with.
#[derive(Clone)]
pub(super) struct Shared<S> {
    pub(super) service: S,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: ConnectionLimits,
    pub(super) closing: Closing,
}

/// Serves one connection until it ends. Whatever is wrong with it concerns nobody else.
pub(super) async fn run<S, B>(stream: TcpStream, shared: Shared<S>)
where
    S: Serve<B>,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    // Answers are small and awaited: they are not held back.
    let _ = stream.set_nodelay(true);
    let Some(tls) = shared.tls.clone() else {
        return serve(stream, shared, Protocol::Http1).await;
    };
    match tokio::time::timeout(shared.limits.handshake_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let protocol = if http2 { Protocol::Http2 } else { Protocol::Http1 };
            serve(stream, shared, protocol).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// What the two sides have agreed on. It is not guessed from the first bytes: a client may never send them.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

async fn serve<T, S, B>(stream: T, shared: Shared<S>, protocol: Protocol)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve<B>,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let Shared { service, limits, closing, .. } = shared;
    let asked = closing.clone().asked();
    let service = service_fn(move |request| answer(service.clone(), request, closing.clone()));
    let builder = builder(&limits, protocol);
    let stream = FirstBytes::new(stream, limits.handshake_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        biased;
        () = asked => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        outcome = connection.as_mut() => outcome,
    };
    if let Err(error) = outcome {
        tracing::debug!(error, "connection broke off");
    }
}

async fn answer<S: Serve<B>, B>(
    service: S,
    mut request: Request<Incoming>,
    closing: Closing,
) -> Result<Response<B>, Infallible> {
    request.extensions_mut().insert(closing);
    service.oneshot(request).await
}

fn builder(limits: &ConnectionLimits, protocol: Protocol) -> Builder<Streams> {
    let builder = Builder::new(Streams::default());
    let mut builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // hyper's own minimum is 8 KiB.
        .max_buf_size((limits.header_bytes as usize).max(8 << 10));
    // Floods of reset streams are bounded by hyper's own defaults, which stay on (CVE-2023-44487).
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_interval);
    builder
}

/// Runs the streams of one HTTP/2 connection, and ends them with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}
