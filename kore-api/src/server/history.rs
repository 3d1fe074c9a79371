//! How long the server remembers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use kore_store::Error;
use tokio::time::Instant;

use super::core::Core;

/// In so many steps the past moves on.
const STEPS: u32 = 5;

/// Lets the store and the caches forget what is older than `history`, step by step, for ever.
pub(super) async fn keep(core: Arc<Core>, history: Duration) {
    let step = (history / STEPS).max(Duration::from_millis(1));
    // Revisions, and when they were the present one.
    let mut marks: VecDeque<(Instant, u64)> = VecDeque::new();
    loop {
        let now = Instant::now();
        if let Ok(status) = core.store.status().await
            && marks.back().is_none_or(|(_, revision)| *revision < status.revision)
        {
            marks.push_back((now, status.revision));
        }
        let mut due = None;
        while marks.front().is_some_and(|(then, _)| now.duration_since(*then) >= history) {
            due = marks.pop_front();
        }
        if let Some((_, revision)) = due {
            match core.store.compact(revision).await {
                // Another server over the same store may have been faster.
                Ok(()) | Err(Error::Compacted { .. }) => core.caches.forget(revision),
                Err(error) => {
                    tracing::warn!(revision, %error, "the store cannot be compacted; trying again later")
                }
            }
        }
        tokio::time::sleep(step).await;
    }
}
