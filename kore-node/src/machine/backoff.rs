//! How long to wait before trying again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::spec;

/// The first wait of restarts and of image pulls.
const FIRST: Duration = Duration::from_secs(10);
/// A container that ran for longer than this many times the longest wait starts over. With the default cap of 300 s: ten minutes.
const FORGET_AFTER: u32 = 2;

/// The wait between restarts of a container: 10 s, doubling up to a cap. The first restart does not wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Backoff {
    wait: Duration,
    last: Option<Timestamp>,
}

impl Backoff {
    /// When a container that ended at `ended` may be started again: a time that has passed means now.
    pub(super) fn until(&self, ended: Timestamp, cap: Duration) -> Timestamp {
        if self.forgotten(ended, cap) { ended } else { spec::after(ended, self.wait) }
    }

    /// It is being started again.
    pub(super) fn next(&mut self, now: Timestamp, ended: Timestamp, cap: Duration) {
        self.wait =
            if self.forgotten(ended, cap) { FIRST.min(cap) } else { self.wait.saturating_mul(2).max(FIRST).min(cap) };
        self.last = Some(now);
    }

    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    fn forgotten(&self, ended: Timestamp, cap: Duration) -> bool {
        let limit = SignedDuration::try_from(cap.saturating_mul(FORGET_AFTER)).unwrap_or(SignedDuration::MAX);
        self.last.is_none_or(|last| ended.duration_since(last) > limit)
    }
}

/// The wait after the `failures`-th failure in a row of volumes, a sandbox or a pod's worker: 1 s doubling to a minute.
pub(crate) fn retry(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6)).min(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_are_forgotten_after_a_long_run() {
        let cap = Duration::from_secs(300);
        let mut backoff = Backoff::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut waits = vec![];
        for _ in 0..8 {
            let at = backoff.until(now, cap).max(now);
            waits.push(at.duration_since(now).as_secs());
            backoff.next(at, now, cap);
            now = at;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        now += Duration::from_secs(601);
        assert_eq!(backoff.until(now, cap), now);
        backoff.next(now, now, cap);
        assert_eq!(backoff.wait(), Duration::from_secs(10));
    }

    #[test]
    fn the_cap_is_configurable() {
        let cap = Duration::from_secs(1);
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            backoff.next(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, cap);
        }
        assert_eq!(backoff.wait(), cap);
        for _ in 0..70 {
            backoff.next(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, Duration::MAX);
        }
        assert_eq!(backoff.until(Timestamp::UNIX_EPOCH, Duration::MAX), Timestamp::MAX);
    }
}
