//! Scaling: a new number of replicas in the middle of a rollout is shared out among the sets in proportion to their
//! sizes, so that a rollout that went wrong does not win or lose by it.

use super::limits::{limits, replicas};
use super::plan::Rollout;
use super::revision;
use k8s_openapi::api::apps::v1::ReplicaSet;
use std::ops::Deref;

/// Sizes the sets after `spec.replicas` changed, or while the deployment is paused.
pub(crate) fn scale<R: Deref<Target = ReplicaSet>>(rollout: &mut Rollout<'_, R>) {
    let wanted = replicas(rollout.spec);
    if let Some(only) = active_or_latest(rollout) {
        rollout.resize(only, wanted);
        return;
    }
    let old = rollout.old();
    if rollout.new.is_some_and(|new| is_saturated(rollout, new)) {
        for index in old {
            if rollout.sets[index].replicas() > 0 {
                rollout.resize(index, 0);
            }
        }
        return;
    }
    if super::limits::is_rolling(rollout.spec) {
        proportionally(rollout);
    }
}

/// The one set to size, if it is one: the only one with replicas, or the newest where none has any. `None` also when
/// there is no set at all.
fn active_or_latest<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>) -> Option<usize> {
    let mut active = (0..rollout.sets.len()).filter(|index| rollout.sets[*index].replicas() > 0);
    match (active.next(), active.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => rollout.new.or_else(|| rollout.old().last().copied()),
    }
}

fn is_saturated<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>, index: usize) -> bool {
    let (set, wanted) = (&rollout.sets[index], replicas(rollout.spec));
    set.replicas() == wanted && set.available() == wanted && revision::desired(&set.get().metadata) == Some(wanted)
}

fn proportionally<R: Deref<Target = ReplicaSet>>(rollout: &mut Rollout<'_, R>) {
    let wanted = replicas(rollout.spec);
    let allowed = if wanted > 0 { wanted + limits(rollout.spec).surge } else { 0 };
    let to_add = allowed - rollout.total();
    // The largest first; of equals the newer gains first and the older loses first. Sets are kept oldest first.
    let mut order: Vec<usize> = (0..rollout.sets.len()).filter(|index| rollout.sets[*index].replicas() > 0).collect();
    if to_add > 0 {
        order.reverse();
    }
    order.sort_by_key(|index| std::cmp::Reverse(rollout.sets[*index].replicas()));
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(order.len());
    for index in &order {
        let left = to_add - added;
        let share = fraction(rollout, *index, allowed);
        let share = if to_add > 0 { share.clamp(0, left) } else { share.clamp(left, 0) };
        sizes.push(rollout.sets[*index].replicas() + share);
        added += share;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0); // what rounding left over
    }
    for (index, size) in order.into_iter().zip(sizes) {
        rollout.resize(index, size);
    }
}

/// What this set would gain or lose if everything could be shared out exactly.
fn fraction<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>, index: usize, allowed: i32) -> i32 {
    let set = &rollout.sets[index];
    if replicas(rollout.spec) == 0 {
        return -set.replicas();
    }
    let known = revision::maximum(&set.get().metadata).filter(|maximum| *maximum > 0);
    let before = known.or(rollout.status.replicas).unwrap_or(0);
    if before <= 0 {
        return 0;
    }
    // Rounded half up, in whole numbers.
    let exact = i64::from(set.replicas()) * i64::from(allowed);
    let rounded = (2 * exact + i64::from(before)) / (2 * i64::from(before));
    i32::try_from(rounded).unwrap_or(i32::MAX) - set.replicas()
}
