//! Pods that name their node.

use crate::{
    ClusterEvent, Ctx, Depends, Enqueue, Filter, Hint, Interest, NodeRef, NodeSet, Plugin, PodInfo, Rejection, Verdict,
};

/// A pod that names a node fits only there.
///
/// Pods with a node never wait in the queue, so this answers questions about them: explanations and simulations.
pub struct NodeName;

impl Plugin for NodeName {
    type State = ();

    fn name(&self) -> &'static str {
        "NodeName"
    }

    /// The name is not part of a pod's class, but the pods in the queue have none.
    fn depends(&self) -> Depends {
        Depends::Node
    }
}

impl Filter for NodeName {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        match ctx.pod().node_name() {
            Some(wanted) if **wanted != *node.name() => {
                Err(Rejection::unresolvable("node(s) didn't match the requested node name"))
            }
            _ => Ok(()),
        }
    }

    fn filter_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &mut NodeSet) {
        if let Some(wanted) = ctx.pod().node_name() {
            nodes.retain(|node| *wanted == ctx.nodes().info(node).name);
        }
    }
}

impl Enqueue for NodeName {
    fn interest(&self) -> Interest {
        Interest::NODE_ADDED | Interest::THIS_POD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        match (event, pod.node_name()) {
            (ClusterEvent::Node { after: Some(node), .. }, Some(wanted)) if node.name != *wanted => Hint::Skip,
            _ => Hint::Queue,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::nodes::Nodes;
    use crate::pod::Classes;
    use crate::testing::{node, pod};
    use crate::{NodeIndex, NodeInfo, Time};

    /// Upstream: nodename/node_name_test.go.
    #[test]
    fn a_pod_fits_the_node_it_names() {
        let mut nodes = Nodes::default();
        nodes.set_node(Arc::new(NodeInfo::read(&node("foo").build())));
        for (case, wanted, fits) in
            [("no host specified", "", true), ("host matches", "foo", true), ("host doesn't match", "bar", false)]
        {
            let pod = Classes::default().read(Arc::new(pod("p").on(wanted).build()));
            let ctx = Ctx::new(&nodes, &pod, Time::ZERO);
            assert_eq!(NodeName.filter(&ctx, &(), ctx.node(NodeIndex(0))).is_ok(), fits, "{case}");
            let mut all = nodes.all().clone();
            NodeName.filter_all(&ctx, &(), &mut all);
            assert_eq!(!all.is_empty(), fits, "{case}, all at once");
        }
    }
}
