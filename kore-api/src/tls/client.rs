//! What a client trusts and shows.

use std::sync::Arc;

use kore_store::Clock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{ClockTime, application_protocols, config_error, provider};
use crate::error::Error;
use crate::kubeconfig::{Access, Credentials};

/// The TLS side of an access.
///
/// # Errors
/// [`Error::Config`]: a certificate or key cannot be read, or there is nothing to trust.
pub(crate) fn client_config(access: &Access, clock: Clock) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(ClockTime(clock)));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| config_error("TLS", error))?;
    let builder = if access.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider())))
    } else {
        builder.with_root_certificates(roots(access)?)
    };
    let mut config = match &access.credentials {
        Credentials::Certificate { chain, key } => {
            let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(|error| config_error("client-certificate", error))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| config_error("client-key", error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| config_error("client-certificate", error))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = application_protocols();
    Ok(Arc::new(config))
}

fn roots(access: &Access) -> Result<RootCertStore, Error> {
    let problem = |error: &dyn std::fmt::Display| config_error("certificate-authority", error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&access.authority) {
        let certificate = certificate.map_err(|error| problem(&error))?;
        roots.add(certificate).map_err(|error| problem(&error))?;
    }
    if roots.is_empty() {
        return Err(problem(&"there is no certificate to trust; the system's are not consulted"));
    }
    Ok(roots)
}

/// `insecure-skip-tls-verify`: whoever answers is believed, if it holds the key of the certificate it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
