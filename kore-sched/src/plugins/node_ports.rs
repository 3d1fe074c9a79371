//! Ports pods take on their node.

use crate::{
    Candidates, ClusterEvent, Ctx, Depends, Enqueue, Filter, Hint, HostPort, Interest, NodeRef, NodeSet, Plugin,
    PodInfo, PreFilter, Rejection, Verdict,
};

/// No two pods on one node take the same host port: same protocol and port, and the same address or either on all.
pub struct NodePorts;

impl Plugin for NodePorts {
    type State = ();

    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

fn conflict<'a>(pod: &PodInfo, mut taken: impl Iterator<Item = &'a HostPort>) -> bool {
    let wanted = &pod.class().host_ports;
    taken.any(|taken| wanted.iter().any(|wanted| wanted.conflicts(taken)))
}

impl PreFilter for NodePorts {
    fn pre_filter(&self, ctx: &Ctx<'_>, _: &mut ()) -> Result<Candidates, Rejection> {
        match ctx.pod().class().host_ports.is_empty() {
            true => Ok(Candidates::Skip),
            false => Ok(Candidates::All),
        }
    }
}

impl Filter for NodePorts {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        if conflict(ctx.pod(), ctx.nodes().host_ports_on(node.index())) {
            return Err(Rejection::unschedulable("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }

    fn filter_all(&self, ctx: &Ctx<'_>, _: &(), nodes: &mut NodeSet) {
        for (node, taken) in ctx.nodes().host_ports() {
            if nodes.contains(node) && conflict(ctx.pod(), taken) {
                nodes.remove(node);
            }
        }
    }
}

impl Enqueue for NodePorts {
    fn interest(&self) -> Interest {
        Interest::NODE_ADDED | Interest::POD_REMOVED | Interest::THIS_POD
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        match event {
            ClusterEvent::AssignedPod { before: Some(gone), .. } if !conflict(pod, gone.class().host_ports.iter()) => {
                Hint::Skip
            }
            _ => Hint::Queue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Cluster, node, pod};

    /// Upstream: nodeports/node_ports_test.go.
    #[test]
    fn ports_are_taken_once() {
        type Ports = &'static [(&'static str, &'static str, i32)];
        let cases: [(&str, Ports, Ports, bool); 15] = [
            ("skip filter", &[], &[], true),
            ("other port", &[("UDP", "127.0.0.1", 8080)], &[("UDP", "127.0.0.1", 9090)], true),
            ("same udp port", &[("UDP", "127.0.0.1", 8080)], &[("UDP", "127.0.0.1", 8080)], false),
            ("same tcp port", &[("TCP", "127.0.0.1", 8080)], &[("TCP", "127.0.0.1", 8080)], false),
            ("different host ip", &[("TCP", "127.0.0.1", 8080)], &[("TCP", "127.0.0.2", 8080)], true),
            ("different protocol", &[("UDP", "127.0.0.1", 8080)], &[("TCP", "127.0.0.1", 8080)], true),
            (
                "second udp port conflict",
                &[("UDP", "127.0.0.1", 8000), ("UDP", "127.0.0.1", 8080)],
                &[("UDP", "127.0.0.1", 8080)],
                false,
            ),
            (
                "first tcp port conflict",
                &[("TCP", "127.0.0.1", 8001), ("UDP", "127.0.0.1", 8080)],
                &[("TCP", "127.0.0.1", 8001), ("UDP", "127.0.0.1", 8081)],
                false,
            ),
            (
                "first tcp port conflict due to 0.0.0.0 hostIP",
                &[("TCP", "0.0.0.0", 8001)],
                &[("TCP", "127.0.0.1", 8001)],
                false,
            ),
            (
                "TCP hostPort conflict due to 0.0.0.0 hostIP",
                &[("TCP", "10.0.10.10", 8001), ("TCP", "0.0.0.0", 8001)],
                &[("TCP", "127.0.0.1", 8001)],
                false,
            ),
            (
                "second tcp port conflict to 0.0.0.0 hostIP",
                &[("TCP", "127.0.0.1", 8001)],
                &[("TCP", "0.0.0.0", 8001)],
                false,
            ),
            ("second different protocol", &[("UDP", "127.0.0.1", 8001)], &[("TCP", "0.0.0.0", 8001)], true),
            (
                "UDP hostPort conflict due to 0.0.0.0 hostIP",
                &[("UDP", "127.0.0.1", 8001)],
                &[("TCP", "0.0.0.0", 8001), ("UDP", "0.0.0.0", 8001)],
                false,
            ),
            ("protocol defaults to TCP", &[("", "127.0.0.1", 8001)], &[("TCP", "127.0.0.1", 8001)], false),
            ("address defaults to all", &[("TCP", "", 8001)], &[("TCP", "127.0.0.1", 8001)], false),
        ];
        for (case, wanted, taken, fits) in cases {
            let with = |name: &str, ports: Ports| {
                ports.iter().fold(pod(name), |pod, (protocol, address, port)| pod.host_port(protocol, address, *port))
            };
            let report = Cluster::only(NodePorts, |at| at.pre_filter().filter())
                .node(node("m1"))
                .pod(with("there", taken).on("m1"))
                .pod(with("p", wanted))
                .schedule();
            let explain = report.explain("p");
            let refused = explain.refused_by("m1");
            assert_eq!(refused.is_none(), fits, "{case}: {refused:?}");
        }
    }
}
