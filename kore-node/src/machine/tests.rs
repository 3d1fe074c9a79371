//! The machine against a runtime that is a table: every action that is asked for is done at once, or as the test says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStatus as ApiStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::*;
use crate::runtime::{ContainerConfig, ContainerState, Exit, PodIdentity, SandboxConfig, SandboxState};

struct World {
    machine: Machine,
    listing: Listing,
    now: Timestamp,
    /// What a start of a container by this name comes to, instead of running.
    starts: BTreeMap<String, Outcome>,
    probes: BTreeMap<ProbeKind, bool>,
    /// What fails to start has not exited either.
    /// What containers are made from.
    image: &'static str,
    not_even_started: bool,
    /// Probes find nothing out.
    blind: bool,
    /// Stops are only noted.
    deaf: bool,
    log: Vec<String>,
    events: Vec<String>,
    wake_at: Option<Timestamp>,
    end_by: Option<Timestamp>,
}

fn pod(spec: Value) -> Pod {
    let metadata = json!({"name": "web", "namespace": "ns", "uid": "u", "generation": 1});
    let status = json!({"conditions": [{"type": "PodScheduled", "status": "True"}]});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn one(more: Value) -> Value {
    let mut container = json!({"name": "app", "image": "i"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        runtime_name: "test".into(),
        host_addresses: vec!["10.0.0.1".parse().unwrap()],
        max_backoff: Duration::from_secs(300),
    })
}

impl World {
    fn new(pod: Pod) -> World {
        let now = Timestamp::from_second(1_000_000).unwrap();
        World {
            machine: Machine::new(settings(), Arc::new(pod), now),
            listing: Listing::default(),
            now,
            starts: BTreeMap::new(),
            probes: BTreeMap::new(),
            image: "i",
            not_even_started: false,
            blind: false,
            deaf: false,
            log: vec![],
            events: vec![],
            wake_at: None,
            end_by: None,
        }
    }

    fn of(spec: Value) -> World {
        World::new(pod(spec))
    }

    /// Steps until nothing is asked for any more, and returns what was done since.
    fn settle(&mut self) -> Vec<String> {
        for _ in 0..100 {
            self.machine.observe(self.listing.clone());
            let step = self.machine.step(self.now);
            self.events.extend(step.events.iter().map(|told| format!("{} {}", told.reason, told.message)));
            self.wake_at = step.wake_at;
            self.end_by = step.end_by;
            if step.actions.is_empty() {
                return std::mem::take(&mut self.log);
            }
            for action in step.actions {
                self.perform(action);
            }
        }
        panic!("the machine never settles: {:?}", self.log);
    }

    fn perform(&mut self, action: Action) {
        let key = action.key();
        let mut outcome = Outcome::Done;
        let identity = PodIdentity::new("ns", "web", "u");
        match action {
            Action::PrepareVolumes => self.log.push("volumes".into()),
            Action::RunSandbox { attempt } => {
                self.log.push(format!("sandbox {attempt}"));
                let config = SandboxConfig::new(identity, attempt);
                let address = format!("127.64.0.{}", attempt + 1).parse().unwrap();
                let id = SandboxId::new(format!("s{attempt}"));
                self.listing.sandboxes.push(SandboxStatus::new(id, &config, vec![address]));
            }
            Action::Start { container, attempt, sandbox } => {
                self.log.push(format!("start {container} {attempt}"));
                let id = ContainerId::new(format!("{container}-{attempt}"));
                self.listing.containers.retain(|one| one.id != id);
                let mut config = ContainerConfig::new(&container, self.image);
                config.attempt = attempt;
                let mut status = ContainerStatus::created(id, sandbox, identity, &config);
                status.state = ContainerState::Running { started_at: self.now };
                if let Some(failed) = self.starts.get(&container) {
                    outcome = failed.clone();
                    status.state = match self.not_even_started {
                        true => ContainerState::Created,
                        false => ContainerState::Exited(Exit {
                            finished_at: Some(self.now),
                            reason: Some("StartError".into()),
                            ..Exit::code(128)
                        }),
                    };
                    if matches!(failed, Outcome::Failed { reason, .. } if reason != "RunContainerError") {
                        return self.machine.finished(&key, outcome, self.now);
                    }
                }
                self.listing.containers.push(status);
            }
            Action::Stop { id, grace, .. } => {
                self.log.push(format!("stop {id} {}", grace.as_secs()));
                if self.deaf {
                    return;
                }
                self.exit(id.as_str(), 143);
            }
            Action::Remove { id } => {
                self.log.push(format!("remove {id}"));
                self.listing.containers.retain(|one| one.id != id);
            }
            Action::StopSandbox { id } => {
                self.log.push(format!("stop {id}"));
                self.lose_sandbox(id.as_str());
            }
            Action::RemoveSandbox { id } => {
                self.log.push(format!("remove {id}"));
                self.listing.sandboxes.retain(|one| one.id != id);
                self.listing.containers.retain(|one| one.sandbox != id);
            }
            Action::Probe { id, kind, .. } => {
                self.log.push(format!("{kind:?} {id}").to_lowercase());
                outcome = Outcome::Probed(match self.probes.get(&kind) {
                    Some(false) => Verdict::Bad("no".into()),
                    _ if self.blind => Verdict::Unknown("no fork".into()),
                    _ => Verdict::Good,
                });
            }
            Action::CleanUp => self.log.push("clean".into()),
            Action::Delete => self.log.push("delete".into()),
        }
        self.machine.observe(self.listing.clone());
        self.machine.finished(&key, outcome, self.now);
    }

    fn exit(&mut self, id: &str, code: i32) {
        let now = self.now;
        for container in self.listing.containers.iter_mut().filter(|one| one.id.as_str() == id) {
            if let ContainerState::Running { started_at } = container.state {
                container.state = ContainerState::Exited(Exit {
                    started_at: Some(started_at),
                    finished_at: Some(now),
                    ..Exit::code(code)
                });
            }
        }
    }

    fn lose_sandbox(&mut self, id: &str) {
        for sandbox in self.listing.sandboxes.iter_mut().filter(|one| one.id.as_str() == id) {
            sandbox.state = SandboxState::NotReady;
        }
    }

    fn after(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.settle()
    }

    /// Sleeps until the machine wants to be woken.
    fn wake(&mut self) -> (i64, Vec<String>) {
        let at = self.wake_at.expect("the machine waits for something");
        let slept = at.duration_since(self.now).as_secs();
        self.now = at;
        (slept, self.settle())
    }

    fn delete(&mut self, grace: i64) {
        let mut pod = (**self.machine.pod()).clone();
        let at = self.now + Duration::from_secs(grace as u64);
        pod.metadata.deletion_timestamp = Some(Time(at));
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.machine.set_pod(Arc::new(pod));
    }

    fn status(&self) -> PodStatus {
        self.machine.status(self.now)
    }

    fn container(&self, name: &str) -> ApiStatus {
        let status = self.status();
        let mut all =
            status.init_container_statuses.into_iter().flatten().chain(status.container_statuses.into_iter().flatten());
        all.find(|status| status.name == name).unwrap()
    }

    fn waiting(&self, name: &str) -> String {
        let state = self.container(name).state.unwrap();
        state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default()
    }

    fn condition(&self, kind: &str) -> String {
        let conditions = self.status().conditions.unwrap();
        conditions.iter().find(|condition| condition.type_ == kind).unwrap().status.clone()
    }
}

#[test]
fn a_pod_starts_and_says_so() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.machine.observe(Listing::default());
    let before = world.status();
    assert_eq!(before.phase.as_deref(), Some("Pending"));
    assert_eq!(world.waiting("app"), "ContainerCreating");
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start app 0"]);
    let status = world.status();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("127.64.0.1"));
    assert_eq!(status.host_ip.as_deref(), Some("10.0.0.1"));
    for kind in ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(world.condition(kind), "True", "{kind}");
    }
    let container = world.container("app");
    assert_eq!(container.container_id.as_deref(), Some("test://app-0"));
    assert_eq!((container.ready, container.started, container.restart_count), (true, Some(true), 0));
    assert_eq!(world.wake_at, None, "an idle pod needs no timer");
}

#[test]
fn restart_policies() {
    let cases = [
        ("Always", 0, Some("Running")),
        ("Always", 1, Some("Running")),
        ("OnFailure", 1, Some("Running")),
        ("OnFailure", 0, Some("Succeeded")),
        ("Never", 0, Some("Succeeded")),
        ("Never", 1, Some("Failed")),
    ];
    for (policy, code, phase) in cases {
        let mut world = World::of(json!({"restartPolicy": policy, "containers": [one(json!({}))]}));
        world.settle();
        world.exit("app-0", code);
        let expected: &[&str] = if phase == Some("Running") { &["start app 1"] } else { &["stop s0"] };
        assert_eq!(world.settle(), expected, "{policy} {code}");
        assert_eq!(world.status().phase.as_deref(), phase, "{policy} {code}");
        if phase != Some("Running") {
            let reason = world.container("app").state.unwrap().terminated.unwrap().reason;
            assert_eq!(reason.as_deref(), Some(if code == 0 { "Completed" } else { "Error" }));
            assert_eq!(world.condition("Ready"), "False");
        }
    }
}

#[test]
fn a_container_that_keeps_failing_waits_longer_each_time() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.settle();
    let mut waits = vec![];
    for attempt in 0..7 {
        world.exit(&format!("app-{attempt}"), 1);
        let done = world.settle();
        if done.is_empty() {
            assert_eq!(world.waiting("app"), "CrashLoopBackOff");
            let last = world.container("app").last_state.unwrap().terminated.unwrap();
            assert_eq!((last.exit_code, last.reason.as_deref()), (1, Some("Error")));
            assert_eq!(world.container("app").restart_count, attempt);
            assert_eq!(world.status().phase.as_deref(), Some("Running"));
            let (slept, done) = world.wake();
            waits.push(slept);
            assert_eq!(done[0], format!("start app {}", attempt + 1));
        }
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300]);
    assert!(
        world
            .events
            .iter()
            .any(|event| { event.starts_with("BackOff Back-off restarting failed container app in pod web_ns(u)") })
    );
    let kept: Vec<&str> = world.listing.containers.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(kept, ["app-6", "app-7"], "the one before is kept for its log, older ones are not");
    world.now += Duration::from_secs(601);
    world.exit("app-7", 1);
    assert_eq!(world.settle(), ["start app 8", "remove app-6"], "a long run is forgiven");
}

#[test]
fn init_containers_run_in_order_and_sidecars_around_the_others() {
    let spec = json!({
        "initContainers": [
            {"name": "first", "image": "i"},
            {"name": "car", "image": "i", "restartPolicy": "Always"},
            {"name": "second", "image": "i"},
        ],
        "containers": [one(json!({}))],
        "restartPolicy": "Never",
    });
    let mut world = World::of(spec);
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start first 0"]);
    assert_eq!(world.waiting("app"), "PodInitializing");
    assert_eq!((world.condition("Initialized"), world.status().phase), ("False".into(), Some("Pending".into())));
    world.exit("first-0", 0);
    assert_eq!(world.settle(), ["start car 0", "start second 0"]);
    world.exit("second-0", 0);
    assert_eq!(world.settle(), ["start app 0"]);
    assert_eq!((world.condition("Initialized"), world.condition("Ready")), ("True".into(), "True".into()));
    world.exit("car-0", 1);
    assert_eq!(world.settle(), ["start car 1"], "a sidecar runs again, whatever the pod's policy");
    world.exit("app-0", 0);
    assert_eq!(world.settle(), ["stop car-1 30", "stop s0"]);
    assert_eq!(world.status().phase.as_deref(), Some("Succeeded"));
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts_and_is_repeated_otherwise() {
    for (policy, done, phase) in [("Never", "stop s0", "Failed"), ("Always", "start first 1", "Pending")] {
        let spec = json!({"initContainers": [{"name": "first", "image": "i"}], "containers": [one(json!({}))], "restartPolicy": policy});
        let mut world = World::of(spec);
        world.settle();
        world.exit("first-0", 1);
        assert_eq!(world.settle(), [done], "{policy}");
        assert_eq!(world.status().phase.as_deref(), Some(phase));
    }
}

#[test]
fn probes_gate_readiness_and_restart_what_is_not_alive() {
    let probe = |extra: Value| {
        let mut probe = json!({"exec": {"command": ["x"]}, "periodSeconds": 5, "failureThreshold": 2});
        probe.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        probe
    };
    let container = one(json!({
        "startupProbe": probe(json!({})),
        "livenessProbe": probe(json!({"terminationGracePeriodSeconds": 3})),
        "readinessProbe": probe(json!({"successThreshold": 2})),
    }));
    let mut world = World::of(json!({"containers": [container]}));
    world.probes.insert(ProbeKind::Startup, false);
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start app 0", "startup app-0"]);
    assert_eq!((world.container("app").started, world.container("app").ready), (Some(false), false));
    world.probes.insert(ProbeKind::Startup, true);
    assert_eq!(world.after(5), ["startup app-0", "liveness app-0", "readiness app-0"]);
    assert_eq!((world.container("app").started, world.container("app").ready), (Some(true), false));
    assert_eq!(world.condition("Ready"), "False");
    assert_eq!(world.after(5), ["liveness app-0", "readiness app-0"]);
    assert_eq!(world.condition("Ready"), "True");
    world.probes.insert(ProbeKind::Readiness, false);
    world.after(5);
    assert_eq!(world.condition("Ready"), "True", "one failure is below the threshold");
    world.after(5);
    assert_eq!(world.condition("Ready"), "False");
    world.probes.insert(ProbeKind::Liveness, false);
    world.after(5);
    let done = world.after(5);
    assert!(done.contains(&"stop app-0 3".to_owned()) && done.contains(&"start app 1".to_owned()), "{done:?}");
    assert!(world.events.contains(&"Killing Container app failed liveness probe, will be restarted".into()));
    assert!(world.events.contains(&"Unhealthy Readiness probe failed: no".into()));
}

#[test]
fn a_probe_that_does_not_work_counts_for_nothing() {
    let probe = json!({"exec": {"command": ["x"]}, "periodSeconds": 5, "failureThreshold": 1});
    let container = one(json!({"livenessProbe": probe, "readinessProbe": probe}));
    let mut world = World::of(json!({"containers": [container]}));
    world.settle();
    assert_eq!(world.condition("Ready"), "True");
    world.blind = true;
    for _ in 0..5 {
        assert_eq!(world.after(5), ["liveness app-0", "readiness app-0"], "one a period, and nothing is stopped");
    }
    assert_eq!(world.condition("Ready"), "True");
    let told = "Unhealthy Liveness probe errored and resulted in unknown state: no fork";
    assert!(world.events.contains(&told.into()), "{:?}", world.events);
}

#[test]
fn every_container_that_is_not_alive_is_restarted_not_only_the_first() {
    let probe = json!({"exec": {"command": ["x"]}, "periodSeconds": 5, "failureThreshold": 1});
    let mut world = World::of(json!({"containers": [one(json!({"livenessProbe": probe}))]}));
    world.probes.insert(ProbeKind::Liveness, false);
    let mut done = world.settle();
    for _ in 0..40 {
        done.extend(world.after(5));
    }
    for attempt in 0..3 {
        let stopped = done.iter().any(|action| action.starts_with(&format!("stop app-{attempt} ")));
        assert!(stopped, "attempt {attempt} was not stopped: {done:?}");
    }
}

#[test]
fn a_deleted_pod_is_ended_before_its_object_is() {
    let mut world = World::of(json!({"containers": [one(json!({}))], "terminationGracePeriodSeconds": 7}));
    world.settle();
    world.delete(7);
    assert_eq!(world.settle(), ["stop app-0 7", "stop s0", "remove s0", "clean", "delete"]);
    assert!(world.machine.is_finished());
    let status = world.status();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let terminated = status.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(terminated.exit_code, 143, "the last status is from before everything was removed");
    assert!(world.events.contains(&"Killing Stopping container app".into()));
}

#[test]
fn a_second_deletion_can_only_shorten_the_first() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.settle();
    world.deaf = true;
    assert_eq!(world.end_by, None);
    let left = |world: &World| world.end_by.unwrap().duration_since(world.now).as_secs();
    world.delete(30);
    assert_eq!(world.settle(), ["stop app-0 30"]);
    assert_eq!(left(&world), 30);
    world.delete(60);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(left(&world), 30);
    world.now += Duration::from_secs(1);
    world.delete(2);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(left(&world), 2);
}

#[test]
fn a_pod_whose_object_is_gone_leaves_nothing() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.settle();
    world.machine.set_gone();
    assert_eq!(world.settle(), ["stop app-0 30", "stop s0", "remove s0", "clean"]);
    assert!(world.machine.is_finished());
}

#[test]
fn numbers_of_seconds_that_no_clock_can_hold_are_endless_waits() {
    let probe = json!({"exec": {}, "initialDelaySeconds": i32::MAX, "periodSeconds": i32::MAX});
    let spec = json!({
        "containers": [one(json!({"readinessProbe": probe}))],
        "terminationGracePeriodSeconds": 9_000_000_000_000_u64,
        "activeDeadlineSeconds": i64::MAX,
    });
    let mut world = World::of(spec);
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start app 0"]);
    world.machine.set_gone();
    world.deaf = true;
    let done = world.settle();
    assert!(done.len() == 1 && done[0].starts_with("stop app-0 "), "{done:?}");
}

#[test]
fn what_runs_is_adopted_and_keeps_its_readiness() {
    let readiness = json!({"exec": {}, "initialDelaySeconds": 100});
    let container = one(json!({"readinessProbe": readiness, "startupProbe": {"exec": {}}}));
    let spec = json!({"containers": [container]});
    let mut first = World::of(spec.clone());
    first.settle();
    let mut known = first.status();
    known.container_statuses.as_mut().unwrap()[0].ready = true;
    let mut second = World::of(spec);
    let mut pod = (**second.machine.pod()).clone();
    pod.status = Some(known);
    second.machine = Machine::new(settings(), Arc::new(pod), second.now);
    second.listing = first.listing.clone();
    second.machine.observe(first.listing.clone());
    let app = second.container("app");
    assert_eq!((app.started, app.ready), (Some(true), true), "before anything is done, and any probe is made");
    assert_eq!(second.settle(), ["volumes"], "volumes are made again, nothing is started, nor is it starting up");
    assert_eq!(second.condition("Ready"), "True");
}

#[test]
fn an_image_that_cannot_be_pulled_is_shown_then_waited_for() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    let failed = |reason: &str| Outcome::Failed { reason: reason.into(), message: "image \"i\" not found".into() };
    world.starts.insert("app".into(), failed("ErrImagePull"));
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start app 0"]);
    assert_eq!((world.waiting("app"), world.status().phase), ("ErrImagePull".into(), Some("Pending".into())));
    assert_eq!(world.wake(), (1, vec![]));
    assert_eq!(world.waiting("app"), "ImagePullBackOff");
    let message = world.container("app").state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, "Back-off pulling image \"i\": ErrImagePull: image \"i\" not found");
    assert_eq!(world.wake(), (9, vec!["start app 0".to_owned()]));
    world.wake();
    assert_eq!(world.wake().0, 19);
    world.starts.clear();
    world.wake();
    world.wake();
    assert_eq!((world.waiting("app"), world.status().phase), (String::new(), Some("Running".into())));
}

#[test]
fn a_missing_key_is_retried_when_something_changes() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    let message = "couldn't find key k in ConfigMap ns/c".to_owned();
    let failed = Outcome::Failed { reason: "CreateContainerConfigError".into(), message };
    world.starts.insert("app".into(), failed);
    world.settle();
    assert_eq!(world.waiting("app"), "CreateContainerConfigError");
    assert_eq!(world.container("app").restart_count, 0);
    assert_eq!(world.wake(), (10, vec!["start app 0".to_owned()]));
    world.starts.clear();
    world.machine.data_changed(world.now);
    assert_eq!(world.settle(), ["volumes", "start app 0"]);
    assert_eq!(world.status().phase.as_deref(), Some("Running"));
}

#[test]
fn volumes_follow_what_they_are_made_from_one_at_a_time_and_until_they_do() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.settle();
    let label = |world: &mut World, value: &str| {
        let mut pod = (**world.machine.pod()).clone();
        pod.metadata.labels = Some([("a".to_owned(), value.to_owned())].into());
        world.machine.set_pod(Arc::new(pod));
    };
    label(&mut world, "b");
    assert_eq!(world.settle(), ["volumes"]);
    label(&mut world, "b");
    assert_eq!(world.settle(), Vec::<String>::new(), "nothing has changed");

    world.machine.data_changed(world.now);
    let actions = world.machine.step(world.now).actions;
    assert_eq!(actions, [Action::PrepareVolumes]);
    world.machine.data_changed(world.now);
    assert_eq!(world.machine.step(world.now).actions, [], "one at a time");
    let failed = Outcome::Failed { reason: "FailedMount".into(), message: "no".into() };
    world.machine.finished(&Key::Volumes, failed.clone(), world.now);
    world.exit("app-0", 1);
    assert_eq!(world.settle(), ["start app 1"], "restarts do not wait for it");
    assert_eq!(world.wake(), (1, vec!["volumes".to_owned()]));
    assert_eq!(world.after(100), Vec::<String>::new());

    world.machine.data_changed(world.now);
    assert_eq!(world.machine.step(world.now).actions, [Action::PrepareVolumes]);
    world.machine.finished(&Key::Volumes, failed, world.now);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(world.wake(), (1, vec!["volumes".to_owned()]), "what failed is tried again");
}

#[test]
fn a_program_that_cannot_be_executed_ends_in_crash_loop_back_off() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    let message = "exec: \"foo\": executable file not found in $PATH".to_owned();
    let failed = Outcome::Failed { reason: "RunContainerError".into(), message };
    world.starts.insert("app".into(), failed);
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start app 0", "start app 1"]);
    assert_eq!(world.waiting("app"), "CrashLoopBackOff");
    let last = world.container("app").last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (128, Some("StartError")));
}

#[test]
fn a_container_the_runtime_cannot_start_is_waited_for_like_any_that_cannot_be_made() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    let failed = Outcome::Failed { reason: "RunContainerError".into(), message: "no room for a shim".into() };
    world.starts.insert("app".into(), failed);
    world.not_even_started = true;
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start app 0"]);
    assert_eq!(world.waiting("app"), "RunContainerError");
    assert_eq!(world.wake(), (10, vec!["start app 0".to_owned()]));
}

#[test]
fn a_lost_sandbox_is_replaced_unless_the_pod_is_not_to_run_again() {
    for (policy, expected, phase) in
        [("Always", vec!["sandbox 1", "start app 1"], "Running"), ("Never", vec![], "Failed")]
    {
        let mut world = World::of(json!({"restartPolicy": policy, "containers": [one(json!({}))]}));
        world.settle();
        world.exit("app-0", 137);
        world.lose_sandbox("s0");
        assert_eq!(world.settle(), expected, "{policy}");
        assert_eq!(world.status().phase.as_deref(), Some(phase));
    }
}

#[test]
fn in_a_new_sandbox_initialisation_begins_anew_and_what_has_succeeded_does_not() {
    let spec = json!({
        "initContainers": [{"name": "first", "image": "i"}],
        "containers": [one(json!({})), {"name": "done", "image": "i"}],
        "restartPolicy": "OnFailure",
    });
    let mut world = World::of(spec);
    assert_eq!(world.settle(), ["volumes", "sandbox 0", "start first 0"]);
    world.exit("first-0", 0);
    assert_eq!(world.settle(), ["start app 0", "start done 0"]);
    world.exit("done-0", 0);
    world.exit("app-0", 137);
    world.lose_sandbox("s0");
    assert_eq!(world.settle(), ["sandbox 1", "start first 1"]);
    world.exit("first-1", 0);
    assert_eq!(world.settle(), ["start app 1"]);
    assert_eq!(world.status().phase.as_deref(), Some("Running"));
    world.exit("app-1", 0);
    assert_eq!(world.settle(), ["stop s1"]);
    assert_eq!(world.status().phase.as_deref(), Some("Succeeded"));
}

#[test]
fn what_is_over_in_the_api_never_runs_again() {
    let mut over = pod(json!({"containers": [one(json!({}))], "restartPolicy": "Never"}));
    over.status.as_mut().unwrap().phase = Some("Failed".into());
    over.status.as_mut().unwrap().reason = Some("Evicted".into());
    let mut world = World::new(over.clone());
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(Some(world.status()), over.status);
}

#[test]
fn a_pod_has_a_deadline() {
    let mut world = World::of(json!({"containers": [one(json!({}))], "activeDeadlineSeconds": 20}));
    world.settle();
    assert_eq!(world.wake(), (20, vec!["stop app-0 30".to_owned(), "stop s0".to_owned()]));
    let status = world.status();
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
}

#[test]
fn a_status_that_has_not_changed_is_equal() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.settle();
    let first = world.status();
    let mut pod = (**world.machine.pod()).clone();
    pod.status = Some(first.clone());
    world.machine.set_pod(Arc::new(pod));
    world.after(1000);
    assert_eq!(world.status(), first);
}

#[test]
fn readiness_gates_hold_a_pod_back() {
    let mut world =
        World::of(json!({"containers": [one(json!({}))], "readinessGates": [{"conditionType": "example.com/open"}]}));
    world.settle();
    assert_eq!((world.condition("ContainersReady"), world.condition("Ready")), ("True".into(), "False".into()));
    let mut pod = (**world.machine.pod()).clone();
    let open = serde_json::from_value(json!({"type": "example.com/open", "status": "True"})).unwrap();
    pod.status.as_mut().unwrap().conditions.as_mut().unwrap().push(open);
    world.machine.set_pod(Arc::new(pod));
    world.settle();
    assert_eq!(world.condition("Ready"), "True");
}

#[test]
fn a_container_whose_image_is_changed_is_restarted_whatever_the_policy() {
    for policy in ["Always", "Never"] {
        let mut world = World::of(
            json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 7, "containers": [one(json!({}))]}),
        );
        world.settle();
        let mut pod = (**world.machine.pod()).clone();
        pod.spec.as_mut().unwrap().containers[0].image = Some("other".into());
        world.machine.set_pod(Arc::new(pod));
        assert_eq!(world.container("app").image, "i", "what runs is what is shown");
        world.image = "other";
        assert_eq!(world.settle(), ["stop app-0 7", "start app 1"], "{policy}");
        assert!(world.events.iter().any(|event| event.contains("definition changed")), "{:?}", world.events);
        let status = world.container("app");
        assert_eq!((status.image.as_str(), status.restart_count), ("other", 1));
        assert_eq!(world.settle(), [""; 0]);
        world.exit("app-1", 0);
        let expected: &[&str] = if policy == "Never" { &["stop s0"] } else { &["start app 2", "remove app-0"] };
        assert_eq!(world.settle(), expected, "{policy}");
    }
}

/// The time stated in the object is in whole seconds: it may be nearly one too early.
#[test]
fn a_grace_is_counted_from_when_the_deletion_is_seen() {
    let mut world = World::of(json!({"containers": [one(json!({}))]}));
    world.settle();
    world.delete(1);
    let mut pod = (**world.machine.pod()).clone();
    pod.metadata.deletion_timestamp = Some(Time(world.now + Duration::from_millis(20)));
    world.machine.set_pod(Arc::new(pod));
    assert_eq!(world.settle().first().map(String::as_str), Some("stop app-0 1"));
}
