//! What a listener shows.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::authority::SERVER_DAYS;
use super::{Authority, ClockTime, application_protocols, config_error, provider};
use crate::error::Error;

/// What a TLS listener shows: a certificate and its key, for HTTP/2 and HTTP/1.1.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    renewal: Option<Renewal>,
}

#[derive(Clone)]
struct Renewal {
    authority: Authority,
    names: Vec<String>,
    shown: Arc<Shown>,
}

impl ServerTls {
    /// A certificate of one's own: a chain and its key, as PEM.
    ///
    /// # Errors
    /// [`Error::Config`] when they cannot be read or do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let problem = |what: &str, error: &dyn fmt::Display| config_error(format!("server {what}"), error);
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| problem("certificate", &error))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| problem("key", &error))?;
        let pair = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| problem("certificate", &error))?;
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        Self::of(config.map_err(|error| problem("configuration", &error))?, Shown::new(pair), None)
    }

    pub(super) fn signed(authority: Authority, names: Vec<String>) -> Result<Self, Error> {
        let shown = Shown::new(authority.sign(&names)?);
        let time = Arc::new(ClockTime(authority.clock()));
        let config = ServerConfig::builder_with_details(provider(), time).with_safe_default_protocol_versions();
        let config = config.map_err(|error| config_error("server configuration", error))?;
        let renewal = Renewal { authority, names, shown: shown.clone() };
        Self::of(config, shown, Some(renewal))
    }

    fn of(
        config: rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>,
        shown: Arc<Shown>,
        renewal: Option<Renewal>,
    ) -> Result<Self, Error> {
        let mut config = config.with_no_client_auth().with_cert_resolver(shown);
        config.alpn_protocols = application_protocols();
        Ok(Self { config: Arc::new(config), renewal })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Signs a new certificate long before the old one expires, again and again.
    pub(crate) async fn renew(self) {
        let Some(Renewal { authority, names, shown }) = self.renewal else {
            return std::future::pending().await;
        };
        let days = u64::try_from(SERVER_DAYS).expect("a positive number of days") * 2 / 3;
        loop {
            tokio::time::sleep(Duration::from_secs(days * 24 * 60 * 60)).await;
            match authority.sign(&names) {
                Ok(pair) => *shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair),
                Err(error) => tracing::error!(%error, "cannot renew the server certificate"),
            }
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn new(pair: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(pair))))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kore_store::Clock;

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_renewed_before_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let authority = Authority::open(directory.path(), clock).await.unwrap();
        let tls = authority.server(["a.example.com"]).unwrap();
        let shown = tls.renewal.as_ref().unwrap().shown.clone();
        let first = shown.0.read().unwrap().cert.clone();
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert!(tokio::time::timeout(year, tls.renew()).await.is_err(), "renewing never ends");
        assert_ne!(shown.0.read().unwrap().cert, first);
    }
}
