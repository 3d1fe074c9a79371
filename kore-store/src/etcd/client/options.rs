//! How a cluster is reached.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Entropy, Limits};

/// How an etcd cluster is reached: endpoints, TLS, user, times.
///
/// ```
/// use kore_store::EtcdOptions;
/// use std::time::Duration;
///
/// # fn options(ca: Vec<u8>, certificate: Vec<u8>, key: Vec<u8>) -> EtcdOptions {
/// EtcdOptions::new(["https://10.0.0.1:2379", "https://10.0.0.2:2379", "https://10.0.0.3:2379"])
///     .ca_pem(ca)
///     .client_pem(certificate, key)
///     .user("kore", "secret")
///     .request_timeout(Duration::from_secs(5))
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdOptions {
    pub(super) endpoints: Vec<String>,
    pub(super) ca_pem: Option<Bytes>,
    pub(super) client_pem: Option<(Bytes, Bytes)>,
    pub(super) server_name: Option<String>,
    pub(super) user: Option<(String, String)>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) keep_alive_timeout: Duration,
    pub(super) limits: Limits,
    pub(super) progress: Progress,
    pub(super) progress_interval: Duration,
    pub(super) entropy: Entropy,
}

/// Where a watch of an `EtcdStore` takes its progress from: see there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// As the version of the member demands that the watch is connected to.
    #[default]
    Auto,
    /// The server is asked, and believed. Before 3.4.25 and 3.5.8 it names revisions whose events it has yet to send
    /// (etcd#15220), and what it sends then is lost.
    Requested,
    /// A marker key behind the watched ones is written and waited for.
    Marker,
}

impl EtcdOptions {
    /// A cluster whose members are reached at these `http://host:port` or `https://host:port`. One at a time is talked to;
    /// the others are tried in turn when it fails.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> EtcdOptions {
        EtcdOptions {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca_pem: None,
            client_pem: None,
            server_name: None,
            user: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            limits: Limits::default(),
            progress: Progress::Auto,
            progress_interval: Duration::from_secs(5),
            entropy: Entropy::system(),
        }
    }

    /// The authorities, one or more certificates in PEM, that the members' certificates must come from. Needed for
    /// `https`: the system's authorities are not looked at.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Bytes>) -> EtcdOptions {
        self.ca_pem = Some(pem.into());
        self
    }

    /// The certificate chain and the private key, in PEM, to show to the members.
    #[must_use]
    pub fn client_pem(mut self, certificates: impl Into<Bytes>, key: impl Into<Bytes>) -> EtcdOptions {
        self.client_pem = Some((certificates.into(), key.into()));
        self
    }

    /// The name that the members' certificates must carry. Default: the host of each endpoint.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> EtcdOptions {
        self.server_name = Some(name.into());
        self
    }

    /// The user to authenticate as.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> EtcdOptions {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// How long connecting to one endpoint may take, TLS and etcd's first answer included. Default: 3 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> EtcdOptions {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call may take, on all endpoints together. Default: 10 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> EtcdOptions {
        self.request_timeout = timeout;
        self
    }

    /// How often a connection in use is checked by a ping, and how long its answer may take. Default: 10 s and 5 s. etcd
    /// hangs up on who pings more often than its `--grpc-keepalive-min-time`, which is 5 s by default.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, timeout: Duration) -> EtcdOptions {
        self.keep_alive = interval;
        self.keep_alive_timeout = timeout;
        self
    }

    /// Bytes of a request and operations of a transaction that are refused before they are sent. Should say what the
    /// cluster's `--max-request-bytes` and `--max-txn-ops` say; the defaults are the same. The quota and the number of
    /// leases are the cluster's own affair.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> EtcdOptions {
        self.limits = limits;
        self
    }

    /// Where watches take their progress from. Default: [`Progress::Auto`].
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> EtcdOptions {
        self.progress = progress;
        self
    }

    /// How often a watch [with progress](crate::WatchRequest::with_progress) looks for some. Default: 5 s.
    #[must_use]
    pub fn progress_interval(mut self, interval: Duration) -> EtcdOptions {
        self.progress_interval = interval;
        self
    }

    /// The chance that spreads retries. Default: the system's.
    #[must_use]
    pub fn entropy(mut self, entropy: Entropy) -> EtcdOptions {
        self.entropy = entropy;
        self
    }
}

impl fmt::Debug for EtcdOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish_non_exhaustive()
    }
}
