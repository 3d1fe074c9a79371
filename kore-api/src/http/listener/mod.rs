//! TCP, TLS and HTTP connections.
//!
//! - [`Listener`] (`mod.rs`): accepts connections and hands their requests to a service, any service.
//! - [`ConnectionLimits`] (`limits.rs`): what a connection may cost.
//! - `connection.rs`: one connection. `first_bytes.rs`: that it begins at all.

mod connection;
mod first_bytes;
mod limits;
#[cfg(test)]
mod tests;

pub use limits::ConnectionLimits;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::Closing;
use crate::tls::ServerTls;
use connection::Shared;

/// How long to wait when no connection can be accepted, because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A service that a [`Listener`] can serve: [`super::ApiService`], an axum router, any `tower` service over HTTP that does
/// not fail. There is nothing to implement.
pub trait Serve<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Serve<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Listens on a TCP address, with TLS or without, for HTTP/2 and HTTP/1.1.
///
/// ```
/// # use kore_api::http::{ApiService, Listener};
/// # async fn example(service: ApiService, directory: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// use kore_api::Clock;
/// use kore_api::tls::Authority;
///
/// let authority = Authority::open(directory, Clock::system()).await?;
/// let listener = Listener::bind("127.0.0.1:0".parse()?).await?.tls(authority.server(["api.example.com"])?);
/// println!("serving at {}", listener.url());
/// listener.serve(service).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTls>,
    limits: ConnectionLimits,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", self.problem())]
#[non_exhaustive]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl BindError {
    /// Whether somebody else listens there: another port may be free.
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    fn problem(&self) -> String {
        if self.is_in_use() { "the address is in use by another process".into() } else { self.source.to_string() }
    }
}

impl Listener {
    /// Listens on an address; on port 0, on a port that is free.
    ///
    /// # Errors
    /// The address is in use, not this machine's, or not allowed.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls: None, limits: ConnectionLimits::default() })
    }

    /// Speaks TLS.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// With limits of one's own.
    #[must_use]
    pub fn limits(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The address, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients on this machine: `https://127.0.0.1:6443`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("{scheme}://{address}")
    }

    /// Serves until the future is dropped, which closes all connections at once.
    pub async fn serve<S, B>(self, service: S)
    where
        S: Serve<B>,
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.serve_until(service, pending()).await;
    }

    /// Serves until `shutdown`; then accepts nothing more, ends watches and streams, lets other requests finish for at most
    /// [`ConnectionLimits::shutdown_grace`], and closes what is left.
    pub async fn serve_until<S, B>(self, service: S, shutdown: impl Future<Output = ()> + Send)
    where
        S: Serve<B>,
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let Self { socket, tls, limits, .. } = self;
        let (close, closing) = watch::channel(false);
        let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(tls.config()));
        let shared = Shared { service, tls: acceptor, limits: limits.clone(), closing: Closing(closing) };
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut renewing = pin!(async {
            match tls {
                Some(tls) => tls.renew().await,
                None => pending().await,
            }
        });
        loop {
            let full = connections.len() >= limits.connections;
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = &mut renewing => {}
                // Those that have ended make room for those that wait.
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                stream = accept(&socket), if !full => {
                    connections.spawn(connection::run(stream, shared.clone()));
                }
            }
        }
        drop(socket);
        close.send_replace(true);
        let finish = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.shutdown_grace, finish).await.is_err() {
            tracing::warn!(connections = connections.len(), "closed before their requests were answered");
        }
    }
}

/// The next connection. What is wrong with one is no reason to stop.
async fn accept(socket: &TcpListener) -> TcpStream {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
                _ => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}
