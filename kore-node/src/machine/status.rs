//! The pod's status, as upstream shapes it: a function of the pod, what runs and what is remembered.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus as ApiStatus, HostIP, PodCondition, PodIP, PodStatus, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Machine, spec};
use crate::runtime::{ContainerId, ContainerState, ContainerStatus, Exit, SandboxState};

impl Machine {
    /// The status to publish now.
    pub(crate) fn status(&self, now: Timestamp) -> PodStatus {
        if let Some(last) = &self.last {
            return last.clone();
        }
        let init = spec::init_containers(&self.pod);
        let main = spec::containers(&self.pod);
        let mut status = self.pod.status.clone().unwrap_or_default();
        let init_statuses: Vec<ApiStatus> =
            init.iter().map(|container| self.container_status(container, true)).collect();
        let main_statuses: Vec<ApiStatus> =
            main.iter().map(|container| self.container_status(container, false)).collect();
        let phase = self.phase(&init_statuses, &main_statuses);
        status.conditions = Some(self.conditions(phase, &init_statuses, &main_statuses, now));
        status.phase = Some(phase.into());
        if let Some(over) = self.over.as_ref().filter(|over| over.phase == phase) {
            status.reason = over.reason.map(Into::into).or(status.reason);
            status.message = over.message.clone().or(status.message);
        }
        let mut addresses = self.settings.host_addresses.iter().map(|ip| ip.to_string());
        status.host_ips = Some(addresses.clone().map(|ip| HostIP { ip }).collect());
        status.host_ip = addresses.next();
        if let Some(sandbox) = self.newest_sandbox() {
            let mut addresses = sandbox.addresses.iter().map(|ip| ip.to_string());
            status.pod_ips = Some(addresses.clone().map(|ip| PodIP { ip }).collect());
            status.pod_ip = addresses.next();
        }
        status.start_time = Some(Time(self.start_time()));
        status.observed_generation = self.pod.metadata.generation;
        status.init_container_statuses = (!init.is_empty()).then_some(init_statuses);
        status.container_statuses = Some(main_statuses);
        status
    }

    /// When this node first took the pod on. Seconds, as the wire has it.
    pub(super) fn start_time(&self) -> Timestamp {
        let known = self.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        known.map_or_else(|| whole_second(self.first_seen), |time| time.0)
    }

    /// What the API has of a container.
    pub(super) fn known_status(&self, name: &str) -> Option<&ApiStatus> {
        let status = self.pod.status.as_ref()?;
        let lists = [&status.container_statuses, &status.init_container_statuses];
        lists.into_iter().flatten().flatten().find(|status| status.name == name)
    }

    /// What the API has of this very container.
    pub(super) fn known_container(&self, id: &ContainerId, name: &str) -> Option<&ApiStatus> {
        let url = self.container_url(id);
        self.known_status(name).filter(|known| known.container_id.as_deref() == Some(&url))
    }

    /// A container's id as the API shows it.
    pub(super) fn container_url(&self, id: &ContainerId) -> String {
        format!("{}://{id}", self.settings.runtime_name)
    }

    fn container_status(&self, container: &Container, init: bool) -> ApiStatus {
        let named = self.containers_named(&container.name);
        let newest = named.first().copied();
        let before = named.get(1).and_then(|before| Some(self.terminated(before, before.state.exit()?)));
        let waiting = self
            .containers
            .get(&container.name)
            .and_then(|memory| memory.waiting.as_ref())
            .map(|waiting| (waiting.reason.clone(), Some(waiting.message.clone())));
        let (state, last_state) = match newest.map(|newest| (newest, &newest.state)) {
            Some((_, ContainerState::Running { started_at })) => {
                let running = ContainerStateRunning { started_at: Some(Time(whole_second(*started_at))) };
                let state = ApiState { running: Some(running), ..ApiState::default() };
                (state, before)
            }
            Some((newest, ContainerState::Exited(exit))) => {
                let terminated = self.terminated(newest, exit);
                match waiting {
                    Some((reason, message)) if self.over.is_none() => (waits(reason, message), Some(terminated)),
                    _ => (terminated, before),
                }
            }
            _ => {
                let (reason, message) = waiting.unwrap_or_else(|| (self.default_reason(init).into(), None));
                let before = before.or_else(|| self.known_status(&container.name)?.last_state.clone());
                (waits(reason, message), before)
            }
        };
        let running = state.running.is_some();
        let known = self.known_status(&container.name);
        let sidecar = spec::is_sidecar(container);
        let exited_well = state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code == 0);
        ApiStatus {
            name: container.name.clone(),
            image: newest.map_or_else(|| container.image.clone().unwrap_or_default(), |newest| newest.image.clone()),
            image_id: newest.map_or_else(
                || known.map(|known| known.image_id.clone()).unwrap_or_default(),
                |newest| newest.image_id.clone(),
            ),
            container_id: newest.map(|newest| self.container_url(&newest.id)),
            restart_count: newest.map_or_else(
                || known.map_or(0, |known| known.restart_count),
                |newest| i32::try_from(newest.attempt).unwrap_or(i32::MAX),
            ),
            ready: match init && !sidecar {
                true => exited_well,
                false => running && self.is_ready(container),
            },
            started: Some(running && self.has_started(container)),
            state: Some(state),
            last_state: last_state.or_else(|| Some(ApiState::default())),
            resources: container.resources.clone(),
            volume_mounts: mounts(container),
            ..ApiStatus::default()
        }
    }

    fn terminated(&self, container: &ContainerStatus, exit: &Exit) -> ApiState {
        let reason = match (&exit.reason, exit.exit_code) {
            (Some(reason), _) => reason.clone(),
            (None, 0) => "Completed".into(),
            (None, _) => "Error".into(),
        };
        let time = |at: Option<Timestamp>| at.map(|at| Time(whole_second(at)));
        let terminated = ContainerStateTerminated {
            container_id: Some(self.container_url(&container.id)),
            exit_code: exit.exit_code,
            signal: exit.signal,
            reason: Some(reason),
            message: exit.message.clone(),
            started_at: time(exit.started_at),
            finished_at: time(exit.finished_at),
        };
        ApiState { terminated: Some(terminated), ..ApiState::default() }
    }

    fn default_reason(&self, init: bool) -> &'static str {
        if init || spec::init_containers(&self.pod).is_empty() { "ContainerCreating" } else { "PodInitializing" }
    }

    fn phase(&self, init: &[ApiStatus], main: &[ApiStatus]) -> &'static str {
        let runs = |status: &ApiStatus| is_running(status);
        if let Some(over) = &self.over
            && !init.iter().chain(main).any(runs)
        {
            return over.phase;
        }
        let pending = !self.initialised_by(init) && !main.iter().any(has_run);
        let never_ran = main.iter().any(|status| !is_running(status) && !has_run(status));
        if pending || never_ran || main.is_empty() { "Pending" } else { "Running" }
    }

    /// Whether initialisation is over, by the statuses of init containers.
    fn initialised_by(&self, init: &[ApiStatus]) -> bool {
        let containers = spec::init_containers(&self.pod).iter().zip(init);
        containers.into_iter().all(|(container, status)| match spec::is_sidecar(container) {
            true => status.started == Some(true),
            false => status.ready,
        })
    }

    fn conditions(&self, phase: &str, init: &[ApiStatus], main: &[ApiStatus], now: Timestamp) -> Vec<PodCondition> {
        let over = matches!(phase, "Succeeded" | "Failed");
        let completed = (phase == "Succeeded").then_some(("PodCompleted", None));
        let unready: Vec<&str> = init
            .iter()
            .zip(spec::init_containers(&self.pod))
            .filter(|(_, container)| spec::is_sidecar(container))
            .map(|(status, _)| status)
            .chain(main)
            .filter(|status| !status.ready)
            .map(|status| status.name.as_str())
            .collect();
        let incomplete: Vec<&str> = init
            .iter()
            .zip(spec::init_containers(&self.pod))
            .filter(|(status, container)| match spec::is_sidecar(container) {
                true => status.started != Some(true),
                false => !status.ready,
            })
            .map(|(status, _)| status.name.as_str())
            .collect();
        let network = self.newest_sandbox().is_some_and(|sandbox| sandbox.state == SandboxState::Ready);
        let started = self.newest_sandbox().is_some_and(|sandbox| self.initialised(&sandbox.id));
        // Once true it stays true for this sandbox: containers that exist show that it was over.
        let initialised = match completed {
            Some(_) => (true, Some(("PodCompleted", None))),
            None if incomplete.is_empty() || started => (true, None),
            None => {
                let text = format!("containers with incomplete status: [{}]", incomplete.join(" "));
                (false, Some(("ContainersNotInitialized", Some(text))))
            }
        };
        let containers_ready = match completed.clone() {
            Some(completed) => (false, Some(completed)),
            None if phase == "Failed" => (false, Some(("PodFailed", None))),
            None if unready.is_empty() => (true, None),
            None => {
                let text = format!("containers with unready status: [{}]", unready.join(" "));
                (false, Some(("ContainersNotReady", Some(text))))
            }
        };
        let ready = match self.closed_gates() {
            gates if containers_ready.0 && !gates.is_empty() => {
                let text = gates_text(&gates);
                (false, Some(("ReadinessGatesNotReady", Some(text))))
            }
            _ => containers_ready.clone(),
        };
        let mut conditions = self.pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let mut set = |kind: &str, (holds, why): Why| {
            self.set(&mut conditions, kind, holds, why, now);
        };
        set("PodReadyToStartContainers", (network && !over, None));
        set("Initialized", initialised);
        set("Ready", ready);
        set("ContainersReady", containers_ready);
        conditions
    }

    /// The readiness gates whose condition is not true.
    fn closed_gates(&self) -> Vec<String> {
        let conditions = self.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let holds =
            |kind: &str| conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True");
        let gates = self.pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref());
        gates
            .unwrap_or_default()
            .iter()
            .filter(|gate| !holds(&gate.condition_type))
            .map(|gate| gate.condition_type.clone())
            .collect()
    }

    /// Writes a condition of the agent's in its place; those of others stay as they are.
    fn set(
        &self,
        conditions: &mut Vec<PodCondition>,
        kind: &str,
        holds: bool,
        why: Option<(&str, Option<String>)>,
        now: Timestamp,
    ) {
        let status = if holds { "True" } else { "False" };
        let (reason, message) = why.unzip();
        let old = conditions.iter().position(|condition| condition.type_ == kind);
        let unchanged = old
            .map(|at| &conditions[at])
            .filter(|old| old.status == status)
            .and_then(|old| old.last_transition_time.clone());
        let condition = PodCondition {
            type_: kind.into(),
            status: status.into(),
            reason: reason.map(Into::into),
            message: message.flatten(),
            last_probe_time: None,
            last_transition_time: unchanged.or(Some(Time(whole_second(now)))),
            observed_generation: self.pod.metadata.generation,
        };
        match old {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
}

/// Whether a condition holds, and why if there is something to say.
type Why<'a> = (bool, Option<(&'a str, Option<String>)>);

/// What is said about readiness gates that are closed.
fn gates_text(gates: &[String]) -> String {
    let text =
        |gate| format!("corresponding condition of pod readiness gate \"{gate}\" does not exist or is not true.");
    gates.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn waits(reason: String, message: Option<String>) -> ApiState {
    ApiState { waiting: Some(ContainerStateWaiting { reason: Some(reason), message }), ..ApiState::default() }
}

fn is_running(status: &ApiStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Whether the container runs or ever did.
fn has_run(status: &ApiStatus) -> bool {
    let ran = |state: &Option<ApiState>| state.as_ref().is_some_and(|state| state.terminated.is_some());
    is_running(status) || ran(&status.state) || ran(&status.last_state)
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".into()),
        ..VolumeMountStatus::default()
    };
    Some(mounts.iter().map(status).collect())
}

/// Times on the wire have no fractions.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
