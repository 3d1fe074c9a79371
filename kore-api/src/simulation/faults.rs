//! What can go wrong between a component and its server, from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kore_store::Entropy;
use kore_store::layer;

use super::watch;
use crate::client::{Client, Transport};
use crate::error::Error;
use crate::request::{Content, Request, Response};

/// Faults from a seed, to be put between clients and their server; [`kore_store::layer::Faults`] are those between a server and its
/// store. There are none until they are asked for; all that go through clones of one `Faults` share the seed's stream of numbers.
///
/// What stays true: a request takes effect once or not at all, an answer that arrives is the server's, and a watch tells its
/// events in order and without a gap until it breaks.
///
/// ```
/// use std::time::Duration;
/// use kore_api::client::Client;
/// use kore_api::simulation::Faults;
///
/// fn over_a_bad_line(client: &Client) -> Client {
///     let faults = Faults::seeded(42)
///         .delay(Duration::from_millis(50))
///         .lost_requests(20)
///         .lost_answers(20)
///         .broken_watches(10)
///         .late_watches(Duration::from_millis(200));
///     faults.client(client)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    line: layer::Faults,
    late_watches: Duration,
    late_events: Arc<AtomicU64>,
}

/// How many faults there have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// Requests that did not reach the server.
    pub lost_requests: u64,
    /// Requests that took effect, and whose answer did not arrive.
    pub lost_answers: u64,
    /// Watches that ended in the middle.
    pub broken_watches: u64,
    /// Events of watches that were held back.
    pub late_events: u64,
}

impl Faults {
    /// No faults yet; those to come are drawn from `seed`.
    pub fn seeded(seed: u64) -> Self {
        let line = layer::Faults::new(Entropy::seeded(seed));
        Self { line, late_watches: Duration::ZERO, late_events: Arc::default() }
    }

    /// Every request and every answer is under way for up to so long.
    #[must_use]
    pub fn delay(mut self, longest: Duration) -> Self {
        self.line = self.line.delay(longest);
        self
    }

    /// So many of 1,000 requests fail without effect.
    #[must_use]
    pub fn lost_requests(mut self, permille: u32) -> Self {
        self.line = self.line.lost_requests(permille);
        self
    }

    /// So many of 1,000 requests fail although they took effect.
    #[must_use]
    pub fn lost_answers(mut self, permille: u32) -> Self {
        self.line = self.line.lost_answers(permille);
        self
    }

    /// A watch breaks at so many of 1,000 of its events: half of them with an error, half by just ending.
    #[must_use]
    pub fn broken_watches(mut self, permille: u32) -> Self {
        self.line = self.line.broken_watches(permille);
        self
    }

    /// Every event of a watch arrives up to so much later than the one before it: what a watcher knows is consistent, and old.
    #[must_use]
    pub fn late_watches(mut self, longest: Duration) -> Self {
        self.late_watches = longest;
        self
    }

    /// From now on there are no more faults, in whatever was wrapped.
    pub fn stop(&self) {
        self.line.stop();
    }

    /// How many there have been. A test that counts on faults checks that there were some.
    pub fn injected(&self) -> Injected {
        let layer::Injected { lost_requests, lost_answers, broken_watches, .. } = self.line.injected();
        let late_events = self.late_events.load(Ordering::Relaxed);
        Injected { lost_requests, lost_answers, broken_watches, late_events }
    }

    /// The same identity at the same server, with these faults on the way.
    pub fn client(&self, inner: &Client) -> Client {
        let transport = self.transport(inner.clone());
        Client::new(transport, *inner.clock(), inner.entropy().clone())
    }

    /// These faults around a transport.
    pub fn transport<T: Transport>(&self, inner: T) -> impl Transport + use<T> {
        Faulty { inner, faults: self.clone() }
    }

    /// Whether a watch breaks here; with an error or not.
    pub(super) fn draw_break(&self) -> Option<bool> {
        self.line.draw_break().then(|| self.line.injected().broken_watches.is_multiple_of(2))
    }

    /// Holds an event of a watch back.
    pub(super) async fn hold_back(&self) {
        if self.line.wait_up_to(self.late_watches).await {
            self.late_events.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Faulty<T> {
    inner: T,
    faults: Faults,
}

#[async_trait]
impl<T: Transport> Transport for Faulty<T> {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let faults = &self.faults;
        let fate = faults.line.draw();
        let lost = |what: &str| Error::Transport {
            target: target(&request),
            problem: format!("the {what} was lost, as the simulation has it"),
        };
        let (request_lost, answer_lost) = (lost("request"), lost("answer"));
        faults.line.travel().await;
        if fate == layer::Fate::RequestLost {
            return Err(request_lost);
        }
        let answer = self.inner.call(request).await;
        faults.line.travel().await;
        if fate == layer::Fate::AnswerLost {
            return Err(answer_lost);
        }
        let mut answer = answer?;
        if let Content::Watch(events) = answer.content {
            answer.content = Content::Watch(watch::unreliable(events, faults.clone()));
        }
        Ok(answer)
    }
}

fn target(request: &Request) -> String {
    let name = request.name.as_deref().unwrap_or_default();
    let namespace = request.namespace.as_deref().unwrap_or_default();
    format!("{} {} {namespace}/{name}", request.verb, request.resource)
}
