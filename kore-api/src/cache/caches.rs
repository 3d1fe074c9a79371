//! The caches of all resources, and how far they have followed the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use kore_store::Revision;
use tokio::sync::{Notify, watch};

use super::{ResourceCache, Window, layout};
use crate::error::{Reason, Status};
use crate::progress::Progress;
use crate::registry::ResourceInfo;

/// How long a request waits for the caches to reach the revision it needs.
pub(crate) const CATCH_UP_MAX: Duration = Duration::from_secs(3);
/// After so long the store is asked how far it is, and again after as long.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The caches of all resources.
pub(crate) struct Caches {
    /// By `<group>/<plural>`, as in the store's keys.
    resources: RwLock<BTreeMap<Box<str>, Arc<ResourceCache>>>,
    window: Window,
    /// Everything up to here has been taken over; 0: nothing yet.
    progress: Progress,
    /// Somebody waits for progress that the store has not told of.
    pub(super) wanted: Notify,
    stopped: watch::Sender<bool>,
    /// Whether changes of the store are heard of at present.
    followed: AtomicBool,
}

/// The server has stopped: its `run` future has ended or has been dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

impl From<Stopped> for Status {
    fn from(_: Stopped) -> Self {
        Self::new(Reason::ServiceUnavailable, "the server has stopped")
    }
}

impl Caches {
    pub(crate) fn new(window: Window) -> Self {
        Self {
            resources: RwLock::default(),
            window,
            progress: Progress::default(),
            wanted: Notify::new(),
            stopped: watch::Sender::new(false),
            followed: AtomicBool::new(false),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Box<str>, Arc<ResourceCache>>> {
        self.resources.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache of a resource, made if it is not there. Versions of one resource share one.
    pub(crate) fn of(&self, info: &Arc<ResourceInfo>) -> Arc<ResourceCache> {
        let path = layout::resource_path(&info.resource).into_boxed_str();
        let mut resources = self.resources.write().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(ResourceCache::new(info.clone(), self.window));
        resources.entry(path).or_insert_with(made).clone()
    }

    /// The cache of the resource with this path.
    pub(super) fn at(&self, path: &str) -> Option<Arc<ResourceCache>> {
        self.read().get(path).cloned()
    }

    pub(super) fn all(&self) -> Vec<(Box<str>, Arc<ResourceCache>)> {
        self.read().iter().map(|(path, cache)| (path.clone(), cache.clone())).collect()
    }

    /// Up to which revision everything has been taken over.
    pub(crate) fn progress(&self) -> Revision {
        self.progress.get()
    }

    pub(super) fn advance(&self, revision: Revision) {
        self.progress.advance(revision);
    }

    /// Forgets what changed up to `revision`, which the store no longer knows either.
    pub(crate) fn forget(&self, revision: Revision) {
        let revision = revision.min(self.progress());
        for (_, cache) in self.all() {
            cache.forget(revision);
        }
    }

    /// Waits until everything up to `revision` has been taken over.
    ///
    /// # Errors
    /// Timed out after [`CATCH_UP_MAX`], or the server has stopped.
    pub(crate) async fn reach(&self, revision: Revision) -> Result<(), Status> {
        if self.progress() >= revision {
            return Ok(());
        }
        let reached = async {
            let arrived = self.progress.reach(revision);
            tokio::pin!(arrived);
            while tokio::time::timeout(ASK_EVERY, &mut arrived).await.is_err() {
                self.wanted.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = reached => Ok(()),
            Stopped = self.until_stopped() => Err(Stopped.into()),
            () = tokio::time::sleep(CATCH_UP_MAX) => Err(self.too_large(revision)),
        }
    }

    fn too_large(&self, revision: Revision) -> Status {
        let mut status = Status::new(
            Reason::Timeout,
            format!("Too large resource version: {revision}, current: {}", self.progress()),
        );
        let cause = crate::error::StatusCause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Default::default()
        };
        let causes = vec![cause];
        status.details = Some(crate::error::StatusDetails { causes, retry_after_seconds: 1, ..Default::default() });
        status
    }

    pub(super) fn set_followed(&self, followed: bool) {
        self.followed.store(followed, Ordering::Relaxed);
    }

    /// Whether changes of the store are heard of at present.
    pub(crate) fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// Whether the server has stopped.
    pub(crate) fn check_running(&self) -> Result<(), Stopped> {
        if *self.stopped.borrow() { Err(Stopped) } else { Ok(()) }
    }

    /// Waits until the server stops.
    pub(crate) async fn until_stopped(&self) -> Stopped {
        // The sender is in self, so that the wait can only end with the value.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
        Stopped
    }

    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}
