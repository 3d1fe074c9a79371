//! What became of promises: pods that were bound or not, and permissions that were given or not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::attempt::Failure;
use super::{Assignment, BindFailure, Command, Engine, Held, Known, Stage};
use crate::Time;
use crate::framework::Rejection;
use crate::pod::PodKey;

impl Engine {
    pub(super) fn bound(&mut self, assignment: &Assignment) {
        let Some(known) = self.pods.get_mut(assignment.pod.key()) else {
            return;
        };
        if known.info.uid() != assignment.pod.uid() || !matches!(known.stage, Stage::Binding { .. }) {
            return;
        }
        let node = assignment.node.clone();
        if let Stage::Binding { flight, .. } = std::mem::replace(&mut known.stage, Stage::Bound { node }) {
            self.queue.settle(&flight, |_| false);
        }
    }

    pub(super) fn bind_failed(&mut self, mut assignment: Assignment, failure: BindFailure, now: Time) {
        let key = assignment.pod.key().clone();
        let known = self.pods.get_mut(&key);
        let known = known.filter(|known| known.info.uid() == assignment.pod.uid());
        let Some(Known { info, stage }) = known else {
            self.unreserve(&mut assignment);
            return;
        };
        match stage {
            Stage::Binding { .. } => {}
            // It was bound there after all.
            Stage::Bound { node } if *node == assignment.node => return,
            _ => {
                self.unreserve(&mut assignment);
                return;
            }
        }
        let info = info.clone();
        let Stage::Binding { flight, .. } = std::mem::replace(stage, Stage::Queued) else {
            return;
        };
        self.nodes.remove_pod(&assignment.node, &key);
        self.unreserve(&mut assignment);
        let profile = self.profiles[assignment.profile].clone();
        match failure {
            BindFailure::Overtaken => {
                self.queue.settle(&flight, |_| false);
                self.queue.back_off(info.clone(), flight.attempts, now, true);
            }
            BindFailure::Failed { message } => self.fail(info.clone(), &flight, Failure::error(message), now),
            BindFailure::Refused { plugin, rejection } => {
                let slot = profile.entries().iter().position(|entry| entry.name == plugin);
                let failure = Failure::refused(&profile, slot.into_iter().collect(), &rejection);
                self.fail(info.clone(), &flight, failure, now);
            }
        }
        // What it held is free for others.
        self.announce_given_up(info, now);
    }

    pub(super) fn allow(&mut self, key: &PodKey, plugin: &str) {
        let Some((slot, until)) = self.missing_permit(key, plugin) else {
            return;
        };
        self.permits.remove(&(until, key.clone()));
        let known = self.pods.get_mut(key).expect("it misses a permit");
        let Stage::Held(held) = &mut known.stage else {
            return;
        };
        held.missing.retain(|(missing, _)| *missing != slot);
        for (_, until) in &held.missing {
            self.permits.insert((*until, key.clone()));
        }
        if held.missing.is_empty() {
            let node = held.assignment.node.clone();
            let stage = std::mem::replace(&mut known.stage, Stage::Idle);
            let Stage::Held(held) = stage else { return };
            known.stage = Stage::Binding { node, flight: held.flight };
            self.commands.push_back(Command::Bind(held.assignment));
        }
    }

    pub(super) fn deny(&mut self, key: &PodKey, plugin: &str, reason: String, now: Time) {
        if let Some((slot, _)) = self.missing_permit(key, plugin) {
            self.drop_held(key, slot, &Rejection::unschedulable(reason), now);
        }
    }

    fn missing_permit(&self, key: &PodKey, plugin: &str) -> Option<(usize, Time)> {
        let Stage::Held(held) = &self.pods.get(key)?.stage else {
            return None;
        };
        let entries = self.profiles[held.assignment.profile].entries();
        held.missing.iter().copied().find(|(slot, _)| entries[*slot].name == plugin)
    }

    pub(super) fn expire_permits(&mut self, now: Time) {
        while let Some((until, key)) = self.permits.first().cloned()
            && until <= now
        {
            self.permits.pop_first();
            let Some(Known { stage: Stage::Held(held), .. }) = self.pods.get(&key) else {
                continue;
            };
            if let Some((slot, _)) = held.missing.iter().copied().find(|(_, at)| *at == until) {
                let reason = Rejection::unschedulable("timed out while waiting for a permit");
                self.drop_held(&key, slot, &reason, now);
            }
        }
    }

    fn drop_held(&mut self, key: &PodKey, slot: usize, rejection: &Rejection, now: Time) {
        let known = self.pods.get_mut(key).expect("a held pod is known");
        let info = known.info.clone();
        let Stage::Held(held) = std::mem::replace(&mut known.stage, Stage::Queued) else {
            return;
        };
        let Held { mut assignment, flight, missing } = *held;
        self.forget_permits(key, &missing);
        self.nodes.remove_pod(&assignment.node, key);
        self.unreserve(&mut assignment);
        let profile = self.profiles[assignment.profile].clone();
        let failure = Failure::refused(&profile, vec![slot], rejection);
        self.fail(info.clone(), &flight, failure, now);
        self.announce_given_up(info, now);
    }

    /// Gives back what was reserved. A plugin that panics here keeps its own books wrong, and nobody else's.
    pub(super) fn unreserve(&self, assignment: &mut Assignment) {
        let profile = &self.profiles[assignment.profile];
        for (slot, entry) in profile.entries().iter().enumerate().rev() {
            if let Some(plugin) = &entry.reserve {
                let state = &mut *assignment.states[slot];
                let given_back = catch_unwind(AssertUnwindSafe(|| plugin.unreserve(state, &assignment.node)));
                if given_back.is_err() {
                    tracing::error!(plugin = entry.name, pod = %assignment.pod.key(), "panicked in unreserve");
                }
            }
        }
    }
}
