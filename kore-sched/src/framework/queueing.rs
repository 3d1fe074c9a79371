//! The points of the queue: who may enter, who goes first, what wakes a pod that waits.

use std::cmp::Ordering;
use std::ops::BitOr;
use std::sync::Arc;

use super::{Ctx, Plugin, Verdict};
use crate::Time;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Says whether a pod may enter the queue at all. A pod that may not costs nothing until it changes, or until an event the
/// plugin is [interested](Enqueue) in.
///
/// ```
/// use kore_sched::{Ctx, Plugin, PreEnqueue, Rejection, Verdict};
///
/// struct Embargo;
///
/// impl Plugin for Embargo {
///     type State = ();
///     fn name(&self) -> &'static str { "Embargo" }
/// }
///
/// impl PreEnqueue for Embargo {
///     fn pre_enqueue(&self, ctx: &Ctx<'_>) -> Verdict {
///         match ctx.pod().class().labels.contains_key("embargo") {
///             true => Err(Rejection::unresolvable("under embargo")),
///             false => Ok(()),
///         }
///     }
/// }
/// ```
pub trait PreEnqueue: Plugin {
    /// Whether the pod may be queued.
    fn pre_enqueue(&self, ctx: &Ctx<'_>) -> Verdict;
}

/// A pod in the queue, as [`QueueSort`] sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Queued<'a> {
    /// The pod.
    pub pod: &'a PodInfo,
    /// When it last entered the queue.
    pub since: Time,
    /// How often it was tried.
    pub attempts: u32,
}

impl<'a> Queued<'a> {
    pub(crate) fn new(pod: &'a PodInfo, since: Time, attempts: u32) -> Queued<'a> {
        Queued { pod, since, attempts }
    }
}

/// Says which pod goes first. There is one queue: every profile of a scheduler must have the same one.
///
/// ```
/// use kore_sched::{Plugin, QueueSort, Queued};
/// use std::cmp::Ordering;
///
/// struct FirstComeFirstServed;
///
/// impl Plugin for FirstComeFirstServed {
///     type State = ();
///     fn name(&self) -> &'static str { "FirstComeFirstServed" }
/// }
///
/// impl QueueSort for FirstComeFirstServed {
///     fn compare(&self, a: Queued<'_>, b: Queued<'_>) -> Ordering {
///         a.since.cmp(&b.since)
///     }
/// }
/// ```
pub trait QueueSort: Plugin {
    /// `Less` when `a` goes before `b`. A total order on what it looks at; equals go in the order of arrival.
    fn compare(&self, a: Queued<'_>, b: Queued<'_>) -> Ordering;
}

/// Something happened that may let a waiting pod run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterEvent {
    /// A node came (`before` is `None`), went (`after` is `None`) or changed.
    Node {
        /// What it was.
        before: Option<Arc<NodeInfo>>,
        /// What it is.
        after: Option<Arc<NodeInfo>>,
    },
    /// A pod on a node came, went or changed. A pod that a cycle just placed does not count: it frees nothing.
    AssignedPod {
        /// What it was.
        before: Option<Arc<PodInfo>>,
        /// What it is.
        after: Option<Arc<PodInfo>>,
    },
    /// The waiting pod itself changed.
    ThisPod {
        /// What it was.
        before: Arc<PodInfo>,
        /// What it is.
        after: Arc<PodInfo>,
    },
    /// Anything else a driver was asked to watch, or a plugin announced.
    Other {
        /// What it was about, such as `persistentvolumeclaims`.
        resource: Arc<str>,
    },
}

impl ClusterEvent {
    /// The kinds of event this is.
    pub fn interest(&self) -> Interest {
        match self {
            ClusterEvent::Node { before: None, .. } => Interest::NODE_ADDED,
            ClusterEvent::Node { after: None, .. } => Interest::NODE_REMOVED,
            ClusterEvent::Node { before: Some(before), after: Some(after) } => changes_of(before, after),
            ClusterEvent::AssignedPod { before: None, .. } => Interest::POD_ADDED,
            ClusterEvent::AssignedPod { after: None, .. } => Interest::POD_REMOVED,
            ClusterEvent::AssignedPod { .. } => Interest::POD_CHANGED,
            ClusterEvent::ThisPod { .. } => Interest::THIS_POD,
            ClusterEvent::Other { .. } => Interest::OTHER,
        }
    }
}

fn changes_of(before: &NodeInfo, after: &NodeInfo) -> Interest {
    let changed = |changed: bool, interest: Interest| if changed { interest } else { Interest::NONE };
    changed(
        before.allocatable != after.allocatable || before.pods_allowed != after.pods_allowed,
        Interest::NODE_ALLOCATABLE,
    ) | changed(before.labels != after.labels, Interest::NODE_LABELS)
        | changed(before.annotations != after.annotations, Interest::NODE_ANNOTATIONS)
        | changed(before.taints != after.taints || before.unschedulable != after.unschedulable, Interest::NODE_TAINTS)
}

/// A set of kinds of [`ClusterEvent`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Nothing.
    pub const NONE: Interest = Interest(0);
    /// A node came.
    pub const NODE_ADDED: Interest = Interest(1);
    /// A node went.
    pub const NODE_REMOVED: Interest = Interest(1 << 1);
    /// What a node offers changed.
    pub const NODE_ALLOCATABLE: Interest = Interest(1 << 2);
    /// A node's labels changed.
    pub const NODE_LABELS: Interest = Interest(1 << 3);
    /// A node's taints changed, or it was cordoned or uncordoned.
    pub const NODE_TAINTS: Interest = Interest(1 << 4);
    /// A node's annotations changed.
    pub const NODE_ANNOTATIONS: Interest = Interest(1 << 5);
    /// A pod appeared on a node that no cycle of this scheduler placed there.
    pub const POD_ADDED: Interest = Interest(1 << 6);
    /// A pod left its node, or ended.
    pub const POD_REMOVED: Interest = Interest(1 << 7);
    /// A pod on a node changed: labels, or what it asks for.
    pub const POD_CHANGED: Interest = Interest(1 << 8);
    /// The waiting pod itself changed.
    pub const THIS_POD: Interest = Interest(1 << 9);
    /// Anything else.
    pub const OTHER: Interest = Interest(1 << 10);
    /// Everything.
    pub const ALL: Interest = Interest((1 << 11) - 1);

    /// Whether the two sets have a kind in common.
    pub const fn meets(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }

    /// Either.
    pub const fn or(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.or(other)
    }
}

/// Whether an event may let a pod run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It may: try the pod.
    Queue,
    /// It cannot, as far as this plugin is concerned.
    Skip,
}

/// Says which events may let a pod run that this plugin refused.
///
/// Optional: a plugin without it is woken by every event, which is always right. Saying too little leaves pods waiting for
/// up to five minutes that could run. When unsure, `Queue`.
///
/// ```
/// use kore_sched::{ClusterEvent, Enqueue, Hint, Interest, Plugin, PodInfo};
///
/// struct Ssd;
///
/// impl Plugin for Ssd {
///     type State = ();
///     fn name(&self) -> &'static str { "Ssd" }
/// }
///
/// impl Enqueue for Ssd {
///     fn interest(&self) -> Interest {
///         Interest::NODE_ADDED | Interest::NODE_LABELS
///     }
///
///     fn hint(&self, _: &PodInfo, event: &ClusterEvent) -> Hint {
///         match event {
///             ClusterEvent::Node { after: Some(node), .. } if !node.labels.contains_key("ssd") => Hint::Skip,
///             _ => Hint::Queue,
///         }
///     }
/// }
/// ```
pub trait Enqueue: Plugin {
    /// The kinds of event to be asked about.
    fn interest(&self) -> Interest;

    /// Whether that event may let that pod run.
    fn hint(&self, _pod: &PodInfo, _event: &ClusterEvent) -> Hint {
        Hint::Queue
    }
}
