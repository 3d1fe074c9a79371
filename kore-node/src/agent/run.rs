//! The future that drives everything.

use std::{any::Any, collections::BTreeMap, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kore_api::{
    client::{Change, Selection},
    object::{Object, View},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Shared, mailbox::Mailbox, node, places, worker};
use crate::{
    machine::retry_wait,
    runtime::{ContainerStatus, Listing, SandboxStatus},
};

/// How often the runtime is asked for everything. Events only make it earlier.
const RELIST_EVERY: Duration = Duration::from_secs(1);

/// Runs the agent until it is shut down. Dropping this future stops the agent, not its containers.
pub(super) async fn run(
    shared: Arc<Shared>,
    follow: impl Future<Output = ()> + Send,
    record: impl Future<Output = ()> + Send,
) {
    let (pods, follow_pods) =
        shared.client.informer::<Pod>(Selection::all().fields(format!("spec.nodeName={}", shared.node)));
    let work = async {
        // Nothing is decided before all is known: an empty copy would make every pod an orphan.
        shared.sources.synced().await;
        pods.synced().await;
        let mut router = Router {
            shared: shared.clone(),
            workers: BTreeMap::new(),
            tasks: JoinSet::new(),
            seen: BTreeMap::new(),
            swept: false,
        };
        router.run(pods.subscribe()).await;
    };
    let background = async {
        let maintain = Box::pin(node::maintain(&shared));
        futures::join!(follow, follow_pods, record, maintain);
    };
    let (work, background) = (Box::pin(work), Box::pin(background));
    tokio::select! {
        biased;
        () = work => {}
        () = background => {}
    }
    shared.finished.send_replace(true);
}

/// Gives every pod its worker, and every worker its news.
struct Router {
    shared: Arc<Shared>,
    workers: BTreeMap<String, Arc<Mailbox>>,
    tasks: JoinSet<String>,
    /// What the last relist saw, by pod uid.
    seen: BTreeMap<String, Seen>,
    /// What a former agent left on disk of pods that are gone is removed.
    swept: bool,
}

/// What the runtime has of a pod.
type Seen = (Vec<SandboxStatus>, Vec<ContainerStatus>);

impl Router {
    async fn run(&mut self, mut pods: kore_api::client::Changes) {
        let shared = self.shared.clone();
        let mut config_maps = shared.sources.config_map_changes();
        let mut secrets = shared.sources.secret_changes();
        // The first look at what there is says nothing new to anybody.
        while config_maps.try_next().is_some() {}
        while secrets.try_next().is_some() {}
        while let Some(change) = pods.try_next() {
            self.pod(change);
        }
        let events = shared.runtime.events();
        let mut events = pin!(events.unwrap_or_else(|| stream::pending().boxed()));
        let mut tick = interval(RELIST_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = shared.shutdown.clone();
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    // `drive` catches panics: an error is a task that was cancelled with its tokio runtime.
                    if let Ok(uid) = ended {
                        self.workers.remove(&uid);
                    }
                    if stopping && self.tasks.is_empty() {
                        return;
                    }
                }
                () = asked(&mut shutdown), if !stopping => {
                    stopping = true;
                    if self.tasks.is_empty() {
                        return;
                    }
                }
                Some(change) = pods.next(), if !stopping => self.pod(change),
                Some(change) = config_maps.next() => {
                    let key = change.key;
                    self.data(|mailbox| mailbox.names_config_map(&key.namespace, &key.name));
                }
                Some(change) = secrets.next() => {
                    let key = change.key;
                    self.data(|mailbox| mailbox.names_secret(&key.namespace, &key.name));
                }
                event = events.next() => match event {
                    Some(event) => {
                        match event.pod_uid.and_then(|uid| self.workers.get(&uid)) {
                            Some(mailbox) => mailbox.put(|inbox| inbox.runtime = true),
                            None => tick.reset_immediately(),
                        }
                    }
                    None => events.set(stream::pending().boxed()),
                },
                _ = tick.tick() => self.relist(stopping).await,
            }
        }
    }

    fn pod(&mut self, change: Change) {
        let uid = |object: &Option<Object>| object.as_ref().map(|object| object.uid().to_owned());
        let (before, after) = (uid(&change.before), uid(&change.after));
        if let Some(gone) = before.filter(|before| Some(before) != after.as_ref())
            && let Some(mailbox) = self.workers.get(&gone)
        {
            mailbox.put(|inbox| inbox.pod = Some(None));
        }
        let (Some(uid), Some(object)) = (after, change.after) else {
            return;
        };
        let view: View<Pod> = match object.view() {
            Ok(view) => view,
            Err(error) => return tracing::warn!(%error, "a pod cannot be read"),
        };
        if let Some(mailbox) = self.workers.get(&uid) {
            return mailbox.put(|inbox| inbox.pod = Some(Some(view)));
        }
        if !places::is_path_part(&uid) {
            return tracing::warn!(%uid, "a pod's uid cannot be part of a path");
        }
        self.spawn(uid, worker::Origin::Api(view));
    }

    fn spawn(&mut self, uid: String, origin: worker::Origin) {
        let mailbox = Arc::new(Mailbox::of(origin.pod()));
        let work = drive(self.shared.clone(), mailbox.clone(), origin);
        self.workers.insert(uid.clone(), mailbox);
        self.tasks.spawn(async move {
            work.await;
            uid
        });
    }

    fn data(&self, concerns: impl Fn(&Mailbox) -> bool) {
        for mailbox in self.workers.values().filter(|mailbox| concerns(mailbox)) {
            mailbox.put(|inbox| inbox.data = true);
        }
    }

    /// Compares what the runtime has with what it had, and finds what belongs to no pod.
    async fn relist(&mut self, stopping: bool) {
        let listing = match self.shared.runtime.list(None).await {
            Ok(listing) => listing,
            Err(error) => return tracing::warn!(%error, "the runtime cannot be listed"),
        };
        let now = by_pod(listing);
        for (uid, pod) in &now {
            match self.workers.get(uid) {
                Some(mailbox) if self.seen.get(uid) != Some(pod) => {
                    mailbox.put(|inbox| inbox.runtime = true);
                }
                Some(_) => {}
                None if !stopping => {
                    tracing::info!(%uid, "ending what is left of a pod that does not exist");
                    let (sandboxes, containers) = pod;
                    let orphan = worker::Origin::orphan(sandboxes, containers);
                    self.spawn(uid.clone(), orphan);
                }
                None => {}
            }
        }
        for uid in self.seen.keys().filter(|uid| !now.contains_key(*uid)) {
            if let Some(mailbox) = self.workers.get(uid) {
                mailbox.put(|inbox| inbox.runtime = true);
            }
        }
        self.seen = now;
        if !self.swept && !stopping {
            self.swept = true;
            self.sweep().await;
        }
    }

    /// Removes what is on disk of pods that neither the API nor the runtime has: each that one of them has, has a worker by now,
    /// which removes it at the end.
    async fn sweep(&self) {
        let (places, uids) = (self.shared.places.clone(), self.workers.keys().cloned().collect());
        match self.shared.on_files(move || places.keep_only(&uids)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what is left of former pods is not found"),
            Err(error) => tracing::warn!(%error, "what is left of former pods is not found"),
        }
    }
}

/// Runs a pod's worker to its end. One that panics is begun anew from what is known of the pod: a pod that trips over a mistake in
/// here takes neither the agent nor the other pods with it.
async fn drive(shared: Arc<Shared>, mailbox: Arc<Mailbox>, mut origin: worker::Origin) {
    let mut shutdown = shared.shutdown.clone();
    for panics in 0.. {
        let work = worker::run(shared.clone(), mailbox.clone(), &mut origin);
        let Err(panic) = AssertUnwindSafe(work).catch_unwind().await else {
            return;
        };
        let wait = retry_wait(panics);
        let pod = crate::machine::spec::display(origin.pod());
        tracing::error!(%pod, panic = panic_text(&*panic), ?wait, "a pod's worker panicked, and is started again");
        if shutdown.borrow().is_some() {
            return;
        }
        tokio::select! {
            biased;
            () = asked(&mut shutdown) => {}
            () = sleep(wait) => {}
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown type")
}

/// Waits until the agent is asked to shut down.
pub(super) async fn asked(shutdown: &mut watch::Receiver<Option<Duration>>) {
    if shutdown.wait_for(Option::is_some).await.is_err() {
        // No handle is left that could ask.
        std::future::pending::<()>().await;
    }
}

fn by_pod(listing: Listing) -> BTreeMap<String, Seen> {
    let mut pods: BTreeMap<String, Seen> = BTreeMap::new();
    for sandbox in listing.sandboxes {
        let uid = sandbox.pod.uid.clone();
        pods.entry(uid).or_default().0.push(sandbox);
    }
    for container in listing.containers {
        let uid = container.pod.uid.clone();
        pods.entry(uid).or_default().1.push(container);
    }
    pods
}
