//! The strategy Recreate: every old pod is gone before the first new one is made.

use super::limits::replicas;
use super::plan::Rollout;
use crate::objects::claim::controller_of;
use crate::objects::pods;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use std::ops::Deref;

/// One step: empty the old sets, wait for their pods, fill the new set.
pub(crate) fn step<R, P>(rollout: &mut Rollout<'_, R>, all: &[P], now: Timestamp)
where
    R: Deref<Target = ReplicaSet>,
    P: Deref<Target = Pod>,
{
    let mut shrank = false;
    for index in rollout.old() {
        if rollout.sets[index].replicas() > 0 {
            shrank |= rollout.resize(index, 0);
        }
    }
    if shrank || old_pods_run(rollout, all) {
        return;
    }
    let new = rollout.ensure_new(now);
    let wanted = replicas(rollout.spec);
    if rollout.sets[new].replicas() != wanted {
        rollout.resize(new, wanted);
    }
}

fn old_pods_run<R, P>(rollout: &Rollout<'_, R>, all: &[P]) -> bool
where
    R: Deref<Target = ReplicaSet>,
    P: Deref<Target = Pod>,
{
    let old: Vec<&ReplicaSet> = rollout.old().into_iter().map(|index| rollout.sets[index].get()).collect();
    if old.iter().any(|set| set.status.as_ref().is_some_and(|status| status.replicas > 0)) {
        return true;
    }
    let of_old = |pod: &Pod| {
        let owner = controller_of(&pod.metadata);
        owner.is_some_and(|owner| old.iter().any(|set| set.metadata.uid.as_ref() == Some(&owner.uid)))
    };
    all.iter().any(|pod| of_old(pod) && !pods::is_terminated(pod))
}
