//! What to do about one Deployment: pure.
//!
//! One reconcile moves a rollout by one step: it adopts and releases sets, or sizes sets in one direction, and then
//! writes the status. The next step follows from the events of this one.

use super::{limits, recreate, revision, rolling, scale, status};
use crate::objects::claim::{Claim, claim};
use crate::objects::template::Templated;
use crate::objects::versions::Spec;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kore_api::selector::LabelSelector;
use serde_json::Value;
use std::ops::Deref;
use std::time::Duration;

/// What the plan looks at. `R` and `P` are however the caller holds a set and a pod.
pub(crate) struct Snapshot<'a, R, P> {
    pub(crate) deployment: &'a Deployment,
    /// Its pod template in full.
    pub(crate) template: &'a Value,
    /// The sets of the namespace; others' may be among them.
    pub(crate) sets: &'a [R],
    /// The pods of the namespace; others' may be among them.
    pub(crate) pods: &'a [P],
}

/// One write.
#[derive(Debug, PartialEq)]
pub(crate) enum Operation<R> {
    Adopt(R),
    Release(R),
    /// Create the set for the current template. If the name is taken by another, the collision is counted in the
    /// deployment's status and the rest of the plan is void.
    Create(Box<ReplicaSet>),
    /// Write a set: its size, its annotations.
    Update(R, Box<ReplicaSet>),
    /// Delete a set that is no longer needed for rolling back.
    Delete(R),
    /// Write the revision to the deployment's annotations.
    Revision(i64),
    Status(Box<DeploymentStatus>),
}

/// The writes, in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan<R> {
    pub(crate) operations: Vec<Operation<R>>,
    /// Look again after this long.
    pub(crate) after: Option<Duration>,
    /// The selector selects everything, which no deployment may: a warning is due.
    pub(crate) selects_all: bool,
}

/// Decides.
pub(crate) fn plan<R, P>(snapshot: &Snapshot<'_, R, P>, now: Timestamp) -> Plan<R>
where
    R: Deref<Target = ReplicaSet> + Templated + Clone,
    P: Deref<Target = Pod>,
{
    let deployment = snapshot.deployment;
    let mut plan = Plan { operations: vec![], after: None, selects_all: false };
    let Some(spec) = deployment.spec() else {
        return plan;
    };
    // The server refuses selectors that cannot be read; if one got in all the same, it selects nothing.
    let Ok(selector) = LabelSelector::from_api(&spec.selector) else {
        return plan;
    };
    if selector.is_empty() {
        plan.selects_all = true;
        let mut status = deployment.status.clone().unwrap_or_default();
        status.observed_generation = deployment.metadata.generation;
        plan.write_status(deployment, status);
        return plan;
    }
    let mut sets = Vec::new();
    for set in snapshot.sets {
        match claim(&deployment.metadata, &selector, &set.metadata) {
            Claim::Keep => sets.push(Set::kept(set.clone())),
            Claim::Adopt => plan.operations.push(Operation::Adopt(set.clone())),
            Claim::Release => plan.operations.push(Operation::Release(set.clone())),
            Claim::Ignore => {}
        }
    }
    if !plan.operations.is_empty() {
        return plan; // Their events bring us back.
    }
    let mut rollout = Rollout::new(deployment, spec, snapshot.template, sets);
    let status = if deployment.metadata.deletion_timestamp.is_some() {
        status::counted(&rollout, now)
    } else {
        status::note_pause(spec, &mut rollout.status, now);
        rollout.mark_current(now);
        if spec.paused == Some(true) || rollout.was_resized() {
            scale::scale(&mut rollout);
            if spec.paused == Some(true) {
                rollout.drop_history();
            }
            status::counted(&rollout, now)
        } else {
            if limits::is_rolling(spec) {
                rolling::step(&mut rollout, now);
            } else {
                recreate::step(&mut rollout, snapshot.pods, now);
            }
            if status::is_complete(deployment, spec, &rollout.status) {
                rollout.drop_history();
            }
            status::rolling(&rollout, now)
        }
    };
    plan.after = status::look_again(deployment, spec, &status, now);
    plan.operations = rollout.operations();
    plan.write_status(deployment, status);
    plan
}

impl<R> Plan<R> {
    fn write_status(&mut self, deployment: &Deployment, status: DeploymentStatus) {
        if deployment.status.as_ref() != Some(&status) {
            self.operations.push(Operation::Status(Box::new(status)));
        }
    }
}

/// One set during planning: what it is, and what it is to become.
pub(crate) struct Set<R> {
    /// What there is; nothing for a set that is to be created.
    base: Option<R>,
    changed: Option<Box<ReplicaSet>>,
    delete: bool,
}

impl<R: Deref<Target = ReplicaSet>> Set<R> {
    fn kept(base: R) -> Self {
        Set { base: Some(base), changed: None, delete: false }
    }

    /// The set as it will be.
    pub(crate) fn get(&self) -> &ReplicaSet {
        let base = || self.base.as_deref().expect("a set is there or will be created");
        self.changed.as_deref().unwrap_or_else(base)
    }

    pub(crate) fn replicas(&self) -> i32 {
        self.get().spec().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
    }

    /// Available pods, as its status has it.
    pub(crate) fn available(&self) -> i32 {
        self.get().status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
    }

    fn edit(&mut self) -> &mut ReplicaSet {
        let base = &self.base;
        self.changed.get_or_insert_with(|| Box::new(base.as_deref().expect("a set is there").clone()))
    }
}

/// A deployment and its sets, oldest first, while a step is planned.
pub(crate) struct Rollout<'a, R> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) spec: &'a DeploymentSpec,
    template: &'a Value,
    pub(crate) sets: Vec<Set<R>>,
    /// The set with the current template.
    pub(crate) new: Option<usize>,
    /// The status as it was, with what this step has already found out.
    pub(crate) status: DeploymentStatus,
}

impl<'a, R: Deref<Target = ReplicaSet> + Templated> Rollout<'a, R> {
    fn new(deployment: &'a Deployment, spec: &'a DeploymentSpec, template: &'a Value, mut sets: Vec<Set<R>>) -> Self {
        let age = |set: &Set<R>| {
            let meta = &set.get().metadata;
            (meta.creation_timestamp.as_ref().map(|time| time.0), meta.name.clone())
        };
        sets.sort_by_cached_key(age);
        let is_current =
            |set: &Set<R>| set.base.as_ref().is_some_and(|set| revision::same_template(&set.template(), template));
        let new = sets.iter().position(is_current);
        Rollout { deployment, spec, template, sets, new, status: deployment.status.clone().unwrap_or_default() }
    }
}

impl<R: Deref<Target = ReplicaSet>> Rollout<'_, R> {
    pub(crate) fn new_set(&self) -> Option<&ReplicaSet> {
        self.new.map(|new| self.sets[new].get())
    }

    /// The sets with other templates, oldest first.
    pub(crate) fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| Some(*index) != self.new).collect()
    }

    /// The sum of the sizes of all sets.
    pub(crate) fn total(&self) -> i32 {
        self.sets.iter().map(Set::replicas).sum()
    }

    /// Sizes a set; whether that changes anything.
    pub(crate) fn resize(&mut self, index: usize, replicas: i32) -> bool {
        let spec = self.spec;
        let set = &mut self.sets[index];
        let annotations = set.get().metadata.annotations.clone().unwrap_or_default();
        let sized = revision::sized(&annotations, spec);
        let resized = set.replicas() != replicas;
        if resized || sized != annotations {
            let set = set.edit();
            set.spec_mut().replicas = Some(replicas);
            set.metadata.annotations = Some(sized);
        }
        resized
    }

    /// The set with the current template, which is created if there is none.
    pub(crate) fn ensure_new(&mut self, now: Timestamp) -> usize {
        if let Some(new) = self.new {
            return new;
        }
        let set = revision::new_set(self.deployment, self.spec, self.template);
        let name = set.metadata.name.clone().unwrap_or_default();
        self.sets.push(Set { base: None, changed: Some(Box::new(set)), delete: false });
        let new = self.sets.len() - 1;
        self.new = Some(new);
        self.renumber();
        let replicas =
            if limits::is_rolling(self.spec) { rolling::size_of_new(self) } else { limits::replicas(self.spec) };
        self.resize(new, replicas);
        if status::deadline(self.spec).is_some() {
            let message = format!("created ReplicaSet \"{name}\"");
            status::set(
                &mut self.status,
                status::condition(status::PROGRESSING, "True", status::reason::CREATED, message, now),
            );
        }
        new
    }

    /// Keeps annotations, revision and readiness delay of the current set in step with the deployment.
    fn mark_current(&mut self, now: Timestamp) {
        let Some(new) = self.new else { return };
        self.renumber();
        let minimum = self.spec.min_ready_seconds;
        let of = self.sets[new].get().spec().and_then(|spec| spec.min_ready_seconds);
        if of.unwrap_or(0) != minimum.unwrap_or(0) {
            self.sets[new].edit().spec_mut().min_ready_seconds = minimum;
        }
        if status::deadline(self.spec).is_some() && status::get(&self.status, status::PROGRESSING).is_none() {
            let message =
                format!("found ReplicaSet \"{}\"", self.sets[new].get().metadata.name.as_deref().unwrap_or(""));
            status::set(
                &mut self.status,
                status::condition(status::PROGRESSING, "True", status::reason::FOUND, message, now),
            );
        }
    }

    fn renumber(&mut self) {
        let Some(new) = self.new else { return };
        let newest = self.old().into_iter().map(|index| revision::revision(&self.sets[index].get().metadata)).max();
        let meta = &self.sets[new].get().metadata;
        let annotations = revision::current(meta, &self.deployment.metadata, newest.unwrap_or(0));
        if meta.annotations.as_ref() != Some(&annotations) {
            self.sets[new].edit().metadata.annotations = Some(annotations);
        }
    }

    /// Whether `spec.replicas` changed since the sets were sized: that is scaling, which comes before rolling.
    fn was_resized(&self) -> bool {
        let wanted = limits::replicas(self.spec);
        let active = self.sets.iter().filter(|set| set.replicas() > 0);
        let mut desired = active.filter_map(|set| revision::desired(&set.get().metadata));
        desired.any(|desired| desired != wanted)
    }

    /// Marks the oldest empty sets beyond `spec.revisionHistoryLimit` for deletion.
    fn drop_history(&mut self) {
        let Some(limit) = self.spec.revision_history_limit.filter(|limit| *limit != i32::MAX) else {
            return;
        };
        let mut old = self.old();
        old.retain(|index| self.sets[*index].get().metadata.deletion_timestamp.is_none());
        old.sort_by_key(|index| revision::revision(&self.sets[*index].get().metadata));
        let surplus = old.len().saturating_sub(limit.max(0) as usize);
        for index in old.into_iter().take(surplus) {
            let set = &mut self.sets[index];
            let (meta, status) = (&set.get().metadata, set.get().status.clone().unwrap_or_default());
            set.delete = set.replicas() == 0 && status.replicas == 0 && meta.generation <= status.observed_generation;
        }
    }

    fn operations(self) -> Vec<Operation<R>> {
        let mut revision = None;
        if let Some(new) = self.new_set() {
            let number = revision::revision(&new.metadata);
            revision = (revision::revision(&self.deployment.metadata) != number).then_some(number);
        }
        let (mut creates, mut updates, mut deletes) = (vec![], vec![], vec![]);
        for set in self.sets {
            match (set.base, set.changed) {
                (Some(base), _) if set.delete => deletes.push(Operation::Delete(base)),
                (Some(base), Some(changed)) => updates.push(Operation::Update(base, changed)),
                (None, Some(new)) => creates.push(Operation::Create(new)),
                (_, None) => {}
            }
        }
        let revision = revision.map(Operation::Revision);
        creates.into_iter().chain(updates).chain(deletes).chain(revision).collect()
    }
}
