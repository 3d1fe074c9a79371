//! The default plugins: one file each, with the semantics of kube-scheduler 1.37.
//!
//! | plugin | points | weight |
//! |---|---|---|
//! | [`SchedulingGates`] | PreEnqueue | |
//! | [`PrioritySort`] | QueueSort | |
//! | [`NodeUnschedulable`] | Filter | |
//! | [`NodeName`] | Filter | |
//! | [`TaintToleration`] | Filter, PreScore, Score | 3 |
//! | [`NodeAffinity`] | PreFilter, Filter, PreScore, Score | 2 |
//! | [`NodePorts`] | PreFilter, Filter | |
//! | [`NodeResourcesFit`] | Filter, Score | 1 |
//! | [`NodeResourcesBalancedAllocation`] | PreScore, Score | 1 |
//! | [`DefaultBinder`] | Bind | |
//!
//! All of them depend on a pod's class and one node at most.

mod balanced_allocation;
mod default_binder;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod priority_sort;
mod resources_fit;
mod scheduling_gates;
mod taint_toleration;

pub use balanced_allocation::NodeResourcesBalancedAllocation;
pub use default_binder::DefaultBinder;
pub use node_affinity::NodeAffinity;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_unschedulable::NodeUnschedulable;
pub use priority_sort::PrioritySort;
pub use resources_fit::{NodeResourcesFit, Strategy};
pub use scheduling_gates::SchedulingGates;
pub use taint_toleration::TaintToleration;

use crate::{DEFAULT_SCHEDULER_NAME, Profile, ProfileError};

impl Default for Profile {
    /// Upstream's default plugins in upstream's order, with upstream's weights, as far as this version has them.
    fn default() -> Profile {
        defaults(Profile::empty(DEFAULT_SCHEDULER_NAME)).expect("the defaults have names of their own")
    }
}

fn defaults(profile: Profile) -> Result<Profile, ProfileError> {
    profile
        .plugin(SchedulingGates, |at| at.pre_enqueue().enqueue())?
        .plugin(PrioritySort, |at| at.queue_sort())?
        .plugin(NodeUnschedulable, |at| at.filter().enqueue())?
        .plugin(NodeName, |at| at.filter().enqueue())?
        .plugin(TaintToleration, |at| at.filter().score(3).enqueue())?
        .plugin(NodeAffinity, |at| at.pre_filter().filter().pre_score().score(2).enqueue())?
        .plugin(NodePorts, |at| at.pre_filter().filter().enqueue())?
        .plugin(NodeResourcesFit::default(), |at| at.filter().score(1).enqueue())?
        .plugin(NodeResourcesBalancedAllocation, |at| at.pre_score().score(1))?
        .plugin(DefaultBinder, |at| at.bind())
}

/// `part` × 100 ÷ `whole`, truncated, for `0 <= part <= whole`.
///
/// In floating point where that is exact, because it is several times faster than an integer division.
fn percent(part: i64, whole: i64) -> i64 {
    const EXACT_BELOW: i64 = (1 << 53) / 100;
    match whole {
        0 => 0,
        1..EXACT_BELOW => ((part * 100) as f64 / whole as f64) as i64,
        _ => (i128::from(part) * 100 / i128::from(whole)) as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::percent;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percentage_is_the_integer_division(whole in 0i64..1 << 62, per in 0.0..=1.0f64) {
            let part = ((whole as f64 * per) as i64).min(whole);
            let exact = if whole == 0 { 0 } else { i128::from(part) * 100 / i128::from(whole) };
            prop_assert_eq!(i128::from(percent(part, whole)), exact);
        }

        #[test]
        fn small_ones_too(whole in 1i64..2000, part in 0i64..2000) {
            let part = part.min(whole);
            prop_assert_eq!(percent(part, whole), part * 100 / whole);
        }
    }
}
