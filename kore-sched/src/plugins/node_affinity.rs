//! Node selectors and node affinity.

use std::collections::BTreeSet;

use crate::selector::{Operator, Term};
use crate::{
    Candidates, ClusterEvent, Ctx, Depends, Enqueue, Filter, Hint, Interest, NodeIndex, NodeInfo, NodeRef, NodeSet,
    Plugin, PodClass, PodInfo, PreFilter, PreScore, Rejection, Score, Scoring, Verdict, normalize_to_largest,
};

/// Refuses nodes that `nodeSelector` or required node affinity rule out; prefers those that match preferred terms, by the sum
/// of their weights.
pub struct NodeAffinity;

impl Plugin for NodeAffinity {
    type State = ();

    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

fn admits(node: &NodeInfo, class: &PodClass) -> bool {
    let selected = class.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let matches = |terms: &Vec<Term>| terms.iter().any(|term| term.matches(&node.name, &node.labels));
    selected && class.required_affinity.as_ref().is_none_or(matches)
}

/// The nodes that the terms name, when every term names some: terms are alternatives.
fn names(terms: &[Term]) -> Option<BTreeSet<&str>> {
    let mut all = BTreeSet::new();
    for term in terms {
        let by_name = term
            .fields
            .iter()
            .filter(|field| field.key == "metadata.name" && field.operator == Operator::In)
            .map(|field| field.values.iter().map(String::as_str).collect::<BTreeSet<_>>());
        all.extend(by_name.reduce(|a, b| &a & &b)?);
    }
    Some(all)
}

impl PreFilter for NodeAffinity {
    fn pre_filter(&self, ctx: &Ctx<'_>, _: &mut ()) -> Result<Candidates, Rejection> {
        let class = ctx.pod().class();
        if class.required_affinity.is_none() && class.node_selector.is_empty() {
            return Ok(Candidates::Skip);
        }
        let terms = class.required_affinity.as_deref().unwrap_or_default();
        if terms.is_empty() {
            return Ok(Candidates::All);
        }
        match names(terms) {
            None => Ok(Candidates::All),
            Some(names) if names.is_empty() => Err(Rejection::unresolvable("pod affinity terms conflict")),
            Some(names) => {
                let nodes = names.into_iter().filter_map(|name| ctx.nodes().find(name));
                Ok(Candidates::Only(nodes.collect()))
            }
        }
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        match admits(node.info(), ctx.pod().class()) {
            true => Ok(()),
            false => Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector")),
        }
    }

    fn filter_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &mut NodeSet) {
        let class = ctx.pod().class();
        for (key, value) in &class.node_selector {
            nodes.intersect(&ctx.nodes().with_label(key, value));
        }
        if let Some(terms) = &class.required_affinity {
            let mut any = NodeSet::new();
            for term in terms {
                any.unite(&ctx.nodes().matching(term));
            }
            nodes.intersect(&any);
        }
    }
}

impl PreScore for NodeAffinity {
    fn pre_score(&self, ctx: &Ctx<'_>, _: &mut (), _: &[NodeIndex]) -> Scoring {
        match ctx.pod().class().preferred_affinity.is_empty() {
            true => Scoring::Skip,
            false => Scoring::Score,
        }
    }
}

impl Score for NodeAffinity {
    fn score(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
        let info = node.info();
        let preferred = ctx.pod().class().preferred_affinity.iter();
        preferred.filter(|(_, term)| term.matches(&info.name, &info.labels)).map(|(weight, _)| i64::from(*weight)).sum()
    }

    fn score_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &[NodeIndex], scores: &mut [i64]) {
        // A few nodes are asked about one by one when they changed; the index pays for many.
        const INDEX_FROM: usize = 8;
        if nodes.len() < INDEX_FROM {
            for (score, node) in scores.iter_mut().zip(nodes) {
                *score = self.score(ctx, &(), ctx.node(*node));
            }
            return;
        }
        scores.fill(0);
        for (weight, term) in &ctx.pod().class().preferred_affinity {
            let matching = ctx.nodes().matching(term);
            for (score, node) in scores.iter_mut().zip(nodes) {
                *score += i64::from(matching.contains(*node)) * i64::from(*weight);
            }
        }
    }

    fn normalize(&self, _: &Ctx<'_>, _: &(), scores: &mut [i64]) {
        normalize_to_largest(scores, false);
    }
}

impl Enqueue for NodeAffinity {
    fn interest(&self) -> Interest {
        Interest::NODE_ADDED | Interest::NODE_LABELS | Interest::THIS_POD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        match event {
            ClusterEvent::Node { after: Some(node), .. } if !admits(node, pod.class()) => Hint::Skip,
            _ => Hint::Queue,
        }
    }
}
