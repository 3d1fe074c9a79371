//! Taints and tolerations.

use k8s_openapi::api::core::v1::Taint;

use crate::{
    ClusterEvent, Ctx, Depends, Enqueue, Filter, Hint, Interest, NodeIndex, NodeInfo, NodeRef, NodeSet, Plugin,
    PodClass, PodInfo, Rejection, Score, Verdict, normalize_to_largest,
};

/// Refuses nodes with a `NoSchedule` or `NoExecute` taint the pod does not tolerate; prefers nodes with few
/// `PreferNoSchedule` taints it does not tolerate.
pub struct TaintToleration;

impl Plugin for TaintToleration {
    type State = ();

    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

fn forbids(taint: &Taint) -> bool {
    taint.effect == "NoSchedule" || taint.effect == "NoExecute"
}

fn discourages(taint: &Taint) -> bool {
    taint.effect == "PreferNoSchedule"
}

fn tolerated(class: &PodClass, taint: &Taint) -> bool {
    class.tolerations.iter().any(|toleration| toleration.tolerates(taint))
}

fn admits(node: &NodeInfo, class: &PodClass) -> bool {
    node.taints.iter().all(|taint| !forbids(taint) || tolerated(class, taint))
}

impl Filter for TaintToleration {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        match admits(node.info(), ctx.pod().class()) {
            true => Ok(()),
            false => Err(Rejection::unresolvable("node(s) had untolerated taint(s)")),
        }
    }

    fn filter_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &mut NodeSet) {
        for (taint, tainted) in ctx.nodes().taints() {
            if forbids(taint) && !tolerated(ctx.pod().class(), taint) {
                nodes.subtract(tainted);
            }
        }
    }
}

impl Score for TaintToleration {
    fn score(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> i64 {
        let class = ctx.pod().class();
        let taints = node.info().taints.iter();
        taints.filter(|taint| discourages(taint) && !tolerated(class, taint)).count() as i64
    }

    fn score_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &[NodeIndex], scores: &mut [i64]) {
        scores.fill(0);
        for (taint, tainted) in ctx.nodes().taints() {
            if discourages(taint) && !tolerated(ctx.pod().class(), taint) {
                for (score, node) in scores.iter_mut().zip(nodes) {
                    *score += i64::from(tainted.contains(*node));
                }
            }
        }
    }

    fn normalize(&self, _: &Ctx<'_>, _: &(), scores: &mut [i64]) {
        normalize_to_largest(scores, true);
    }
}

impl Enqueue for TaintToleration {
    fn interest(&self) -> Interest {
        Interest::NODE_ADDED | Interest::NODE_TAINTS | Interest::THIS_POD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        match event {
            ClusterEvent::Node { after: Some(node), .. } if !admits(node, pod.class()) => Hint::Skip,
            _ => Hint::Queue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cluster, PodBuilder, node, pod};

    type Tolerations = &'static [(&'static str, &'static str, &'static str)];

    fn tolerating(tolerations: Tolerations) -> PodBuilder {
        let exists_for_empty = tolerations.iter();
        exists_for_empty.fold(pod("p"), |pod, (key, value, effect)| pod.toleration(key, value, effect))
    }

    /// Upstream: tainttoleration/taint_toleration_test.go, the filter. A toleration without a value is one of operator Exists.
    #[test]
    fn untolerated_taints_refuse() {
        let dedicated: Tolerations = &[("dedicated", "user1", "NoSchedule")];
        let cases: [(&str, Tolerations, Tolerations, bool); 11] = [
            ("no tolerations, no taints", &[], &[], true),
            ("having no tolerations on a tainted node", &[], dedicated, false),
            ("tolerates the taint", dedicated, dedicated, true),
            ("tolerates another value", &[("dedicated", "user2", "NoSchedule")], dedicated, false),
            ("key Exists tolerates any value", &[("foo", "", "NoSchedule")], &[("foo", "bar", "NoSchedule")], true),
            (
                "several tolerations match several taints",
                &[("dedicated", "user2", "NoSchedule"), ("foo", "", "NoSchedule")],
                &[("dedicated", "user2", "NoSchedule"), ("foo", "bar", "NoSchedule")],
                true,
            ),
            (
                "the effect does not match",
                &[("foo", "bar", "PreferNoSchedule")],
                &[("foo", "bar", "NoSchedule")],
                false,
            ),
            ("an empty effect matches all", &[("foo", "bar", "")], &[("foo", "bar", "NoSchedule")], true),
            (
                "PreferNoSchedule does not refuse",
                &[("dedicated", "user2", "NoSchedule")],
                &[("dedicated", "user1", "PreferNoSchedule")],
                true,
            ),
            (
                "PreferNoSchedule does not refuse pods without tolerations",
                &[],
                &[("dedicated", "user1", "PreferNoSchedule")],
                true,
            ),
            (
                "an empty key with Exists tolerates everything",
                &[("", "", "")],
                &[("foo", "bar", "NoExecute"), ("a", "b", "NoSchedule")],
                true,
            ),
        ];
        for (case, tolerations, taints, fits) in cases {
            let node = taints.iter().fold(node("n"), |node, (key, value, effect)| node.taint(key, value, effect));
            let cluster = Cluster::only(TaintToleration, |at| at.filter()).node(node).pod(tolerating(tolerations));
            let explain = cluster.schedule().explain("p");
            let refused = explain.refused_by("n");
            assert_eq!(refused.is_none(), fits, "{case}: {refused:?}");
        }
    }

    /// Upstream: tainttoleration/taint_toleration_test.go, the scores.
    #[test]
    fn untolerated_preferences_cost() {
        let cases: [(&str, Tolerations, &[Tolerations], &[i64]); 5] = [
            (
                "node with taints tolerated by the pod, gets a higher score than those untolerated",
                &[("foo", "bar", "PreferNoSchedule")],
                &[&[("foo", "bar", "PreferNoSchedule")], &[("foo", "blah", "PreferNoSchedule")]],
                &[100, 0],
            ),
            (
                "the nodes that all of their taints are tolerated by the pod, get the same score",
                &[("cpu-type", "arm64", "PreferNoSchedule"), ("disk-type", "ssd", "PreferNoSchedule")],
                &[
                    &[],
                    &[("cpu-type", "arm64", "PreferNoSchedule")],
                    &[("cpu-type", "arm64", "PreferNoSchedule"), ("disk-type", "ssd", "PreferNoSchedule")],
                ],
                &[100, 100, 100],
            ),
            (
                "the more intolerable taints a node has, the lower score it gets",
                &[("foo", "bar", "PreferNoSchedule")],
                &[
                    &[],
                    &[("cpu-type", "arm64", "PreferNoSchedule")],
                    &[("cpu-type", "arm64", "PreferNoSchedule"), ("disk-type", "ssd", "PreferNoSchedule")],
                ],
                &[100, 50, 0],
            ),
            (
                "only taints and tolerations that have effect PreferNoSchedule are checked",
                &[("cpu-type", "arm64", "NoSchedule"), ("disk-type", "ssd", "NoSchedule")],
                &[
                    &[],
                    &[("cpu-type", "arm64", "NoSchedule")],
                    &[("cpu-type", "arm64", "PreferNoSchedule"), ("disk-type", "ssd", "PreferNoSchedule")],
                ],
                &[100, 100, 0],
            ),
            (
                "default behaviour: no taints and tolerations",
                &[],
                &[&[], &[("cpu-type", "arm64", "PreferNoSchedule")]],
                &[100, 0],
            ),
        ];
        for (case, tolerations, nodes, expected) in cases {
            let mut cluster = Cluster::only(TaintToleration, |at| at.score(1)).pod(tolerating(tolerations));
            for (at, taints) in nodes.iter().enumerate() {
                let node = taints
                    .iter()
                    .fold(node(&format!("node{at}")), |n, (key, value, effect)| n.taint(key, value, effect));
                cluster = cluster.node(node);
            }
            let explain = cluster.schedule().explain("p");
            let scores: Vec<i64> = (0..nodes.len())
                .map(|at| explain.score(&format!("node{at}"), "TaintToleration").unwrap().normalized)
                .collect();
            assert_eq!(scores, expected, "{case}");
        }
    }
}
