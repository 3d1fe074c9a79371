//! The extension points of the scheduling cycle. All are synchronous: a cycle is one step of a single writer, and what it
//! sees does not move under it.

use std::borrow::Cow;
use std::time::Duration;

use super::{Ctx, NodeRef, Plugin, Rejection, Verdict};
use crate::node::NodeIndex;
use crate::node_set::NodeSet;
use crate::pod::PodKey;

/// Which nodes a [`PreFilter`] leaves to look at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Candidates {
    /// No limit.
    All,
    /// These at most.
    Only(NodeSet),
    /// The plugin has nothing against this pod anywhere: its [`Filter`] is not asked.
    Skip,
}

/// Looks at the pod once, before its nodes are looked at: prepares the state that [`Filter`] reads, narrows the nodes, or
/// refuses the pod.
///
/// ```
/// use kore_sched::{Candidates, Ctx, Plugin, PreFilter, Rejection};
///
/// /// Pods may state the rack they want as a label; they need not.
/// struct Rack;
///
/// impl Plugin for Rack {
///     type State = ();
///     fn name(&self) -> &'static str { "Rack" }
/// }
///
/// impl PreFilter for Rack {
///     fn pre_filter(&self, ctx: &Ctx<'_>, _: &mut ()) -> Result<Candidates, Rejection> {
///         Ok(match ctx.pod().class().labels.get("rack") {
///             Some(rack) => Candidates::Only(ctx.nodes().with_label("example.com/rack", rack)),
///             None => Candidates::Skip,
///         })
///     }
/// }
/// ```
pub trait PreFilter: Plugin {
    /// Prepares, narrows or refuses.
    fn pre_filter(&self, ctx: &Ctx<'_>, state: &mut Self::State) -> Result<Candidates, Rejection>;
}

/// Says of one node whether the pod may run there.
///
/// ```
/// use kore_sched::{Ctx, Filter, NodeRef, Plugin, Rejection, Verdict};
///
/// struct FewPods { at_most: usize }
///
/// impl Plugin for FewPods {
///     type State = ();
///     fn name(&self) -> &'static str { "FewPods" }
/// }
///
/// impl Filter for FewPods {
///     fn filter(&self, _: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
///         match node.pods().len() < self.at_most {
///             true => Ok(()),
///             false => Err(Rejection::unschedulable("node(s) were busy")),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(note = "`filter()` registers a plugin that implements `kore_sched::Filter`")]
pub trait Filter: Plugin {
    /// Whether the pod may run on that node.
    fn filter(&self, ctx: &Ctx<'_>, state: &Self::State, node: NodeRef<'_>) -> Verdict;

    /// The same for many nodes at once: takes the refused ones out of `nodes`. Optional; it must agree with
    /// [`filter`](Filter::filter), which is still asked for the reasons.
    fn filter_all(&self, ctx: &Ctx<'_>, state: &Self::State, nodes: &mut NodeSet) {
        nodes.retain(|node| self.filter(ctx, state, ctx.node(node)).is_ok());
    }
}

/// One node's refusal of the pod.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The node.
    pub node: NodeIndex,
    /// The plugin that refused.
    pub plugin: &'static str,
    /// Why.
    pub rejection: Rejection,
}

/// What can be done for a pod that fits nowhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Recourse {
    /// Nothing. The message, unless empty, is added to the one users see.
    None {
        /// What users are told.
        message: Cow<'static, str>,
    },
    /// These pods are to be evicted from that node. The pod is tried again when they are gone.
    Evict {
        /// The node that becomes free.
        node: NodeIndex,
        /// The pods to evict.
        victims: Vec<PodKey>,
    },
}

/// Is asked when no node fits: preemption is the typical one. The first plugin with a recourse wins.
///
/// ```
/// use kore_sched::{Ctx, Plugin, PostFilter, Recourse, Refusal};
///
/// struct Apologize;
///
/// impl Plugin for Apologize {
///     type State = ();
///     fn name(&self) -> &'static str { "Apologize" }
/// }
///
/// impl PostFilter for Apologize {
///     fn post_filter(&self, _: &Ctx<'_>, _: &mut (), refusals: &[Refusal]) -> Recourse {
///         Recourse::None { message: format!("sorry: {} nodes refused.", refusals.len()).into() }
///     }
/// }
/// ```
pub trait PostFilter: Plugin {
    /// What can be done, given every node's refusal.
    fn post_filter(&self, ctx: &Ctx<'_>, state: &mut Self::State, refusals: &[Refusal]) -> Recourse;
}

/// Whether a plugin has an opinion on a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scoring {
    /// It scores.
    Score,
    /// It has none: its [`Score`] is not asked and adds nothing.
    Skip,
}

/// Looks at the pod, and at the nodes that are left, once before they are scored.
///
/// ```
/// use kore_sched::{Ctx, NodeIndex, Plugin, PreScore, Scoring};
///
/// struct OnlyWeb;
///
/// impl Plugin for OnlyWeb {
///     type State = ();
///     fn name(&self) -> &'static str { "OnlyWeb" }
/// }
///
/// impl PreScore for OnlyWeb {
///     fn pre_score(&self, ctx: &Ctx<'_>, _: &mut (), _: &[NodeIndex]) -> Scoring {
///         match ctx.pod().class().labels.get("tier").is_some_and(|tier| tier == "web") {
///             true => Scoring::Score,
///             false => Scoring::Skip,
///         }
///     }
/// }
/// ```
pub trait PreScore: Plugin {
    /// Prepares the state that [`Score`] reads, or declines.
    ///
    /// A plugin that [depends](Plugin::depends) on less than a domain may be given only some of the nodes.
    fn pre_score(&self, ctx: &Ctx<'_>, state: &mut Self::State, nodes: &[NodeIndex]) -> Scoring;
}

/// Says how good a node is for the pod.
///
/// ```
/// use kore_sched::{Ctx, NodeRef, Plugin, Score};
///
/// struct Quiet;
///
/// impl Plugin for Quiet {
///     type State = ();
///     fn name(&self) -> &'static str { "Quiet" }
/// }
///
/// impl Score for Quiet {
///     fn score(&self, _: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
///         -(node.pods().len() as i64)
///     }
///
///     /// Brings raw scores into 0 to 100.
///     fn normalize(&self, _: &Ctx<'_>, _: &(), scores: &mut [i64]) {
///         let worst = scores.iter().copied().min().unwrap_or(0).min(-1);
///         scores.iter_mut().for_each(|score| *score = 100 - *score * 100 / worst);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(note = "`score(weight)` registers a plugin that implements `kore_sched::Score`")]
pub trait Score: Plugin {
    /// The raw score of one node; higher is better.
    fn score(&self, ctx: &Ctx<'_>, state: &Self::State, node: NodeRef<'_>) -> i64;

    /// The same for many nodes: `scores[i]` is to become the score of `nodes[i]`. Optional; it must agree with
    /// [`score`](Score::score).
    fn score_all(&self, ctx: &Ctx<'_>, state: &Self::State, nodes: &[NodeIndex], scores: &mut [i64]) {
        for (score, node) in scores.iter_mut().zip(nodes) {
            *score = self.score(ctx, state, ctx.node(*node));
        }
    }

    /// Whether raw scores are 0 to 100 already and mean the same whatever other nodes score: then
    /// [`normalize`](Score::normalize) is not called, and a score is asked for again only when its node changes.
    fn is_normalized(&self) -> bool {
        false
    }

    /// Brings the raw scores of all nodes that fit into 0 to 100. Anything outside fails the pod's cycle. The default
    /// leaves them as they are.
    fn normalize(&self, _ctx: &Ctx<'_>, _state: &Self::State, _scores: &mut [i64]) {}
}

/// Stretches scores so that the largest becomes 100; `reverse` turns them round, so that the smallest is best. Integer
/// arithmetic, as upstream.
pub fn normalize_to_largest(scores: &mut [i64], reverse: bool) {
    let largest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        if largest != 0 {
            *score = 100 * *score / largest;
        }
        if reverse {
            *score = 100 - *score;
        }
    }
}

/// Keeps a plugin's own books of what is promised to pods that are not bound yet.
///
/// ```
/// use kore_sched::{Ctx, NodeRef, Plugin, Rejection, Reserve, Verdict};
/// use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
///
/// struct Licences { left: AtomicI64 }
///
/// impl Plugin for Licences {
///     type State = bool; // whether the pod holds one
///     fn name(&self) -> &'static str { "Licences" }
/// }
///
/// impl Reserve for Licences {
///     fn reserve(&self, _: &Ctx<'_>, held: &mut bool, _: NodeRef<'_>) -> Verdict {
///         *held = self.left.fetch_update(Relaxed, Relaxed, |left| (left > 0).then(|| left - 1)).is_ok();
///         held.then_some(()).ok_or_else(|| Rejection::unschedulable("no licence left"))
///     }
///
///     fn unreserve(&self, held: &mut bool, _: &str) {
///         if std::mem::take(held) {
///             self.left.fetch_add(1, Relaxed);
///         }
///     }
/// }
/// ```
pub trait Reserve: Plugin {
    /// Sets aside what the pod needs on that node. The node already counts the pod.
    fn reserve(&self, ctx: &Ctx<'_>, state: &mut Self::State, node: NodeRef<'_>) -> Verdict;

    /// Gives back what `reserve` set aside. Called in reverse order, once, for every plugin of a pod that is given up after
    /// this point began: also for the one whose `reserve` refused and those that were never asked. `node` is the node's
    /// name; the node may be gone.
    fn unreserve(&self, state: &mut Self::State, node: &str);
}

/// The longest a pod waits for a permission: what a plugin asks for beyond this is cut to it.
pub const MAX_PERMIT_WAIT: Duration = Duration::from_secs(15 * 60);

/// A [`Permit`] plugin's answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Permission {
    /// The pod may be bound.
    Allow,
    /// It may not.
    Deny(Rejection),
    /// It keeps its place on the node until somebody allows or denies it in this plugin's name, or the time is over,
    /// which denies it.
    Wait {
        /// How long at most; see [`MAX_PERMIT_WAIT`].
        at_most: Duration,
    },
}

/// Is asked last before a pod is bound.
///
/// ```
/// use kore_sched::{Ctx, NodeRef, Permission, Permit, Plugin};
/// use std::time::Duration;
///
/// /// Somebody looks at pods that ask for it, and allows them by hand.
/// struct Approval;
///
/// impl Plugin for Approval {
///     type State = ();
///     fn name(&self) -> &'static str { "Approval" }
/// }
///
/// impl Permit for Approval {
///     fn permit(&self, ctx: &Ctx<'_>, _: &mut (), _: NodeRef<'_>) -> Permission {
///         match ctx.pod().class().labels.contains_key("needs-approval") {
///             true => Permission::Wait { at_most: Duration::from_secs(600) },
///             false => Permission::Allow,
///         }
///     }
/// }
/// ```
pub trait Permit: Plugin {
    /// Whether the pod may be bound to that node.
    fn permit(&self, ctx: &Ctx<'_>, state: &mut Self::State, node: NodeRef<'_>) -> Permission;
}

#[cfg(test)]
mod tests {
    use super::normalize_to_largest;

    #[test]
    fn normalizing_stretches_to_a_hundred() {
        for (raw, reverse, expected) in [
            (vec![1, 2, 3, 4], false, vec![25, 50, 75, 100]),
            (vec![1, 2, 3, 4], true, vec![75, 50, 25, 0]),
            (vec![1000, 10, 20, 30], false, vec![100, 1, 2, 3]),
            (vec![1000, 10, 20, 30], true, vec![0, 99, 98, 97]),
            (vec![1, 1, 1, 1], false, vec![100, 100, 100, 100]),
            (vec![1, 1, 1, 1], true, vec![0, 0, 0, 0]),
            (vec![0, 0], false, vec![0, 0]),
            (vec![0, 0], true, vec![100, 100]),
            (vec![], true, vec![]),
        ] {
            let mut scores = raw.clone();
            normalize_to_largest(&mut scores, reverse);
            assert_eq!(scores, expected, "{raw:?} {reverse}");
        }
    }
}
