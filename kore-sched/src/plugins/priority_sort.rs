//! The order of the queue.

use std::cmp::Ordering;

use crate::{Depends, Plugin, QueueSort, Queued};

/// Higher priority first; among equals whoever has been in the queue for longest.
pub struct PrioritySort;

impl Plugin for PrioritySort {
    type State = ();

    fn name(&self) -> &'static str {
        "PrioritySort"
    }

    fn depends(&self) -> Depends {
        Depends::Pod
    }
}

impl QueueSort for PrioritySort {
    fn compare(&self, a: Queued<'_>, b: Queued<'_>) -> Ordering {
        let by_priority = b.pod.priority().cmp(&a.pod.priority());
        by_priority.then(a.since.cmp(&b.since))
    }
}
