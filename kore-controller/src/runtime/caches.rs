//! The informers that controllers share: one a kind.

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kore_api::Revision;
use kore_api::client::{Client, Informer, Selection};
use kore_api::object::{Kind, Object, ObjectKey, ResourceType};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The informers of one process, each made when the first controller asks for it.
///
/// Open the controllers first, then drive [`Caches::run`] beside them: an informer that was asked for after that is not
/// followed.
///
/// ```
/// use k8s_openapi::api::core::v1::Pod;
/// use kore_api::client::Client;
/// use kore_controller::Caches;
///
/// fn two_readers(client: &Client) {
///     let mut caches = Caches::new(client);
///     let first = caches.informer::<Pod>();
///     let second = caches.informer::<Pod>(); // the same copy of the pods
///     let run = caches.run();
/// #   let _ = (first, second, run);
/// }
/// ```
pub struct Caches {
    client: Client,
    informers: BTreeMap<ResourceType, Shared>,
    runs: Vec<BoxFuture<'static, ()>>,
}

struct Shared {
    typed: Box<dyn Any + Send + Sync>,
    progress: Arc<dyn Progress>,
}

impl Caches {
    /// No informers yet; those to come list and watch as `client`.
    pub fn new(client: &Client) -> Self {
        Caches {
            client: client.clone(),
            informers: BTreeMap::new(),
            runs: Vec::new(),
        }
    }

    /// The informer of all objects of kind `K`.
    pub fn informer<K: Kind>(&mut self) -> Informer<K> {
        let resource = ResourceType::of::<K>();
        if let Some(informer) = self
            .informers
            .get(&resource)
            .and_then(|shared| shared.typed.downcast_ref::<Informer<K>>())
        {
            return informer.clone();
        }
        let (informer, run) = self.client.informer::<K>(Selection::all());
        self.runs.push(run.boxed());
        let shared = Shared {
            typed: Box::new(informer.clone()),
            progress: Arc::new(informer.clone()),
        };
        self.informers.insert(resource, shared);
        informer
    }

    /// Follows the server on behalf of every informer that was asked for. Does not end.
    pub fn run(self) -> impl Future<Output = ()> + Send + use<> {
        join_all(self.runs).map(drop)
    }

    pub(crate) fn progress<K: Kind>(&self) -> Option<Arc<dyn Progress>> {
        self.informers
            .get(&ResourceType::of::<K>())
            .map(|shared| shared.progress.clone())
    }
}

/// How far an informer has followed, whatever its kind.
pub(crate) trait Progress: Send + Sync {
    fn synced(&self) -> BoxFuture<'_, ()>;
    /// Until it has seen everything up to this revision.
    fn reached(&self, revision: Revision) -> BoxFuture<'_, ()>;
    /// Until it has seen that this object is gone, or on its way out.
    fn deleted(&self, object: Object) -> BoxFuture<'_, ()>;
}

impl<K: Kind> Progress for Informer<K> {
    fn synced(&self) -> BoxFuture<'_, ()> {
        Informer::synced(self).boxed()
    }

    fn reached(&self, revision: Revision) -> BoxFuture<'_, ()> {
        Informer::reached(self, revision).boxed()
    }

    fn deleted(&self, object: Object) -> BoxFuture<'_, ()> {
        async move {
            loop {
                // Read first: if the object is still there after that, its deletion has a later revision.
                let revision = self.revision();
                if !lives(self, object.key(), object.uid()) {
                    return;
                }
                Informer::reached(self, revision + 1).await;
            }
        }
        .boxed()
    }
}

fn lives<K: Kind>(informer: &Informer<K>, key: &ObjectKey, uid: &str) -> bool {
    informer
        .get(key)
        .is_some_and(|object| object.uid() == uid && !object.is_deleting())
}
