//! Which kinds a controller watches, and whose keys their changes concern.

use super::caches::Caches;
use super::context::Surroundings;
use super::driver::{self, Handle, Parts, Source};
use super::reconciler::Reconciler;
use super::worker::Worker;
use crate::queue::Config;
use futures::FutureExt;
use kore_api::client::{Change, Client, Informer};
use kore_api::object::{Kind, Object, ObjectKey, ResourceType, Scope};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A controller of objects of kind `K` that is being put together. The objects themselves are watched in any case.
///
/// ```
/// # use async_trait::async_trait;
/// # use k8s_openapi::api::apps::v1::ReplicaSet;
/// # use k8s_openapi::api::core::v1::Pod;
/// # use kore_api::client::{Client, Informer};
/// # use kore_api::object::View;
/// # use kore_controller::{Action, Caches, Context, Controller, Error, Reconciler};
/// # struct Mine { pods: Informer<Pod> }
/// # #[async_trait]
/// # impl Reconciler for Mine {
/// #     type Kind = ReplicaSet;
/// #     async fn reconcile(&self, _: View<ReplicaSet>, _: &Context) -> Result<Action, Error> { Ok(Action::Done) }
/// # }
/// # async fn example(client: Client) {
/// let mut caches = Caches::new(&client);
/// let mut controller = Controller::<ReplicaSet>::new("mine", &client, &mut caches);
/// let pods = controller.owns::<Pod>();
/// let (handle, run) = controller.open(Mine { pods });
/// tokio::join!(caches.run(), run);
/// # handle.stop();
/// # }
/// ```
pub struct Controller<'c, K: Kind> {
    name: String,
    client: Client,
    caches: &'c mut Caches,
    primary: Informer<K>,
    sources: Vec<Source<ObjectKey>>,
    progress: BTreeMap<ResourceType, Informer<()>>,
    config: Config,
}

impl<'c, K: Kind> Controller<'c, K> {
    /// A controller that writes as `client` and reads from `caches`. The name appears in events and logs.
    pub fn new(name: impl Into<String>, client: &Client, caches: &'c mut Caches) -> Self {
        let primary = caches.informer::<K>();
        let mut controller = Controller {
            name: name.into(),
            client: client.clone(),
            caches,
            primary: primary.clone(),
            sources: Vec::new(),
            progress: BTreeMap::new(),
            config: Config::default(),
        };
        controller.relates::<K>(|object| vec![object.key().clone()]);
        controller
    }

    /// The limits of its queue.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The informer of the controller's own kind.
    pub fn primary(&self) -> Informer<K> {
        self.primary.clone()
    }

    /// An informer that is read but not watched: its changes concern nobody.
    pub fn reads<R: Kind>(&mut self) -> Informer<R> {
        let resource = ResourceType::of::<R>();
        let informer = self.caches.dynamic(&resource);
        self.progress.insert(resource, informer.clone());
        informer.typed()
    }

    /// Watches objects of kind `O`: a change concerns the `K` that is their controller by owner reference.
    pub fn owns<O: Kind>(&mut self) -> Informer<O> {
        let resource = ResourceType::of::<K>();
        let api_version = resource.api_version();
        self.relates::<O>(move |object| {
            let owner = object
                .controller()
                .filter(|owner| *owner.kind == resource.kind && group(&owner.api_version) == group(&api_version));
            let key = |name: &str| match (resource.scope, object.namespace()) {
                (Scope::Namespaced, Some(namespace)) => ObjectKey::namespaced(namespace, name),
                _ => ObjectKey::cluster(name),
            };
            owner.map(|owner| key(&owner.name)).into_iter().collect()
        })
    }

    /// Watches objects of kind `R`: `keys` says which `K`s such an object concerns. It is asked about the object as it was
    /// and as it is, and must not wait.
    pub fn relates<R: Kind>(&mut self, keys: impl Fn(&Object) -> Vec<ObjectKey> + Send + 'static) -> Informer<R> {
        let informer = self.reads::<R>();
        let concerned = move |change: Change| {
            let objects = change.before.iter().chain(&change.after);
            let mut keys: Vec<ObjectKey> = objects.flat_map(&keys).collect();
            keys.sort();
            keys.dedup();
            keys
        };
        self.sources.push(Source { changes: informer.subscribe(), keys: Box::new(concerned) });
        informer
    }

    /// Starts nothing: returns the handle, and the future that runs the controller. It ends after [`Handle::stop`];
    /// dropping it stops everything at once.
    pub fn open<R: Reconciler<Kind = K>>(self, reconciler: R) -> (Handle, impl Future<Output = ()> + Send + use<K, R>) {
        let (recorder, recording) = self.client.recorder(&self.name);
        let informers = self.progress.values().cloned().collect();
        let surroundings = Surroundings { client: self.client, recorder, progress: self.progress };
        let worker =
            Worker { reconciler: Arc::new(reconciler), primary: self.primary, surroundings: Arc::new(surroundings) };
        driver::open(Parts {
            name: self.name,
            recording: recording.boxed(),
            informers,
            sources: self.sources,
            config: self.config,
            run: Box::new(move |key| worker.run(key)),
        })
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}
