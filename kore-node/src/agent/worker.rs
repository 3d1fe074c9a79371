//! One pod's driver: hands the machine what is known, does what it says, and publishes the pod's status.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::SignedDuration;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kore_api::{
    client::EventType,
    object::{Object, View},
    request::Options,
};
use tokio::time::sleep;

use super::{Shared, mailbox::Mailbox, probe, run::asked, start, stop};
use crate::{
    env::Context,
    machine::{Action, Key, Machine, Outcome},
    runtime::PodIdentity,
    runtime::{ContainerState, ContainerStatus, Error, Listing, SandboxConfig, SandboxStatus},
    volumes,
};

/// How long to wait before what failed is tried again: a list, a status, the removal of something.
const RETRY: Duration = Duration::from_secs(1);
/// The most of a termination message that is kept, in bytes.
const MESSAGE_BYTES: usize = 4096;
/// How much of the log stands in for a termination message, in bytes and lines.
const MESSAGE_LOG: (usize, usize) = (2048, 80);

/// Where a worker's pod comes from.
pub(super) enum Origin {
    /// The API.
    Api(View<Pod>),
    /// The runtime alone: the pod does not exist any more.
    Runtime(Arc<Pod>),
}

impl Origin {
    /// As much of a pod as is needed to end it.
    pub(super) fn orphan(sandboxes: &[SandboxStatus], containers: &[ContainerStatus]) -> Origin {
        let identity =
            sandboxes.first().map(|sandbox| &sandbox.pod).or(containers.first().map(|container| &container.pod));
        let mut pod = Pod::default();
        if let Some(identity) = identity {
            pod.metadata = ObjectMeta {
                name: Some(identity.name.clone()),
                namespace: Some(identity.namespace.clone()),
                uid: Some(identity.uid.clone()),
                ..ObjectMeta::default()
            };
        }
        let mut names: Vec<&str> = containers.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let containers = names.into_iter().map(|name| Container { name: name.into(), ..Container::default() });
        let grace = sandboxes.iter().find_map(|sandbox| sandbox.labels.get(GRACE)?.parse().ok());
        pod.spec = Some(PodSpec {
            containers: containers.collect(),
            termination_grace_period_seconds: grace,
            ..PodSpec::default()
        });
        Origin::Runtime(Arc::new(pod))
    }

    pub(super) fn pod(&self) -> &Pod {
        match self {
            Origin::Api(view) => view,
            Origin::Runtime(pod) => pod,
        }
    }
}

/// The label of a sandbox that keeps the pod's grace, in seconds, for when the pod is gone.
const GRACE: &str = "kore.dev/termination-grace-period";

/// Drives a pod to its end, or until the agent is shut down. `origin` keeps up with the pod, for a worker that is begun anew.
pub(super) async fn run(shared: Arc<Shared>, mailbox: Arc<Mailbox>, origin: &mut Origin) {
    let now = shared.client.clock().now();
    let machine = |pod: Arc<Pod>| Machine::new(shared.settings.clone(), pod, now);
    let (view, machine) = match &*origin {
        Origin::Api(view) => (Some(view.clone()), machine(view.clone().into_typed())),
        Origin::Runtime(pod) => {
            let mut machine = machine(pod.clone());
            machine.set_gone();
            (None, machine)
        }
    };
    let sent = view.as_ref().and_then(|view| view.status.clone());
    let mut worker = Worker { shared, mailbox, origin, machine, sent, view, running: FuturesUnordered::new() };
    worker.run().await;
}

struct Worker<'a> {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    origin: &'a mut Origin,
    machine: Machine,
    /// The pod as the API last had it.
    view: Option<View<Pod>>,
    /// The status that was last sent, or found.
    sent: Option<PodStatus>,
    running: FuturesUnordered<BoxFuture<'static, (Key, Outcome)>>,
}

impl Worker<'_> {
    async fn run(&mut self) {
        let mut shutdown = self.shared.shutdown.clone();
        let mut finished: Vec<(Key, Outcome)> = vec![];
        let mut look = true;
        loop {
            let news = self.mailbox.take();
            match news.pod {
                Some(Some(view)) => self.set_pod(view),
                Some(None) => {
                    self.machine.set_gone();
                    *self.origin = Origin::Runtime(self.machine.pod().clone());
                }
                None => {}
            }
            if news.data {
                self.refresh_volumes().await;
                self.machine.retry(self.shared.client.clock().now());
            }
            look |= news.runtime;
            look |= finished.iter().any(|(key, _)| !matches!(key, Key::Probe(..)));
            if look {
                match self.list().await {
                    Ok(listing) => self.machine.observe(listing),
                    Err(error) => {
                        tracing::warn!(%error, "the runtime cannot be listed");
                        sleep(RETRY).await;
                        continue;
                    }
                }
                look = false;
            }
            let now = self.shared.client.clock().now();
            for (key, outcome) in finished.drain(..) {
                self.machine.finished(&key, outcome, now);
            }
            let step = self.machine.step(now);
            for told in step.events {
                self.tell(told.warning, told.reason, told.message);
            }
            for action in step.actions {
                self.perform(action);
            }
            if self.machine.is_finished() {
                return;
            }
            let mut wake_at = step.wake_at;
            if !self.publish().await {
                let retry = crate::machine::spec::after(now, RETRY);
                wake_at = Some(wake_at.map_or(retry, |at| at.min(retry)));
            }
            let wake = wake_at
                .map(|at| at.duration_since(self.shared.client.clock().now()).max(SignedDuration::ZERO).unsigned_abs());
            tokio::select! {
                biased;
                () = asked(&mut shutdown) => {}
                Some(done) = self.running.next(), if !self.running.is_empty() => finished.push(done),
                () = self.mailbox.wait() => {}
                () = sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            }
            let grace = *self.shared.shutdown.borrow();
            if let Some(grace) = grace {
                return self.shut_down(grace).await;
            }
        }
    }

    fn set_pod(&mut self, view: View<Pod>) {
        let newer = self.view.as_ref().is_none_or(|known| known.object().revision() < view.object().revision());
        if newer {
            self.machine.set_pod(view.clone().into_typed());
            *self.origin = Origin::Api(view.clone());
            self.view = Some(view);
        }
    }

    /// What the runtime has of this pod, with termination messages.
    async fn list(&mut self) -> Result<Listing, Error> {
        let pod = self.machine.pod();
        let uid = pod.metadata.uid.as_deref();
        let mut listing = self.shared.runtime.list(uid).await?;
        for container in &mut listing.containers {
            let (name, attempt) = (container.name.clone(), container.attempt);
            let log = container.log_path.clone();
            if let ContainerState::Exited(exit) = &mut container.state
                && exit.message.is_none()
            {
                let spec = crate::machine::spec::container(pod, &name);
                let path = self.shared.places.message(pod, &name, attempt);
                let from_log = exit.exit_code != 0
                    && spec.and_then(|spec| spec.termination_message_policy.as_deref())
                        == Some("FallbackToLogsOnError");
                exit.message = message(&path)
                    .or_else(|| from_log.then(|| crate::log::last_lines(&log, MESSAGE_LOG.0, MESSAGE_LOG.1))?);
            }
        }
        Ok(listing)
    }

    fn tell(&self, warning: bool, reason: &str, message: String) {
        if let Some(view) = &self.view {
            tell(&self.shared, view.object(), warning, reason, message);
        }
    }

    /// Volumes that exist already follow what they are made from.
    async fn refresh_volumes(&mut self) {
        if self.shared.places.volumes(self.machine.pod()).exists()
            && let Err(message) = prepare_volumes(&self.shared, self.machine.pod(), true).await
        {
            self.tell(true, "FailedMount", message);
        }
    }

    /// Writes the status if it is not what was last written; false if that must be tried again.
    async fn publish(&mut self) -> bool {
        let Some(view) = self.view.clone() else {
            return true;
        };
        let now = self.shared.client.clock().now();
        let status = self.machine.status(now);
        if self.sent.as_ref() == Some(&status) {
            return true;
        }
        let mut new = view.to_owned();
        new.status = Some(status.clone());
        let api = self.shared.client.namespaced::<Pod>(&self.mailbox.namespace);
        match api.replace_status(&view, &new).await {
            Ok(written) => {
                self.sent = Some(status);
                self.set_pod(written);
                true
            }
            // Gone: the informer will say so.
            Err(error) if error.is_not_found() => true,
            Err(error) if error.is_conflict() => {
                // The object has moved on; write on top of what it is now.
                let name = view.object().name();
                if let Ok(Some(now)) = api.get_opt(name).await
                    && now.object().uid() == view.object().uid()
                {
                    self.set_pod(now);
                }
                false
            }
            Err(error) => {
                tracing::debug!(pod = %view.key(), %error, "the status is not written");
                false
            }
        }
    }

    fn perform(&mut self, action: Action) {
        // The last status is there before the object goes.
        let may_delete = self.sent.as_ref() == Some(&self.machine.status(self.shared.client.clock().now()));
        if action == Action::Delete && !may_delete {
            let later = sleep(RETRY).map(|()| (Key::Delete, failed("status", "not written yet")));
            return self.running.push(later.boxed());
        }
        let shared = self.shared.clone();
        let pod = self.machine.pod().clone();
        let object = self.view.as_ref().map(|view| view.object().clone());
        self.running.push(perform(shared, pod, object, action).boxed());
    }

    /// Ends the pod's containers, without a word to the API.
    async fn shut_down(&mut self, grace: Duration) {
        // What is being made is made first, so that it can be ended.
        while self.running.next().await.is_some() {}
        let Ok(listing) = self.list().await else {
            return;
        };
        let pod = self.machine.pod();
        let grace = grace.min(crate::machine::spec::grace(pod));
        let is_sidecar = |container: &&ContainerStatus| {
            let spec = crate::machine::spec::container(pod, &container.name);
            spec.is_some_and(crate::machine::spec::is_sidecar)
        };
        let running = listing.containers.iter();
        let running: Vec<&ContainerStatus> = running.filter(|one| one.state.is_running()).collect();
        let (last, first): (Vec<_>, Vec<_>) = running.into_iter().partition(is_sidecar);
        for group in [first, last] {
            let stops = group
                .into_iter()
                .map(|container| stop::stop(&self.shared, pod, &container.id, &container.name, grace, true));
            futures::future::join_all(stops).await;
        }
        for sandbox in &listing.sandboxes {
            if let Err(error) = self.shared.runtime.stop_sandbox(&sandbox.id).await {
                tracing::warn!(sandbox = %sandbox.id, %error, "not stopped");
            }
        }
    }
}

pub(super) fn tell(shared: &Shared, object: &Object, warning: bool, reason: &str, message: String) {
    let kind = match warning {
        true => EventType::Warning,
        false => EventType::Normal,
    };
    shared.recorder.event(object, kind, reason, message);
}

pub(super) fn failed(reason: &str, message: impl Into<String>) -> Outcome {
    Outcome::Failed { reason: reason.into(), message: message.into() }
}

/// Does what the machine says.
async fn perform(shared: Arc<Shared>, pod: Arc<Pod>, object: Option<Object>, action: Action) -> (Key, Outcome) {
    let key = action.key();
    let warn = |reason: &str, message: String| {
        if let Some(object) = &object {
            tell(&shared, object, true, reason, message);
        }
    };
    let result: Result<(), Error> = match action {
        Action::PrepareVolumes => {
            let outcome = match prepare_volumes(&shared, &pod, false).await {
                Ok(()) => Outcome::Done,
                Err(message) => {
                    warn("FailedMount", message.clone());
                    failed("FailedMount", message)
                }
            };
            return (key, outcome);
        }
        Action::RunSandbox { attempt } => {
            let outcome = match run_sandbox(&shared, &pod, attempt).await {
                Ok(()) => Outcome::Done,
                Err(error) => {
                    let message = format!("Failed to create pod sandbox: {error}");
                    warn("FailedCreatePodSandBox", message.clone());
                    failed("FailedCreatePodSandBox", message)
                }
            };
            return (key, outcome);
        }
        Action::Start { container, attempt, sandbox } => {
            let start =
                start::Start { shared: &shared, pod: &pod, object: object.as_ref(), sandbox: &sandbox, attempt };
            return (key, start.run(&container).await);
        }
        Action::Probe { id, container, kind } => {
            let outcome = probe::probe(&shared, &pod, &id, &container, kind).await;
            return (key, outcome);
        }
        Action::Stop { id, container, grace, pre_stop } => {
            stop::stop(&shared, &pod, &id, &container, grace, pre_stop).await
        }
        Action::Hurry { id, grace } => shared.runtime.stop(&id, grace).await,
        Action::Remove { id } => remove(&shared, &pod, &id).await,
        Action::StopSandbox { id } => shared.runtime.stop_sandbox(&id).await,
        Action::RemoveSandbox { id } => shared.runtime.remove_sandbox(&id).await,
        Action::CleanUp => {
            let places = shared.places.clone();
            let removed = shared.on_files(move || places.clean_up(&pod)).await;
            match removed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Error::Transient(error.to_string())),
                Err(error) => Err(Error::Transient(error.to_string())),
            }
        }
        Action::Delete => delete(&shared, &pod).await,
    };
    match result {
        Ok(()) => (key, Outcome::Done),
        Err(error) => {
            tracing::warn!(?key, %error, "failed, and will be tried again");
            sleep(RETRY).await;
            (key, failed("Failed", error.to_string()))
        }
    }
}

/// Makes a pod's volumes. What it names is asked for once more if it is not there.
pub(super) async fn prepare_volumes(shared: &Shared, pod: &Arc<Pod>, fresh: bool) -> Result<(), String> {
    let mut fresh = fresh;
    loop {
        let data = shared.sources.data(pod, fresh).await?;
        let (pod, dir) = (pod.clone(), shared.places.volumes(pod));
        let settings = shared.settings.clone();
        let capacity = shared.capacity.clone();
        let prepared = shared.on_files(move || {
            std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            let context = Context {
                pod: &pod,
                pod_ips: &[],
                host_ips: &settings.host_addresses,
                allocatable: &capacity,
                services: &[],
                data: &data,
            };
            volumes::prepare(&dir, &context)
        });
        match prepared.await.map_err(|error| error.to_string())? {
            Err(_) if !fresh => fresh = true,
            result => return result,
        }
    }
}

async fn run_sandbox(shared: &Shared, pod: &Pod, attempt: u32) -> Result<(), Error> {
    let metadata = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let identity = PodIdentity::new(text(&metadata.namespace), text(&metadata.name), text(&metadata.uid));
    let spec = pod.spec.as_ref();
    let mut config = SandboxConfig::new(identity, attempt);
    config.host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    if let Some(hostname) = spec.and_then(|spec| spec.hostname.clone()) {
        config.hostname = hostname;
    }
    let grace = crate::machine::spec::grace(pod).as_secs().to_string();
    config.labels.insert(GRACE.into(), grace);
    shared.runtime.run_sandbox(&config).await.map(drop)
}

async fn remove(shared: &Shared, pod: &Pod, id: &crate::runtime::ContainerId) -> Result<(), Error> {
    let listing = shared.runtime.list(pod.metadata.uid.as_deref()).await?;
    let old = listing.containers.into_iter().find(|one| one.id == *id);
    shared.runtime.remove(id).await?;
    if let Some(old) = old {
        let message = shared.places.message(pod, &old.name, old.attempt);
        for path in [&old.log_path, &message] {
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

async fn delete(shared: &Shared, pod: &Pod) -> Result<(), Error> {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let options = Options::default().grace_period_seconds(0).precondition_uid(uid);
    let api = shared.client.namespaced::<Pod>(namespace);
    match api.delete(name, &options).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(Error::Transient(error.to_string())),
        _ => Ok(()),
    }
}

/// What a container left in its message file.
fn message(path: &std::path::Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = vec![];
    let file = std::fs::File::open(path).ok()?;
    file.take(MESSAGE_BYTES as u64).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
