//! Until when a pod must be over, for what is under way: hooks are cut short by it, and stops.

use tokio::{sync::watch, time::Instant};

/// The worker's side. The end only ever comes closer.
pub(super) struct Ends(watch::Sender<Option<Instant>>);

/// An action's side.
pub(super) struct Ending(watch::Receiver<Option<Instant>>);

impl Ends {
    pub(super) fn new() -> Ends {
        Ends(watch::Sender::new(None))
    }

    /// Everything must be over by then.
    pub(super) fn end_by(&self, by: Instant) {
        self.0.send_if_modified(|known| {
            let sooner = known.is_none_or(|known| by < known);
            if sooner {
                *known = Some(by);
            }
            sooner
        });
    }

    pub(super) fn ending(&self) -> Ending {
        Ending(self.0.subscribe())
    }
}

impl Ending {
    /// When everything must be over, as far as is known now.
    pub(super) fn by(&mut self) -> Option<Instant> {
        *self.0.borrow_and_update()
    }

    /// Waits until the end is closer than it was when [`by`](Self::by) was last asked.
    pub(super) async fn comes_closer(&mut self) {
        if self.0.changed().await.is_err() {
            // The worker is gone, and whoever waits here with it.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until there is an end in sight.
    pub(super) async fn comes(&mut self) {
        while self.by().is_none() {
            self.comes_closer().await;
        }
    }
}
