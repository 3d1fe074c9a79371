//! One server and one identity there.

use std::fmt;
use std::path::PathBuf;

/// One server and one identity there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The URL, without a slash at the end: `https://127.0.0.1:6443`.
    pub server: String,
    /// The certificates to trust, as PEM. The system's are not consulted.
    pub authority: Vec<u8>,
    /// The name that the server's certificate must have, if it is not the one in the URL.
    pub tls_server_name: Option<String>,
    /// Whether any certificate is accepted. Whoever sits in between can then read and write everything.
    pub insecure: bool,
    /// What the server is shown.
    pub credentials: Credentials,
    /// The namespace to work in where none is said.
    pub namespace: Option<String>,
}

impl Access {
    /// The server at `server` (a URL) with these credentials.
    pub fn new(server: impl Into<String>, credentials: Credentials) -> Self {
        let server: String = server.into();
        Self {
            server: server.trim_end_matches('/').to_owned(),
            authority: Vec::new(),
            tls_server_name: None,
            insecure: false,
            credentials,
            namespace: None,
        }
    }

    /// Trusts these certificates, as PEM.
    #[must_use]
    pub fn trust(mut self, authority: impl Into<Vec<u8>>) -> Self {
        self.authority = authority.into();
        self
    }
}

/// What a server is shown.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing.
    None,
    /// A bearer token.
    Token(String),
    /// A bearer token in a file, which is read again every minute.
    TokenFile(PathBuf),
    /// A client certificate.
    Certificate {
        /// The chain, as PEM.
        chain: Vec<u8>,
        /// Its key, as PEM.
        key: Vec<u8>,
    },
}

/// Secrets are not shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token"),
            Self::TokenFile(path) => write!(f, "TokenFile({})", path.display()),
            Self::Certificate { .. } => f.write_str("Certificate"),
        }
    }
}
