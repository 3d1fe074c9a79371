//! A pod that is over, or on its way out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Action, Key, Machine, Over, Step, spec};
use crate::runtime::{ContainerId, SandboxState};

impl Machine {
    /// Learns from the pod object until when everything must be over. A deadline only ever comes closer.
    pub(super) fn notice_deletion(&mut self, now: Timestamp) {
        let metadata = &self.pod.metadata;
        // From when the deletion is seen: the time stated is in whole seconds, and of the server's clock.
        let by = match (&metadata.deletion_timestamp, metadata.deletion_grace_period_seconds) {
            (Some(_), Some(seconds)) => spec::after(now, Duration::from_secs(seconds.max(0) as u64)),
            (Some(time), None) => time.0,
            (None, _) if self.gone => spec::after(now, spec::grace(&self.pod)),
            (None, _) => return,
        };
        self.deadline = Some(self.deadline.map_or(by, |deadline| deadline.min(by)));
    }

    /// Ends everything, removes every trace and then the pod object.
    pub(super) fn plan_deletion(&mut self, now: Timestamp, step: &mut Step) {
        let deadline = self.deadline.unwrap_or(now);
        if !self.plan_stops(left(deadline, now), step) || self.is_making_something() {
            return;
        }
        if self.over.is_none() {
            self.over = Some(Over { phase: self.phase_by_exits(), reason: None, message: None });
        }
        if self.last.is_none() {
            self.last = Some(self.status(now));
        }
        if !self.plan_stop_sandboxes(step) {
            return;
        }
        if !self.observed.sandboxes.is_empty() {
            for sandbox in &self.observed.sandboxes {
                let id = sandbox.id.clone();
                step.actions.push(Action::RemoveSandbox { id });
            }
        } else if !self.cleaned {
            step.actions.push(Action::CleanUp);
        } else if !self.gone && !self.deleted {
            step.actions.push(Action::Delete);
        }
    }

    /// Ends what still runs of a pod that is over; its containers stay for their logs.
    pub(super) fn plan_end(&mut self, now: Timestamp, step: &mut Step) {
        if self.plan_stops(spec::grace(&self.pod), step) && !self.is_making_something() {
            if self.last.is_none() {
                self.last = Some(self.status(now));
            }
            self.plan_stop_sandboxes(step);
        }
    }

    /// Stops containers, then sidecars in reverse order; true when none runs.
    fn plan_stops(&mut self, grace: Duration, step: &mut Step) -> bool {
        let pod = self.pod.clone();
        let sidecars = spec::init_containers(&pod).iter().filter(|container| spec::is_sidecar(container));
        let sidecars: Vec<&str> = sidecars.map(|container| &*container.name).collect();
        let running: Vec<(ContainerId, String)> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.state.is_running())
            .map(|container| (container.id.clone(), container.name.clone()))
            .collect();
        let is_sidecar = |name: &String| sidecars.contains(&name.as_str());
        let mut first: Vec<&(ContainerId, String)> = running.iter().filter(|(_, name)| !is_sidecar(name)).collect();
        if first.is_empty() {
            let last = sidecars.iter().rev();
            first.extend(last.filter_map(|sidecar| running.iter().find(|(_, name)| name == sidecar)).take(1));
        }
        for (id, name) in first {
            self.plan_stop(id, name, grace, step);
        }
        running.is_empty()
    }

    pub(super) fn plan_stop(&self, id: &ContainerId, name: &str, grace: Duration, step: &mut Step) {
        if self.in_flight.contains(&Key::Stop(id.clone())) {
            return;
        }
        if self.deadline.is_some() {
            step.tell(false, "Killing", format!("Stopping container {name}"));
        }
        step.actions.push(Action::Stop {
            id: id.clone(),
            container: name.to_owned(),
            grace,
            pre_stop: !grace.is_zero(),
        });
    }

    /// True when every sandbox is stopped.
    fn plan_stop_sandboxes(&self, step: &mut Step) -> bool {
        let ready = self.observed.sandboxes.iter();
        let ready = ready.filter(|sandbox| sandbox.state == SandboxState::Ready);
        let before = step.actions.len();
        step.actions.extend(ready.map(|sandbox| Action::StopSandbox { id: sandbox.id.clone() }));
        step.actions.len() == before
    }

    /// Whether an action is under way after which there may be more to stop.
    fn is_making_something(&self) -> bool {
        let makes = |key: &Key| matches!(key, Key::Volumes | Key::Sandbox | Key::Container(_));
        self.in_flight.iter().any(makes)
    }

    /// A deleted pod has succeeded if all of its containers ran and did.
    fn phase_by_exits(&self) -> &'static str {
        let succeeded = spec::containers(&self.pod).iter().all(|container| {
            let newest = self.newest(&container.name);
            let exit = newest.and_then(|newest| newest.state.exit());
            exit.is_some_and(|exit| exit.exit_code == 0)
        });
        if succeeded { "Succeeded" } else { "Failed" }
    }
}

fn left(deadline: Timestamp, now: Timestamp) -> Duration {
    let left = deadline.duration_since(now).max(SignedDuration::ZERO);
    left.unsigned_abs()
}
