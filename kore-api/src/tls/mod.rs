//! Certificates: an authority of one's own, what a server shows, what a client trusts.
//!
//! - [`Authority`] (`authority.rs`): signs server certificates; made once and kept in a directory.
//! - [`ServerTls`] (`server.rs`): what a listener shows; renews itself.
//! - `client.rs`: what a client trusts and shows.
//! - `private_file.rs`: files that nobody else may read.
//!
//! rustls, with ring handed in explicitly: no process-wide default is read or set. Validity follows the
//! [`Clock`] that is handed in. Keys come from the operating system's randomness, never from a seed.

mod authority;
mod client;
pub(crate) mod private_file;
mod server;

pub use authority::Authority;
pub(crate) use client::client_config;
pub use server::ServerTls;

use std::sync::Arc;
use std::time::Duration;

use kore_store::Clock;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::error::Error;

/// The application protocols, best first.
fn application_protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// rustls sees the clock that everybody else sees.
#[derive(Debug)]
struct ClockTime(Clock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(&self.0))
    }
}

fn unix_time(clock: &Clock) -> UnixTime {
    let seconds = u64::try_from(clock.now().as_second()).unwrap_or_default();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn config_error(path: impl std::fmt::Display, problem: impl std::fmt::Display) -> Error {
    Error::Config { path: path.to_string(), problem: problem.to_string() }
}
