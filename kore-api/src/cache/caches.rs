//! The caches of all resources, and how far they have followed the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
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
    /// By `<group>/<plural>`, as in the store's keys: one, and while a resource is defined anew the one to come.
    resources: RwLock<BTreeMap<Box<str>, Vec<Arc<ResourceCache>>>>,
    /// How often one has been added or taken out.
    changed: AtomicU64,
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
            changed: AtomicU64::new(0),
            window,
            progress: Progress::default(),
            wanted: Notify::new(),
            stopped: watch::Sender::new(false),
            followed: AtomicBool::new(false),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Box<str>, Vec<Arc<ResourceCache>>>> {
        self.resources.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Box<str>, Vec<Arc<ResourceCache>>>> {
        self.resources.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache of a resource by the entry of the version as which it is stored, made if it is not there. All versions share it. To be
    /// called before the store is followed; later, see [`Caches::add`].
    pub(crate) fn of(&self, info: &Arc<ResourceInfo>) -> Arc<ResourceCache> {
        let path = layout::resource_path(&info.resource).into_boxed_str();
        let made = || vec![Arc::new(ResourceCache::new(info.clone(), self.window))];
        let mut resources = self.write();
        resources.entry(path).or_insert_with(made)[0].clone()
    }

    /// A new cache for a resource while the store is followed. It holds nothing until it has been filled: see [`super::fill`]. One that
    /// there is already goes on beside it until it is removed.
    pub(crate) fn add(&self, info: &Arc<ResourceInfo>) -> Arc<ResourceCache> {
        let path = layout::resource_path(&info.resource).into_boxed_str();
        let cache = Arc::new(ResourceCache::to_be_filled(info.clone(), self.window));
        self.write().entry(path).or_default().push(cache.clone());
        self.changed.fetch_add(1, Ordering::AcqRel);
        cache
    }

    /// Takes a cache out; its watches end.
    pub(crate) fn remove(&self, cache: &Arc<ResourceCache>) {
        let mut resources = self.write();
        let path = layout::resource_path(&cache.info().resource);
        if let Some(caches) = resources.get_mut(&*path) {
            caches.retain(|other| !Arc::ptr_eq(other, cache));
            if caches.is_empty() {
                resources.remove(&*path);
            }
        }
        drop(resources);
        self.changed.fetch_add(1, Ordering::AcqRel);
        cache.close();
    }

    /// Grows whenever a cache is added or taken out.
    pub(super) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Acquire)
    }

    /// The caches of the resource with this path; none: the server does not have it.
    pub(super) fn at(&self, path: &str) -> Vec<Arc<ResourceCache>> {
        self.read().get(path).cloned().unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<(Box<str>, Arc<ResourceCache>)> {
        let resources = self.read();
        let mut all = Vec::with_capacity(resources.len());
        for (path, caches) in resources.iter() {
            all.extend(caches.iter().map(|cache| (path.clone(), cache.clone())));
        }
        all
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
