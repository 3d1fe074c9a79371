//! The cluster: which member is talked to, as whom, and what is tried when it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tonic::metadata::{Ascii, MetadataValue};

use super::connection::{Connection, Metadata, Target};
use super::joint::Joint;
use super::options::EtcdOptions;
use super::refusal::{Failure, Refusal};
use super::tls;
use crate::etcd::wire;
use crate::{Entropy, Error, Result};

/// A call of the protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub(super) path: &'static str,
    /// Doing it twice is as good as doing it once: it is tried again when it may have been done.
    pub(super) repeatable: bool,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// etcd refuses.
    Refused(Refusal),
    /// No member did it in time, or one may have: [`Error::Unavailable`] or [`Error::OutcomeUnknown`].
    Error(Error),
}

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) options: EtcdOptions,
    targets: Vec<Target>,
    tls: Option<Arc<ClientConfig>>,
    current: Mutex<Current>,
    connecting: Joint<Result<Connection, Arc<str>>>,
    token: Mutex<Token>,
    authenticating: Joint<Result<(), Failure>>,
}

#[derive(Debug, Default)]
struct Current {
    place: usize,
    connection: Option<Connection>,
}

/// What etcd knows the user by. Every one it gives has the next number.
#[derive(Clone, Default)]
struct Token {
    number: u64,
    value: Option<MetadataValue<Ascii>>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("number", &self.number).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn unavailable(reason: impl Into<Arc<str>>) -> Error {
    Error::Unavailable { reason: reason.into() }
}

impl Cluster {
    pub(super) fn new(options: EtcdOptions) -> Result<Arc<Cluster>> {
        let targets: Vec<Target> =
            options.endpoints.iter().map(|endpoint| Target::new(endpoint, &options)).collect::<Result<_>>()?;
        if targets.is_empty() {
            return Err(Error::InvalidRequest { reason: "a cluster needs an endpoint" });
        }
        let tls = match targets.iter().any(Target::is_tls) {
            true => Some(Arc::new(tls::config(&options)?)),
            false => None,
        };
        Ok(Arc::new(Cluster {
            options,
            targets,
            tls,
            current: Mutex::default(),
            connecting: Joint::default(),
            token: Mutex::default(),
            authenticating: Joint::default(),
        }))
    }

    fn live(&self) -> Option<Connection> {
        lock(&self.current).connection.clone().filter(|connection| !connection.is_closed())
    }

    /// The connection in use, or one to the next member that can be reached and knows a leader.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Connection, Arc<str>> {
        match self.live() {
            Some(connection) => Ok(connection),
            None => {
                let cluster = self.clone();
                self.connecting.join(|| async move { cluster.connect().await }.boxed()).await
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Arc<str>> {
        let first = lock(&self.current).place;
        let tls = self.tls.clone().map(TlsConnector::from);
        let mut reasons = String::from("no endpoint can be used");
        for offset in 0..self.targets.len() {
            let place = (first + offset) % self.targets.len();
            let target = &self.targets[place];
            // Whoever gives up waiting for this one shall find the next one first.
            lock(&self.current).place = (place + 1) % self.targets.len();
            let open = Connection::open(target, tls.as_ref(), &self.options, self.metadata(false).0);
            let reason = match timeout(self.options.connect_timeout, open).await {
                Ok(Ok(connection)) if connection.leaderless => "the member knows no leader".to_owned(),
                Ok(Ok(connection)) => {
                    tracing::debug!(endpoint = %target.origin, version = ?connection.version, "connected to etcd");
                    *lock(&self.current) = Current { place, connection: Some(connection.clone()) };
                    return Ok(connection);
                }
                Ok(Err(reason)) => reason,
                Err(_) => "it did not answer in time".to_owned(),
            };
            tracing::debug!(endpoint = %target.origin, reason, "cannot use an etcd endpoint");
            reasons.push_str(&format!("; {}: {reason}", target.origin));
        }
        Err(reasons.into())
    }

    /// The next call goes to the next member, unless what this one did wrong is no fault of its own.
    pub(super) fn blame(&self, failed: &Connection, failure: &Failure) {
        let mut current = lock(&self.current);
        if matches!(failure, Failure::Refused(_)) {
            return;
        }
        if current.connection.as_ref().is_some_and(|connection| connection.number == failed.number) {
            current.connection = None;
            current.place = (current.place + 1) % self.targets.len();
        }
    }

    /// What goes along with a call, and the number of the token in it.
    fn metadata(&self, leader: bool) -> (Metadata, u64) {
        let token = lock(&self.token).clone();
        (Metadata { token: token.value, leader }, token.number)
    }

    /// Makes sure that there is a token other than this one, if a user was named.
    async fn authenticate(self: &Arc<Self>, connection: &Connection, stale: u64) -> Result<(), Failure> {
        if lock(&self.token).number != stale {
            return Ok(());
        }
        let (cluster, connection) = (self.clone(), connection.clone());
        let begin = || async move { cluster.renew(connection, stale).await }.boxed();
        self.authenticating.join(begin).await.map_err(|failure| match failure {
            // Whatever became of that, what the user is needed for has not been asked yet.
            Failure::Open(reason) => Failure::NotDone(reason),
            failure => failure,
        })
    }

    async fn renew(&self, connection: Connection, stale: u64) -> Result<(), Failure> {
        let Some((name, password)) = self.options.user.clone() else {
            return Err(Failure::Refused(Refusal::Other("etcd wants to know the user, and none was named".into())));
        };
        let request = wire::AuthenticateRequest { name, password };
        let answer: Result<wire::AuthenticateResponse, _> = connection
            .unary("/etcdserverpb.Auth/Authenticate", request, Metadata { token: None, leader: true })
            .await
            .map_err(|status| Failure::of(&status));
        let value = match answer {
            Ok(answer) => Some(
                MetadataValue::try_from(answer.token)
                    .map_err(|_| Failure::Refused(Refusal::Other("etcd gave a token that is none".into())))?,
            ),
            // Everybody may do everything.
            Err(Failure::Refused(Refusal::AuthNotEnabled)) => None,
            Err(failure) => return Err(failure),
        };
        let mut token = lock(&self.token);
        if token.number == stale {
            *token = Token { number: stale + 1, value };
        }
        Ok(())
    }

    /// Authenticates unless that was done already, or there is no user.
    async fn introduce(self: &Arc<Self>, connection: &Connection) -> Result<(), Failure> {
        match self.options.user.is_some() && lock(&self.token).number == 0 {
            true => self.authenticate(connection, 0).await,
            false => Ok(()),
        }
    }

    /// A request, and its answer, wherever it can be had within the time for a request.
    pub(super) async fn call<Q, A>(self: &Arc<Self>, method: Method, request: Q) -> Result<A, Failed>
    where
        Q: prost::Message + Clone + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.attempt(method.repeatable, |connection, metadata| {
            let request = request.clone();
            async move {
                let answer = connection.unary(method.path, request, metadata).await;
                answer.map_err(|status| Failure::of(&status))
            }
        })
        .await
    }

    /// Tries on one member after the other, within the time for a request.
    pub(super) async fn attempt<A, F>(
        self: &Arc<Self>,
        repeatable: bool,
        attempt: impl Fn(Connection, Metadata) -> F,
    ) -> Result<A, Failed>
    where
        F: Future<Output = Result<A, Failure>> + Send,
    {
        let deadline = Instant::now() + self.options.request_timeout;
        let mut backoff = Backoff::new(self.options.entropy.clone());
        loop {
            let failure = match timeout_at(deadline, self.connection()).await {
                Err(_) => Failure::NotDone("no endpoint could be reached in time".into()),
                Ok(Err(reason)) => Failure::NotDone(reason),
                Ok(Ok(connection)) => {
                    // A member that is silent must leave time for the others.
                    let until = match repeatable && self.targets.len() > 1 {
                        true => Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2,
                        false => deadline,
                    };
                    match self.once(&connection, until, &attempt).await {
                        Ok(answer) => return Ok(answer),
                        Err(failure) => {
                            self.blame(&connection, &failure);
                            failure
                        }
                    }
                }
            };
            let reason = match failure {
                Failure::Refused(refusal) => return Err(Failed::Refused(refusal)),
                Failure::Open(reason) if !repeatable => {
                    return Err(Failed::Error(Error::OutcomeUnknown { reason }));
                }
                Failure::Open(reason) | Failure::NotDone(reason) => reason,
                Failure::Token => "etcd does not know the token that it gave".into(),
            };
            if timeout_at(deadline, backoff.wait()).await.is_err() || Instant::now() >= deadline {
                return Err(Failed::Error(unavailable(reason)));
            }
        }
    }

    /// Tries on this member, again when it does not know the token.
    pub(super) async fn once<A, F>(
        self: &Arc<Self>,
        connection: &Connection,
        until: Instant,
        attempt: &impl Fn(Connection, Metadata) -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = Result<A, Failure>> + Send,
    {
        let late = || Failure::NotDone("the user could not be authenticated in time".into());
        for _ in 0..3 {
            let introduced = timeout_at(until, self.introduce(connection)).await;
            introduced.unwrap_or_else(|_| Err(late()))?;
            let (metadata, number) = self.metadata(true);
            match timeout_at(until, attempt(connection.clone(), metadata)).await {
                Ok(Err(Failure::Token)) => {
                    let renewed = timeout_at(until, self.authenticate(connection, number)).await;
                    renewed.unwrap_or_else(|_| Err(late()))?;
                }
                Ok(answered) => return answered,
                Err(_) => return Err(Failure::Open("no answer in time".into())),
            }
        }
        Err(Failure::Token)
    }
}

/// Waits a little longer each time, and never as long as somebody else.
#[derive(Debug)]
pub(super) struct Backoff {
    entropy: Entropy,
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(20);
    const LAST: Duration = Duration::from_secs(2);

    pub(super) fn new(entropy: Entropy) -> Backoff {
        Backoff { entropy, next: Backoff::FIRST }
    }

    /// Waits for at least half of what is due, and at most all of it.
    pub(super) async fn wait(&mut self) {
        let micros = u64::try_from(self.next.as_micros()).unwrap_or(u64::MAX).max(2);
        let wait = micros / 2 + self.entropy.below(micros / 2);
        self.next = (self.next * 2).min(Backoff::LAST);
        tokio::time::sleep(Duration::from_micros(wait)).await;
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        self.next = Backoff::FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_grows_to_a_limit() {
        let mut backoff = Backoff::new(Entropy::seeded(1));
        let mut due = Backoff::FIRST;
        for _ in 0..12 {
            let before = Instant::now();
            backoff.wait().await;
            let waited = before.elapsed();
            // Timers have whole milliseconds.
            assert!(waited >= due / 2 && waited <= due + Duration::from_millis(1), "{waited:?}, due {due:?}");
            due = (due * 2).min(Backoff::LAST);
        }
        assert_eq!(due, Backoff::LAST);
    }
}
