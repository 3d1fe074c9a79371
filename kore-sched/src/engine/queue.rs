//! Where pods wait: ready, backing off, or until something happens that may let them run.
//!
//! Nothing is lost between places: a pod that is being tried or bound when an event comes is *in flight*, and the events
//! since it was taken out are kept until it is settled. Only the engine decides what an event means to a pod.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::heap::Heap;
use crate::framework::{ClusterEvent, Interest, Queued};
use crate::pod::{PodInfo, PodKey};
use crate::{Limits, Time};

/// The plugins that refused a pod, and with it what may wake it.
#[derive(Clone, Debug, Default)]
pub(super) struct Rejectors {
    /// Their slots in the pod's profile.
    pub(super) slots: Vec<usize>,
    /// Everything that any of them is interested in.
    pub(super) interest: Interest,
    /// One of them waits for something it asked for: its wake-up skips the back-off.
    pub(super) pending: bool,
    /// The pod was not even let into the queue.
    pub(super) gated: bool,
}

/// A pod that was taken out of the queue and is not settled yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(super) attempts: u32,
    /// The number of the first event it has not taken into account.
    events_from: u64,
}

struct Waiting {
    pod: Arc<PodInfo>,
    since: Time,
    attempts: u32,
    ticket: u64,
    place: Place,
}

enum Place {
    Active,
    /// `patient`: not even when there is nothing else to do is it tried before.
    BackingOff {
        until: Time,
        patient: bool,
    },
    Parked(Rejectors),
}

struct Ready {
    pod: Arc<PodInfo>,
    since: Time,
    attempts: u32,
    ticket: u64,
}

/// Where a pod waits, for those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueuePlace {
    /// It is tried as soon as its turn comes.
    Active,
    /// It was tried, and is tried again then; sooner when there is nothing else to do.
    BackingOff {
        /// When.
        until: Time,
    },
    /// It waits for an event.
    Unschedulable,
    /// It has not been let in.
    Gated,
}

/// The order of the queue.
pub(super) type Order<'a> = &'a dyn Fn(Queued<'_>, Queued<'_>) -> Ordering;

pub(super) struct Queue {
    limits: Limits,
    waiting: FxHashMap<PodKey, Waiting>,
    active: Heap<Ready>,
    backing_off: BTreeMap<(Time, u64), PodKey>,
    patient: BTreeMap<(Time, u64), PodKey>,
    parked: BTreeMap<(Time, u64), PodKey>,
    /// Everything any parked pod may be interested in: events outside of it need no look at the pods.
    interest: Interest,
    next_ticket: u64,
    events: VecDeque<ClusterEvent>,
    first_event: u64,
    in_flight: BTreeMap<u64, usize>,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Queue {
        Queue {
            limits,
            waiting: FxHashMap::default(),
            active: Heap::default(),
            backing_off: BTreeMap::new(),
            patient: BTreeMap::new(),
            parked: BTreeMap::new(),
            interest: Interest::NONE,
            next_ticket: 0,
            events: VecDeque::new(),
            first_event: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// The number of pods that wait, wherever.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn place(&self, pod: &PodKey) -> Option<QueuePlace> {
        Some(match &self.waiting.get(pod)?.place {
            Place::Active => QueuePlace::Active,
            Place::BackingOff { until, .. } => QueuePlace::BackingOff { until: *until },
            Place::Parked(rejectors) if rejectors.gated => QueuePlace::Gated,
            Place::Parked(_) => QueuePlace::Unschedulable,
        })
    }

    pub(super) fn rejectors(&self, pod: &PodKey) -> Option<&Rejectors> {
        match &self.waiting.get(pod)?.place {
            Place::Parked(rejectors) => Some(rejectors),
            _ => None,
        }
    }

    /// Lets a pod in: it waits for its turn.
    pub(super) fn admit(&mut self, pod: Arc<PodInfo>, attempts: u32, now: Time, order: Order<'_>) {
        let ticket = self.enter(pod.clone(), now, attempts, Place::Active);
        self.activate(pod, now, attempts, ticket, order);
    }

    /// Keeps a pod aside until an event its rejectors are interested in.
    pub(super) fn park(&mut self, pod: Arc<PodInfo>, attempts: u32, now: Time, rejectors: Rejectors) {
        self.interest = self.interest | rejectors.interest;
        let key = pod.key().clone();
        let ticket = self.enter(pod, now, attempts, Place::Parked(rejectors));
        self.parked.insert((now, ticket), key);
    }

    /// Tries a pod again once its back-off is over, which began at `since`; a `patient` one not sooner, one that is not as
    /// soon as there is nothing else to do.
    pub(super) fn back_off(&mut self, pod: Arc<PodInfo>, attempts: u32, since: Time, patient: bool) {
        let key = pod.key().clone();
        let until = since + self.back_off_after(attempts);
        let ticket = self.enter(pod, since, attempts, Place::BackingOff { until, patient });
        let list = if patient { &mut self.patient } else { &mut self.backing_off };
        list.insert((until, ticket), key);
    }

    /// Replaces what is known of a waiting pod; whether it waits.
    pub(super) fn replace(&mut self, pod: &Arc<PodInfo>, order: Order<'_>) -> bool {
        let Some(waiting) = self.waiting.get_mut(pod.key()) else {
            return false;
        };
        waiting.pod = pod.clone();
        if let Place::Active = waiting.place {
            self.next_ticket += 1;
            waiting.ticket = self.next_ticket;
            let (since, attempts, ticket) = (waiting.since, waiting.attempts, waiting.ticket);
            self.activate(pod.clone(), since, attempts, ticket, order);
        }
        true
    }

    /// Forgets a waiting pod; whether it waited.
    pub(super) fn remove(&mut self, pod: &PodKey) -> bool {
        match self.waiting.remove(pod) {
            Some(waiting) => {
                self.leave(&waiting);
                true
            }
            None => false,
        }
    }

    /// The parked pods that are interested in events of that kind, longest parked first.
    pub(super) fn interested(&self, kind: Interest) -> impl Iterator<Item = (&Arc<PodInfo>, &Rejectors)> {
        let any = self.interest.meets(kind);
        let parked = self.parked.values().take_while(move |_| any);
        parked.filter_map(move |key| match &self.waiting.get(key)? {
            Waiting { pod, place: Place::Parked(rejectors), .. } if rejectors.interest.meets(kind) => {
                Some((pod, rejectors))
            }
            _ => None,
        })
    }

    /// Lets a parked pod try again: at once, or when its back-off is over.
    pub(super) fn wake(&mut self, pod: &PodKey, at_once: bool, now: Time, order: Order<'_>) {
        let Some(waiting) = self.waiting.remove(pod) else {
            return;
        };
        self.leave(&waiting);
        let until = waiting.since + self.back_off_after(waiting.attempts);
        if at_once || waiting.attempts == 0 || until <= now {
            self.admit(waiting.pod, waiting.attempts, now, order);
        } else {
            self.back_off(waiting.pod, waiting.attempts, waiting.since, false);
        }
    }

    /// Moves what is due: back-offs that are over, and pods that were parked for too long.
    pub(super) fn tick(&mut self, now: Time, order: Order<'_>) {
        for patient in [true, false] {
            loop {
                let list = if patient { &mut self.patient } else { &mut self.backing_off };
                let Some(first) = list.first_entry().filter(|first| first.key().0 <= now) else {
                    break;
                };
                let key = first.remove();
                if let Some(waiting) = self.waiting.remove(&key) {
                    self.admit(waiting.pod, waiting.attempts, now, order);
                }
            }
        }
        let mut gated = Vec::new();
        while let Some((&(since, ticket), key)) = self.parked.first_key_value()
            && since + self.limits.unschedulable_flush <= now
        {
            let key = key.clone();
            if self.rejectors(&key).is_some_and(|rejectors| rejectors.gated) {
                // Time does not open a gate; look again after as long.
                self.parked.remove(&(since, ticket));
                gated.push((ticket, key));
            } else {
                self.wake(&key, false, now, order);
            }
        }
        for (ticket, key) in gated {
            self.waiting.get_mut(&key).expect("still parked").since = now;
            self.parked.insert((now, ticket), key);
        }
        if self.parked.is_empty() {
            self.interest = Interest::NONE;
        }
    }

    /// When [`tick`](Queue::tick) next has something to do.
    pub(super) fn due(&self) -> Option<Time> {
        let until = |list: &BTreeMap<(Time, u64), PodKey>| list.first_key_value().map(|((until, _), _)| *until);
        let backing_off = until(&self.backing_off).into_iter().chain(until(&self.patient));
        let parked = self.parked.first_key_value();
        let parked = parked.map(|((since, _), _)| *since + self.limits.unschedulable_flush);
        backing_off.chain(parked).min()
    }

    /// Takes out the pod whose turn it is. When no pod is ready, the one whose back-off ends first: waiting on with
    /// nothing to do helps nobody.
    pub(super) fn pop(&mut self, order: Order<'_>) -> Option<(Arc<PodInfo>, InFlight)> {
        let waiting = loop {
            let Some(ready) = self.active.pop(|a, b| compare(order, a, b)) else {
                let (_, key) = self.backing_off.pop_first()?;
                break self.waiting.remove(&key).expect("a pod that backs off waits");
            };
            let current = self.waiting.get(ready.pod.key());
            if current.is_some_and(|waiting| waiting.ticket == ready.ticket) {
                break self.waiting.remove(ready.pod.key()).expect("just seen");
            }
        };
        let events_from = self.first_event + self.events.len() as u64;
        *self.in_flight.entry(events_from).or_default() += 1;
        let attempts = waiting.attempts + 1;
        Some((waiting.pod, InFlight { attempts, events_from }))
    }

    /// Keeps an event for the pods in flight.
    pub(super) fn note(&mut self, event: &ClusterEvent) {
        if self.in_flight.is_empty() {
            return;
        }
        if self.events.len() >= self.limits.in_flight_events {
            self.events.pop_front();
            self.first_event += 1;
        }
        self.events.push_back(event.clone());
    }

    /// Ends a flight. `missed` is asked of the events since it began; true as soon as it says so of one, or when events
    /// had to be dropped.
    pub(super) fn settle(&mut self, flight: &InFlight, missed: impl FnMut(&ClusterEvent) -> bool) -> bool {
        let woken = match flight.events_from.checked_sub(self.first_event) {
            None => true,
            Some(skip) => self.events.iter().skip(skip as usize).any(missed),
        };
        if let Some(count) = self.in_flight.get_mut(&flight.events_from) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&flight.events_from);
            }
        }
        let end = self.first_event + self.events.len() as u64;
        let needed_from = self.in_flight.first_key_value().map_or(end, |(from, _)| *from);
        let done = needed_from.saturating_sub(self.first_event);
        self.events.drain(..(done as usize).min(self.events.len()));
        self.first_event += done;
        woken
    }

    /// How long a pod backs off after that many attempts.
    fn back_off_after(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let unlimited = self.limits.initial_back_off.saturating_mul(1 << doublings);
        unlimited.min(self.limits.max_back_off)
    }

    fn enter(&mut self, pod: Arc<PodInfo>, since: Time, attempts: u32, place: Place) -> u64 {
        self.remove(pod.key());
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let key = pod.key().clone();
        let waiting = Waiting { pod, since, attempts, ticket, place };
        self.waiting.insert(key, waiting);
        ticket
    }

    fn leave(&mut self, waiting: &Waiting) {
        match waiting.place {
            Place::Active => {}
            Place::BackingOff { until, patient } => {
                let list = if patient { &mut self.patient } else { &mut self.backing_off };
                list.remove(&(until, waiting.ticket));
            }
            Place::Parked(_) => {
                self.parked.remove(&(waiting.since, waiting.ticket));
            }
        }
    }

    fn activate(&mut self, pod: Arc<PodInfo>, since: Time, attempts: u32, ticket: u64, order: Order<'_>) {
        // Tickets that were replaced stay behind in the heap; they must not outnumber the pods.
        if self.active.len() > 2 * self.waiting.len() + 64 {
            let waiting = &self.waiting;
            let current = |ready: &Ready| {
                let known = waiting.get(ready.pod.key());
                known.is_some_and(|known| known.ticket == ready.ticket)
            };
            self.active.retain(current, |a, b| compare(order, a, b));
        }
        let ready = Ready { pod, since, attempts, ticket };
        self.active.push(ready, |a, b| compare(order, a, b));
    }
}

fn compare(order: Order<'_>, a: &Ready, b: &Ready) -> Ordering {
    order(Queued::new(&a.pod, a.since, a.attempts), Queued::new(&b.pod, b.since, b.attempts))
        .then(a.ticket.cmp(&b.ticket))
}
