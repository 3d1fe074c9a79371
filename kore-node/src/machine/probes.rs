//! When a container is probed, and what a result means.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus as Known, Probe};

use super::{Action, Key, Machine, Outcome, Step, spec};
use crate::runtime::{ContainerId, ContainerState};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeKind {
    /// Whether the container has come up: the other two wait for it.
    Startup,
    /// Whether it must be restarted.
    Liveness,
    /// Whether it takes requests.
    Readiness,
}

impl ProbeKind {
    const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            ProbeKind::Startup => container.startup_probe.as_ref(),
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}

/// What a probe has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad(String),
    /// The probe itself did not work. That says nothing about the container, and counts for nothing.
    Unknown(String),
}

fn seconds(value: Option<i32>, default: i32) -> Duration {
    Duration::from_secs(value.unwrap_or(default).max(0) as u64)
}

/// How long one probe may take.
pub(crate) fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1))
}

/// The probes of one running container.
#[derive(Debug)]
pub(super) struct Probes {
    id: ContainerId,
    states: BTreeMap<ProbeKind, State>,
}

#[derive(Debug)]
struct State {
    next_at: Timestamp,
    successes: i32,
    failures: i32,
    /// What the thresholds have decided; until then what the kind assumes.
    good: bool,
}

impl Probes {
    /// For a container that runs since `started_at`. What the API has seen of this very container goes on to hold.
    fn new(container: &Container, id: ContainerId, started_at: Timestamp, known: Option<&Known>) -> Probes {
        let started = known.is_some_and(|known| known.started == Some(true));
        let ready = known.is_some_and(|known| known.ready);
        let states = ProbeKind::ALL.into_iter().filter_map(|kind| {
            let probe = kind.of(container)?;
            let state = State {
                next_at: spec::after(started_at, seconds(probe.initial_delay_seconds, 0)),
                successes: 0,
                failures: 0,
                good: match kind {
                    ProbeKind::Startup => started,
                    ProbeKind::Liveness => true,
                    ProbeKind::Readiness => ready,
                },
            };
            Some((kind, state))
        });
        Probes { id, states: states.collect() }
    }

    pub(super) fn id(&self) -> &ContainerId {
        &self.id
    }

    pub(super) fn started(&self) -> bool {
        self.good(ProbeKind::Startup)
    }

    pub(super) fn ready(&self) -> bool {
        self.good(ProbeKind::Readiness)
    }

    fn good(&self, kind: ProbeKind) -> bool {
        self.states.get(&kind).is_none_or(|state| state.good)
    }

    /// Counts a result; true if the thresholds have now decided against the container.
    fn count(&mut self, kind: ProbeKind, probe: &Probe, verdict: &Verdict, now: Timestamp) -> bool {
        let Some(state) = self.states.get_mut(&kind) else {
            return false;
        };
        state.next_at = spec::after(now, seconds(probe.period_seconds, 10).max(Duration::from_secs(1)));
        match verdict {
            Verdict::Good => {
                state.failures = 0;
                state.successes = state.successes.saturating_add(1);
                state.good |= state.successes >= probe.success_threshold.unwrap_or(1);
                false
            }
            Verdict::Bad(_) => {
                state.successes = 0;
                state.failures = state.failures.saturating_add(1);
                let failed = state.failures >= probe.failure_threshold.unwrap_or(3);
                state.good &= !failed;
                failed
            }
            Verdict::Unknown(_) => false,
        }
    }
}

impl Machine {
    /// Asks for the probes of a running container that are due.
    pub(super) fn plan_probes(&mut self, container: &Container, id: &ContainerId, now: Timestamp, step: &mut Step) {
        let Some(newest) = self.newest(&container.name) else {
            return;
        };
        let ContainerState::Running { started_at } = newest.state else {
            return;
        };
        let has = self.containers.get(&container.name).and_then(|memory| memory.probes.as_ref());
        if has.is_none_or(|probes| probes.id != *id) {
            let known = self.known_container(id, &container.name);
            let probes = Probes::new(container, id.clone(), started_at, known);
            self.memory(&container.name).probes = Some(probes);
        }
        let probes = self.containers[&container.name].probes.as_ref().expect("made above");
        for (kind, state) in &probes.states {
            let wanted = match kind {
                ProbeKind::Startup => !state.good,
                _ => probes.started(),
            };
            let under_way = self.in_flight.contains(&Key::Probe(id.clone(), *kind));
            if wanted && !under_way && state.next_at <= now {
                step.actions.push(Action::Probe { id: id.clone(), container: container.name.clone(), kind: *kind });
            } else if wanted && !under_way {
                step.wake(state.next_at);
            }
        }
    }

    /// Takes a probe's result into account. Events come with the next step.
    pub(super) fn probed(&mut self, id: &ContainerId, kind: ProbeKind, outcome: Outcome, now: Timestamp) {
        let Outcome::Probed(verdict) = outcome else {
            return;
        };
        let pod = self.pod.clone();
        let name = self
            .observed
            .containers
            .iter()
            .find(|container| container.id == *id && container.state.is_running())
            .map(|container| container.name.clone());
        let Some(container) = name.and_then(|name| spec::container(&pod, &name)) else {
            return;
        };
        let Some(probe) = kind.of(container) else {
            return;
        };
        let memory = self.memory(&container.name);
        let Some(probes) = memory.probes.as_mut().filter(|probes| probes.id == *id) else {
            return;
        };
        let failed = probes.count(kind, probe, &verdict, now);
        let kind_name = kind.name();
        let text = match verdict {
            Verdict::Good => return,
            Verdict::Bad(message) => format!("{kind_name} probe failed: {message}"),
            Verdict::Unknown(message) => {
                format!("{kind_name} probe errored and resulted in unknown state: {message}")
            }
        };
        let mut told = vec![(true, "Unhealthy", text)];
        // A container that is being killed already is not killed again; the one before it is another matter.
        let is_new = memory.unhealthy.as_ref().is_none_or(|(known, _)| known != id);
        if failed && kind != ProbeKind::Readiness && is_new {
            let seconds = probe.termination_grace_period_seconds;
            let grace = seconds.map_or_else(|| spec::grace(&pod), |seconds| Duration::from_secs(seconds.max(0) as u64));
            memory.unhealthy = Some((id.clone(), grace));
            let lower = kind_name.to_lowercase();
            let text = format!("Container {} failed {lower} probe, will be restarted", container.name);
            told.push((false, "Killing", text));
        }
        self.untold.extend(told);
    }
}
