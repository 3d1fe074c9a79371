//! Who is told about changes in an informer, and how.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::informer::Cache;
use crate::object::{Object, ObjectKey};

/// One object's difference between what a subscriber last saw and what there is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The object's key.
    pub key: ObjectKey,
    /// As this subscriber last saw it; `None`: it did not exist. May be of another uid than `after`.
    pub before: Option<Object>,
    /// As it is now; `None`: it is gone.
    pub after: Option<Object>,
}

/// A subscription to an informer: yields the difference between what it last yielded and what there is, object by object.
///
/// Level-triggered: changes of an object that come faster than they are taken are joined into one, so that a slow
/// subscriber needs room for one entry an object and no more, and never loses one. A new subscription first yields all there is. Objects come
/// in the order in which they first changed.
pub struct Changes {
    cache: Arc<Cache>,
    queue: Arc<Queue>,
}

impl Changes {
    pub(super) fn new(cache: Arc<Cache>, queue: Arc<Queue>) -> Self {
        Self { cache, queue }
    }

    /// The next change; waits for one. `None` when the informer has been dropped together with its future.
    ///
    /// Cancel-safe: a change is taken or it is not.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.try_next() {
                return Some(change);
            }
            if self.cache.is_closed() {
                return None;
            }
            // A notification that came since is kept for the one subscriber there is.
            self.queue.notify.notified().await;
        }
    }

    /// The next change, if there is one now.
    pub fn try_next(&mut self) -> Option<Change> {
        loop {
            let (key, before, after) = self.cache.take(&self.queue)?;
            let same = match (&before, &after) {
                (None, None) => true,
                (Some(before), Some(after)) => before.ptr_eq(after),
                _ => false,
            };
            if !same {
                return Some(Change { key, before, after });
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

/// What one subscriber has yet to see.
#[derive(Default)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    notify: Notify,
}

#[derive(Default)]
struct Pending {
    order: VecDeque<ObjectKey>,
    /// The object as the subscriber last saw it, for each key in `order`.
    before: BTreeMap<ObjectKey, Option<Object>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `key` has changed; `before` is how it was until now.
    pub(super) fn push(&self, key: &ObjectKey, before: Option<&Object>) {
        let mut pending = self.lock();
        if !pending.before.contains_key(key) {
            pending.before.insert(key.clone(), before.cloned());
            pending.order.push_back(key.clone());
            drop(pending);
            self.notify.notify_one();
        }
    }

    /// The key that changed first, and the object as the subscriber last saw it.
    pub(super) fn pop(&self) -> Option<(ObjectKey, Option<Object>)> {
        let mut pending = self.lock();
        let key = pending.order.pop_front()?;
        let before = pending.before.remove(&key).expect("every key in order has its entry");
        Some((key, before))
    }

    /// Wakes the subscriber so that it sees that the informer is closed.
    pub(super) fn close(&self) {
        self.notify.notify_one();
    }
}
