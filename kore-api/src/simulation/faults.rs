//! What can go wrong between a component and its server, from a seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kore_store::{Entropy, Store};

use super::FaultyStore;
use super::watch;
use crate::client::{Client, Transport};
use crate::error::Error;
use crate::request::{Content, Request, Response};

/// Faults from a seed, to be put between clients and their server ([`Faults::client`]) or between a server and its store
/// ([`Faults::store`]). There are none until they are asked for; all that go through clones of one `Faults` share the seed's stream of
/// numbers.
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
#[derive(Clone)]
pub struct Faults {
    plan: Plan,
    state: Arc<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    delay: Duration,
    lost_requests: u32,
    lost_answers: u32,
    broken_watches: u32,
    late_watches: Duration,
}

struct State {
    chance: Entropy,
    over: AtomicBool,
    lost_requests: AtomicU64,
    lost_answers: AtomicU64,
    broken_watches: AtomicU64,
    late_events: AtomicU64,
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

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// It fails before it takes effect.
    RequestLost,
    /// It takes effect and fails.
    AnswerLost,
}

impl Faults {
    /// No faults yet; those to come are drawn from `seed`.
    pub fn seeded(seed: u64) -> Self {
        let state = State {
            chance: Entropy::seeded(seed),
            over: AtomicBool::new(false),
            lost_requests: AtomicU64::new(0),
            lost_answers: AtomicU64::new(0),
            broken_watches: AtomicU64::new(0),
            late_events: AtomicU64::new(0),
        };
        Self { plan: Plan::default(), state: Arc::new(state) }
    }

    /// Every request and every answer is under way for up to so long.
    #[must_use]
    pub fn delay(mut self, longest: Duration) -> Self {
        self.plan.delay = longest;
        self
    }

    /// So many of 1,000 requests fail without effect.
    #[must_use]
    pub fn lost_requests(mut self, permille: u32) -> Self {
        self.plan.lost_requests = permille;
        self
    }

    /// So many of 1,000 requests fail although they took effect.
    #[must_use]
    pub fn lost_answers(mut self, permille: u32) -> Self {
        self.plan.lost_answers = permille;
        self
    }

    /// A watch breaks at so many of 1,000 of its events: half of them with an error, half by just ending.
    #[must_use]
    pub fn broken_watches(mut self, permille: u32) -> Self {
        self.plan.broken_watches = permille;
        self
    }

    /// Every event of a watch arrives up to so much later than the one before it: what a watcher knows is consistent, and old.
    #[must_use]
    pub fn late_watches(mut self, longest: Duration) -> Self {
        self.plan.late_watches = longest;
        self
    }

    /// From now on there are no more faults, in whatever was wrapped.
    pub fn stop(&self) {
        self.state.over.store(true, Ordering::Relaxed);
    }

    /// How many there have been. A test that counts on faults checks that there were some.
    pub fn injected(&self) -> Injected {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = &*self.state;
        Injected {
            lost_requests: read(&state.lost_requests),
            lost_answers: read(&state.lost_answers),
            broken_watches: read(&state.broken_watches),
            late_events: read(&state.late_events),
        }
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

    /// These faults around a store: a lost request is [`Unavailable`](kore_store::Error::Unavailable), a lost answer to a write
    /// [`OutcomeUnknown`](kore_store::Error::OutcomeUnknown).
    pub fn store(&self, inner: Arc<dyn Store>) -> FaultyStore {
        FaultyStore::new(inner, self.clone())
    }

    pub(super) fn draw(&self) -> Fate {
        let (lost_requests, lost_answers) = (self.plan.lost_requests, self.plan.lost_answers);
        if self.is_over() || lost_requests + lost_answers == 0 {
            return Fate::Fine;
        }
        let state = &*self.state;
        match state.chance.below(1000) as u32 {
            drawn if drawn < lost_requests => {
                state.lost_requests.fetch_add(1, Ordering::Relaxed);
                Fate::RequestLost
            }
            drawn if drawn < lost_requests + lost_answers => {
                state.lost_answers.fetch_add(1, Ordering::Relaxed);
                Fate::AnswerLost
            }
            _ => Fate::Fine,
        }
    }

    /// Whether a watch breaks here; with an error or not.
    pub(super) fn draw_break(&self) -> Option<bool> {
        let permille = self.plan.broken_watches;
        if self.is_over() || permille == 0 {
            return None;
        }
        let drawn = self.state.chance.below(1000) as u32;
        (drawn < permille).then(|| {
            self.state.broken_watches.fetch_add(1, Ordering::Relaxed);
            drawn.is_multiple_of(2)
        })
    }

    /// Waits for as long as a request or an answer is under way.
    pub(super) async fn travel(&self) {
        self.wait_up_to(self.plan.delay).await;
    }

    /// Holds an event of a watch back.
    pub(super) async fn hold_back(&self) {
        if self.wait_up_to(self.plan.late_watches).await {
            self.state.late_events.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn wait_up_to(&self, longest: Duration) -> bool {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        if self.is_over() || longest_us == 0 {
            return false;
        }
        let wait_us = self.state.chance.below(longest_us + 1);
        tokio::time::sleep(Duration::from_micros(wait_us)).await;
        wait_us > 0
    }

    fn is_over(&self) -> bool {
        self.state.over.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults({:?})", self.plan)
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
        let fate = faults.draw();
        let lost = |what: &str| Error::Transport {
            target: target(&request),
            problem: format!("the {what} was lost, as the simulation has it"),
        };
        let (request_lost, answer_lost) = (lost("request"), lost("answer"));
        faults.travel().await;
        if fate == Fate::RequestLost {
            return Err(request_lost);
        }
        let answer = self.inner.call(request).await;
        faults.travel().await;
        if fate == Fate::AnswerLost {
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
