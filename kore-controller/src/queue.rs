//! The queue of keys to reconcile, as a pure value: it is told the time and never looks at a clock.
//!
//! The contract, in the words of those who depend on it:
//!
//! - **Never drops.** Every [`Queue::add`] is followed by a [`Queue::next`] of that key that comes after it.
//! - **Deduplicates.** However often a key is added before it runs, it runs once.
//! - **Never twice at once.** A key added while it runs is run again after [`Queue::finish`].
//! - **Bounded.** At most [`Config::concurrency`] keys run; one entry per key is all that is remembered.
//! - **Backs off per key.** Each failure in a row doubles the wait; a success forgets them.
//! - **Ages.** A key of lower priority overtakes once it has waited [`Config::age_step`] longer per level.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How urgent a key is compared with the others that are ready: higher runs first. Each level is worth
/// [`Config::age_step`] of waiting, so no level can starve another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub i8);

impl Priority {
    /// What the framework gives to objects that were already there when the controller started.
    pub const LOW: Priority = Priority(-1);
    /// What the framework gives to changes.
    pub const NORMAL: Priority = Priority(0);
    /// For what somebody is waiting for.
    pub const HIGH: Priority = Priority(1);
}

/// The limits of a [`Queue`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How many keys run at once. At the limit further keys wait in the queue. Default 16.
    pub concurrency: usize,
    /// The wait after a key's first failure; each further failure in a row doubles it. Default 5 ms.
    pub retry_base: Duration,
    /// The longest wait between two attempts at a failing key. Default 5 min.
    pub retry_limit: Duration,
    /// A change of an object whose key is backing off brings the next attempt forward to at most this far ahead: a
    /// repaired object is seen soon, and a reconcile that fails after a write cannot spin on its own event. Default 1 s.
    pub retry_on_change: Duration,
    /// How much longer a key must have waited to make up for one level of [`Priority`]. Default 10 s.
    pub age_step: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            concurrency: 16,
            retry_base: Duration::from_millis(5),
            retry_limit: Duration::from_secs(300),
            retry_on_change: Duration::from_secs(1),
            age_step: Duration::from_secs(10),
        }
    }
}

/// What came of one run of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do until something changes.
    Done,
    /// Run again after this long, or sooner if something changes.
    After(Duration),
    /// It failed: run again after the key's back-off.
    Retry,
}

/// The keyed queue. Times are durations since an origin that the caller chooses once; they must not go backwards.
///
/// ```
/// use kore_controller::queue::{Config, Outcome, Priority, Queue};
/// use std::time::Duration;
///
/// let mut queue = Queue::new(Config::default());
/// let now = Duration::ZERO;
/// queue.add("web", Priority::NORMAL, now);
/// queue.add("web", Priority::NORMAL, now);
/// assert_eq!(queue.next(now), Some("web"));
/// assert_eq!(queue.next(now), None, "once, however often it was added");
/// queue.finish(&"web", Outcome::Retry, now);
/// assert_eq!(queue.wake_at(), Some(Duration::from_millis(5)), "it backs off");
/// ```
#[derive(Debug)]
pub struct Queue<K> {
    config: Config,
    entries: BTreeMap<K, Entry>,
    /// Runnable keys by place: urgency and time of arrival in one number, then order of arrival.
    ready: BTreeSet<(Place, K)>,
    /// Keys that wait for a time.
    waiting: BTreeSet<(Duration, K)>,
    running: usize,
    arrivals: u64,
}

/// Where a ready key stands: its virtual arrival time in microseconds, then order of arrival.
type Place = (i128, u64);

#[derive(Debug, Default)]
struct Entry {
    running: bool,
    /// Added while it ran, with this priority.
    again: Option<Priority>,
    ready: Option<Place>,
    waiting: Option<Duration>,
    failures: u32,
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue.
    pub fn new(config: Config) -> Self {
        Queue {
            config,
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            running: 0,
            arrivals: 0,
        }
    }

    /// Asks for a run of `key` that starts after now. A key that is already ready keeps its place, or gets a better one
    /// if the new priority is higher.
    pub fn add(&mut self, key: K, priority: Priority, now: Duration) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.running {
            entry.again = Some(entry.again.map_or(priority, |p| p.max(priority)));
            return;
        }
        if let (true, Some(at)) = (entry.failures > 0, entry.waiting) {
            let sooner = at.min(now + self.config.retry_on_change);
            entry.waiting = Some(sooner);
            self.waiting.remove(&(at, key.clone()));
            self.waiting.insert((sooner, key));
            return;
        }
        self.make_ready(key, priority, now);
    }

    /// The next key to run, most urgent first; `None` when nothing is ready or [`Config::concurrency`] keys run. The
    /// caller must [`finish`](Queue::finish) every key it gets.
    pub fn next(&mut self, now: Duration) -> Option<K> {
        while let Some((at, _)) = self.waiting.first()
            && *at <= now
        {
            let (at, key) = self.waiting.pop_first().expect("seen above");
            self.entries.get_mut(&key).expect("waiting keys have entries").waiting = None;
            self.make_ready(key, Priority::NORMAL, at);
        }
        if self.running >= self.config.concurrency {
            return None;
        }
        let (_, key) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&key).expect("ready keys have entries");
        entry.ready = None;
        entry.running = true;
        // The run that starts now decides anew when to come back.
        if let Some(at) = entry.waiting.take() {
            self.waiting.remove(&(at, key.clone()));
        }
        self.running += 1;
        Some(key)
    }

    /// Ends the run of a key that [`next`](Queue::next) gave out. A key that is not running is ignored.
    pub fn finish(&mut self, key: &K, outcome: Outcome, now: Duration) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.running) else {
            return;
        };
        self.running -= 1;
        entry.running = false;
        let again = entry.again.take();
        entry.failures = if outcome == Outcome::Retry { entry.failures.saturating_add(1) } else { 0 };
        let delay = match (outcome, again) {
            (Outcome::Retry, again) => {
                let back_off = self.config.back_off(entry.failures);
                let limit = if again.is_some() { self.config.retry_on_change } else { back_off };
                Some(back_off.min(limit))
            }
            (_, Some(_)) => None,
            (Outcome::After(delay), None) => Some(delay),
            (Outcome::Done, None) => {
                self.entries.remove(key);
                return;
            }
        };
        match delay {
            Some(delay) => {
                let at = now.saturating_add(delay);
                entry.waiting = Some(at);
                self.waiting.insert((at, key.clone()));
            }
            None => self.make_ready(key.clone(), again.unwrap_or_default(), now),
        }
    }

    /// When [`next`](Queue::next) is worth calling again though nothing was added or finished: the first time for
    /// which a key waits.
    pub fn wake_at(&self) -> Option<Duration> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// How many keys run now.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many keys could run now but for the limit on concurrency.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many keys wait for a time, after a failure or because their reconcile asked to come back.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many runs of `key` have failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    fn make_ready(&mut self, key: K, priority: Priority, since: Duration) {
        let level = i128::from(priority.0) * self.config.age_step.as_micros() as i128;
        let place = (since.as_micros() as i128 - level, self.arrivals);
        self.arrivals += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        match entry.ready {
            Some(old) if old <= place => {}
            old => {
                if let Some(old) = old {
                    self.ready.remove(&(old, key.clone()));
                }
                entry.ready = Some(place);
                self.ready.insert((place, key));
            }
        }
    }
}

impl Config {
    fn back_off(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.retry_base.saturating_mul(1 << doublings).min(self.retry_limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn failures_double_the_wait_up_to_the_limit_and_success_forgets_them() {
        let mut queue = Queue::new(Config { retry_limit: ms(35), ..Config::default() });
        let mut now = Duration::ZERO;
        queue.add("a", Priority::NORMAL, now);
        for wait in [5, 10, 20, 35, 35] {
            assert_eq!(queue.next(now), Some("a"));
            queue.finish(&"a", Outcome::Retry, now);
            assert_eq!(queue.wake_at(), Some(now + ms(wait)));
            assert_eq!(queue.next(now + ms(wait - 1)), None);
            now += ms(wait);
        }
        assert_eq!(queue.next(now), Some("a"));
        queue.finish(&"a", Outcome::Done, now);
        assert_eq!((queue.failures(&"a"), queue.wake_at()), (0, None));
        queue.add("a", Priority::NORMAL, now);
        queue.next(now);
        queue.finish(&"a", Outcome::Retry, now);
        assert_eq!(queue.wake_at(), Some(now + ms(5)));
    }

    #[test]
    fn a_change_brings_a_long_back_off_forward_but_not_to_now() {
        let mut queue = Queue::new(Config { retry_base: ms(60_000), ..Config::default() });
        queue.add("a", Priority::NORMAL, ms(0));
        queue.next(ms(0));
        queue.finish(&"a", Outcome::Retry, ms(0));
        queue.add("a", Priority::NORMAL, ms(10));
        assert_eq!(queue.next(ms(10)), None);
        assert_eq!(queue.wake_at(), Some(ms(1010)));
        queue.add("a", Priority::NORMAL, ms(20));
        assert_eq!(queue.wake_at(), Some(ms(1010)), "later changes do not push it back");
        assert_eq!(queue.next(ms(1010)), Some("a"));
    }

    #[test]
    fn asking_to_come_back_is_superseded_by_the_next_run() {
        let mut queue = Queue::new(Config::default());
        queue.add("a", Priority::NORMAL, ms(0));
        queue.next(ms(0));
        queue.finish(&"a", Outcome::After(ms(500)), ms(0));
        queue.add("a", Priority::NORMAL, ms(100));
        assert_eq!(queue.next(ms(100)), Some("a"), "a change does not wait");
        queue.finish(&"a", Outcome::Done, ms(100));
        assert_eq!(queue.wake_at(), None);
    }

    #[test]
    fn low_priority_ages_past_fresh_normal_work() {
        let mut queue = Queue::new(Config { concurrency: 1, ..Config::default() });
        queue.add(0, Priority::LOW, ms(0));
        let mut order = Vec::new();
        for n in 1..=20 {
            let now = ms(n * 1000);
            queue.add(n, Priority::NORMAL, now);
            let key = queue.next(now).expect("something is ready");
            queue.finish(&key, Outcome::Done, now);
            order.push(key);
        }
        assert_eq!(order.iter().position(|key| *key == 0), Some(9), "{order:?}");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8, i8),
        Advance(u64),
        Next,
        Finish(usize, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..6u8, -2..3i8).prop_map(|(key, priority)| Step::Add(key, priority)),
            2 => (0..2000u64).prop_map(Step::Advance),
            4 => Just(Step::Next),
            3 => (0..8usize, 0..3u8).prop_map(|(which, outcome)| Step::Finish(which, outcome)),
        ]
    }

    proptest! {
        /// The queue against the obvious model: per key, is a run owed, and does one run?
        #[test]
        fn keeps_its_contract(steps in proptest::collection::vec(step(), 1..200)) {
            let config = Config { concurrency: 3, ..Config::default() };
            let mut queue = Queue::new(config.clone());
            let mut now = Duration::ZERO;
            let mut owed: BTreeSet<u8> = BTreeSet::new();   // added since its last start
            let mut timed: BTreeSet<u8> = BTreeSet::new();  // asked to come back by its last run
            let mut running: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Add(key, priority) => {
                        queue.add(key, Priority(priority), now);
                        owed.insert(key);
                    }
                    Step::Advance(by) => now += ms(by),
                    Step::Next => if let Some(key) = queue.next(now) {
                        prop_assert!(!running.contains(&key), "{key} runs twice at once");
                        prop_assert!(owed.remove(&key) | timed.remove(&key), "{key} runs for nothing");
                        running.push(key);
                    },
                    Step::Finish(which, outcome) => if !running.is_empty() {
                        let key = running.swap_remove(which % running.len());
                        let outcome = [Outcome::Done, Outcome::After(ms(700)), Outcome::Retry][outcome as usize];
                        if outcome != Outcome::Done {
                            timed.insert(key);
                        }
                        queue.finish(&key, outcome, now);
                    },
                }
                prop_assert!(running.len() <= config.concurrency);
                prop_assert_eq!(running.len(), queue.running());
            }
            // Whatever is owed comes out once everything finishes and time passes.
            for key in running.drain(..) {
                queue.finish(&key, Outcome::Done, now);
            }
            now += config.retry_limit;
            while let Some(key) = queue.next(now) {
                owed.remove(&key);
                queue.finish(&key, Outcome::Done, now);
            }
            prop_assert!(owed.is_empty(), "dropped: {owed:?}");
            prop_assert_eq!((queue.ready(), queue.waiting(), queue.entries.len()), (0, 0, 0));
        }
    }
}
