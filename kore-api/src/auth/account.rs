//! Tokens of service accounts: how they are signed, and what they say.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::Error;
use crate::tls::private_file;

/// As whom tokens are issued unless said otherwise: the name that the API has inside a cluster, as upstream has it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// No token of ours is longer.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Signs and knows the tokens of service accounts: JSON Web Tokens (RFC 7519, ES256) with the claims that upstream's have.
///
/// A server that has it ([`crate::server::Builder::account_tokens`]) answers `serviceaccounts/token`, and knows users by such tokens:
/// [`crate::server::Server::account_authenticator`].
#[derive(Clone)]
pub struct AccountTokens {
    key: Arc<EcdsaKeyPair>,
    issuer: String,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) private: Private,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// Whose it is, and what it ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Private {
    pub(crate) namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Named>,
    pub(crate) serviceaccount: Named,
}

/// One object: no other of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is somebody else's, or no such token at all.
    Foreign,
    /// It says that it is ours, and is not.
    Forged,
}

impl AccountTokens {
    /// With the key in this file; a new one, if there is none. Servers over one store share it.
    ///
    /// # Errors
    /// [`Error::Config`] that names the file: it cannot be read or written, others may read it, or it holds no key (PEM, PKCS #8,
    /// P-256).
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let problem = |problem: &dyn fmt::Display| Error::Config {
            path: path.display().to_string(),
            problem: problem.to_string(),
        };
        match private_file::read(path).await {
            Ok(pem) => Self::from_pem(&pem).map_err(|error| problem(&error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = new_key().map_err(|error| problem(&error))?;
                let pem = key.serialize_pem();
                private_file::write(path, pem.clone().into_bytes()).await.map_err(|error| problem(&error))?;
                Self::from_pem(&pem).map_err(|error| problem(&error))
            }
            Err(error) => Err(problem(&error)),
        }
    }

    /// With a key of its own, which ends with it: so do all its tokens.
    ///
    /// # Errors
    /// [`Error::Config`] when the system has no randomness.
    pub fn ephemeral() -> Result<Self, Error> {
        let problem = |problem: String| Error::Config { path: "key of service account tokens".into(), problem };
        let key = new_key().map_err(|error| problem(error.to_string()))?;
        Self::from_pem(&key.serialize_pem()).map_err(problem)
    }

    /// As this issuer, a URL, which is also whom tokens are for that name no audience. Default:
    /// `https://kubernetes.default.svc.cluster.local`.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    pub(crate) fn issued_by(&self) -> &str {
        &self.issuer
    }

    fn from_pem(pem: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(pem).map_err(|error| error.to_string())?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der(), &random);
        let key = key.map_err(|error| format!("not a key for ES256: {error}"))?;
        Ok(Self { key: Arc::new(key), issuer: ISSUER.to_owned() })
    }

    /// The token that says this.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, String> {
        let head = json!({"alg": "ES256", "typ": "JWT"}).to_string();
        let claims = serde_json::to_vec(claims).map_err(|error| error.to_string())?;
        let said = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), said.as_bytes()).map_err(|error| error.to_string())?;
        Ok(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token says that was signed here. Whether that still holds is not looked at.
    pub(crate) fn read(&self, token: &str) -> Result<Claims, Unknown> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Unknown::Foreign);
        }
        let (said, signature) = token.rsplit_once('.').ok_or(Unknown::Foreign)?;
        let (head, claims) = said.split_once('.').ok_or(Unknown::Foreign)?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Unknown::Foreign);
        let head: serde_json::Value = serde_json::from_slice(&part(head)?).map_err(|_| Unknown::Foreign)?;
        let claims: Claims = serde_json::from_slice(&part(claims)?).map_err(|_| Unknown::Foreign)?;
        if head["alg"] != "ES256" || claims.iss != self.issuer {
            return Err(Unknown::Foreign);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        key.verify(said.as_bytes(), &part(signature)?).map_err(|_| Unknown::Forged)?;
        Ok(claims)
    }
}

/// The key is not shown.
impl fmt::Debug for AccountTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountTokens({})", self.issuer)
    }
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(issuer: &str) -> Claims {
        Claims {
            aud: vec![issuer.to_owned()],
            exp: 2,
            iat: 1,
            iss: issuer.to_owned(),
            jti: "j".into(),
            private: Private { namespace: "n".into(), ..Private::default() },
            nbf: 1,
            sub: "system:serviceaccount:n:a".into(),
        }
    }

    #[test]
    fn only_what_was_signed_here_is_taken() {
        let tokens = AccountTokens::ephemeral().unwrap();
        let said = claims(tokens.issued_by());
        let token = tokens.sign(&said).unwrap();
        assert_eq!(tokens.read(&token), Ok(said.clone()));
        let parts: Vec<&str> = token.split('.').collect();
        let other = {
            let mut other = said.clone();
            other.sub = "system:serviceaccount:n:b".into();
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&other).unwrap())
        };
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let elsewhere = AccountTokens::ephemeral().unwrap();
        for (what, token, expected) in [
            ("other claims", format!("{}.{other}.{}", parts[0], parts[2]), Unknown::Forged),
            ("no signature", format!("{}.{}.", parts[0], parts[1]), Unknown::Forged),
            ("no algorithm", format!("{none}.{}.{}", parts[1], parts[2]), Unknown::Foreign),
            ("another key", elsewhere.sign(&said).unwrap(), Unknown::Forged),
            ("another issuer", tokens.sign(&claims("https://other")).unwrap(), Unknown::Foreign),
            ("no token", "s3cret".to_owned(), Unknown::Foreign),
            ("too long", "a.".repeat(TOKEN_BYTES_MAX), Unknown::Foreign),
        ] {
            assert_eq!(tokens.read(&token), Err(expected), "{what}");
        }
    }

    #[tokio::test]
    async fn a_key_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sa.key");
        let first = AccountTokens::open(&path).await.unwrap();
        let token = first.sign(&claims(ISSUER)).unwrap();
        let second = AccountTokens::open(&path).await.unwrap();
        assert_eq!(second.read(&token), Ok(claims(ISSUER)));
        std::fs::write(&path, "no key").unwrap();
        let error = AccountTokens::open(&path).await.unwrap_err().to_string();
        assert!(error.contains("sa.key"), "{error}");
    }
}
