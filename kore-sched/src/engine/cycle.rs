//! One pod against all nodes: which fit, and which of those is best. Reads only.
//!
//! What plugins answered is kept in [`Answers`]. When every plugin of a profile declares that it depends on a pod's class and
//! one node at most, answers hold for the whole class until a node changes, and only the changed nodes are asked about
//! again; see `memo`.

use std::cell::Cell;

use super::ranking::Ranking;
use crate::Time;
use crate::framework::erased::{Entry, State};
use crate::framework::{Candidates, Code, Ctx, Depends, Profile, Refusal, Rejection, Scoring};
use crate::node::NodeIndex;
use crate::node_set::NodeSet;
use crate::nodes::Nodes;
use crate::pod::PodInfo;

/// What every plugin of a profile is asked with.
pub(super) struct Cycle<'a> {
    pub(super) profile: &'a Profile,
    pub(super) ctx: Ctx<'a>,
    /// The plugin that is being asked: to blame if it panics.
    pub(super) asking: &'a Cell<&'static str>,
}

/// What the plugins of one profile answered about pods of one class.
pub(super) struct Answers {
    /// One state for each plugin.
    pub(super) states: Vec<State>,
    /// The plugins whose filters have something to say, by slot.
    pub(super) filters: Vec<usize>,
    /// The nodes left by PreFilter, and the plugins that left out others.
    pub(super) candidates: Option<NodeSet>,
    pub(super) narrowed_by: Vec<&'static str>,
    pub(super) feasible: NodeSet,
    /// The scores, where they are remembered.
    pub(super) ranking: Option<Ranking>,
    /// Where the log of changes stood.
    pub(super) cursor: u64,
}

/// A plugin refused the pod as a whole, before any node was looked at.
pub(super) struct RefusedAll {
    /// The plugins that had a part in it, by slot.
    pub(super) slots: Vec<usize>,
    pub(super) rejection: Rejection,
    pub(super) states: Vec<State>,
}

/// The nodes that fit, with their totals.
pub(super) struct Weighed {
    pub(super) nodes: Vec<NodeIndex>,
    pub(super) totals: Vec<i64>,
}

impl<'a> Cycle<'a> {
    pub(super) fn new(
        profile: &'a Profile,
        nodes: &'a Nodes,
        pod: &'a PodInfo,
        now: Time,
        asking: &'a Cell<&'static str>,
    ) -> Cycle<'a> {
        let ctx = Ctx::new(nodes, pod, now);
        Cycle { profile, ctx, asking }
    }

    /// One plugin, which is to blame from now on.
    pub(super) fn entry(&self, slot: usize) -> &'a Entry {
        let entry = &self.profile.entries()[slot];
        self.asking.set(entry.name);
        entry
    }

    fn slots(&self) -> std::ops::Range<usize> {
        0..self.profile.entries().len()
    }

    pub(super) fn fresh_states(&self) -> Vec<State> {
        self.slots().map(|slot| (self.entry(slot).new_state)()).collect()
    }

    /// Asks PreFilter and Filter about every node.
    pub(super) fn filter(&self) -> Result<Answers, RefusedAll> {
        let mut states = self.fresh_states();
        let mut filters = Vec::with_capacity(states.len());
        let mut candidates: Option<NodeSet> = None;
        let mut narrowing = Vec::new();
        for slot in self.slots() {
            let entry = self.entry(slot);
            let answer = match &entry.pre_filter {
                Some(plugin) => plugin.pre_filter(&self.ctx, &mut *states[slot]),
                None => Ok(Candidates::All),
            };
            match answer {
                Ok(Candidates::Skip) => continue,
                Ok(Candidates::All) => {}
                Ok(Candidates::Only(nodes)) => {
                    match &mut candidates {
                        Some(known) => known.intersect(&nodes),
                        None => candidates = Some(nodes),
                    }
                    narrowing.push(slot);
                }
                Err(rejection) => {
                    let slots = vec![slot];
                    return Err(RefusedAll { slots, rejection, states });
                }
            }
            if entry.filter.is_some() {
                filters.push(slot);
            }
        }
        let narrowed_by: Vec<_> = narrowing.iter().map(|slot| self.entry(*slot).name).collect();
        if candidates.as_ref().is_some_and(NodeSet::is_empty) && narrowing.len() > 1 {
            let plugins = narrowed_by.join(" ");
            let rejection =
                Rejection::unresolvable(format!("node(s) didn't satisfy plugin(s) [{plugins}] simultaneously"));
            return Err(RefusedAll { slots: narrowing, rejection, states });
        }
        let mut feasible = self.ctx.nodes().all().clone();
        if let Some(candidates) = &candidates {
            feasible.intersect(candidates);
        }
        for slot in &filters {
            if feasible.is_empty() {
                break;
            }
            if let Some(filter) = &self.entry(*slot).filter {
                filter.filter_all(&self.ctx, &*states[*slot], &mut feasible);
            }
        }
        Ok(Answers {
            states,
            filters,
            candidates,
            narrowed_by,
            feasible,
            ranking: None,
            cursor: self.ctx.nodes().cursor(),
        })
    }

    /// Why each node that does not fit does not.
    pub(super) fn refusals(&self, answers: &Answers) -> Vec<Refusal> {
        let unfit = |node: &NodeIndex| !answers.feasible.contains(*node);
        let refusal = |node| {
            if answers.candidates.as_ref().is_some_and(|nodes| !nodes.contains(node)) {
                let plugins = answers.narrowed_by.join(" ");
                let reason = format!("node(s) didn't satisfy plugin(s) [{plugins}]");
                let plugin = answers.narrowed_by.first().copied().unwrap_or_default();
                let rejection = Rejection::unresolvable(reason);
                return Some(Refusal { node, plugin, rejection });
            }
            self.refusal(answers, node)
        };
        self.ctx.nodes().all().iter().filter(unfit).filter_map(refusal).collect()
    }

    fn refusal(&self, answers: &Answers, node: NodeIndex) -> Option<Refusal> {
        answers.filters.iter().find_map(|slot| {
            let entry = self.entry(*slot);
            let verdict = entry.filter.as_ref()?.filter(&self.ctx, &*answers.states[*slot], node);
            let plugin = entry.name;
            verdict.err().map(|rejection| Refusal { node, plugin, rejection })
        })
    }

    /// Asks again about nodes that changed since the answers were given.
    pub(super) fn refresh(&self, answers: &mut Answers, changed: &[NodeIndex]) -> Result<(), Rejection> {
        let all = self.ctx.nodes().all();
        let mut ranking = answers.ranking.take();
        let mut previous = None;
        for node in changed.iter().copied() {
            if previous.replace(node) == Some(node) {
                continue;
            }
            let did_fit = answers.feasible.contains(node);
            let fits = all.contains(node) && self.refusal(answers, node).is_none();
            if fits {
                answers.feasible.insert(node);
            } else {
                answers.feasible.remove(node);
            }
            match &mut ranking {
                Some(ranking) if fits => ranking.refresh(self, &answers.states, node, did_fit)?,
                Some(ranking) if did_fit => ranking.drop(node),
                _ => {}
            }
        }
        if let Some(ranking) = &mut ranking {
            ranking.settle(self, &answers.states, &answers.feasible, changed)?;
        }
        answers.ranking = ranking;
        answers.cursor = self.ctx.nodes().cursor();
        Ok(())
    }

    /// Asks PreScore and Score about the nodes that fit. `each` sees every plugin's raw and normalised scores; the totals are
    /// those multiplied with the weights.
    pub(super) fn weigh(
        &self,
        answers: &mut Answers,
        mut each: impl FnMut(usize, &[NodeIndex], &[i64], &[i64]),
    ) -> Result<Weighed, Rejection> {
        let nodes: Vec<NodeIndex> = answers.feasible.iter().collect();
        let mut totals = vec![0_i64; nodes.len()];
        let mut raw = vec![0_i64; nodes.len()];
        let mut normalized = Vec::with_capacity(nodes.len());
        for slot in self.slots() {
            let entry = self.entry(slot);
            let Some((weight, plugin)) = &entry.score else {
                continue;
            };
            let state = &mut *answers.states[slot];
            let skips = entry
                .pre_score
                .as_ref()
                .is_some_and(|pre_score| pre_score.pre_score(&self.ctx, state, &nodes) == Scoring::Skip);
            if skips {
                continue;
            }
            plugin.score_all(&self.ctx, state, &nodes, &mut raw);
            normalized.clone_from(&raw);
            if !plugin.is_normalized() {
                plugin.normalize(&self.ctx, state, &mut normalized);
            }
            check_range(entry.name, &normalized)?;
            each(slot, &nodes, &raw, &normalized);
            for (total, score) in totals.iter_mut().zip(&normalized) {
                *total += weight * score;
            }
        }
        Ok(Weighed { nodes, totals })
    }

    /// States for the points after the choice of a node, when the answers belong to the whole class and cannot be given away.
    pub(super) fn states_of_its_own(&self, feasible: &NodeSet) -> Vec<State> {
        let mut states = self.fresh_states();
        for slot in self.slots() {
            let entry = self.entry(slot);
            if !entry.has_later_points() {
                continue;
            }
            if let Some(plugin) = &entry.pre_filter {
                // The same answer as for the class, which was not a refusal.
                let _ = plugin.pre_filter(&self.ctx, &mut *states[slot]);
            }
            if let Some(plugin) = &entry.pre_score {
                let nodes: Vec<NodeIndex> = feasible.iter().collect();
                plugin.pre_score(&self.ctx, &mut *states[slot], &nodes);
            }
        }
        states
    }
}

/// Whether answers hold for all pods of a class until a node changes.
pub(super) fn is_memorable(profile: &Profile) -> bool {
    profile.entries().iter().all(|entry| !entry.decides() || entry.depends <= Depends::Node)
}

/// Normalised scores are 0 to 100.
pub(super) fn check_range(plugin: &str, scores: &[i64]) -> Result<(), Rejection> {
    match scores.iter().find(|score| !(0..=100).contains(*score)) {
        None => Ok(()),
        Some(bad) => {
            Err(Rejection::error(format!("plugin {plugin:?} returned the score {bad}, which is not in 0 to 100")))
        }
    }
}

/// Picks the best node; `pick(n)` chooses among `n` equals.
pub(super) fn best(weighed: &Weighed, pick: impl FnOnce(usize) -> usize) -> Option<NodeIndex> {
    let most = weighed.totals.iter().max()?;
    let equals = || (0..weighed.totals.len()).filter(|at| weighed.totals[*at] == *most);
    let at = match equals().count() {
        1 => equals().next(),
        count => equals().nth(pick(count)),
    };
    at.map(|at| weighed.nodes[at])
}

/// Whether any of the refusals came from a plugin that could not tell.
pub(super) fn first_error(refusals: &[Refusal]) -> Option<&Refusal> {
    refusals.iter().find(|refusal| refusal.rejection.code == Code::Error)
}
