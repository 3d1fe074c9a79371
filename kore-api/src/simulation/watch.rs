//! Watches that are late, and break.

use futures::{StreamExt, stream};

use super::Faults;
use crate::error::Error;
use crate::request::WatchStream;

/// The same events in the same order, later, until it breaks.
pub(super) fn unreliable(events: WatchStream, faults: Faults) -> WatchStream {
    // `None`: it has broken.
    let start = (Some(events), faults);
    stream::unfold(start, async |(events, faults)| {
        let mut events = events?;
        let event = events.next().await?;
        faults.hold_back().await;
        match faults.draw_break() {
            None => Some((event, (Some(events), faults))),
            Some(true) => {
                let error = Error::Transport {
                    target: "watch".into(),
                    problem: "the connection was lost, as the simulation has it".into(),
                };
                Some((Err(error), (None, faults)))
            }
            Some(false) => None,
        }
    })
    .boxed()
}
