//! The cluster: which member is talked to, as whom, and what is tried when it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tonic::metadata::{Ascii, MetadataValue};

use super::connection::{Connection, Metadata, Target};
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
    /// One connects at a time; the others wait and use what it got.
    connecting: tokio::sync::Mutex<()>,
    token: Mutex<Token>,
    authenticating: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    place: usize,
    connection: Option<Connection>,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("place", &self.place).finish_non_exhaustive()
    }
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
    pub(super) fn new(options: EtcdOptions) -> Result<Cluster> {
        let targets: Vec<Target> =
            options.endpoints.iter().map(|endpoint| Target::new(endpoint, &options)).collect::<Result<_>>()?;
        if targets.is_empty() {
            return Err(Error::InvalidRequest { reason: "a cluster needs an endpoint" });
        }
        let tls = match targets.iter().any(Target::is_tls) {
            true => Some(Arc::new(tls::config(&options)?)),
            false => None,
        };
        Ok(Cluster {
            options,
            targets,
            tls,
            current: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            token: Mutex::default(),
            authenticating: tokio::sync::Mutex::default(),
        })
    }

    fn live(&self) -> Option<Connection> {
        lock(&self.current).connection.clone().filter(|connection| !connection.is_closed())
    }

    /// The connection in use, or one to the next member that can be reached and knows a leader.
    pub(super) async fn connection(&self) -> Result<Connection, Arc<str>> {
        if let Some(connection) = self.live() {
            return Ok(connection);
        }
        let _alone = self.connecting.lock().await;
        if let Some(connection) = self.live() {
            return Ok(connection);
        }
        let first = lock(&self.current).place;
        let tls = self.tls.clone().map(TlsConnector::from);
        let mut reasons = String::from("no endpoint can be used");
        for offset in 0..self.targets.len() {
            let place = (first + offset) % self.targets.len();
            let target = &self.targets[place];
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

    /// The connection is no good: the next call goes to the next member.
    pub(super) fn fail(&self, failed: &Connection) {
        let mut current = lock(&self.current);
        if current.connection.as_ref().is_some_and(|connection| connection.number == failed.number) {
            current.connection = None;
            current.place = (current.place + 1) % self.targets.len();
        }
    }

    /// What goes along with a call, and the number of the token in it.
    pub(super) fn metadata(&self, leader: bool) -> (Metadata, u64) {
        let token = lock(&self.token).clone();
        (Metadata { token: token.value, leader }, token.number)
    }

    /// Makes sure that there is a token other than this one, if a user was named.
    pub(super) async fn authenticate(&self, connection: &Connection, stale: u64) -> Result<(), Failure> {
        let Some((name, password)) = self.options.user.clone() else {
            return Err(Failure::Refused(Refusal::Other("etcd wants to know the user, and none was named".into())));
        };
        let _alone = self.authenticating.lock().await;
        if lock(&self.token).number != stale {
            return Ok(());
        }
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
        *lock(&self.token) = Token { number: stale + 1, value };
        Ok(())
    }

    /// Authenticates unless that was done already, or there is no user.
    pub(super) async fn introduce(&self, connection: &Connection) -> Result<(), Failure> {
        match self.options.user.is_some() && lock(&self.token).number == 0 {
            true => self.authenticate(connection, 0).await,
            false => Ok(()),
        }
    }

    /// A request, and its answer, wherever it can be had within the time for a request.
    pub(super) async fn call<Q, A>(&self, method: Method, request: Q) -> Result<A, Failed>
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
        &self,
        repeatable: bool,
        attempt: impl Fn(Connection, Metadata) -> F,
    ) -> Result<A, Failed>
    where
        F: Future<Output = Result<A, Failure>> + Send,
    {
        let deadline = Instant::now() + self.options.request_timeout;
        let mut backoff = Backoff::new(self.options.entropy.clone());
        let mut tokens = 0;
        loop {
            let reason = match timeout_at(deadline, self.connection()).await {
                Err(_) => return Err(Failed::Error(unavailable("no endpoint could be reached in time"))),
                Ok(Err(reason)) => reason,
                Ok(Ok(connection)) => {
                    let mut stale = 0;
                    let once = async {
                        self.introduce(&connection).await?;
                        let (metadata, number) = self.metadata(true);
                        stale = number;
                        attempt(connection.clone(), metadata).await
                    };
                    // A member that is silent must leave time for the others.
                    let until = match repeatable && self.targets.len() > 1 {
                        true => Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2,
                        false => deadline,
                    };
                    let failure = match timeout_at(until, once).await {
                        Ok(Ok(answer)) => return Ok(answer),
                        Ok(Err(failure)) => failure,
                        Err(_) => Failure::Open("no answer in time".into()),
                    };
                    match failure {
                        Failure::Refused(refusal) => return Err(Failed::Refused(refusal)),
                        // A second new token that is not known either: the member lags behind.
                        Failure::Token if tokens < 2 => {
                            tokens += 1;
                            match timeout_at(deadline, self.authenticate(&connection, stale)).await {
                                Ok(Ok(())) => continue,
                                Ok(Err(Failure::Refused(refusal))) => return Err(Failed::Refused(refusal)),
                                Ok(Err(failure)) => format!("cannot authenticate: {failure:?}").into(),
                                Err(_) => "cannot authenticate in time".into(),
                            }
                        }
                        Failure::Token => "etcd does not take the token it gave".into(),
                        Failure::NotDone(reason) => {
                            self.fail(&connection);
                            reason
                        }
                        Failure::Open(reason) => {
                            self.fail(&connection);
                            if !repeatable {
                                return Err(Failed::Error(Error::OutcomeUnknown { reason }));
                            }
                            reason
                        }
                    }
                }
            };
            if timeout_at(deadline, backoff.wait()).await.is_err() || Instant::now() >= deadline {
                return Err(Failed::Error(unavailable(reason)));
            }
        }
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
