//! The strategy RollingUpdate: up by the surge, down by what may be unavailable, one direction a step.

use super::limits::{limits, replicas};
use super::plan::Rollout;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use std::ops::Deref;

/// One step: grow the new set, or else shrink the old ones.
pub(crate) fn step<R: Deref<Target = ReplicaSet>>(rollout: &mut Rollout<'_, R>, now: Timestamp) {
    let new = rollout.ensure_new(now);
    let size = size_of_new(rollout);
    if rollout.sets[new].replicas() != size && rollout.resize(new, size) {
        return;
    }
    shrink_old(rollout, new);
}

/// The size the new set should have now: what is wanted, as far as the surge has room for it.
pub(crate) fn size_of_new<R: Deref<Target = ReplicaSet>>(rollout: &Rollout<'_, R>) -> i32 {
    let wanted = replicas(rollout.spec);
    let has = rollout.new.map_or(0, |new| rollout.sets[new].replicas());
    if has >= wanted {
        return wanted;
    }
    let room = wanted + limits(rollout.spec).surge - rollout.total();
    has + room.clamp(0, wanted - has)
}

fn shrink_old<R: Deref<Target = ReplicaSet>>(rollout: &mut Rollout<'_, R>, new: usize) {
    let needed = replicas(rollout.spec) - limits(rollout.spec).unavailable;
    let not_yet = rollout.sets[new].replicas() - rollout.sets[new].available();
    let spare = rollout.total() - needed - not_yet;
    let old = rollout.old();
    if spare <= 0 || old.iter().all(|index| rollout.sets[*index].replicas() == 0) {
        return;
    }
    // Pods that do not work go first: they cost no availability.
    let mut left = spare;
    for index in &old {
        let set = &rollout.sets[*index];
        let broken = (set.replicas() - set.available()).clamp(0, left);
        if broken > 0 {
            let size = set.replicas() - broken;
            rollout.resize(*index, size);
            left -= broken;
        }
    }
    // Then working ones, down to what must stay available.
    let available: i32 = rollout.sets.iter().map(|set| set.available()).sum();
    let mut left = available - needed;
    for index in &old {
        let cut = rollout.sets[*index].replicas().clamp(0, left.max(0));
        if cut > 0 {
            let size = rollout.sets[*index].replicas() - cut;
            rollout.resize(*index, size);
            left -= cut;
        }
    }
}
