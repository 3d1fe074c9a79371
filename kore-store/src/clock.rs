//! The wall clock that is handed in.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time of day, and follows tokio's time: what pauses or advances tokio's clock (`start_paused`) pauses or
/// advances this one, so that a test decides what time it is.
///
/// The wall clock is read once; from there on, time passes as tokio's monotonic clock has it. It never runs backwards, and
/// does not follow a system clock that is set while the process runs.
///
/// ```
/// use kore_store::Clock;
/// use jiff::Timestamp;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
/// tokio::time::sleep(Duration::from_secs(60)).await;
/// assert_eq!(clock.now().as_second(), 60);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    at: Instant,
}

impl Clock {
    /// The system's wall clock.
    #[allow(clippy::disallowed_methods)] // The one place that reads it: everybody else is handed a Clock.
    pub fn system() -> Clock {
        Clock::starting_at(Timestamp::now())
    }

    /// A clock that shows `now` now.
    pub fn starting_at(now: Timestamp) -> Clock {
        Clock { anchor: now, at: Instant::now() }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.at.elapsed()).unwrap_or(SignedDuration::MAX);
        self.anchor.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_stands_still() {
        let clock = Clock::system();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now().duration_since(before).as_millis(), 1500);
    }
}
