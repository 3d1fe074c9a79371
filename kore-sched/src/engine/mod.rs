//! The pure core: takes events and the time, returns commands. No clock, no I/O, no task, no lock, and no randomness but a
//! seed: the same calls give the same commands.
//!
//! - here: [`Engine`], what pods there are and what becomes of them
//! - `attempt`: one scheduling cycle, from the queue to a place or a refusal
//! - `cycle`, `memo`: one pod against all nodes, and answers remembered for classes of pods
//! - `queue`, `heap`: where pods wait
//! - `explain`, `message`: what users are told

mod attempt;
mod cycle;
mod explain;
mod heap;
mod memo;
mod message;
mod queue;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use rustc_hash::FxHashMap;

use crate::Time;
use crate::framework::erased::State;
use crate::framework::{
    ClusterEvent, Ctx, Hint, Interest, Profile, ProfileError, Queued, Rejection,
};
use crate::node::NodeInfo;
use crate::nodes::Nodes;
use crate::pod::{Classes, PodInfo, PodKey};

pub use explain::{Explanation, NodeAnswer, NodeVerdict, PluginScore, Refused};
pub use queue::QueuePlace;

use memo::Memo;
use queue::{InFlight, Queue, Rejectors};

/// The limits of an [`Engine`]. Start from the default and change what is to differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The back-off after a pod's first attempt; it doubles with each. 1 s.
    pub initial_back_off: Duration,
    /// The longest back-off. 10 s.
    pub max_back_off: Duration,
    /// A pod that waited for an event for so long is tried anyway. 5 min.
    pub unschedulable_flush: Duration,
    /// Events kept for pods that are being bound. When there are more, those pods are tried again if their binding fails,
    /// whatever happened. 16,384.
    pub in_flight_events: usize,
    /// Answers remembered for classes of pods, in nodes times classes: 8 bytes for each scoring plugin. The class asked
    /// about longest ago is forgotten first. 2^20.
    pub remembered_rows: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            initial_back_off: Duration::from_secs(1),
            max_back_off: Duration::from_secs(10),
            unschedulable_flush: Duration::from_secs(300),
            in_flight_events: 1 << 14,
            remembered_rows: 1 << 20,
        }
    }
}

/// Something the engine is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A node as it is now.
    Node(Arc<Node>),
    /// The node of that name is gone.
    NodeGone(String),
    /// A pod as it is now.
    Pod(Arc<Pod>),
    /// The pod is gone.
    PodGone(PodKey),
    /// A [`Command::Bind`] was done.
    Bound(Assignment),
    /// A [`Command::Bind`] could not be done.
    BindFailed(Assignment, BindFailure),
    /// A pod that waits for a permission has that plugin's.
    Allowed {
        /// The pod.
        pod: PodKey,
        /// The plugin that had it wait.
        plugin: String,
    },
    /// A pod that waits for a permission will not get it.
    Denied {
        /// The pod.
        pod: PodKey,
        /// The plugin that had it wait.
        plugin: String,
        /// Why.
        reason: String,
    },
    /// Something happened to another resource that pods may wait for.
    Other {
        /// The resource, such as `persistentvolumeclaims`.
        resource: Arc<str>,
    },
}

/// Why a pod could not be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindFailure {
    /// The pod is gone, or somebody else bound it: the pod's own event says so, or will.
    Overtaken,
    /// A plugin refused.
    Refused {
        /// The plugin.
        plugin: &'static str,
        /// Why.
        rejection: Rejection,
    },
    /// It failed.
    Failed {
        /// Why.
        message: String,
    },
}

/// Something the engine wants done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Bind a pod to a node, and answer with [`Event::Bound`] or [`Event::BindFailed`]. The engine counts the pod there
    /// already.
    Bind(Assignment),
    /// Tell users that a pod could not be placed.
    Report(Report),
    /// Evict pods, so that a pod has room on a node.
    Evict {
        /// The pod that needs the room.
        pod: Arc<PodInfo>,
        /// The node.
        node: Arc<str>,
        /// The pods to evict.
        victims: Vec<PodKey>,
    },
}

/// A pod that could not be placed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// Upstream's word for it: `Unschedulable` or `SchedulerError`.
    pub reason: &'static str,
    /// What users are told.
    pub message: String,
}

/// A pod with the node it is promised to, and what its plugins remember of it.
pub struct Assignment {
    pub(crate) pod: Arc<PodInfo>,
    pub(crate) node: Arc<str>,
    pub(crate) profile: usize,
    pub(crate) states: Vec<State>,
}

impl Assignment {
    /// The pod.
    pub fn pod(&self) -> &Arc<PodInfo> {
        &self.pod
    }

    /// The node's name.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }
}

impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.pod.key(), self.node)
    }
}

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
            if profiles[..at]
                .iter()
                .any(|other| other.name() == profile.name())
            {
                return Err(ProfileError::SameName {
                    profile: profile.name().to_owned(),
                });
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
                    self.announce(
                        ClusterEvent::Node {
                            before: Some(before),
                            after: None,
                        },
                        now,
                    );
                }
            }
            Event::Pod(pod) => self.set_pod(pod, now),
            Event::PodGone(key) => self.remove_pod(&key, now),
            Event::Bound(assignment) => self.bound(&assignment),
            Event::BindFailed(assignment, failure) => self.bind_failed(assignment, failure, now),
            Event::Allowed { pod, plugin } => self.allow(&pod, &plugin),
            Event::Denied {
                pod,
                plugin,
                reason,
            } => self.deny(&pod, &plugin, reason, now),
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

    fn set_node(&mut self, node: &Node, now: Time) {
        let after = Arc::new(NodeInfo::read(node));
        let known = self
            .nodes
            .find(&after.name)
            .map(|index| self.nodes.info(index));
        if known.is_some_and(|known| **known == *after) {
            return;
        }
        let before = self.nodes.set_node(after.clone());
        self.announce(
            ClusterEvent::Node {
                before,
                after: Some(after),
            },
            now,
        );
    }

    fn set_pod(&mut self, pod: Arc<Pod>, now: Time) {
        let info = Arc::new(self.classes.read(pod));
        let key = info.key().clone();
        if self
            .pods
            .get(&key)
            .is_some_and(|known| known.info.uid() != info.uid())
        {
            self.remove_pod(&key, now);
        }
        if info.has_ended() {
            self.remove_pod(&key, now);
        } else if self.pods.contains_key(&key) {
            self.update_pod(info, now);
        } else if let Some(node) = info.node_name().cloned() {
            self.arrive(info, node, now);
        } else {
            self.let_in(info, now);
        }
    }

    /// A pod is on a node that no cycle of ours put it on.
    fn arrive(&mut self, info: Arc<PodInfo>, node: Arc<str>, now: Time) {
        self.nodes.add_pod(&node, info.clone());
        let known = Known {
            info: info.clone(),
            stage: Stage::Bound { node },
        };
        self.pods.insert(info.key().clone(), known);
        self.announce(
            ClusterEvent::AssignedPod {
                before: None,
                after: Some(info),
            },
            now,
        );
    }

    /// A pod without a node is new to the queue.
    fn let_in(&mut self, info: Arc<PodInfo>, now: Time) {
        let key = info.key().clone();
        let stage = match self.profile_of(&info) {
            Some(profile) if !info.is_deleting() => {
                let profile = self.profiles[profile].clone();
                match self.pre_enqueue(&profile, &info, now) {
                    Some((slot, _)) => self.queue.park(info.clone(), 0, now, gate(&profile, slot)),
                    None => self
                        .queue
                        .admit(info.clone(), 0, now, &order(&self.profiles)),
                }
                Stage::Queued
            }
            _ => Stage::Idle,
        };
        self.pods.insert(key, Known { info, stage });
    }

    fn update_pod(&mut self, info: Arc<PodInfo>, now: Time) {
        let key = info.key().clone();
        let known = self.pods.get_mut(&key).expect("asked before");
        let before = std::mem::replace(&mut known.info, info.clone());
        match (&known.stage, info.node_name().cloned()) {
            (Stage::Bound { node }, Some(now_on)) if *node == now_on => {
                self.nodes.add_pod(&now_on, info.clone());
                if before.class_id() != info.class_id() {
                    let event = ClusterEvent::AssignedPod {
                        before: Some(before),
                        after: Some(info),
                    };
                    self.announce(event, now);
                }
            }
            // We know that it is bound; this was written before that.
            (Stage::Bound { .. }, None) => known.info = before,
            (Stage::Held(_) | Stage::Binding { .. }, Some(now_on))
                if known.node() == Some(&now_on) =>
            {
                self.nodes.add_pod(&now_on, info);
                let stage = std::mem::replace(&mut known.stage, Stage::Bound { node: now_on });
                self.settle(&key, stage);
            }
            (Stage::Held(_) | Stage::Binding { .. }, None) if !info.is_deleting() => {
                let node = known.node().expect("promised to a node").clone();
                self.nodes.add_pod(&node, info);
            }
            (Stage::Queued, None) if !info.is_deleting() => self.update_queued(before, info, now),
            (_, now_on) => {
                known.info = before;
                self.remove_pod(&key, now);
                match now_on {
                    Some(node) => self.arrive(info, node, now),
                    None => self.let_in(info, now),
                }
            }
        }
    }

    fn update_queued(&mut self, before: Arc<PodInfo>, after: Arc<PodInfo>, now: Time) {
        let key = after.key().clone();
        self.queue.replace(&after, &order(&self.profiles));
        // Writes of our own, such as the condition that says why it waits, change nothing that matters.
        let (was, is) = (before.object(), after.object());
        let same = before.class_id() == after.class_id()
            && before.priority() == after.priority()
            && was.map(|pod| (&pod.spec, &pod.metadata.annotations))
                == is.map(|pod| (&pod.spec, &pod.metadata.annotations));
        if same {
            return;
        }
        let event = ClusterEvent::ThisPod {
            before,
            after: after.clone(),
        };
        if let Some(rejectors) = self.queue.rejectors(&key)
            && self.wakes(&after, rejectors, &event)
        {
            let at_once = rejectors.pending;
            self.wake(&after, at_once, now);
        }
    }

    fn remove_pod(&mut self, key: &PodKey, now: Time) {
        let Some(known) = self.pods.remove(key) else {
            return;
        };
        if let Some(node) = known.node().cloned() {
            self.nodes.remove_pod(&node, key);
            self.settle(key, known.stage);
            let event = ClusterEvent::AssignedPod {
                before: Some(known.info),
                after: None,
            };
            self.announce(event, now);
        } else {
            self.queue.remove(key);
        }
        if self.classes.sweep() {
            self.memo.retain(&self.classes.ids());
        }
    }

    /// Ends the flight of a pod that needs nothing of the queue any more. What a held pod reserved is given back unless it
    /// is bound there; a pod that is being bound gives back when the answer comes.
    fn settle(&mut self, key: &PodKey, stage: Stage) {
        match stage {
            Stage::Idle | Stage::Queued | Stage::Bound { .. } => {}
            Stage::Binding { flight, .. } => {
                self.queue.settle(&flight, |_| false);
            }
            Stage::Held(held) => {
                let Held {
                    mut assignment,
                    flight,
                    missing,
                } = *held;
                self.forget_permits(key, &missing);
                self.queue.settle(&flight, |_| false);
                if !matches!(self.pods.get(key), Some(Known { stage: Stage::Bound { node }, .. }) if *node == assignment.node)
                {
                    self.unreserve(&mut assignment);
                }
            }
        }
    }

    fn forget_permits(&mut self, key: &PodKey, missing: &[(usize, Time)]) {
        for (_, until) in missing {
            self.permits.remove(&(*until, key.clone()));
        }
    }

    /// Tells the pods that wait, and keeps the event for those in flight.
    fn announce(&mut self, event: ClusterEvent, now: Time) {
        self.announce_to_others(event, None, now);
    }

    /// A pod that gives up its place frees it for others: for itself it was not enough.
    fn announce_given_up(&mut self, pod: Arc<PodInfo>, now: Time) {
        let key = pod.key().clone();
        let event = ClusterEvent::AssignedPod {
            before: Some(pod),
            after: None,
        };
        self.announce_to_others(event, Some(&key), now);
    }

    fn announce_to_others(&mut self, event: ClusterEvent, except: Option<&PodKey>, now: Time) {
        self.queue.note(&event);
        let kind = event.interest();
        let woken: Vec<(Arc<PodInfo>, bool)> = self
            .queue
            .interested(kind)
            .filter(|(pod, rejectors)| {
                except != Some(pod.key()) && self.wakes(pod, rejectors, &event)
            })
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
                || rejectors
                    .slots
                    .iter()
                    .any(|slot| entries[*slot].hint(pod, event) == Hint::Queue))
    }

    fn wake(&mut self, pod: &Arc<PodInfo>, at_once: bool, now: Time) {
        if let Some(profile) = self.profile_of(pod) {
            let profile = self.profiles[profile].clone();
            if let Some((slot, _)) = self.pre_enqueue(&profile, pod, now) {
                self.queue.park(pod.clone(), 0, now, gate(&profile, slot));
                return;
            }
        }
        self.queue
            .wake(pod.key(), at_once, now, &order(&self.profiles));
    }

    fn profile_of(&self, pod: &PodInfo) -> Option<usize> {
        self.profiles
            .iter()
            .position(|profile| profile.name() == pod.scheduler_name())
    }

    /// The first plugin that does not let the pod into the queue.
    fn pre_enqueue(
        &self,
        profile: &Profile,
        pod: &PodInfo,
        now: Time,
    ) -> Option<(usize, Rejection)> {
        let ctx = Ctx::new(&self.nodes, pod, now);
        let entries = profile.entries().iter().enumerate();
        entries
            .filter_map(|(slot, entry)| Some((slot, entry.pre_enqueue.as_ref()?)))
            .find_map(|(slot, plugin)| Some((slot, plugin.pre_enqueue(&ctx).err()?)))
    }
}

fn gate(profile: &Profile, slot: usize) -> Rejectors {
    let interest = profile.entries()[slot].interest().or(Interest::THIS_POD);
    Rejectors {
        slots: vec![slot],
        interest,
        pending: false,
        gated: true,
    }
}

/// The order of the queue: every profile has one, and the first profile's counts.
fn order(profiles: &[Profile]) -> impl Fn(Queued<'_>, Queued<'_>) -> std::cmp::Ordering + use<> {
    let entries = profiles
        .first()
        .map(|profile| profile.entries())
        .unwrap_or_default();
    let sort = entries.iter().find_map(|entry| entry.queue_sort.clone());
    move |a, b| match &sort {
        Some(sort) => sort.compare(a, b),
        None => std::cmp::Ordering::Equal,
    }
}
