//! Why a pod is, or is not, where it is: every plugin's answer about every node.

use std::cell::Cell;
use std::sync::Arc;

use super::cycle::{Cycle, RefusedAll};
use super::{Engine, Known, QueuePlace};
use crate::Time;
use crate::framework::{Code, Interest};
use crate::pod::{PodInfo, PodKey};

/// The answer to "why this node?" and "why none?", worked out on the cluster as it is now. Asking changes nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The pod.
    pub pod: PodKey,
    /// The profile that decides over it.
    pub profile: String,
    /// Where it waits; `None` when it does not wait.
    pub queued: Option<QueuePlace>,
    /// The node it is on, or promised to.
    pub node: Option<Arc<str>>,
    /// Why it would be refused before any node is looked at.
    pub refused: Option<Refused>,
    /// The answer for each node, in the order of the names.
    pub nodes: Vec<NodeAnswer>,
    /// By how much the best node beats the next one; 0 when several are best, `None` when there are not two.
    pub margin: Option<i64>,
    /// What would wake the pod, when it waits for an event.
    pub wakes_on: Interest,
}

/// The answer for one node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeAnswer {
    /// The node's name.
    pub node: Arc<str>,
    /// What the plugins say.
    pub verdict: NodeVerdict,
}

/// What the plugins say of one node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NodeVerdict {
    /// The pod does not fit there.
    Refused(Refused),
    /// It does.
    Fits {
        /// The weighted sum of the normalised scores.
        total: i64,
        /// Each plugin's part in it.
        scores: Vec<PluginScore>,
    },
}

/// Who refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The plugin.
    pub plugin: &'static str,
    /// What kind of no it is.
    pub code: Code,
    /// The reasons.
    pub reasons: Vec<String>,
}

/// One plugin's opinion of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginScore {
    /// The plugin.
    pub plugin: &'static str,
    /// What it said.
    pub raw: i64,
    /// The same in 0 to 100.
    pub normalized: i64,
    /// What that is multiplied with.
    pub weight: i64,
}

impl Explanation {
    /// The answer for the node of that name.
    pub fn of(&self, node: &str) -> Option<&NodeVerdict> {
        let answer = self.nodes.iter().find(|answer| *answer.node == *node);
        answer.map(|answer| &answer.verdict)
    }

    /// Why the node of that name does not take the pod: refused there, or everywhere.
    pub fn refused_by(&self, node: &str) -> Option<&Refused> {
        match self.of(node) {
            Some(NodeVerdict::Refused(refused)) => Some(refused),
            Some(NodeVerdict::Fits { .. }) => None,
            None => self.refused.as_ref(),
        }
    }

    /// One plugin's opinion of the node of that name; `None` when the pod does not fit there, or the plugin has none.
    pub fn score(&self, node: &str, plugin: &str) -> Option<&PluginScore> {
        match self.of(node)? {
            NodeVerdict::Fits { scores, .. } => scores.iter().find(|score| score.plugin == plugin),
            NodeVerdict::Refused(_) => None,
        }
    }

    /// The weighted sum for the node of that name, when the pod fits there.
    pub fn total(&self, node: &str) -> Option<i64> {
        match self.of(node)? {
            NodeVerdict::Fits { total, .. } => Some(*total),
            NodeVerdict::Refused(_) => None,
        }
    }

    /// The nodes with the highest sum: the chosen one is one of them.
    pub fn best(&self) -> Vec<&str> {
        let totals = || self.nodes.iter().filter_map(|answer| Some((&*answer.node, self.total(&answer.node)?)));
        let most = totals().map(|(_, total)| total).max();
        totals().filter(|(_, total)| Some(*total) == most).map(|(node, _)| node).collect()
    }
}

impl Engine {
    /// Explains a pod; `None` when it is not known, or no profile is for it. A pod that has a node is answered for as if it
    /// had left it, so that it does not stand in its own way.
    pub fn explain(&mut self, key: &PodKey, now: Time) -> Option<Explanation> {
        let known = self.pods.get(key)?;
        let profile = self.profile_of(&known.info)?;
        let Some(node) = known.node().cloned() else {
            return self.explain_absent(known, &known.info, profile, now);
        };
        let (pod, absent) = (known.info.clone(), known.info.without_node());
        self.nodes.remove_pod(&node, key);
        let explanation = self.explain_absent(self.pods.get(key)?, &absent, profile, now);
        self.nodes.add_pod(&node, pod);
        explanation
    }

    fn explain_absent(&self, known: &Known, pod: &PodInfo, profile: usize, now: Time) -> Option<Explanation> {
        let key = known.info.key();
        let profile = &self.profiles[profile];
        let asking = Cell::new("");
        let cycle = Cycle::new(profile, &self.nodes, pod, now, &asking);
        let mut explanation = Explanation {
            pod: key.clone(),
            profile: profile.name().to_owned(),
            queued: self.queue.place(key),
            node: known.node().cloned(),
            refused: None,
            nodes: Vec::new(),
            margin: None,
            wakes_on: self.queue.rejectors(key).map_or(Interest::NONE, |rejectors| rejectors.interest),
        };
        if let Some((slot, rejection)) = self.pre_enqueue(profile, pod, now) {
            explanation.refused = Some(refused(profile.entries()[slot].name, &rejection));
            return Some(explanation);
        }
        let mut answers = match cycle.filter() {
            Ok(answers) => answers,
            Err(RefusedAll { slots, rejection, .. }) => {
                let plugin = profile.entries()[slots[0]].name;
                explanation.refused = Some(refused(plugin, &rejection));
                return Some(explanation);
            }
        };
        for refusal in cycle.refusals(&answers) {
            explanation.nodes.push(NodeAnswer {
                node: self.nodes.info(refusal.node).name.clone(),
                verdict: NodeVerdict::Refused(refused(refusal.plugin, &refusal.rejection)),
            });
        }
        let mut scores: Vec<Vec<PluginScore>> = vec![Vec::new(); answers.feasible.len()];
        let weighed = cycle.weigh(&mut answers, |slot, _, raw, normalized| {
            let entry = &profile.entries()[slot];
            let weight = entry.score.as_ref().map_or(0, |(weight, _)| *weight);
            for (scores, (raw, normalized)) in scores.iter_mut().zip(raw.iter().zip(normalized)) {
                scores.push(PluginScore { plugin: entry.name, raw: *raw, normalized: *normalized, weight });
            }
        });
        match weighed {
            Err(rejection) => explanation.refused = Some(refused(asking.get(), &rejection)),
            Ok(weighed) => {
                for ((node, total), scores) in weighed.nodes.iter().zip(&weighed.totals).zip(scores) {
                    explanation.nodes.push(NodeAnswer {
                        node: self.nodes.info(*node).name.clone(),
                        verdict: NodeVerdict::Fits { total: *total, scores },
                    });
                }
                let mut totals = weighed.totals;
                totals.sort_unstable_by(|a, b| b.cmp(a));
                explanation.margin = (totals.len() > 1).then(|| totals[0] - totals[1]);
            }
        }
        explanation.nodes.sort_by(|a, b| a.node.cmp(&b.node));
        Some(explanation)
    }
}

fn refused(plugin: &'static str, rejection: &crate::framework::Rejection) -> Refused {
    Refused { plugin, code: rejection.code, reasons: rejection.reasons().map(str::to_owned).collect() }
}
