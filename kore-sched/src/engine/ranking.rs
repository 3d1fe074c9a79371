//! Scores remembered for a class of pods, kept up to date node by node.

use super::cycle::{Answers, Cycle, check_range};
use super::totals::Totals;
use crate::framework::Rejection;
use crate::framework::erased::State;
use crate::node::NodeIndex;
use crate::node_set::NodeSet;

/// The scores of all nodes that fit, by row. Rows of other nodes hold anything, and have no total.
pub(super) struct Ranking {
    scorers: Vec<Scorer>,
    totals: Totals,
}

struct Scorer {
    slot: usize,
    weight: i64,
    raw: Vec<i64>,
    /// `None` when the raw scores need no normalising.
    normalized: Option<Vec<i64>>,
    /// What was normalised together has changed.
    stale: bool,
}

impl Scorer {
    fn part(&self, row: usize) -> i64 {
        self.weight * self.normalized.as_ref().unwrap_or(&self.raw)[row]
    }
}

impl Ranking {
    /// Asks about all nodes that fit.
    pub(super) fn ask(cycle: &Cycle<'_>, answers: &mut Answers) -> Result<Ranking, Rejection> {
        let rows = cycle.ctx.nodes().rows();
        let by_row = |nodes: &[NodeIndex], scores: &[i64]| {
            let mut by_row = vec![0; rows];
            for (node, score) in nodes.iter().zip(scores) {
                by_row[node.row()] = *score;
            }
            by_row
        };
        let mut scorers = Vec::new();
        let weighed = cycle.weigh(answers, |slot, nodes, raw, normalized| {
            let (weight, plugin) = cycle.entry(slot).score.as_ref().expect("it scored");
            scorers.push(Scorer {
                slot,
                weight: *weight,
                raw: by_row(nodes, raw),
                normalized: (!plugin.is_normalized()).then(|| by_row(nodes, normalized)),
                stale: false,
            });
        })?;
        let mut by_row = vec![None; rows];
        for (node, total) in weighed.nodes.iter().zip(&weighed.totals) {
            by_row[node.row()] = Some(*total);
        }
        let mut totals = Totals::default();
        totals.rebuild(rows, |row| by_row[row]);
        Ok(Ranking { scorers, totals })
    }

    /// Asks again about one node that fits; `did_fit` when it did before.
    pub(super) fn refresh(
        &mut self,
        cycle: &Cycle<'_>,
        states: &[State],
        node: NodeIndex,
        did_fit: bool,
    ) -> Result<(), Rejection> {
        let row = node.row();
        for scorer in &mut self.scorers {
            let Some((_, plugin)) = &cycle.entry(scorer.slot).score else {
                continue;
            };
            let raw = plugin.score(&cycle.ctx, &*states[scorer.slot], node);
            if row >= scorer.raw.len() {
                let rows = cycle.ctx.nodes().rows();
                scorer.raw.resize(rows, 0);
                scorer.normalized.iter_mut().for_each(|scores| scores.resize(rows, 0));
            }
            if scorer.normalized.is_none() {
                check_range(cycle.entry(scorer.slot).name, &[raw])?;
            } else {
                scorer.stale |= !did_fit || scorer.raw[row] != raw;
            }
            scorer.raw[row] = raw;
        }
        Ok(())
    }

    /// A node does not fit any more.
    pub(super) fn drop(&mut self, node: NodeIndex) {
        self.totals.set(node.row(), None);
        self.scorers.iter_mut().for_each(|scorer| scorer.stale |= scorer.normalized.is_some());
    }

    /// Brings the totals up to date after `changed` nodes were [refreshed](Ranking::refresh) or [dropped](Ranking::drop).
    pub(super) fn settle(
        &mut self,
        cycle: &Cycle<'_>,
        states: &[State],
        feasible: &NodeSet,
        changed: &[NodeIndex],
    ) -> Result<(), Rejection> {
        let mut all = false;
        for scorer in self.scorers.iter_mut().filter(|scorer| scorer.stale) {
            let (entry, state) = (cycle.entry(scorer.slot), &*states[scorer.slot]);
            let (Some((_, plugin)), Some(normalized)) = (&entry.score, &mut scorer.normalized) else {
                continue;
            };
            let nodes: Vec<NodeIndex> = feasible.iter().collect();
            let mut scores: Vec<i64> = nodes.iter().map(|node| scorer.raw[node.row()]).collect();
            plugin.normalize(&cycle.ctx, state, &mut scores);
            check_range(entry.name, &scores)?;
            for (node, score) in nodes.iter().zip(scores) {
                all |= std::mem::replace(&mut normalized[node.row()], score) != score;
            }
            scorer.stale = false;
        }
        let scorers = &self.scorers;
        let total = |node: NodeIndex| {
            let fits = feasible.contains(node);
            fits.then(|| scorers.iter().map(|scorer| scorer.part(node.row())).sum())
        };
        if all {
            let rows = cycle.ctx.nodes().rows();
            self.totals.rebuild(rows, |row| total(NodeIndex(row as u32)));
        } else {
            for node in changed {
                self.totals.set(node.row(), total(*node));
            }
        }
        Ok(())
    }

    /// The best node; `pick(n)` chooses among `n` equals.
    pub(super) fn best(&self, pick: impl FnOnce(usize) -> usize) -> Option<NodeIndex> {
        self.totals.best(pick)
    }
}
