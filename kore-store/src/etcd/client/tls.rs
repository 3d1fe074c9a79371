//! TLS towards the members: always by `ring`, whatever default the process has.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::options::EtcdOptions;
use crate::{Error, Result};

fn invalid(reason: &'static str) -> Error {
    Error::InvalidRequest { reason }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(invalid("no certificate can be read from the PEM given")),
    }
}

pub(super) fn config(options: &EtcdOptions) -> Result<ClientConfig> {
    let Some(ca) = &options.ca_pem else {
        return Err(invalid("an https endpoint needs the authority that its certificate comes from"));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|_| invalid("the authority's certificate is none"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| invalid("TLS 1.2 and 1.3 are not available"))?
        .with_root_certificates(roots);
    let mut config = match &options.client_pem {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| invalid("no private key can be read from the PEM given"))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|_| invalid("the client's certificate and key do not belong together"))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_without_an_authority_is_refused() {
        let options = EtcdOptions::new(["https://127.0.0.1:2379"]);
        assert!(matches!(config(&options), Err(Error::InvalidRequest { .. })));
        assert!(matches!(config(&options.ca_pem("no certificate")), Err(Error::InvalidRequest { .. })));
    }
}
