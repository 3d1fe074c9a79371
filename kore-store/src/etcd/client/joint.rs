//! One future for many who wait for the same thing.

use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

/// What several callers may be waiting for.
///
/// Whoever of them is polled drives it. A lock would not do: its holder may be a future that is kept and not polled, such
/// as a call in one arm of somebody's `select!`, and everybody else would wait for it.
#[derive(Debug)]
pub(super) struct Joint<T: Clone> {
    running: Mutex<Option<WeakShared<BoxFuture<'static, T>>>>,
}

impl<T: Clone> Default for Joint<T> {
    fn default() -> Joint<T> {
        Joint { running: Mutex::new(None) }
    }
}

impl<T: Clone + Send + Sync + 'static> Joint<T> {
    /// Waits for what runs already or, if nothing does, for this.
    pub(super) fn join(&self, begin: impl FnOnce() -> BoxFuture<'static, T>) -> Shared<BoxFuture<'static, T>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = running.as_ref().and_then(WeakShared::upgrade)
            && shared.peek().is_none()
        {
            return shared;
        }
        let shared = begin().shared();
        *running = shared.downgrade();
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn one_who_is_not_polled_holds_nobody_up() {
        let joint: Joint<u32> = Joint::default();
        let begun = Arc::new(AtomicU32::new(0));
        let begin = || {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                number
            }
            .boxed()
        };
        let mut kept = joint.join(begin);
        assert!(futures::poll!(&mut kept).is_pending());
        assert_eq!(joint.join(begin).await, 0);
        assert_eq!(kept.await, 0);
        // What is over is not waited for again, nor what everybody has given up.
        let given_up = joint.join(begin);
        drop(given_up);
        assert_eq!(joint.join(begin).await, 2);
    }
}
