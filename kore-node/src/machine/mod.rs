//! The pod machine: what one pod on this node needs next, as a pure function of what is known.
//!
//! - this file: [`Machine`], what goes in and what comes out
//! - `plan`: a pod that is to run: sandbox, init containers in order, containers, restarts
//! - `end`: a pod that is over or on its way out
//! - `probes`: when to probe, and what a result means
//! - `backoff`: how long to wait before trying again
//! - `status`: the pod's status as upstream shapes it
//! - `spec`: reading a pod's spec with upstream's defaults
//!
//! No clock, no I/O, no task in here: the driver (`agent::worker`) hands in the time, does what it is told and hands in what came
//! of it.

mod backoff;
mod end;
mod plan;
mod probes;
pub(crate) mod spec;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};

use self::{backoff::Backoff, probes::Probes};
use crate::runtime::{ContainerId, ContainerStatus, Listing, SandboxId, SandboxStatus};

pub(crate) use self::backoff::retry as retry_wait;
pub(crate) use self::probes::{ProbeKind, Verdict, timeout as probe_timeout};

/// What to do: all of it at once, and nothing twice: what is under way is not asked for again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Make the pod's volumes, or bring their files up to date.
    PrepareVolumes,
    /// Make a sandbox.
    RunSandbox { attempt: u32 },
    /// Pull the image, resolve the configuration, create and start the container, run its postStart hook.
    Start { container: String, attempt: u32, sandbox: SandboxId },
    /// Run the preStop hook and stop the container within `grace`, all in all.
    Stop { id: ContainerId, container: String, grace: Duration, pre_stop: bool },
    /// Forget an old container and its log.
    Remove { id: ContainerId },
    /// Stop a sandbox.
    StopSandbox { id: SandboxId },
    /// Forget a sandbox and its containers.
    RemoveSandbox { id: SandboxId },
    /// Probe a container.
    Probe { id: ContainerId, container: String, kind: ProbeKind },
    /// Remove volumes and logs.
    CleanUp,
    /// Delete the pod object, once its last status is written.
    Delete,
}

/// What an action is about; at most one a key is under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Volumes,
    Sandbox,
    Container(String),
    Stop(ContainerId),
    Remove(ContainerId),
    EndSandbox(SandboxId),
    Probe(ContainerId, ProbeKind),
    CleanUp,
    Delete,
}

impl Action {
    pub(crate) fn key(&self) -> Key {
        match self {
            Action::PrepareVolumes => Key::Volumes,
            Action::RunSandbox { .. } => Key::Sandbox,
            Action::Start { container, .. } => Key::Container(container.clone()),
            Action::Stop { id, .. } => Key::Stop(id.clone()),
            Action::Remove { id } => Key::Remove(id.clone()),
            Action::StopSandbox { id } | Action::RemoveSandbox { id } => Key::EndSandbox(id.clone()),
            Action::Probe { id, kind, .. } => Key::Probe(id.clone(), *kind),
            Action::CleanUp => Key::CleanUp,
            Action::Delete => Key::Delete,
        }
    }
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Done,
    /// It did not work; the reason is a status reason (`ErrImagePull`, `CreateContainerConfigError`, `FailedMount` …).
    Failed {
        reason: String,
        message: String,
    },
    Probed(Verdict),
}

/// Something to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What comes out of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Told>,
    /// When to step again at the latest.
    pub(crate) wake_at: Option<Timestamp>,
    /// Everything must be over by then, also what was asked for in earlier steps. The earliest counts.
    pub(crate) end_by: Option<Timestamp>,
}

impl Step {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn tell(&mut self, warning: bool, reason: &'static str, message: String) {
        self.events.push(Told { warning, reason, message });
    }
}

/// What the node knows that a machine needs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The scheme of container ids.
    pub(crate) runtime_name: String,
    pub(crate) host_addresses: Vec<IpAddr>,
    /// The longest wait before a restart.
    pub(crate) max_backoff: Duration,
}

/// One pod on this node.
#[derive(Debug)]
pub(crate) struct Machine {
    settings: Arc<Settings>,
    pod: Arc<Pod>,
    /// The pod object does not exist any more.
    gone: bool,
    first_seen: Timestamp,
    observed: Listing,
    in_flight: BTreeSet<Key>,
    containers: BTreeMap<String, Memory>,
    volumes: Progress,
    /// What volumes are made from has changed since they were last asked for.
    stale: bool,
    sandbox: Progress,
    /// The pod must be over by then, its object is deleted or being deleted.
    deadline: Option<Timestamp>,
    /// No container of the pod will ever run again, and why if it is not for their exit codes.
    over: Option<Over>,
    /// The last status there will be.
    last: Option<PodStatus>,
    cleaned: bool,
    deleted: bool,
    /// Events that the next step tells.
    untold: Vec<(bool, &'static str, String)>,
}

/// How a pod ended.
#[derive(Clone, Debug, PartialEq)]
struct Over {
    phase: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
}

/// Something the whole pod needs once.
#[derive(Clone, Debug, Default, PartialEq)]
struct Progress {
    done: bool,
    failures: u32,
    retry_at: Option<Timestamp>,
}

impl Progress {
    fn finished(&mut self, outcome: &Outcome, now: Timestamp) {
        if *outcome == Outcome::Done {
            *self = Progress { done: true, ..Progress::default() };
        } else {
            self.retry_at = Some(spec::after(now, backoff::retry(self.failures)));
            self.failures += 1;
        }
    }

    /// Whether to try now; says when otherwise.
    fn due(&self, now: Timestamp, step: &mut Step) -> bool {
        match self.retry_at {
            Some(at) if at > now => {
                step.wake(at);
                false
            }
            _ => true,
        }
    }
}

/// What is remembered of a container besides what the runtime knows. All of it may be lost.
#[derive(Debug, Default)]
struct Memory {
    backoff: Backoff,
    pull: Backoff,
    waiting: Option<Waiting>,
    probes: Option<Probes>,
    /// A probe decided that this container must be restarted, within this grace.
    unhealthy: Option<(ContainerId, Duration)>,
    /// This container is ended because its image is another one now.
    outdated: Option<ContainerId>,
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq)]
struct Waiting {
    reason: String,
    message: String,
    since: Timestamp,
    retry_at: Timestamp,
}

impl Machine {
    pub(crate) fn new(settings: Arc<Settings>, pod: Arc<Pod>, now: Timestamp) -> Machine {
        let mut machine = Machine {
            settings,
            pod,
            gone: false,
            first_seen: now,
            observed: Listing::default(),
            in_flight: BTreeSet::new(),
            containers: BTreeMap::new(),
            volumes: Progress::default(),
            stale: false,
            sandbox: Progress::default(),
            deadline: None,
            over: None,
            last: None,
            cleaned: false,
            deleted: false,
            untold: vec![],
        };
        // What was over before this agent started stays over, with the status it has.
        let status = machine.pod.status.as_ref();
        let phase = match status.and_then(|status| status.phase.as_deref()) {
            Some("Succeeded") => Some("Succeeded"),
            Some("Failed") => Some("Failed"),
            _ => None,
        };
        if let Some(phase) = phase {
            machine.last = machine.pod.status.clone();
            machine.over = Some(Over { phase, reason: None, message: None });
        }
        machine
    }

    pub(crate) fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The pod object is now this.
    pub(crate) fn set_pod(&mut self, pod: Arc<Pod>) {
        let (old, new) = (&self.pod.metadata, &pod.metadata);
        // Files may hold them (downward API).
        self.stale |= old.labels != new.labels || old.annotations != new.annotations;
        self.pod = pod;
    }

    /// The pod object is gone.
    pub(crate) fn set_gone(&mut self) {
        self.gone = true;
    }

    /// What the runtime has of this pod, seen after the last action that finished.
    pub(crate) fn observe(&mut self, listing: Listing) {
        self.observed = listing;
        let observed = &self.observed;
        for memory in self.containers.values_mut() {
            let exists = |id: &ContainerId| observed.containers.iter().any(|one| one.id == *id);
            memory.probes.take_if(|probes| !exists(probes.id()));
            memory.unhealthy.take_if(|(id, _)| !exists(id));
            memory.outdated.take_if(|id| !exists(id));
        }
    }

    /// Something that volumes and environments are made from has changed: files follow, and what failed is tried again now.
    pub(crate) fn data_changed(&mut self, now: Timestamp) {
        self.stale = true;
        self.volumes.retry_at = None;
        for memory in self.containers.values_mut() {
            if let Some(waiting) = &mut memory.waiting
                && waiting.reason == "CreateContainerConfigError"
            {
                waiting.retry_at = now;
            }
        }
    }

    /// An action of the last steps has finished.
    pub(crate) fn finished(&mut self, key: &Key, outcome: Outcome, now: Timestamp) {
        self.in_flight.remove(key);
        match key {
            Key::Volumes => {
                self.stale |= outcome != Outcome::Done;
                self.volumes.finished(&outcome, now);
            }
            Key::Sandbox => {
                self.sandbox.finished(&outcome, now);
            }
            Key::Container(name) => self.start_finished(name, outcome, now),
            Key::Probe(id, kind) => self.probed(id, *kind, outcome, now),
            Key::CleanUp => self.cleaned |= outcome == Outcome::Done,
            Key::Delete => self.deleted |= outcome == Outcome::Done,
            Key::Stop(_) | Key::Remove(_) | Key::EndSandbox(_) => {}
        }
    }

    /// What to do now.
    pub(crate) fn step(&mut self, now: Timestamp) -> Step {
        let mut step = Step::default();
        for (warning, reason, message) in self.untold.drain(..) {
            step.tell(warning, reason, message);
        }
        self.notice_deletion(now);
        if self.deadline.is_some() {
            self.plan_deletion(now, &mut step);
        } else if self.over.is_some() {
            self.plan_end(now, &mut step);
        } else {
            self.plan(now, &mut step);
        }
        let over = self.over.is_some().then(|| spec::after(now, spec::grace(&self.pod)));
        step.end_by = self.deadline.or(over);
        step.actions.retain(|action| self.in_flight.insert(action.key()));
        step
    }

    /// Whether nothing is left to do, ever.
    pub(crate) fn is_finished(&self) -> bool {
        (self.gone || self.deleted) && self.cleaned && self.observed.sandboxes.is_empty() && self.in_flight.is_empty()
    }

    fn memory(&mut self, name: &str) -> &mut Memory {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// The newest sandbox.
    fn newest_sandbox(&self) -> Option<&SandboxStatus> {
        let sandboxes = self.observed.sandboxes.iter();
        sandboxes.max_by_key(|sandbox| sandbox.attempt)
    }

    /// The containers of a name, the newest first.
    fn containers_named(&self, name: &str) -> Vec<&ContainerStatus> {
        let all = self.observed.containers.iter();
        let mut named: Vec<_> = all.filter(|container| container.name == name).collect();
        named.sort_by_key(|container| std::cmp::Reverse(container.attempt));
        named
    }

    fn newest(&self, name: &str) -> Option<&ContainerStatus> {
        let all = self.observed.containers.iter();
        all.filter(|container| container.name == name).max_by_key(|container| container.attempt)
    }

    /// Whether a running container has passed its startup probe, if it has one.
    fn has_started(&self, container: &Container) -> bool {
        let running = self.newest(&container.name).filter(|newest| newest.state.is_running());
        let Some(running) = running else { return false };
        match self.probes(&running.id, &container.name) {
            Some(probes) => probes.started(),
            None => {
                let known = self.known_container(&running.id, &container.name);
                container.startup_probe.is_none() || known.is_some_and(|known| known.started == Some(true))
            }
        }
    }

    fn is_ready(&self, container: &Container) -> bool {
        let Some(newest) = self.newest(&container.name) else { return false };
        let ready = match self.probes(&newest.id, &container.name) {
            Some(probes) => probes.ready(),
            None => {
                let known = self.known_container(&newest.id, &container.name);
                container.readiness_probe.is_none() || known.is_some_and(|known| known.ready)
            }
        };
        ready && self.has_started(container)
    }

    /// The probes of this very container. None until it is first looked after, by this agent: what the API has of it holds.
    fn probes(&self, id: &ContainerId, name: &str) -> Option<&Probes> {
        let probes = self.containers.get(name)?.probes.as_ref();
        probes.filter(|probes| probes.id() == id)
    }
}
