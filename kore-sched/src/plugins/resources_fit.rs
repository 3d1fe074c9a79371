//! Resources: what fits, and where most is left.

use std::sync::Arc;

use super::percent;
use crate::nodes::Nodes;
use crate::resources::Resources;
use crate::{
    ClusterEvent, Code, Column, Ctx, Depends, Enqueue, Filter, Hint, Interest, NodeIndex, NodeRef, NodeSet, Plugin,
    PodClass, PodInfo, Rejection, Score, Verdict,
};

/// What [`NodeResourcesFit`] prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Nodes with most left.
    #[default]
    LeastAllocated,
    /// Nodes with least left.
    MostAllocated,
}

/// Refuses nodes without enough of a resource left, or with no room for one more pod; prefers nodes by how much is left.
///
/// A pod's requests are those of KEP-753 (sidecars) with overhead and pod-level requests. Scores look at `cpu` and `memory`
/// with equal weights unless told otherwise, and count pods that state no requests with 100 m and 200 MiB a container.
#[derive(Clone, Debug)]
pub struct NodeResourcesFit {
    strategy: Strategy,
    resources: Vec<(Arc<str>, i64)>,
    ignored: Vec<String>,
}

impl Default for NodeResourcesFit {
    fn default() -> NodeResourcesFit {
        NodeResourcesFit {
            strategy: Strategy::default(),
            resources: vec![("cpu".into(), 1), ("memory".into(), 1)],
            ignored: Vec::new(),
        }
    }
}

impl NodeResourcesFit {
    /// Prefers by another strategy.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> NodeResourcesFit {
        self.strategy = strategy;
        self
    }

    /// Looks at these resources, with these weights, when it scores.
    #[must_use]
    pub fn resources<'a>(mut self, resources: impl IntoIterator<Item = (&'a str, i64)>) -> NodeResourcesFit {
        let resources = resources.into_iter();
        self.resources = resources.map(|(name, weight)| (name.into(), weight)).collect();
        self
    }

    /// Does not refuse for the lack of that extended resource, nor, for a name without `/`, of any of that group.
    #[must_use]
    pub fn ignoring(mut self, resource: &str) -> NodeResourcesFit {
        self.ignored.push(resource.to_owned());
        self
    }

    fn is_ignored(&self, resource: &str) -> bool {
        let group = resource.split_once('/').map(|(group, _)| group);
        let mut ignored = self.ignored.iter();
        ignored.any(|ignored| ignored == resource || Some(ignored.as_str()) == group)
    }

    /// Every resource the pod asks for that is looked at, with its amount.
    fn asked<'a>(&'a self, class: &'a PodClass) -> impl Iterator<Item = (&'a str, i64)> {
        let requests = &class.requests;
        let fixed = [
            ("cpu", requests.cpu_milli),
            ("memory", requests.memory_bytes),
            ("ephemeral-storage", requests.ephemeral_bytes),
        ];
        let extended = requests.extended.iter().map(|(name, amount)| (&**name, *amount));
        let all = fixed.into_iter().chain(extended);
        all.filter(|(name, amount)| *amount > 0 && !self.is_ignored(name))
    }

    fn fits_when_empty(&self, offered: &Resources, pods: i64, class: &PodClass) -> bool {
        pods > 0 && self.asked(class).all(|(name, amount)| amount <= offered.get(name))
    }
}

impl Plugin for NodeResourcesFit {
    type State = ();

    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

impl Filter for NodeResourcesFit {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        let mut found: Option<Rejection> = None;
        let mut refuse = |code: Code, reason: std::borrow::Cow<'static, str>| {
            found = Some(match found.take() {
                None => Rejection::new(code, reason),
                Some(rejection) => rejection.and(reason),
            });
            if let (Some(rejection), Code::Unresolvable) = (&mut found, code) {
                rejection.code = code;
            }
        };
        if node.used("pods") + 1 > node.capacity("pods") {
            refuse(Code::Unschedulable, "Too many pods".into());
        }
        for (name, amount) in self.asked(ctx.pod().class()) {
            let (capacity, used) = (node.capacity(name), node.used(name));
            let code = if amount > capacity { Code::Unresolvable } else { Code::Unschedulable };
            if amount > capacity - used {
                refuse(code, reason(name));
            }
        }
        found.map_or(Ok(()), Err)
    }

    fn filter_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &mut NodeSet) {
        let pods = ctx.nodes().column("pods").expect("a fixed column");
        nodes.retain(|node| has_left(pods, node, 1));
        for (name, amount) in self.asked(ctx.pod().class()) {
            match ctx.nodes().column(name) {
                Some(column) => nodes.retain(|node| has_left(column, node, amount)),
                None => nodes.clear(),
            }
        }
    }
}

fn has_left(column: &Column, node: NodeIndex, amount: i64) -> bool {
    amount <= column.capacity()[node.row()] - column.used()[node.row()]
}

fn reason(resource: &str) -> std::borrow::Cow<'static, str> {
    match resource {
        "cpu" => "Insufficient cpu".into(),
        "memory" => "Insufficient memory".into(),
        "ephemeral-storage" => "Insufficient ephemeral-storage".into(),
        _ => format!("Insufficient {resource}").into(),
    }
}

/// One resource as scores see it: what nodes offer, what is taken there, and what the pod adds; `None` when it does not
/// count for this pod.
pub(super) fn scored<'a>(
    nodes: &'a Nodes,
    resource: &str,
    taken_for_scores: bool,
    requests: &Resources,
) -> Option<(&'a [i64], &'a [i64], i64)> {
    let column = nodes.column(resource)?;
    let (cpu, memory) = nodes.scoring_used();
    let added = requests.get(resource);
    let taken = match resource {
        "cpu" if taken_for_scores => cpu,
        "memory" if taken_for_scores => memory,
        // A pod that does not ask for an extended resource has no opinion on it.
        "cpu" | "memory" | "ephemeral-storage" => column.used(),
        _ if added == 0 => return None,
        _ => column.used(),
    };
    Some((column.capacity(), taken, added))
}

impl Score for NodeResourcesFit {
    fn score(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
        let mut score = [0];
        self.score_all(ctx, &(), &[node.index()], &mut score);
        score[0]
    }

    fn is_normalized(&self) -> bool {
        true
    }

    fn score_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &[NodeIndex], scores: &mut [i64]) {
        let requests = &ctx.pod().class().scoring_requests;
        let resources: Vec<_> = self
            .resources
            .iter()
            .filter_map(|(name, weight)| Some((scored(ctx.nodes(), name, true, requests)?, *weight)))
            .collect();
        for (score, node) in scores.iter_mut().zip(nodes) {
            let row = node.row();
            let (mut sum, mut weights) = (0, 0);
            for ((capacity, taken, added), weight) in &resources {
                let (capacity, taken) = (capacity[row], taken[row].saturating_add(*added));
                if capacity == 0 {
                    continue;
                }
                sum += weight
                    * match self.strategy {
                        Strategy::LeastAllocated if taken > capacity => 0,
                        Strategy::LeastAllocated => percent(capacity - taken, capacity),
                        Strategy::MostAllocated => percent(taken.min(capacity), capacity),
                    };
                weights += weight;
            }
            *score = if weights == 0 { 0 } else { (sum as f64 / weights as f64) as i64 };
        }
    }
}

impl Enqueue for NodeResourcesFit {
    fn interest(&self) -> Interest {
        Interest::NODE_ADDED
            | Interest::NODE_ALLOCATABLE
            | Interest::POD_REMOVED
            | Interest::POD_CHANGED
            | Interest::THIS_POD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        let class = pod.class();
        let may_help = match event {
            ClusterEvent::Node { after: Some(node), .. } => {
                self.fits_when_empty(&node.allocatable, node.pods_allowed, class)
            }
            // Requests of a running pod shrink when it is resized.
            ClusterEvent::AssignedPod { before: Some(before), after: Some(after) } => {
                let (before, after) = (&before.class().requests, &after.class().requests);
                self.asked(class).any(|(name, _)| after.get(name) < before.get(name))
            }
            _ => true,
        };
        if may_help { Hint::Queue } else { Hint::Skip }
    }
}
