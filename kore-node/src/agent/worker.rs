//! One pod's driver: hands the machine what is known, does what it says, and publishes the pod's status.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kore_api::{
    client::EventType,
    object::{Object, View},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{Shared, ending::Ends, mailbox::Mailbox, perform::perform, run::asked, shutdown, stop};
use crate::{
    machine::{Action, Key, Machine, Outcome, spec},
    runtime::{ContainerState, ContainerStatus, Error, Listing, SandboxStatus},
};

/// How long to wait before what failed is tried again: a list, a status, the removal of something.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How much longer than its grace a shutdown waits for a runtime that does not do what it is told.
const PATIENCE: Duration = Duration::from_secs(5);
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
pub(super) const GRACE: &str = "kore.dev/termination-grace-period";

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
    let mut worker = Worker {
        shared,
        mailbox,
        origin,
        machine,
        view,
        sent,
        writing: false,
        write_after: now,
        written: Arc::default(),
        ends: Arc::new(Ends::new()),
        running: FuturesUnordered::new(),
    };
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
    /// A status is on its way.
    writing: bool,
    /// When the next may be, after one that was not written.
    write_after: Timestamp,
    /// Told when a status is no longer on its way.
    written: Arc<Notify>,
    ends: Arc<Ends>,
    running: FuturesUnordered<Running>,
}

/// Something under way. Nothing else is waited for but the runtime's listing: an API or a probe that does not answer keeps nothing
/// from being restarted or stopped.
pub(super) struct Running {
    /// The machine's key; None for a status on its way.
    pub(super) key: Option<Key>,
    future: BoxFuture<'static, Done>,
}

impl Future for Running {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Done> {
        self.future.poll_unpin(context)
    }
}

/// What came of something under way.
pub(super) enum Done {
    Action(Key, Outcome),
    Status(Box<PodStatus>, Written),
}

/// What came of writing a status.
pub(super) enum Written {
    /// It is written, and this is the pod with it.
    Yes(View<Pod>),
    /// It is not; this is the pod as it is now, if it is known.
    No(Option<View<Pod>>),
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
                self.machine.data_changed(self.shared.client.clock().now());
            }
            look |= news.runtime;
            look |= finished.iter().any(|(key, _)| !matches!(key, Key::Probe(..)));
            if look {
                match list(&self.shared, self.machine.pod()).await {
                    Ok(listing) => self.machine.observe(listing),
                    Err(error) => {
                        tracing::warn!(%error, "the runtime cannot be listed");
                        match timeout(RETRY, asked(&mut shutdown)).await {
                            Ok(()) => return self.shut_down().await,
                            Err(_) => continue,
                        }
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
            if let Some(at) = step.end_by {
                self.ends.end_by(stop::after(until(at, now)));
            }
            for action in step.actions {
                self.perform(action);
            }
            if self.machine.is_finished() {
                return;
            }
            let publish_at = self.publish(now);
            let wake_at = step.wake_at.into_iter().chain(publish_at).min();
            let wake = wake_at.map(|at| until(at, self.shared.client.clock().now()));
            tokio::select! {
                biased;
                () = asked(&mut shutdown) => return self.shut_down().await,
                Some(done) = self.running.next(), if !self.running.is_empty() => match done {
                    Done::Action(key, outcome) => finished.push((key, outcome)),
                    Done::Status(status, written) => self.written(*status, written),
                },
                () = self.mailbox.wait() => {}
                () = sleep(wake.unwrap_or_default()), if wake.is_some() => {}
            }
        }
    }

    fn set_pod(&mut self, view: View<Pod>) {
        let newer = self.view.as_ref().is_none_or(|known| known.object().revision() < view.object().revision());
        if newer {
            self.machine.set_pod(view.clone().into_typed());
            // An answer may come after the news that the pod is gone: it stays gone.
            if let Origin::Api(known) = &mut *self.origin {
                *known = view.clone();
            }
            self.view = Some(view);
        }
    }

    fn tell(&self, warning: bool, reason: &str, message: String) {
        if let Some(view) = &self.view {
            tell(&self.shared, view.object(), warning, reason, message);
        }
    }

    /// Begins to write the status if it is not what was last written; says when if that must wait.
    fn publish(&mut self, now: Timestamp) -> Option<Timestamp> {
        let view = self.view.clone().filter(|_| !self.writing)?;
        let status = self.machine.status(now);
        if self.sent.as_ref() == Some(&status) {
            return None;
        }
        if now < self.write_after {
            return Some(self.write_after);
        }
        self.writing = true;
        let write = write_status(self.shared.clone(), view, status);
        self.running.push(Running { key: None, future: write.boxed() });
        None
    }

    /// Takes note of what came of writing a status.
    fn written(&mut self, status: PodStatus, written: Written) {
        self.writing = false;
        self.written.notify_one();
        match written {
            Written::Yes(view) => {
                self.sent = Some(status);
                self.set_pod(view);
            }
            Written::No(view) => {
                self.write_after = spec::after(self.shared.client.clock().now(), RETRY);
                if let Some(view) = view {
                    self.set_pod(view);
                }
            }
        }
    }

    fn perform(&mut self, action: Action) {
        let key = action.key();
        // The last status is there before the object goes.
        let may_delete = self.sent.as_ref() == Some(&self.machine.status(self.shared.client.clock().now()));
        let future = if action == Action::Delete && !may_delete {
            let written = self.written.clone();
            let later = async move {
                let _ = timeout(RETRY, written.notified()).await;
                (Key::Delete, failed("status", "not written yet"))
            };
            later.boxed()
        } else {
            let object = self.view.as_ref().map(|view| view.object().clone());
            perform(self.shared.clone(), self.machine.pod().clone(), object, self.ends.clone(), action).boxed()
        };
        let future = future.map(|(key, outcome)| Done::Action(key, outcome)).boxed();
        self.running.push(Running { key: Some(key), future });
    }

    /// Ends the pod's containers, without a word to the API.
    async fn shut_down(&mut self) {
        let grace = self.shared.shutdown.borrow().unwrap_or_default();
        let grace = grace.min(spec::grace(self.machine.pod()));
        // Hooks and stops under way learn of it here.
        self.ends.end_by(stop::after(grace));
        let running = std::mem::take(&mut self.running);
        let all = shutdown::end(&self.shared, self.machine.pod(), &self.ends, running, grace);
        if timeout(grace.saturating_add(PATIENCE), all).await.is_err() {
            let pod = spec::display(self.machine.pod());
            tracing::warn!(%pod, "the agent ends before all of the pod does");
        }
    }
}

/// What the runtime has of this pod, with termination messages.
async fn list(shared: &Shared, pod: &Pod) -> Result<Listing, Error> {
    let mut listing = shared.runtime.list(pod.metadata.uid.as_deref()).await?;
    for container in &mut listing.containers {
        let (name, attempt) = (container.name.clone(), container.attempt);
        let log = container.log_path.clone();
        if let ContainerState::Exited(exit) = &mut container.state
            && exit.message.is_none()
        {
            let spec = spec::container(pod, &name);
            let path = shared.places.message(pod, &name, attempt);
            let from_log = exit.exit_code != 0
                && spec.and_then(|spec| spec.termination_message_policy.as_deref()) == Some("FallbackToLogsOnError");
            exit.message = message(&path)
                .or_else(|| from_log.then(|| crate::log::last_lines(&log, MESSAGE_LOG.0, MESSAGE_LOG.1))?);
        }
    }
    Ok(listing)
}

/// How long it is until then.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    at.duration_since(now).max(SignedDuration::ZERO).unsigned_abs()
}

async fn write_status(shared: Arc<Shared>, view: View<Pod>, status: PodStatus) -> Done {
    let mut new = view.to_owned();
    new.status = Some(status.clone());
    let (namespace, name) = (view.object().namespace().unwrap_or_default(), view.object().name());
    let api = shared.client.namespaced::<Pod>(namespace);
    let written = match api.replace_status(&view, &new).await {
        Ok(written) => Written::Yes(written),
        // Gone: the informer will say so.
        Err(error) if error.is_not_found() => Written::No(None),
        // The object has moved on; write on top of what it is now.
        Err(error) if error.is_conflict() => {
            let now = api.get_opt(name).await.ok().flatten();
            Written::No(now.filter(|now| now.object().uid() == view.object().uid()))
        }
        Err(error) => {
            tracing::debug!(pod = %view.key(), %error, "the status is not written");
            Written::No(None)
        }
    };
    Done::Status(Box::new(status), written)
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

/// What a container left in its message file.
fn message(path: &std::path::Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = vec![];
    let file = std::fs::File::open(path).ok()?;
    file.take(MESSAGE_BYTES as u64).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
