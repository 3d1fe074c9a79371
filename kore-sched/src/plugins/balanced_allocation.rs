//! Nodes whose resources fill up evenly.

use super::resources_fit::scored;
use crate::{Ctx, Depends, NodeIndex, NodeRef, Plugin, PreScore, Score, Scoring};

/// Prefers nodes on which CPU and memory would be used to the same fraction: (1 − standard deviation of the fractions) × 100.
///
/// Has no opinion on pods that ask for neither, so that they do not all go to one node.
pub struct NodeResourcesBalancedAllocation;

const RESOURCES: [&str; 2] = ["cpu", "memory"];

impl Plugin for NodeResourcesBalancedAllocation {
    type State = ();

    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

impl PreScore for NodeResourcesBalancedAllocation {
    fn pre_score(&self, ctx: &Ctx<'_>, _: &mut (), _: &[NodeIndex]) -> Scoring {
        let requests = &ctx.pod().class().requests;
        match RESOURCES.iter().all(|resource| requests.get(resource) == 0) {
            true => Scoring::Skip,
            false => Scoring::Score,
        }
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn score(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
        let mut score = [0];
        self.score_all(ctx, &(), &[node.index()], &mut score);
        score[0]
    }

    fn is_normalized(&self) -> bool {
        true
    }

    fn score_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &[NodeIndex], scores: &mut [i64]) {
        let requests = &ctx.pod().class().requests;
        let [cpu, memory] =
            RESOURCES.map(|resource| scored(ctx.nodes(), resource, false, requests).expect("a fixed column"));
        for (score, node) in scores.iter_mut().zip(nodes) {
            let row = node.row();
            let fraction = |(capacity, taken, added): (&[i64], &[i64], i64)| {
                let capacity = capacity[row];
                (capacity != 0).then(|| (taken[row].saturating_add(added) as f64 / capacity as f64).min(1.0))
            };
            // The deviation of two values from their mean is half of their distance.
            let deviation = match (fraction(cpu), fraction(memory)) {
                (Some(cpu), Some(memory)) => ((cpu - memory) / 2.0).abs(),
                _ => 0.0,
            };
            *score = ((1.0 - deviation) * 100.0) as i64;
        }
    }
}
