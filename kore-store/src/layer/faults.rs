//! What can go wrong between a store and its clients, by chance.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Around, Call, Layer, Layered, Request, through};
use crate::{Entropy, Error, Result, Store, Watch, WatchRequest};

/// Faults between a store and its clients: requests and answers are late or lost, and watches break. There are none until they
/// are asked for. Under a paused clock, a seeded [`Entropy`] gives the same faults again.
///
/// What stays true: a request takes effect once or not at all, an answer that arrives is the store's, and a watch tells its
/// events in order and without a gap until it breaks with [`Error::Unavailable`]. A request that is lost on its way is
/// `Unavailable`; one whose answer is lost is [`Error::OutcomeUnknown`], or `Unavailable` if it only read.
///
/// Clones share what they draw from, what they count, and being [stopped](Faults::stop).
///
/// ```
/// use std::time::Duration;
///
/// use kore_store::layer::{Faults, Layer};
/// use kore_store::{Entropy, Error, MemoryStore, Store};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let faults = Faults::new(Entropy::seeded(42))
///     .delay(Duration::from_millis(50))
///     .lost_requests(50)
///     .lost_answers(50)
///     .broken_watches(10);
/// let store = faults.layer(MemoryStore::new());
/// for number in 0..100 {
///     match store.put(format!("key-{number}").into(), "value".into()).await {
///         Ok(_) | Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. }) => {}
///         Err(error) => panic!("{error}"),
///     }
/// }
/// assert!(faults.injected().lost_requests > 0);
/// # }
/// ```
#[derive(Clone)]
pub struct Faults {
    plan: Plan,
    state: Arc<State>,
}

#[derive(Clone, Copy)]
struct Plan {
    delay: Duration,
    lost_requests: u32,
    lost_answers: u32,
    broken_watches: u32,
    among: fn(&Call<'_>) -> bool,
}

struct State {
    chance: Entropy,
    over: AtomicBool,
    lost_requests: AtomicU64,
    lost_answers: AtomicU64,
    broken_watches: AtomicU64,
}

/// How many faults there have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// Requests that did not reach the store.
    pub lost_requests: u64,
    /// Requests that reached it, and whose answer did not arrive.
    pub lost_answers: u64,
    /// Watches that broke.
    pub broken_watches: u64,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is answered.
    Fine,
    /// It fails before it takes effect.
    RequestLost,
    /// It takes effect and fails.
    AnswerLost,
}

impl Faults {
    /// No faults yet; those to come are drawn from this.
    pub fn new(chance: Entropy) -> Faults {
        let state = State {
            chance,
            over: AtomicBool::new(false),
            lost_requests: AtomicU64::new(0),
            lost_answers: AtomicU64::new(0),
            broken_watches: AtomicU64::new(0),
        };
        let plan =
            Plan { delay: Duration::ZERO, lost_requests: 0, lost_answers: 0, broken_watches: 0, among: |_| true };
        Faults { plan, state: Arc::new(state) }
    }

    /// Every request and every answer is under way for up to so long.
    #[must_use]
    pub fn delay(mut self, longest: Duration) -> Faults {
        self.plan.delay = longest;
        self
    }

    /// So many of 1,000 requests fail without effect.
    #[must_use]
    pub fn lost_requests(mut self, permille: u32) -> Faults {
        self.plan.lost_requests = permille;
        self
    }

    /// So many of 1,000 requests take effect and fail.
    #[must_use]
    pub fn lost_answers(mut self, permille: u32) -> Faults {
        self.plan.lost_answers = permille;
        self
    }

    /// A watch breaks at so many of 1,000 of its items, which is lost.
    #[must_use]
    pub fn broken_watches(mut self, permille: u32) -> Faults {
        self.plan.broken_watches = permille;
        self
    }

    /// Only calls for which this is true are lost. Late are all.
    #[must_use]
    pub fn among(mut self, calls: fn(&Call<'_>) -> bool) -> Faults {
        self.plan.among = calls;
        self
    }

    /// From now on there are no more faults, in whatever was wrapped.
    pub fn stop(&self) {
        self.state.over.store(true, Ordering::Relaxed);
    }

    /// True once they are stopped.
    pub fn is_over(&self) -> bool {
        self.state.over.load(Ordering::Relaxed)
    }

    /// How many there have been. A test that counts on faults checks that there were some.
    pub fn injected(&self) -> Injected {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = &*self.state;
        Injected {
            lost_requests: read(&state.lost_requests),
            lost_answers: read(&state.lost_answers),
            broken_watches: read(&state.broken_watches),
        }
    }

    /// Draws what becomes of one request, and counts it. For whoever puts these faults elsewhere than around a store.
    pub fn draw(&self) -> Fate {
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

    /// Draws whether a watch breaks at its next item, and counts it.
    pub fn draw_break(&self) -> bool {
        let permille = self.plan.broken_watches;
        if self.is_over() || permille == 0 {
            return false;
        }
        let breaks = (self.state.chance.below(1000) as u32) < permille;
        self.state.broken_watches.fetch_add(breaks.into(), Ordering::Relaxed);
        breaks
    }

    /// Waits for as long as a request or an answer is under way.
    pub async fn travel(&self) {
        self.wait_up_to(self.plan.delay).await;
    }

    /// Waits for a time drawn up to the longest; true when it waited at all.
    pub async fn wait_up_to(&self, longest: Duration) -> bool {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        if self.is_over() || longest_us == 0 {
            return false;
        }
        let wait_us = self.state.chance.below(longest_us + 1);
        tokio::time::sleep(Duration::from_micros(wait_us)).await;
        wait_us > 0
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { delay, lost_requests, lost_answers, broken_watches, .. } = &self.plan;
        f.debug_struct("Faults")
            .field("delay", delay)
            .field("lost_requests", lost_requests)
            .field("lost_answers", lost_answers)
            .field("broken_watches", broken_watches)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Faults {
    type Service = Layered<S, Faults>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered::new(inner, self.clone())
    }
}

fn lost(what: &str) -> Error {
    Error::Unavailable { reason: format!("the {what} was lost: a fault was injected").into() }
}

impl Around for Faults {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        let is_write = request.call().is_write();
        // Drawn before anything is waited for: the order of the calls decides.
        let fate = if (self.plan.among)(&request.call()) { self.draw() } else { Fate::Fine };
        self.travel().await;
        if fate == Fate::RequestLost {
            return Err(lost("request"));
        }
        let answer = request.send(store).await;
        self.travel().await;
        match fate {
            // Also when it was refused: nobody heard of that.
            Fate::AnswerLost if is_write => {
                Err(Error::OutcomeUnknown { reason: "the answer was lost: a fault was injected".into() })
            }
            Fate::AnswerLost => Err(lost("answer")),
            Fate::Fine | Fate::RequestLost => answer,
        }
    }

    fn watch(&self, _request: &WatchRequest, watch: Watch) -> Watch {
        let faults = self.clone();
        through(watch, move |item| match faults.draw_break() {
            true => Err(lost("watch")),
            false => item,
        })
    }
}
