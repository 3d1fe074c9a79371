//! An authority of one's own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use kore_store::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;

use super::{ServerTls, config_error, private_file, provider, unix_time};
use crate::error::Error;

const CERTIFICATE_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";
/// The subject of the authority, and so the issuer in every certificate it signs. Part of the format of the directory.
const AUTHORITY_NAME: &str = "kore-ca";
/// As long as its directory will ever be used: there is no day on which a cluster stops to work.
const AUTHORITY_DAYS: i32 = 36_500;
/// How long a server certificate is valid.
pub(super) const SERVER_DAYS: i32 = 365;
/// By these names every server is called, besides those it is told.
const SERVER_NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// A certificate authority that is made once and kept in a directory: `ca.crt`, and `ca.key` which only its owner may read.
///
/// Keys are ECDSA P-256. The authority is valid for a hundred years. What it signs is valid for one, is signed anew at every start
/// and renewed in time; server keys are never written to a disk.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kore_api::error::Error> {
/// # let directory = tempfile::tempdir().expect("a temporary directory");
/// use kore_api::Clock;
/// use kore_api::tls::Authority;
///
/// let authority = Authority::open(directory.path(), Clock::system()).await?;
/// let tls = authority.server(["api.example.com"])?;
/// assert!(authority.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # let _ = tls;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    certificate_path: PathBuf,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    clock: Clock,
}

impl Authority {
    /// The authority in `directory`; a new one, and the directory, if there is none.
    ///
    /// # Errors
    /// [`Error::Config`] that names the file: it cannot be read or written, others may read the key, or certificate and key are
    /// not of a pair.
    pub async fn open(directory: &Path, clock: Clock) -> Result<Self, Error> {
        let certificate_path = directory.join(CERTIFICATE_FILE);
        let key_path = directory.join(KEY_FILE);
        let (certificate_pem, key) = match tokio::fs::read_to_string(&certificate_path).await {
            Ok(certificate) => {
                let key =
                    private_file::read(&key_path).await.map_err(|error| config_error(key_path.display(), error))?;
                let key = KeyPair::from_pem(&key).map_err(|error| config_error(key_path.display(), error))?;
                (certificate, key)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                create(&certificate_path, &key_path, clock.now()).await?
            }
            Err(error) => return Err(config_error(certificate_path.display(), error)),
        };
        let issuer = Issuer::new(authority_parameters(clock.now()), key);
        let authority = Self(Arc::new(Inner { certificate_path, certificate_pem, issuer, clock }));
        authority.verify()?;
        Ok(authority)
    }

    /// The certificate of the authority, as PEM: what clients must trust.
    pub fn certificate_pem(&self) -> &str {
        &self.0.certificate_pem
    }

    /// What a listener shows that is called by `hosts` (names or addresses), `localhost`, the loopback addresses, and by the
    /// names that the API has inside a cluster.
    ///
    /// # Errors
    /// [`Error::Config`] that names the host that is neither a name nor an address.
    pub fn server<H: Into<String>>(&self, hosts: impl IntoIterator<Item = H>) -> Result<ServerTls, Error> {
        let mut names: Vec<String> = hosts.into_iter().map(Into::into).collect();
        names.extend(SERVER_NAMES.map(String::from));
        names.sort();
        names.dedup();
        ServerTls::signed(self.clone(), names)
    }

    pub(super) fn clock(&self) -> Clock {
        self.0.clock
    }

    /// A new key with a certificate for these names.
    pub(super) fn sign(&self, names: &[String]) -> Result<CertifiedKey, Error> {
        let problem = |error: &dyn fmt::Display| config_error(format!("names of the server {names:?}"), error);
        let mut parameters = CertificateParams::new(names.to_vec()).map_err(|error| problem(&error))?;
        parameters.distinguished_name = named("kore-server");
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        valid_for(&mut parameters, self.0.clock.now(), SERVER_DAYS);
        let key = KeyPair::generate().map_err(|error| problem(&error))?;
        let certificate = parameters.signed_by(&key, &self.0.issuer).map_err(|error| problem(&error))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&PrivateKeyDer::from(key));
        let key = key.map_err(|error| problem(&error))?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
    }

    /// Whether clients that trust the certificate would accept what this authority signs.
    fn verify(&self) -> Result<(), Error> {
        let problem = |error: &dyn fmt::Display| config_error(self.0.certificate_path.display(), error);
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.0.certificate_pem.as_bytes());
        roots.add(certificate.map_err(|error| problem(&error))?).map_err(|error| problem(&error))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| problem(&error))?;
        let signed = self.sign(&["localhost".into()])?;
        let name = ServerName::try_from("localhost").expect("a DNS name");
        let now = unix_time(&self.0.clock);
        let verified = verifier.verify_server_cert(&signed.cert[0], &[], &name, &[], now);
        verified.map(drop).map_err(|error| problem(&format!("not the certificate of {KEY_FILE} ({error})")))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.0.certificate_path.display())
    }
}

async fn create(certificate_path: &Path, key_path: &Path, now: Timestamp) -> Result<(String, KeyPair), Error> {
    let problem = |error: rcgen::Error| config_error(certificate_path.display(), error);
    let key = KeyPair::generate().map_err(problem)?;
    let certificate = authority_parameters(now).self_signed(&key).map_err(problem)?.pem();
    // The key first: where there is a certificate, there is its key.
    for (path, text) in [(key_path, key.serialize_pem()), (certificate_path, certificate.clone())] {
        private_file::write(path, text.into_bytes()).await.map_err(|error| config_error(path.display(), error))?;
    }
    Ok((certificate, key))
}

fn authority_parameters(now: Timestamp) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(AUTHORITY_NAME);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid_for(&mut parameters, now, AUTHORITY_DAYS);
    parameters
}

fn named(name: &str) -> rcgen::DistinguishedName {
    let mut names = rcgen::DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// From yesterday, for clocks that are a little behind, for so many days.
fn valid_for(parameters: &mut CertificateParams, now: Timestamp, days: i32) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let midnight = |date: Date| {
        let part = |part: i8| u8::try_from(part).expect("months and days are positive");
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    parameters.not_before = midnight(today.saturating_sub(1.day()));
    parameters.not_after = midnight(today.saturating_add(days.days()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn an_authority_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pki");
        let first = Authority::open(&path, Clock::system()).await.unwrap();
        let second = Authority::open(&path, Clock::system()).await.unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        let mode = std::fs::metadata(path.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        for path in [&one, &other] {
            Authority::open(path, Clock::system()).await.unwrap();
        }
        let open = async |path: &Path| Authority::open(path, Clock::system()).await.unwrap_err().to_string();
        std::fs::copy(other.join(KEY_FILE), one.join(KEY_FILE)).unwrap();
        assert!(open(&one).await.contains("ca.crt: not the certificate of ca.key"));
        std::fs::set_permissions(one.join(KEY_FILE), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(open(&one).await.contains("ca.key: others may read"));
        std::fs::remove_file(one.join(KEY_FILE)).unwrap();
        assert!(open(&one).await.contains("ca.key"));
    }
}
