//! Cordoned nodes.

use k8s_openapi::api::core::v1::Taint;

use crate::{
    ClusterEvent, Ctx, Depends, Enqueue, Filter, Hint, Interest, NodeRef, NodeSet, Plugin, PodInfo, Rejection, Verdict,
};

/// Cordoned nodes take only pods that tolerate `node.kubernetes.io/unschedulable:NoSchedule`.
pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    type State = ();

    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

fn tolerates(pod: &PodInfo) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    pod.class().tolerations.iter().any(|toleration| toleration.tolerates(&taint))
}

impl Filter for NodeUnschedulable {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        if node.info().unschedulable && !tolerates(ctx.pod()) {
            return Err(Rejection::unresolvable("node(s) were unschedulable"));
        }
        Ok(())
    }

    fn filter_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &mut NodeSet) {
        let cordoned = ctx.nodes().unschedulable();
        if !cordoned.is_empty() && !tolerates(ctx.pod()) {
            nodes.subtract(cordoned);
        }
    }
}

impl Enqueue for NodeUnschedulable {
    fn interest(&self) -> Interest {
        Interest::NODE_ADDED | Interest::NODE_TAINTS | Interest::THIS_POD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        match event {
            ClusterEvent::Node { after: Some(node), .. } if node.unschedulable && !tolerates(pod) => Hint::Skip,
            _ => Hint::Queue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cluster, node, pod};

    /// Upstream: nodeunschedulable/node_unschedulable_test.go.
    #[test]
    fn cordoned_nodes_take_pods_that_tolerate_it() {
        let tolerant = || pod("p").toleration("node.kubernetes.io/unschedulable", "", "NoSchedule");
        for (case, pod, node, fits) in [
            ("does not schedule pod to unschedulable node", pod("p"), node("n").cordoned(), false),
            ("schedule pod to normal node", pod("p"), node("n"), true),
            ("schedule pod with toleration to unschedulable node", tolerant(), node("n").cordoned(), true),
            (
                "toleration of another effect",
                pod("p").toleration("node.kubernetes.io/unschedulable", "", "NoExecute"),
                node("n").cordoned(),
                false,
            ),
        ] {
            let cluster = Cluster::only(NodeUnschedulable, |at| at.filter()).node(node).pod(pod);
            let explain = cluster.schedule().explain("p");
            let refused = explain.refused_by("n");
            assert_eq!(refused.is_none(), fits, "{case}: {refused:?}");
        }
    }
}
