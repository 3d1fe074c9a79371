//! What becomes of nodes and pods when there is news of them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Engine, Held, Known, Stage, gate, order};
use crate::Time;
use crate::framework::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::{PodInfo, PodKey};

impl Engine {
    pub(super) fn set_node(&mut self, node: &Node, now: Time) {
        let after = Arc::new(NodeInfo::read(node));
        let known = self.nodes.find(&after.name).map(|index| self.nodes.info(index));
        if known.is_some_and(|known| **known == *after) {
            return;
        }
        let before = self.nodes.set_node(after.clone());
        self.announce(ClusterEvent::Node { before, after: Some(after) }, now);
    }

    pub(super) fn set_pod(&mut self, pod: Arc<Pod>, now: Time) {
        let info = Arc::new(self.classes.read(pod));
        let key = info.key().clone();
        if self.pods.get(&key).is_some_and(|known| known.info.uid() != info.uid()) {
            self.remove_pod(&key, now);
        }
        if info.has_ended() {
            self.remove_pod(&key, now);
        } else if self.pods.contains_key(&key) {
            self.update_pod(info, now);
        } else if let Some(node) = info.node_name().cloned() {
            self.arrive(info, node, now);
        } else {
            self.let_in(info, now);
        }
    }

    /// A pod is on a node that no cycle of ours put it on.
    fn arrive(&mut self, info: Arc<PodInfo>, node: Arc<str>, now: Time) {
        self.nodes.add_pod(&node, info.clone());
        let known = Known { info: info.clone(), stage: Stage::Bound { node } };
        self.pods.insert(info.key().clone(), known);
        self.announce(ClusterEvent::AssignedPod { before: None, after: Some(info) }, now);
    }

    /// A pod without a node is new to the queue.
    fn let_in(&mut self, info: Arc<PodInfo>, now: Time) {
        let key = info.key().clone();
        let stage = match self.profile_of(&info) {
            Some(profile) if !info.is_deleting() => {
                let profile = self.profiles[profile].clone();
                match self.pre_enqueue(&profile, &info, now) {
                    Some((slot, _)) => self.queue.park(info.clone(), 0, now, gate(&profile, slot)),
                    None => self.queue.admit(info.clone(), 0, now, &order(&self.profiles)),
                }
                Stage::Queued
            }
            _ => Stage::Idle,
        };
        self.pods.insert(key, Known { info, stage });
    }

    fn update_pod(&mut self, info: Arc<PodInfo>, now: Time) {
        let key = info.key().clone();
        let known = self.pods.get_mut(&key).expect("asked before");
        let before = std::mem::replace(&mut known.info, info.clone());
        match (&known.stage, info.node_name().cloned()) {
            (Stage::Bound { node }, Some(now_on)) if *node == now_on => {
                self.nodes.add_pod(&now_on, info.clone());
                if before.class_id() != info.class_id() {
                    let event = ClusterEvent::AssignedPod { before: Some(before), after: Some(info) };
                    self.announce(event, now);
                }
            }
            // We know that it is bound; this was written before that.
            (Stage::Bound { .. }, None) => known.info = before,
            (Stage::Held(_) | Stage::Binding { .. }, Some(now_on)) if known.node() == Some(&now_on) => {
                self.nodes.add_pod(&now_on, info);
                let stage = std::mem::replace(&mut known.stage, Stage::Bound { node: now_on });
                self.settle(&key, stage);
            }
            (Stage::Held(_) | Stage::Binding { .. }, None) if !info.is_deleting() => {
                let node = known.node().expect("promised to a node").clone();
                self.nodes.add_pod(&node, info);
            }
            (Stage::Queued, None) if !info.is_deleting() => self.update_queued(before, info, now),
            (_, now_on) => {
                known.info = before;
                self.remove_pod(&key, now);
                match now_on {
                    Some(node) => self.arrive(info, node, now),
                    None => self.let_in(info, now),
                }
            }
        }
    }

    fn update_queued(&mut self, before: Arc<PodInfo>, after: Arc<PodInfo>, now: Time) {
        let key = after.key().clone();
        self.queue.replace(&after, &order(&self.profiles));
        // Writes of our own, such as the condition that says why it waits, change nothing that matters.
        let (was, is) = (before.object(), after.object());
        let same = before.class_id() == after.class_id()
            && before.priority() == after.priority()
            && was.map(|pod| (&pod.spec, &pod.metadata.annotations))
                == is.map(|pod| (&pod.spec, &pod.metadata.annotations));
        if same {
            return;
        }
        let event = ClusterEvent::ThisPod { before, after: after.clone() };
        if let Some(rejectors) = self.queue.rejectors(&key)
            && self.wakes(&after, rejectors, &event)
        {
            let at_once = rejectors.pending;
            self.wake(&after, at_once, now);
        }
    }

    pub(super) fn remove_pod(&mut self, key: &PodKey, now: Time) {
        let Some(known) = self.pods.remove(key) else {
            return;
        };
        if let Some(node) = known.node().cloned() {
            self.nodes.remove_pod(&node, key);
            self.settle(key, known.stage);
            let event = ClusterEvent::AssignedPod { before: Some(known.info), after: None };
            self.announce(event, now);
        } else {
            self.queue.remove(key);
        }
        if self.classes.sweep() {
            self.memo.retain(&self.classes.ids());
        }
    }

    /// Ends the flight of a pod that needs nothing of the queue any more. What a held pod reserved is given back unless it
    /// is bound there; a pod that is being bound gives back when the answer comes.
    fn settle(&mut self, key: &PodKey, stage: Stage) {
        match stage {
            Stage::Idle | Stage::Queued | Stage::Bound { .. } => {}
            Stage::Binding { flight, .. } => {
                self.queue.settle(&flight, |_| false);
            }
            Stage::Held(held) => {
                let Held { mut assignment, flight, missing } = *held;
                self.forget_permits(key, &missing);
                self.queue.settle(&flight, |_| false);
                if !matches!(self.pods.get(key), Some(Known { stage: Stage::Bound { node }, .. }) if *node == assignment.node)
                {
                    self.unreserve(&mut assignment);
                }
            }
        }
    }

    pub(super) fn forget_permits(&mut self, key: &PodKey, missing: &[(usize, Time)]) {
        for (_, until) in missing {
            self.permits.remove(&(*until, key.clone()));
        }
    }
}
