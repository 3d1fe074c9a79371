//! Which of many watches has something to say: each rings a bell of its own, and only those that rang are polled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;

/// The bells that have rung, in their order.
#[derive(Default)]
pub(super) struct Bells {
    rung: Arc<Rung>,
}

#[derive(Default)]
struct Rung {
    ids: Mutex<VecDeque<i64>>,
    /// Whoever waits for one.
    listener: AtomicWaker,
}

impl Rung {
    fn ids(&self) -> MutexGuard<'_, VecDeque<i64>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One bell: as a waker, it rings when it is woken.
pub(super) struct Bell {
    inner: Arc<Inner>,
    waker: Waker,
}

struct Inner {
    id: i64,
    /// It rings once until somebody looks.
    rings: AtomicBool,
    rung: Arc<Rung>,
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rings.swap(true, Ordering::AcqRel) {
            self.rung.ids().push_back(self.id);
            self.rung.listener.wake();
        }
    }
}

impl Bells {
    /// A bell with this id. It rings: nobody has looked yet.
    pub(super) fn bell(&self, id: i64) -> Bell {
        let inner = Arc::new(Inner { id, rings: AtomicBool::new(false), rung: self.rung.clone() });
        let bell = Bell { waker: Waker::from(inner.clone()), inner };
        bell.ring();
        bell
    }

    /// The next that rang; None: whoever asks is woken when one does.
    pub(super) fn next(&self, context: &Context<'_>) -> Option<i64> {
        let next = self.rung.ids().pop_front();
        next.or_else(|| {
            self.rung.listener.register(context.waker());
            // One may have rung before there was a listener.
            self.rung.ids().pop_front()
        })
    }
}

impl Bell {
    /// Rings.
    pub(super) fn ring(&self) {
        self.waker.wake_by_ref();
    }

    /// Makes ready to ring anew, by this waker.
    pub(super) fn quiet(&self) -> &Waker {
        self.inner.rings.store(false, Ordering::Release);
        &self.waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bell_rings_once_until_it_is_quieted() {
        let bells = Bells::default();
        let context = Context::from_waker(Waker::noop());
        let (one, two) = (bells.bell(1), bells.bell(2));
        one.ring();
        assert_eq!(bells.next(&context), Some(1));
        assert_eq!(bells.next(&context), Some(2));
        assert_eq!(bells.next(&context), None);
        one.ring();
        assert_eq!(bells.next(&context), None, "nobody has looked since it rang");
        two.quiet().wake_by_ref();
        assert_eq!(bells.next(&context), Some(2));
    }
}
