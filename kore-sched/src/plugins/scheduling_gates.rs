//! Pods that are not ready to be scheduled.

use crate::{Ctx, Depends, Enqueue, Interest, Plugin, PreEnqueue, Rejection, Verdict};

/// Keeps a pod out of the queue while `spec.schedulingGates` names any gate (KEP-3521).
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    type State = ();

    fn name(&self) -> &'static str {
        "SchedulingGates"
    }

    fn depends(&self) -> Depends {
        Depends::Pod
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, ctx: &Ctx<'_>) -> Verdict {
        let gates = &ctx.pod().class().scheduling_gates;
        if gates.is_empty() {
            return Ok(());
        }
        let gates = gates.join(" ");
        Err(Rejection::unresolvable(format!("waiting for scheduling gates: [{gates}]")))
    }
}

impl Enqueue for SchedulingGates {
    fn interest(&self) -> Interest {
        Interest::THIS_POD
    }
}
