//! What to do about one ReplicaSet: pure.

use super::rank;
use crate::objects::claim::{Claim, claim};
use crate::objects::{pods, versions::Spec};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use kore_api::selector::LabelSelector;
use std::ops::Deref;

/// The most pods created or deleted in one reconcile. What is missing beyond it follows in the next one.
pub(crate) const BURST: usize = 500;

/// What the plan looks at. `P` is however the caller holds a pod.
pub(crate) struct Snapshot<'a, P> {
    pub(crate) set: &'a ReplicaSet,
    /// The pods of the set's namespace; those that are none of its business may be among them.
    pub(crate) pods: &'a [P],
    /// Pods of the sets that have the same controller as this one, this one's included: what deletion looks at to
    /// thin out crowded nodes first.
    pub(crate) related: &'a [P],
}

/// The writes, in order, and what the status counts.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan<P> {
    pub(crate) adopt: Vec<P>,
    pub(crate) release: Vec<P>,
    /// How many pods to create.
    pub(crate) create: usize,
    /// The pods to delete, the least valuable first.
    pub(crate) delete: Vec<P>,
    /// The set's active pods as they are before the writes.
    pub(crate) active: Vec<P>,
    /// The set's pods that are on their way out.
    pub(crate) terminating: usize,
}

/// Decides. Nothing is created or deleted for a set that is itself being deleted.
pub(crate) fn plan<P: Deref<Target = Pod> + Clone>(snapshot: &Snapshot<'_, P>, now: Timestamp) -> Plan<P> {
    let set = snapshot.set;
    let mut plan = Plan { adopt: vec![], release: vec![], create: 0, delete: vec![], active: vec![], terminating: 0 };
    let Some(spec) = spec(set) else { return plan };
    // The server refuses selectors that cannot be read; if one got in all the same, it selects nothing.
    let Ok(selector) = LabelSelector::from_api(&spec.selector) else {
        return plan;
    };
    for pod in snapshot.pods {
        if pods::is_terminated(pod) {
            continue;
        }
        let owned = match claim(&set.metadata, &selector, &pod.metadata) {
            Claim::Keep => true,
            Claim::Adopt => {
                plan.adopt.push(pod.clone());
                true
            }
            Claim::Release => {
                plan.release.push(pod.clone());
                false
            }
            Claim::Ignore => false,
        };
        match (owned, pods::is_active(pod)) {
            (true, true) => plan.active.push(pod.clone()),
            (true, false) => plan.terminating += 1,
            (false, _) => {}
        }
    }
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let wanted = replicas(spec);
    let have = plan.active.len();
    if have < wanted {
        plan.create = (wanted - have).min(BURST);
    } else if have > wanted {
        plan.delete = rank::victims(&plan.active, snapshot.related, (have - wanted).min(BURST), now);
    }
    plan
}

/// The sizes of the batches in which `count` pods are created: one, then twice as many each time all went well, so that
/// a template that cannot work costs one failure and not `count`.
pub(crate) fn slow_start(count: usize) -> impl Iterator<Item = usize> {
    let (mut left, mut size) = (count, 1);
    std::iter::from_fn(move || {
        let batch = size.min(left);
        left -= batch;
        size = batch * 2;
        (batch > 0).then_some(batch)
    })
}

/// `spec`, which the API versions agree is there.
pub(crate) fn spec(set: &ReplicaSet) -> Option<&ReplicaSetSpec> {
    set.spec()
}

/// `spec.replicas`, one by default.
pub(crate) fn replicas(spec: &ReplicaSetSpec) -> usize {
    spec.replicas.unwrap_or(1).max(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::*;
    use crate::replicaset::testing::set;

    fn names(pods: &[&Pod]) -> Vec<String> {
        pods.iter().map(|pod| pod.metadata.name.clone().expect("named")).collect()
    }

    #[test]
    fn counts() {
        let mine = |name| pod(name, "web");
        // what there is, what the set wants -> created, deleted, active, terminating
        type Row = (&'static str, Vec<Pod>, i32, (usize, usize, usize, usize));
        let rows: Vec<Row> = vec![
            ("nothing yet", vec![], 3, (3, 0, 0, 0)),
            ("as wanted", vec![mine("a"), mine("b")], 2, (0, 0, 2, 0)),
            ("one too many", vec![mine("a"), mine("b")], 1, (0, 1, 2, 0)),
            ("down to zero", vec![mine("a"), mine("b")], 0, (0, 2, 2, 0)),
            ("a finished pod does not count", vec![phase(mine("a"), "Failed"), mine("b")], 2, (1, 0, 1, 0)),
            ("nor does one that succeeded", vec![phase(mine("a"), "Succeeded")], 1, (1, 0, 0, 0)),
            ("a terminating pod is replaced at once", vec![deleting(mine("a"), 5)], 1, (1, 0, 0, 1)),
            ("others' pods do not count", vec![pod("a", "other")], 1, (1, 0, 0, 0)),
            ("orphans that match are adopted", vec![pod("a", "")], 1, (0, 0, 1, 0)),
            ("the burst is limited", vec![], 700, (500, 0, 0, 0)),
        ];
        for (what, pods, wanted, expected) in rows {
            let set = set("web", wanted);
            let pods: Vec<&Pod> = pods.iter().collect();
            let plan = plan(&Snapshot { set: &set, pods: &pods, related: &pods }, at(10));
            let got = (plan.create, plan.delete.len(), plan.active.len(), plan.terminating);
            assert_eq!(got, expected, "{what}");
        }
    }

    #[test]
    fn claims() {
        let mut stray = pod("stray", "web");
        stray.metadata.labels = labels(&[("app", "api")]);
        let all = [pod("mine", "web"), stray, pod("orphan", ""), pod("theirs", "other"), deleting(pod("dying", ""), 1)];
        let pods: Vec<&Pod> = all.iter().collect();
        let web = set("web", 2);
        let plan = plan(&Snapshot { set: &web, pods: &pods, related: &pods }, at(10));
        assert_eq!(names(&plan.adopt), ["orphan"]);
        assert_eq!(names(&plan.release), ["stray"]);
        assert_eq!(names(&plan.active), ["mine", "orphan"]);
        assert_eq!(plan.create, 0);
    }

    #[test]
    fn a_set_on_its_way_out_touches_nothing() {
        let mut web = set("web", 3);
        web.metadata.deletion_timestamp = Some(time(1));
        let all = [pod("mine", "web"), pod("orphan", "")];
        let pods: Vec<&Pod> = all.iter().collect();
        let plan = plan(&Snapshot { set: &web, pods: &pods, related: &pods }, at(10));
        assert_eq!((plan.create, plan.delete.len(), plan.adopt.len()), (0, 0, 0));
        assert_eq!(names(&plan.active), ["mine"], "the status still counts");
    }

    #[test]
    fn batches_double() {
        let rows: [(usize, &[usize]); 5] = [(0, &[]), (1, &[1]), (2, &[1, 1]), (7, &[1, 2, 4]), (10, &[1, 2, 4, 3])];
        for (count, expected) in rows {
            assert_eq!(slow_start(count).collect::<Vec<_>>(), expected, "{count}");
        }
    }
}
