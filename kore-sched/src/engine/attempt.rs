//! One scheduling cycle: from the queue to a promise, or to a refusal.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::cycle::{self, Answers, Cycle, RefusedAll};
use super::queue::{InFlight, Rejectors};
use super::ranking::Ranking;
use super::{Assignment, Command, Engine, Held, Known, Report, Stage, message, order};
use crate::Time;
use crate::framework::erased::State;
use crate::framework::{Code, Ctx, Interest, MAX_PERMIT_WAIT, Permission, Profile, Recourse, Refusal, Rejection};
use crate::node::NodeIndex;
use crate::pod::{PodInfo, PodKey};

/// Why a pod was not placed.
pub(super) struct Failure {
    rejectors: Rejectors,
    /// A plugin could not tell, or panicked: the pod is tried again in any case.
    is_error: bool,
    message: String,
    evict: Option<(NodeIndex, Vec<PodKey>)>,
}

impl Failure {
    pub(super) fn error(message: String) -> Failure {
        Failure { rejectors: Rejectors::default(), is_error: true, message, evict: None }
    }

    /// A plugin refused the pod as a whole; `slots` had a part in it.
    pub(super) fn refused(profile: &Profile, slots: Vec<usize>, rejection: &Rejection) -> Failure {
        Failure {
            is_error: rejection.code == Code::Error,
            message: rejection.message(),
            rejectors: rejectors(profile, slots, rejection.code == Code::Pending),
            evict: None,
        }
    }
}

fn rejectors(profile: &Profile, slots: Vec<usize>, pending: bool) -> Rejectors {
    let interests = slots.iter().map(|slot| profile.entries()[*slot].interest());
    let interest = interests.fold(Interest::NONE, Interest::or);
    Rejectors { slots, interest, pending, gated: false }
}

impl Engine {
    /// Tries the next pod, and does what time demands; false when no pod is ready.
    pub fn step(&mut self, now: Time) -> bool {
        self.expire_permits(now);
        let order = order(&self.profiles);
        self.queue.tick(now, &order);
        let Some((pod, flight)) = self.queue.pop(&order) else {
            return false;
        };
        let at = self.profile_of(&pod).expect("only pods of a profile are queued");
        let profile = self.profiles[at].clone();
        match self.choose(at, &profile, &pod, now) {
            Ok((node, states)) => self.promise(at, &profile, pod, flight, node, states, now),
            Err(failure) => self.fail(pod, &flight, failure, now),
        }
        true
    }

    /// Finds the best node.
    fn choose(
        &mut self,
        at: usize,
        profile: &Profile,
        pod: &Arc<PodInfo>,
        now: Time,
    ) -> Result<(NodeIndex, Vec<State>), Failure> {
        if self.nodes.is_empty() {
            let rejectors = Rejectors { interest: Interest::NODE_ADDED, ..Rejectors::default() };
            let message = message::NO_NODES.to_owned();
            return Err(Failure { rejectors, is_error: false, message, evict: None });
        }
        let asking = Cell::new("");
        blame(&asking, || self.choose_or_panic(at, profile, pod, now, &asking))
            .unwrap_or_else(|panic| Err(Failure::error(panic)))
    }

    fn choose_or_panic(
        &mut self,
        at: usize,
        profile: &Profile,
        pod: &Arc<PodInfo>,
        now: Time,
        asking: &Cell<&'static str>,
    ) -> Result<(NodeIndex, Vec<State>), Failure> {
        let cycle = Cycle::new(profile, &self.nodes, pod, now, asking);
        let failed = |rejection: Rejection| Failure::error(rejection.message());
        let key = (at, pod.class_id());
        let remembers = self.memorable[at] && self.memo.is_known(key.1);
        let known = if remembers { self.memo.take(key, &cycle).transpose().map_err(failed)? } else { None };
        let mut answers = match known {
            Some(answers) => answers,
            None => match cycle.filter() {
                Ok(answers) => Box::new(answers),
                Err(refused) => return Err(refused_all(&cycle, refused)),
            },
        };
        // Answers limited to nodes by name are not remembered: which nodes those are may change.
        let remembers = remembers && answers.candidates.is_none();
        let seed = &mut self.seed;
        let mut pick = |count| pick(seed, count);
        if !remembers {
            if answers.feasible.is_empty() {
                return Err(no_node(&cycle, &mut answers, None));
            }
            let node = match answers.feasible.only() {
                Some(node) => node,
                None => {
                    let weighed = cycle.weigh(&mut answers, |_, _, _, _| {}).map_err(failed)?;
                    cycle::best(&weighed, pick).expect("a node fits")
                }
            };
            return Ok((node, answers.states));
        }
        let mut states = cycle.states_of_its_own(&answers.feasible);
        let found = if answers.feasible.is_empty() {
            Err(no_node(&cycle, &mut answers, Some(&mut states)))
        } else {
            if answers.ranking.is_none() {
                answers.ranking = Some(Ranking::ask(&cycle, &mut answers).map_err(failed)?);
            }
            let best = answers.ranking.as_ref().and_then(|ranking| ranking.best(&mut pick));
            Ok((best.expect("a node fits"), states))
        };
        self.memo.put(key, answers, &self.nodes);
        found
    }

    /// Counts the pod on the node, asks Reserve and Permit, and has it bound or held.
    #[allow(clippy::too_many_arguments)]
    fn promise(
        &mut self,
        at: usize,
        profile: &Profile,
        pod: Arc<PodInfo>,
        flight: InFlight,
        node: NodeIndex,
        states: Vec<State>,
        now: Time,
    ) {
        let name = self.nodes.info(node).name.clone();
        self.nodes.add_pod(&name, pod.clone());
        let mut assignment = Assignment { pod: pod.clone(), node: name.clone(), profile: at, states };
        let asking = Cell::new("");
        let ctx = Ctx::new(&self.nodes, &pod, now);
        let asked = blame(&asking, || ask_to_go(profile, &ctx, &mut assignment, node, &asking));
        let missing = match asked.unwrap_or_else(|panic| Err(Failure::error(panic))) {
            Ok(missing) => missing,
            Err(failure) => {
                self.nodes.remove_pod(&name, pod.key());
                self.unreserve(&mut assignment);
                self.fail(pod, &flight, failure, now);
                return;
            }
        };
        let stage = if missing.is_empty() {
            self.commands.push_back(Command::Bind(assignment));
            Stage::Binding { node: name, flight }
        } else {
            self.permits.extend(missing.iter().map(|(_, until)| (*until, pod.key().clone())));
            Stage::Held(Box::new(Held { assignment, flight, missing }))
        };
        self.pods.insert(pod.key().clone(), Known { info: pod, stage });
    }

    /// Reports a pod that was not placed, and puts it back into the queue.
    pub(super) fn fail(&mut self, pod: Arc<PodInfo>, flight: &InFlight, failure: Failure, now: Time) {
        let Failure { rejectors, is_error, message, evict } = failure;
        let (profiles, at) = (&self.profiles, self.profile_of(&pod));
        let woken = self.queue.settle(flight, |event| {
            let entries = at.map(|at| profiles[at].entries()).unwrap_or_default();
            rejectors.interest.meets(event.interest())
                && rejectors.slots.iter().any(|slot| entries[*slot].hint(&pod, event) == crate::Hint::Queue)
        });
        let known = Known { info: pod.clone(), stage: Stage::Queued };
        self.pods.insert(pod.key().clone(), known);
        if is_error {
            self.queue.back_off(pod.clone(), flight.attempts, now, true);
        } else if woken {
            self.queue.back_off(pod.clone(), flight.attempts, now, false);
        } else {
            self.queue.park(pod.clone(), flight.attempts, now, rejectors);
        }
        let reason = if is_error { "SchedulerError" } else { "Unschedulable" };
        self.commands.push_back(Command::Report(Report { pod: pod.clone(), reason, message }));
        if let Some((node, victims)) = evict {
            let node = self.nodes.info(node).name.clone();
            self.commands.push_back(Command::Evict { pod, node, victims });
        }
    }
}

/// A plugin refused the pod as a whole: what is said, and what may be done.
fn refused_all(cycle: &Cycle<'_>, refused: RefusedAll) -> Failure {
    let RefusedAll { slots, rejection, mut states } = refused;
    let mut failure = Failure::refused(cycle.profile, slots, &rejection);
    if !failure.is_error {
        let (recourse, evict) = post_filter(cycle, &mut states, &[]);
        failure.message = message::refused(cycle.ctx.nodes().len(), &failure.message, &recourse);
        failure.evict = evict;
    }
    failure
}

/// No node fits: who refused, what is said, and what may be done. `states` are the pod's own where the answers are not.
fn no_node(cycle: &Cycle<'_>, answers: &mut Answers, states: Option<&mut Vec<State>>) -> Failure {
    let refusals = cycle.refusals(answers);
    if let Some(refusal) = cycle::first_error(&refusals) {
        let (plugin, message) = (refusal.plugin, refusal.rejection.message());
        return Failure::error(format!("running Filter plugin {plugin:?}: {message}"));
    }
    let refusing = refusals.iter().map(|refusal| refusal.plugin);
    let names: BTreeSet<&str> = refusing.chain(answers.narrowed_by.iter().copied()).collect();
    let entries = cycle.profile.entries().iter().enumerate();
    let slots = entries.filter(|(_, entry)| names.contains(entry.name)).map(|(slot, _)| slot).collect();
    let pending = refusals.iter().any(|refusal| refusal.rejection.code == Code::Pending);
    let states = states.unwrap_or(&mut answers.states);
    let (recourse, evict) = post_filter(cycle, states, &refusals);
    Failure {
        rejectors: rejectors(cycle.profile, slots, pending),
        is_error: false,
        message: message::no_node(cycle.ctx.nodes().len(), &refusals, &recourse),
        evict,
    }
}

/// Asks PostFilter: what is said, and whom to evict.
fn post_filter(
    cycle: &Cycle<'_>,
    states: &mut [State],
    refusals: &[Refusal],
) -> (String, Option<(NodeIndex, Vec<PodKey>)>) {
    let mut messages = Vec::new();
    for (slot, state) in states.iter_mut().enumerate() {
        let Some(plugin) = &cycle.entry(slot).post_filter else {
            continue;
        };
        match plugin.post_filter(&cycle.ctx, &mut **state, refusals) {
            Recourse::None { message } if message.is_empty() => {}
            Recourse::None { message } => messages.push(message),
            Recourse::Evict { node, victims } => {
                return (messages.join(", "), Some((node, victims)));
            }
        }
    }
    (messages.join(", "), None)
}

/// Asks Reserve, then Permit: the permissions that are missing.
fn ask_to_go(
    profile: &Profile,
    ctx: &Ctx<'_>,
    assignment: &mut Assignment,
    node: NodeIndex,
    asking: &Cell<&'static str>,
) -> Result<Vec<(usize, Time)>, Failure> {
    let entries = profile.entries().iter().enumerate();
    for (slot, entry) in entries.clone() {
        asking.set(entry.name);
        if let Some(plugin) = &entry.reserve {
            let reserved = plugin.reserve(ctx, &mut *assignment.states[slot], node);
            reserved.map_err(|rejection| Failure::refused(profile, vec![slot], &rejection))?;
        }
    }
    let mut missing = Vec::new();
    for (slot, entry) in entries {
        asking.set(entry.name);
        let Some(plugin) = &entry.permit else {
            continue;
        };
        match plugin.permit(ctx, &mut *assignment.states[slot], node) {
            Permission::Allow => {}
            Permission::Deny(rejection) => {
                return Err(Failure::refused(profile, vec![slot], &rejection));
            }
            Permission::Wait { at_most } => missing.push((slot, ctx.now() + at_most.min(MAX_PERMIT_WAIT))),
        }
    }
    Ok(missing)
}

/// Runs plugins; if one panics, says which.
fn blame<T>(asking: &Cell<&'static str>, run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        format!("plugin {:?} panicked: {text}", asking.get())
    })
}

/// One of `count`, by the next number of the seed (splitmix64).
fn pick(seed: &mut u64, count: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((u128::from(z) * count as u128) >> 64) as usize
}
