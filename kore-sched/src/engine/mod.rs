//! The pure core: takes events and the time, returns commands. No clock, no I/O, no task, no lock, and no randomness but a
//! seed: the same calls give the same commands.
//!
//! - here: [`Engine`], what pods there are and what becomes of them
//! - `interface`: what goes in and what comes out
//! - `news`: what becomes of nodes and pods when there is news of them
//! - `attempt`: one scheduling cycle, from the queue to a promise or a refusal; `outcome`: what became of promises
//! - `cycle`: one pod against all nodes; `memo`, `ranking`, `totals`: answers remembered for classes of pods
//! - `queue`, `heap`: where pods wait
//! - `explain`, `message`: what users are told

mod attempt;
mod cycle;
mod explain;
mod heap;
mod interface;
mod memo;
mod message;
mod news;
mod outcome;
mod queue;
mod ranking;
mod totals;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::Time;
use crate::framework::{ClusterEvent, Ctx, Hint, Interest, Profile, ProfileError, Queued, Rejection};
use crate::nodes::Nodes;
use crate::pod::{Classes, PodInfo, PodKey};

pub use explain::{Explanation, NodeAnswer, NodeVerdict, PluginScore, Refused};
pub use interface::{Assignment, BindFailure, Command, Event, Limits, Report};
pub use queue::QueuePlace;

use memo::Memo;
use queue::{InFlight, Queue, Rejectors};

/// A pod the engine knows, and what is with it.
struct Known {
    info: Arc<PodInfo>,
    stage: Stage,
}

enum Stage {
    /// Nobody's, or being deleted: only known.
    Idle,
    /// In the queue.
    Queued,
    /// Promised to a node, and waiting for permissions.
    Held(Box<Held>),
    /// Promised to a node, and being bound.
    Binding { node: Arc<str>, flight: InFlight },
    /// On a node.
    Bound { node: Arc<str> },
}

struct Held {
    assignment: Assignment,
    flight: InFlight,
    /// The plugins whose permission is missing, by slot.
    missing: Vec<(usize, Time)>,
}

impl Known {
    fn node(&self) -> Option<&Arc<str>> {
        match &self.stage {
            Stage::Idle | Stage::Queued => None,
            Stage::Held(held) => Some(&held.assignment.node),
            Stage::Binding { node, .. } | Stage::Bound { node } => Some(node),
        }
    }
}

/// The scheduler's state and decisions.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use kore_sched::testing::{node, pod};
/// use kore_sched::{Command, Engine, Event, Limits, Profile};
///
/// # fn main() -> Result<(), kore_sched::ProfileError> {
/// let mut engine = Engine::new(vec![Profile::default()], Limits::default(), 42)?;
/// let now = Duration::ZERO;
/// engine.handle(Event::Node(Arc::new(node("a").build())), now);
/// engine.handle(Event::Pod(Arc::new(pod("web").cpu("100m").build())), now);
/// while engine.step(now) {}
/// let commands: Vec<Command> = engine.commands().collect();
/// assert!(matches!(&commands[..], [Command::Bind(bind)] if **bind.node() == *"a"));
/// # Ok(())
/// # }
/// ```
pub struct Engine {
    profiles: Vec<Profile>,
    memorable: Vec<bool>,
    nodes: Nodes,
    classes: Classes,
    pods: FxHashMap<PodKey, Known>,
    queue: Queue,
    memo: Memo,
    permits: BTreeSet<(Time, PodKey)>,
    commands: VecDeque<Command>,
    seed: u64,
}

impl Engine {
    /// An engine without nodes and pods. Ties are broken by `seed`.
    ///
    /// # Errors
    /// When there is no profile, two are for one scheduler name, or one lacks a plugin that orders the queue.
    pub fn new(profiles: Vec<Profile>, limits: Limits, seed: u64) -> Result<Engine, ProfileError> {
        if profiles.is_empty() {
            return Err(ProfileError::None);
        }
        for (at, profile) in profiles.iter().enumerate() {
            profile.check()?;
            if profiles[..at].iter().any(|other| other.name() == profile.name()) {
                return Err(ProfileError::SameName { profile: profile.name().to_owned() });
            }
        }
        Ok(Engine {
            memorable: profiles.iter().map(cycle::is_memorable).collect(),
            profiles,
            nodes: Nodes::default(),
            classes: Classes::default(),
            pods: FxHashMap::default(),
            memo: Memo::new(limits.remembered_rows),
            queue: Queue::new(limits),
            permits: BTreeSet::new(),
            commands: VecDeque::new(),
            seed,
        })
    }

    /// Takes in what happened. `now` never goes back.
    pub fn handle(&mut self, event: Event, now: Time) {
        match event {
            Event::Node(node) => self.set_node(&node, now),
            Event::NodeGone(name) => {
                if let Some(before) = self.nodes.remove_node(&name) {
                    self.announce(ClusterEvent::Node { before: Some(before), after: None }, now);
                }
            }
            Event::Pod(pod) => self.set_pod(pod, now),
            Event::PodGone(key) => self.remove_pod(&key, now),
            Event::Bound(assignment) => self.bound(&assignment),
            Event::BindFailed(assignment, failure) => self.bind_failed(assignment, failure, now),
            Event::Allowed { pod, plugin } => self.allow(&pod, &plugin),
            Event::Denied { pod, plugin, reason } => self.deny(&pod, &plugin, reason, now),
            Event::Other { resource } => self.announce(ClusterEvent::Other { resource }, now),
        }
    }

    /// What is to be done, in order. Each command is given once.
    pub fn commands(&mut self) -> impl Iterator<Item = Command> + '_ {
        self.commands.drain(..)
    }

    /// When the engine wants to be [stepped](Engine::step) next though nothing happens.
    pub fn due(&self) -> Option<Time> {
        let permits = self.permits.first().map(|(until, _)| *until);
        self.queue.due().into_iter().chain(permits).min()
    }

    /// The nodes, with what runs on them.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The profiles, in the order given.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The number of pods that wait, in whatever part of the queue.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The node a pod is on, or promised to.
    pub fn node_of(&self, pod: &PodKey) -> Option<&Arc<str>> {
        self.pods.get(pod)?.node()
    }

    /// Tells the pods that wait, and keeps the event for those in flight.
    fn announce(&mut self, event: ClusterEvent, now: Time) {
        self.announce_to_others(event, None, now);
    }

    /// A pod that gives up its place frees it for others: for itself it was not enough.
    fn announce_given_up(&mut self, pod: Arc<PodInfo>, now: Time) {
        let key = pod.key().clone();
        let event = ClusterEvent::AssignedPod { before: Some(pod), after: None };
        self.announce_to_others(event, Some(&key), now);
    }

    fn announce_to_others(&mut self, event: ClusterEvent, except: Option<&PodKey>, now: Time) {
        self.queue.note(&event);
        let kind = event.interest();
        let woken: Vec<(Arc<PodInfo>, bool)> = self
            .queue
            .interested(kind)
            .filter(|(pod, rejectors)| except != Some(pod.key()) && self.wakes(pod, rejectors, &event))
            .map(|(pod, rejectors)| (pod.clone(), rejectors.pending))
            .collect();
        for (pod, at_once) in woken {
            self.wake(&pod, at_once, now);
        }
    }

    /// Whether an event may let a pod run that those plugins refused.
    fn wakes(&self, pod: &PodInfo, rejectors: &Rejectors, event: &ClusterEvent) -> bool {
        let Some(profile) = self.profile_of(pod) else {
            return true;
        };
        let entries = self.profiles[profile].entries();
        rejectors.interest.meets(event.interest())
            && (rejectors.slots.is_empty()
                || rejectors.slots.iter().any(|slot| entries[*slot].hint(pod, event) == Hint::Queue))
    }

    fn wake(&mut self, pod: &Arc<PodInfo>, at_once: bool, now: Time) {
        if let Some(profile) = self.profile_of(pod) {
            let profile = self.profiles[profile].clone();
            if let Some((slot, _)) = self.pre_enqueue(&profile, pod, now) {
                self.queue.park(pod.clone(), 0, now, gate(&profile, slot));
                return;
            }
        }
        self.queue.wake(pod.key(), at_once, now, &order(&self.profiles));
    }

    fn profile_of(&self, pod: &PodInfo) -> Option<usize> {
        self.profiles.iter().position(|profile| profile.name() == pod.scheduler_name())
    }

    /// The first plugin that does not let the pod into the queue.
    fn pre_enqueue(&self, profile: &Profile, pod: &PodInfo, now: Time) -> Option<(usize, Rejection)> {
        let ctx = Ctx::new(&self.nodes, pod, now);
        let entries = profile.entries().iter().enumerate();
        entries
            .filter_map(|(slot, entry)| Some((slot, entry.pre_enqueue.as_ref()?)))
            .find_map(|(slot, plugin)| Some((slot, plugin.pre_enqueue(&ctx).err()?)))
    }
}

fn gate(profile: &Profile, slot: usize) -> Rejectors {
    let interest = profile.entries()[slot].interest().or(Interest::THIS_POD);
    Rejectors { slots: vec![slot], interest, pending: false, gated: true }
}

/// The order of the queue: every profile has one, and the first profile's counts.
fn order(profiles: &[Profile]) -> impl Fn(Queued<'_>, Queued<'_>) -> std::cmp::Ordering + use<> {
    let entries = profiles.first().map(|profile| profile.entries()).unwrap_or_default();
    let sort = entries.iter().find_map(|entry| entry.queue_sort.clone());
    move |a, b| match &sort {
        Some(sort) => sort.compare(a, b),
        None => std::cmp::Ordering::Equal,
    }
}
