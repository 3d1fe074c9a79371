//! Where a server is and how to be let in: kubeconfig files.
//!
//! - [`Access`], [`Credentials`] (`access.rs`): one server and one identity there.
//! - [`Kubeconfig`] (`mod.rs`): the file that `kubectl` reads; many of them under names.

mod access;
mod file;

pub use access::{Access, Credentials};

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::{self, Format};
use crate::error::Error;
use crate::tls::private_file;
use file::{Cluster, Config, Context, NamedCluster, NamedContext, NamedUser, User};

/// A kubeconfig file.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kore_api::error::Error> {
/// # let directory = tempfile::tempdir().expect("a temporary directory");
/// # let path = directory.path().join("kubeconfig");
/// use kore_api::kubeconfig::{Access, Credentials, Kubeconfig};
///
/// let access = Access::new("http://127.0.0.1:8001", Credentials::Token("secret".into()));
/// Kubeconfig::new("kore", &access).write(&path).await?;
/// let read = Kubeconfig::read(&path).await?.access(None).await?;
/// assert_eq!(read.server, "http://127.0.0.1:8001");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Kubeconfig {
    config: Config,
    /// Where it was read; relative file names in it start there.
    path: PathBuf,
}

impl Kubeconfig {
    /// A file with one cluster, user and context, all called `name`.
    pub fn new(name: &str, access: &Access) -> Self {
        let encode = |bytes: &[u8]| Some(STANDARD.encode(bytes)).filter(|text| !text.is_empty());
        let cluster = Cluster {
            server: access.server.clone(),
            certificate_authority_data: encode(&access.authority),
            tls_server_name: access.tls_server_name.clone(),
            insecure_skip_tls_verify: access.insecure.then_some(true),
            ..Cluster::default()
        };
        let mut user = User::default();
        match &access.credentials {
            Credentials::None => {}
            Credentials::Token(token) => user.token = Some(token.clone()),
            Credentials::TokenFile(path) => user.token_file = Some(path.display().to_string()),
            Credentials::Certificate { chain, key } => {
                user.client_certificate_data = encode(chain);
                user.client_key_data = encode(key);
            }
        }
        let context = Context { cluster: name.to_owned(), user: name.to_owned(), namespace: access.namespace.clone() };
        let name = || name.to_owned();
        let config = Config {
            api_version: "v1".into(),
            kind: "Config".into(),
            clusters: vec![NamedCluster { name: name(), cluster }],
            users: vec![NamedUser { name: name(), user }],
            contexts: vec![NamedContext { name: name(), context }],
            current_context: name(),
        };
        Self { config, path: PathBuf::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Config`] that names the file, and the place where it is not YAML.
    pub async fn read(path: &Path) -> Result<Self, Error> {
        let problem = |problem: String| Error::Config { path: path.display().to_string(), problem };
        let bytes = tokio::fs::read(path).await.map_err(|error| problem(error.to_string()))?;
        let decoded = codec::decode(Format::Yaml, &bytes, &codec::Limits::default());
        let value = decoded.map_err(|error| problem(error.to_string()))?.value;
        let config = serde_json::from_value(value).map_err(|error| problem(error.to_string()))?;
        Ok(Self { config, path: path.to_owned() })
    }

    /// Puts the file in place of whatever there is, at once; only its owner may read it.
    ///
    /// # Errors
    /// [`Error::Config`] that names the file.
    pub async fn write(&self, path: &Path) -> Result<(), Error> {
        let problem = |problem: String| Error::Config { path: path.display().to_string(), problem };
        let value = serde_json::to_value(&self.config).map_err(|error| problem(error.to_string()))?;
        let text = codec::encode(Format::Yaml, &value).map_err(|error| problem(error.to_string()))?;
        private_file::write(path, text.into()).await.map_err(|error| problem(error.to_string()))
    }

    /// The names of the contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.config.contexts.iter().map(|context| context.name.as_str())
    }

    /// The server and the identity of a context, of the current one if none is named. Files that it refers to are read, but for
    /// a token file.
    ///
    /// # Errors
    /// [`Error::Config`] that names the entry which is missing or cannot be used.
    pub async fn access(&self, context: Option<&str>) -> Result<Access, Error> {
        let wanted = context.unwrap_or(&self.config.current_context);
        let Config { clusters, users, contexts, .. } = &self.config;
        let context = contexts.iter().find(|named| named.name == wanted).map(|named| &named.context);
        let context = context.ok_or_else(|| self.missing("context", wanted))?;
        let cluster = clusters.iter().find(|named| named.name == context.cluster).map(|named| &named.cluster);
        let cluster = cluster.ok_or_else(|| self.missing("cluster", &context.cluster))?;
        let user = users.iter().find(|named| named.name == context.user).map(|named| &named.user);
        let authority =
            self.data("certificate-authority", &cluster.certificate_authority_data, &cluster.certificate_authority);
        let access = Access {
            server: cluster.server.trim_end_matches('/').to_owned(),
            authority: authority.await?.unwrap_or_default(),
            tls_server_name: cluster.tls_server_name.clone(),
            insecure: cluster.insecure_skip_tls_verify.unwrap_or_default(),
            credentials: match user {
                Some(user) => self.credentials(user).await?,
                None if context.user.is_empty() => Credentials::None,
                None => return Err(self.missing("user", &context.user)),
            },
            namespace: context.namespace.clone().filter(|namespace| !namespace.is_empty()),
        };
        if access.server.is_empty() {
            return Err(self.problem(format!("cluster {:?} has no server", context.cluster)));
        }
        Ok(access)
    }

    async fn credentials(&self, user: &User) -> Result<Credentials, Error> {
        let chain = self.data("client-certificate", &user.client_certificate_data, &user.client_certificate).await?;
        let key = self.data("client-key", &user.client_key_data, &user.client_key).await?;
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        match (set(&user.token_file), set(&user.token), chain, key) {
            // As upstream: a token file goes before a token.
            (Some(file), ..) => Ok(Credentials::TokenFile(self.beside(&file))),
            (None, Some(token), ..) => Ok(Credentials::Token(token)),
            (None, None, Some(chain), Some(key)) => Ok(Credentials::Certificate { chain, key }),
            (None, None, Some(_), None) => Err(self.problem("a client-certificate without client-key".into())),
            _ => {
                let unknown =
                    user.other.keys().find(|key| matches!(key.as_str(), "exec" | "auth-provider" | "username"));
                match unknown {
                    Some(unknown) => Err(self.problem(format!("users: {unknown} is not supported"))),
                    None => Ok(Credentials::None),
                }
            }
        }
    }

    fn missing(&self, what: &str, name: &str) -> Error {
        self.problem(format!("there is no {what} {name:?}"))
    }

    /// What is embedded, or else in the file.
    async fn data(&self, what: &str, data: &Option<String>, file: &Option<String>) -> Result<Option<Vec<u8>>, Error> {
        if let Some(data) = data.as_deref().filter(|data| !data.is_empty()) {
            let decoded = STANDARD.decode(data).map_err(|error| self.problem(format!("{what}-data: {error}")))?;
            return Ok(Some(decoded));
        }
        let Some(file) = file.as_deref().filter(|file| !file.is_empty()) else {
            return Ok(None);
        };
        let path = self.beside(file);
        let read = tokio::fs::read(&path).await;
        read.map(Some).map_err(|error| self.problem(format!("{what}: {}: {error}", path.display())))
    }

    fn beside(&self, file: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(file)
    }

    fn problem(&self, problem: String) -> Error {
        Error::Config { path: self.path.display().to_string(), problem }
    }
}

/// Credentials are not shown.
impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubeconfig({})", self.path.display())
    }
}

#[cfg(test)]
mod tests;
