//! What connections may cost.

use std::time::Duration;

/// What connections may cost. What exceeds a limit is closed or, where the protocol allows, refused; others are not affected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Connections at a time; further ones wait in the system's queue until one ends. Default: 8,192.
    pub connections: usize,
    /// Requests at a time on one HTTP/2 connection; the peer holds further ones back. Default: 250.
    pub streams: u32,
    /// Bytes of the header of a request; beyond: 431. Default: 64 KiB.
    pub header_bytes: u32,
    /// How long a TLS handshake may take, and then the first bytes of HTTP. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How long an HTTP/1.1 connection may take for the header of its next request. Default: 60 s.
    pub header_timeout: Duration,
    /// How often an HTTP/2 peer must show that it is alive. Default: every 30 s.
    pub ping_interval: Duration,
    /// How long requests may take to finish when the listener shuts down. Default: 5 s.
    pub shutdown_grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 8192,
            streams: 250,
            header_bytes: 64 << 10,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
