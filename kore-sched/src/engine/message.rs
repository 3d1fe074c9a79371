//! What users are told about a pod that fits nowhere, in upstream's wording.

use std::collections::BTreeMap;

use crate::framework::Refusal;

/// `0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu.`, and what PostFilter adds.
pub(super) fn no_node(nodes: usize, refusals: &[Refusal], recourse: &str) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in refusals.iter().flat_map(|refusal| refusal.rejection.reasons()) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut counted: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counted.sort();
    message(nodes, &counted.join(", "), recourse)
}

/// The same for a pod that one plugin refused as a whole.
pub(super) fn refused(nodes: usize, reason: &str, recourse: &str) -> String {
    message(nodes, reason, recourse)
}

/// What is said when there is no node at all.
pub(super) const NO_NODES: &str = "no nodes available to schedule pods";

fn message(nodes: usize, reasons: &str, recourse: &str) -> String {
    let mut message = format!("0/{nodes} nodes are available:");
    if !reasons.is_empty() {
        message += &format!(" {reasons}.");
    }
    if !recourse.is_empty() {
        message += &format!(" {recourse}");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::Rejection;
    use crate::node::NodeIndex;

    #[test]
    fn reasons_are_counted_and_sorted_as_text() {
        let refusal = |at, rejection| Refusal { node: NodeIndex(at), plugin: "P", rejection };
        let cpu = || Rejection::unschedulable("Insufficient cpu");
        let refusals = [
            refusal(0, cpu().and("Insufficient memory")),
            refusal(1, cpu()),
            refusal(2, cpu()),
            refusal(3, Rejection::unresolvable("node(s) had untolerated taint(s)")),
            refusal(4, Rejection::unresolvable("node(s) had untolerated taint(s)")),
        ];
        assert_eq!(
            no_node(5, &refusals, ""),
            "0/5 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint(s), 3 Insufficient cpu."
        );
        assert_eq!(
            refused(2, "pod affinity terms conflict", "preemption: not helpful."),
            "0/2 nodes are available: pod affinity terms conflict. preemption: not helpful."
        );
    }
}
