//! A pod that is to run.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;

use super::{Action, Key, Machine, Outcome, Over, Step, Waiting, spec};
use crate::runtime::{ContainerId, ContainerState, ContainerStatus, SandboxId, SandboxState};

/// How long a failed pull is shown as such before it is shown as waiting.
const SHOW_PULL_ERROR: Duration = Duration::from_secs(1);
/// How long to wait before a container that could not be created is tried again.
const RETRY_CREATE: Duration = Duration::from_secs(10);

impl Machine {
    /// Brings the pod one step closer to running.
    pub(super) fn plan(&mut self, now: Timestamp, step: &mut Step) {
        if self.exceeds_its_deadline(now, step) || self.is_complete() {
            return self.plan_end(now, step);
        }
        if (self.stale || !self.volumes.done) && !self.in_flight.contains(&Key::Volumes) && self.volumes.due(now, step)
        {
            self.stale = false;
            step.actions.push(Action::PrepareVolumes);
        }
        if !self.volumes.done {
            return;
        }
        let Some(sandbox) = self.plan_sandbox(now, step) else {
            return;
        };
        let pod = self.pod.clone();
        let initialised = self.plan_init(&sandbox, now, step);
        if self.over.is_some() {
            return self.plan_end(now, step);
        }
        if initialised {
            for container in spec::containers(&pod) {
                self.plan_container(container, spec::restart(&pod), &sandbox, now, step);
            }
        }
        self.forget_old(step);
    }

    /// The sandbox to run in; asks for one if there is none.
    fn plan_sandbox(&mut self, now: Timestamp, step: &mut Step) -> Option<SandboxId> {
        let newest = self.newest_sandbox();
        if let Some(sandbox) = newest.filter(|sandbox| sandbox.state == SandboxState::Ready) {
            return Some(sandbox.id.clone());
        }
        let attempt = newest.map_or(0, |sandbox| sandbox.attempt + 1);
        if self.sandbox.due(now, step) {
            if attempt > 0 && !self.in_flight.contains(&Key::Sandbox) {
                let text = "Pod sandbox changed, it will be killed and re-created.";
                step.tell(false, "SandboxChanged", text.into());
            }
            step.actions.push(Action::RunSandbox { attempt });
        }
        None
    }

    /// Init containers in order; true if the others may run.
    fn plan_init(&mut self, sandbox: &SandboxId, now: Timestamp, step: &mut Step) -> bool {
        let pod = self.pod.clone();
        let restart = spec::restart(&pod);
        // Containers that exist already show that initialisation was over once; sidecars are still looked after.
        let passed = self.initialised(sandbox);
        for container in spec::init_containers(&pod) {
            if spec::is_sidecar(container) {
                self.plan_container(container, spec::Restart::Always, sandbox, now, step);
                if !passed && !self.has_started(container) {
                    return false;
                }
                continue;
            }
            if passed {
                continue;
            }
            let exit = self
                .newest(&container.name)
                .filter(|newest| newest.sandbox == *sandbox)
                .and_then(|newest| newest.state.exit());
            match exit {
                Some(exit) if exit.exit_code == 0 => continue,
                Some(_) if restart == spec::Restart::Never => {
                    self.over = Some(Over { phase: "Failed", reason: None, message: None });
                    return false;
                }
                _ => {
                    // A new sandbox is initialised from the beginning.
                    self.plan_container(container, spec::Restart::Always, sandbox, now, step);
                    return false;
                }
            }
        }
        true
    }

    /// Whether a container that comes after initialisation exists in this sandbox.
    pub(super) fn initialised(&self, sandbox: &SandboxId) -> bool {
        spec::containers(&self.pod).iter().any(|container| {
            let newest = self.newest(&container.name);
            newest.is_some_and(|newest| newest.sandbox == *sandbox)
        })
    }

    fn plan_container(
        &mut self,
        container: &Container,
        restart: spec::Restart,
        sandbox: &SandboxId,
        now: Timestamp,
        step: &mut Step,
    ) {
        let name = &container.name;
        if self.in_flight.contains(&Key::Container(name.clone())) {
            return;
        }
        let Some(newest) = self.newest(name).cloned() else {
            let attempt = self.attempts_known(name);
            self.plan_start(container, attempt, sandbox, now, step);
            return;
        };
        match &newest.state {
            // Another life of the agent ended between create and start.
            ContainerState::Created if newest.sandbox == *sandbox => {
                self.plan_start(container, newest.attempt, sandbox, now, step);
            }
            ContainerState::Created => {
                self.plan_start(container, newest.attempt + 1, sandbox, now, step);
            }
            ContainerState::Running { .. } if container.image.as_ref().is_some_and(|image| *image != newest.image) => {
                let memory = self.memory(name);
                if memory.outdated.as_ref() != Some(&newest.id) {
                    memory.outdated = Some(newest.id.clone());
                    step.tell(false, "Killing", format!("Container {name} definition changed, will be restarted"));
                }
                self.plan_stop(&newest.id, name, spec::grace(&self.pod), step);
            }
            ContainerState::Running { .. } => {
                let memory = self.memory(name);
                let unhealthy = memory.unhealthy.clone().filter(|(id, _)| *id == newest.id);
                match unhealthy {
                    Some((id, grace)) => self.plan_stop(&id, name, grace, step),
                    None => self.plan_probes(container, &newest.id, now, step),
                }
            }
            // Whatever the restart policy: it has not ended by itself.
            ContainerState::Exited(_) if self.is_outdated(name, &newest.id) => {
                self.plan_start(container, newest.attempt + 1, sandbox, now, step);
            }
            // In a new sandbox, too: what is done stays done.
            ContainerState::Exited(exit) if restart.applies(exit.exit_code) => {
                self.plan_restart(container, &newest, sandbox, now, step);
            }
            ContainerState::Exited(_) => {}
        }
    }

    /// Starts a container again, unless it has to wait for that.
    fn plan_restart(
        &mut self,
        container: &Container,
        old: &ContainerStatus,
        sandbox: &SandboxId,
        now: Timestamp,
        step: &mut Step,
    ) {
        let cap = self.settings.max_backoff;
        let ended = old.state.exit().and_then(|exit| exit.finished_at);
        let ended = ended.unwrap_or(now);
        let pod = spec::display(&self.pod);
        let memory = self.memory(&container.name);
        let until = memory.backoff.until(ended, cap);
        if until <= now {
            if self.plan_start(container, old.attempt + 1, sandbox, now, step) {
                self.memory(&container.name).backoff.next(now, ended, cap);
            }
            return;
        }
        step.wake(until);
        let wait = memory.backoff.wait();
        let waits = |waiting: &Waiting| waiting.reason == "CrashLoopBackOff";
        if !memory.waiting.as_ref().is_some_and(waits) {
            let name = &container.name;
            let text = format!("Back-off restarting failed container {name} in pod {pod}");
            step.tell(true, "BackOff", text);
            memory.waiting = Some(Waiting {
                reason: "CrashLoopBackOff".into(),
                message: format!("back-off {} restarting failed container={name} pod={pod}", duration(wait)),
                since: now,
                retry_at: until,
            });
        }
    }

    /// Asks for a container, unless an earlier failure has to be waited for; true if asked.
    fn plan_start(
        &mut self,
        container: &Container,
        attempt: u32,
        sandbox: &SandboxId,
        now: Timestamp,
        step: &mut Step,
    ) -> bool {
        let image = container.image.clone().unwrap_or_default();
        let memory = self.memory(&container.name);
        if let Some(waiting) = memory.waiting.as_mut().filter(|one| one.retry_at > now) {
            step.wake(waiting.retry_at);
            if waiting.reason == "ErrImagePull" {
                let shown_until = spec::after(waiting.since, SHOW_PULL_ERROR);
                if shown_until <= now {
                    waiting.message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", waiting.message);
                    waiting.reason = "ImagePullBackOff".into();
                    let text = format!("Back-off pulling image \"{image}\"");
                    step.tell(false, "BackOff", text);
                } else {
                    step.wake(shown_until);
                }
            }
            return false;
        }
        step.actions.push(Action::Start { container: container.name.clone(), attempt, sandbox: sandbox.clone() });
        true
    }

    pub(super) fn start_finished(&mut self, name: &str, outcome: Outcome, now: Timestamp) {
        let cap = self.settings.max_backoff;
        let has_exited = self.newest(name).is_some_and(|newest| newest.state.exit().is_some());
        let memory = self.memory(name);
        let Outcome::Failed { reason, message } = outcome else {
            memory.waiting = None;
            memory.pull = Default::default();
            return;
        };
        let retry_at = match reason.as_str() {
            "ErrImagePull" => {
                memory.pull.next(now, now, cap);
                spec::after(now, memory.pull.wait())
            }
            // The wait between restarts applies.
            "RunContainerError" | "PostStartHookError" if has_exited => now,
            _ => spec::after(now, RETRY_CREATE),
        };
        memory.waiting = Some(Waiting { reason, message, since: now, retry_at });
    }

    /// Whether a container was ended because its image is another one now.
    fn is_outdated(&self, name: &str, id: &ContainerId) -> bool {
        self.containers.get(name).is_some_and(|memory| memory.outdated.as_ref() == Some(id))
    }

    /// No container of the pod is left to run: then it is over.
    fn is_complete(&mut self) -> bool {
        let restart = spec::restart(&self.pod);
        let mut failed = false;
        for container in spec::containers(&self.pod) {
            let newest = self.newest(&container.name);
            if newest.is_some_and(|newest| self.is_outdated(&container.name, &newest.id)) {
                return false;
            }
            match newest.and_then(|newest| newest.state.exit()) {
                Some(exit) if !restart.applies(exit.exit_code) => failed |= exit.exit_code != 0,
                _ => return false,
            }
            if self.in_flight.contains(&Key::Container(container.name.clone())) {
                return false;
            }
        }
        self.over = Some(Over { phase: if failed { "Failed" } else { "Succeeded" }, reason: None, message: None });
        true
    }

    fn exceeds_its_deadline(&mut self, now: Timestamp, step: &mut Step) -> bool {
        let spec = self.pod.spec.as_ref();
        let Some(seconds) = spec.and_then(|spec| spec.active_deadline_seconds) else {
            return false;
        };
        let at = spec::after(self.start_time(), Duration::from_secs(seconds.max(0) as u64));
        if at > now {
            step.wake(at);
            return false;
        }
        let message = "Pod was active on the node longer than the specified deadline";
        step.tell(false, "DeadlineExceeded", message.into());
        self.over = Some(Over { phase: "Failed", reason: Some("DeadlineExceeded"), message: Some(message.into()) });
        true
    }

    /// Of each name the newest container and the one before it are kept, for logs and `lastState`.
    fn forget_old(&self, step: &mut Step) {
        let pod = &self.pod;
        for container in spec::init_containers(pod).iter().chain(spec::containers(pod)) {
            let old = self.containers_named(&container.name).into_iter().skip(2);
            for container in old.filter(|container| !container.state.is_running()) {
                let id = container.id.clone();
                step.actions.push(Action::Remove { id });
            }
        }
    }

    /// The attempt to begin with when the runtime knows none: one more than the API remembers.
    fn attempts_known(&self, name: &str) -> u32 {
        let known = self.known_status(name).filter(|known| known.container_id.is_some());
        known.map_or(0, |known| known.restart_count.max(0) as u32 + 1)
    }
}

/// A wait as upstream writes it: `10s`, `1m20s`, `5m0s`.
fn duration(wait: Duration) -> String {
    match wait.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}
