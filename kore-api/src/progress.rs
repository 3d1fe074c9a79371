//! A number that grows, and those who wait for it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A number that grows, unless it is begun anew. Those who wait for it are woken in the order in which they came.
///
/// That order is why this is not tokio's `watch`, which wakes them in a random one: what happens next would depend on it, and no seed
/// decides it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    reached: AtomicU64,
    grown: Notify,
}

impl Progress {
    pub(crate) fn get(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Raises it to `to`, unless it is there.
    pub(crate) fn advance(&self, to: u64) {
        if self.reached.fetch_max(to, Ordering::AcqRel) < to {
            self.grown.notify_waiters();
        }
    }

    /// Begins anew from `to`, which may be lower than where it was.
    pub(crate) fn set(&self, to: u64) {
        self.reached.store(to, Ordering::Release);
        self.grown.notify_waiters();
    }

    /// Raises it by one.
    pub(crate) fn step(&self) {
        self.reached.fetch_add(1, Ordering::AcqRel);
        self.grown.notify_waiters();
    }

    /// Waits until it is `wanted` or more.
    pub(crate) async fn reach(&self, wanted: u64) {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // From here on nothing is missed, so that looking comes after.
            grown.as_mut().enable();
            if self.get() >= wanted {
                return;
            }
            grown.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let progress = Arc::new(Progress::default());
        let woken: Arc<Mutex<Vec<u64>>> = Arc::default();
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (progress, woken) = (progress.clone(), woken.clone());
            waiting.spawn(async move {
                progress.reach(2).await;
                woken.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        progress.advance(1);
        tokio::task::yield_now().await;
        assert!(woken.lock().unwrap().is_empty());
        progress.step();
        waiting.join_all().await;
        assert!(woken.lock().unwrap().is_sorted());
        progress.advance(1);
        assert_eq!(progress.get(), 2);
    }
}
