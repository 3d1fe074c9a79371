//! The informers that controllers share: one a kind.

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use kore_api::client::{Client, Informer, Selection};
use kore_api::object::{Kind, ResourceType};
use std::collections::BTreeMap;

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
    informers: BTreeMap<ResourceType, Informer<()>>,
    runs: Vec<BoxFuture<'static, ()>>,
}

impl Caches {
    /// No informers yet; those to come list and watch as `client`.
    pub fn new(client: &Client) -> Self {
        Caches { client: client.clone(), informers: BTreeMap::new(), runs: Vec::new() }
    }

    /// The informer of all objects of kind `K`.
    pub fn informer<K: Kind>(&mut self) -> Informer<K> {
        self.dynamic(&ResourceType::of::<K>()).typed()
    }

    /// The informer of all objects of a resource that is known at run time.
    pub fn dynamic(&mut self, resource: &ResourceType) -> Informer<()> {
        if let Some(informer) = self.informers.get(resource) {
            return informer.clone();
        }
        let (informer, run) = self.client.dynamic(resource.clone()).informer(Selection::all());
        self.runs.push(run.boxed());
        self.informers.insert(resource.clone(), informer.clone());
        informer
    }

    /// Follows the server on behalf of every informer that was asked for. Does not end.
    pub fn run(self) -> impl Future<Output = ()> + Send + use<> {
        join_all(self.runs).map(drop)
    }
}
