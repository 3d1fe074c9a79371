//! One HTTP/2 connection. Its calls are polled in its own task: a burst of requests is read at once, and what has been
//! answered meanwhile goes out in one piece.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, Stream};
use h2::server::Connection;
use h2::{Ping, PingPong};
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::authority::AnyAuthority;
use super::call::ANSWER_KIB;
use super::{Shared, dispatch};

/// How long a client may take to open a connection.
const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may take to give a sign of life.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// How much a client may send before it is read, in bytes: a call, and a connection.
const CALL_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Bytes of a call's headers.
const HEADERS_MAX: u32 = 16 << 10;

/// What the calls of a connection share.
pub(super) struct Common {
    pub(super) shared: Arc<Shared>,
    /// KiB of large answers.
    pub(super) answers: Arc<Semaphore>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Common {
    /// Returns when the server stops.
    pub(super) async fn stopping(&self) {
        // A sender that is gone has dropped the server.
        drop(self.stopping.clone().wait_for(|stopping| *stopping).await);
    }
}

/// Serves a connection until it is closed, or until the server stops and its calls have ended.
pub(super) async fn run<IO>(io: IO, shared: Arc<Shared>, stopping: watch::Receiver<bool>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = &shared.options;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(options.concurrent_calls)
        .initial_window_size(CALL_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS_MAX);
    let opening = timeout(OPENS_WITHIN, builder.handshake::<_, Bytes>(AnyAuthority::new(io)));
    let mut connection = match opening.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "not an HTTP/2 connection"),
        Err(_) => return tracing::debug!("a connection was not opened in time"),
    };
    let ping = connection.ping_pong().expect("it is asked for once");
    let (interval, calls_max) = (options.keep_alive_interval, options.concurrent_calls as usize);
    let common = Arc::new(Common { shared, answers: Arc::new(Semaphore::new(ANSWER_KIB as usize)), stopping });
    let calls = FuturesUnordered::new();
    let call = |request, respond| dispatch::call(request, respond, common.clone());
    let serve = Serve { connection, calls, call, calls_max };
    serve.run(ping, interval, &common).await;
}

struct Serve<IO, C, F> {
    connection: Connection<IO, Bytes>,
    calls: FuturesUnordered<F>,
    /// Answers a request.
    call: C,
    calls_max: usize,
}

impl<IO, C, F> Serve<IO, C, F>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    C: FnMut(http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>) -> F,
    F: Future<Output = ()>,
{
    async fn run(mut self, ping: PingPong, interval: Duration, common: &Common) {
        let mut alive = std::pin::pin!(alive(ping, interval));
        let mut stopping = std::pin::pin!(common.stopping());
        let mut stopped = false;
        loop {
            tokio::select! {
                biased;
                () = &mut stopping, if !stopped => {
                    self.connection.graceful_shutdown();
                    stopped = true;
                }
                () = &mut alive => return tracing::debug!("a connection gave no sign of life"),
                () = poll_fn(|context| self.poll(context)) => return,
            }
        }
    }

    /// Ready when the connection is closed.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut idle = true;
            // First everything that has come, then everything that can be answered, then all of it out.
            while self.calls.len() < self.calls_max {
                match self.connection.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        self.calls.push((self.call)(request, respond));
                        idle = false;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        tracing::debug!(%error, "a connection failed");
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if self.calls.len() >= self.calls_max && self.connection.poll_closed(context).is_ready() {
                return Poll::Ready(());
            }
            while let Poll::Ready(Some(())) = Pin::new(&mut self.calls).poll_next(context) {
                idle = false;
            }
            if idle {
                return Poll::Pending;
            }
        }
    }
}

/// Returns when the client gives no sign of life.
async fn alive(mut ping: PingPong, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match timeout(PONG_WITHIN, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection itself says what is wrong with it.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}
