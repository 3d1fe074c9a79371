//! Serves what CustomResourceDefinitions define.
//!
//! One rule for any number of servers over one store: what is served is what the definitions' status says is established. A server
//! grants names and establishes by writing that status; it serves when it sees it. A request for a resource that a server does not know
//! (yet) waits until it has seen all definitions there are: who has seen that a resource is established finds it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use futures::{FutureExt, StreamExt, TryStreamExt};
use kore_store::{KeyRange, Range, Revision};
use serde_json::Value;

use super::bootstrap::itself;
use super::commit::store_failed;
use super::core::{Call, Core};
use super::routes::{Route, Table};
use super::update::Part;
use crate::auth::User;
use crate::cache::{ResourceCache, entries, fill, layout};
use crate::definitions::{DEFINITIONS, Definition, FINALIZER, Resources, status};
use crate::error::{Reason, Status};
use crate::object::Object;
use crate::progress::Progress;
use crate::request::{Body, Options, Propagation};

/// How long a request waits for definitions to be served at most.
const SERVED_MAX: Duration = Duration::from_secs(3);
/// After so long, what could not be done is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How many objects are deleted at a time when their definition goes.
const AT_ONCE: usize = 16;

/// What is served of what is defined.
#[derive(Default)]
pub(crate) struct Definitions {
    /// The number of the definitions' next change when everything before it was served.
    seen: Progress,
}

/// What one definition has made the server serve.
struct Served {
    /// The definition as far as it matters.
    of: Value,
    stored: Arc<Route>,
    routes: Vec<Arc<Route>>,
}

impl Served {
    fn new(definition: Definition<'_>, caches: impl FnOnce(&Resources) -> Arc<ResourceCache>) -> Option<Self> {
        let resources = match Resources::read(definition) {
            Ok(resources) => resources,
            Err(error) => {
                tracing::error!(definition = definition.name(), %error, "what is defined cannot be served");
                return None;
            }
        };
        let cache = caches(&resources);
        let route = |info| Arc::new(Route::new(info, cache.clone()));
        let routes = resources.served.into_iter().map(route).collect();
        Some(Self { of: essence(definition), stored: route(resources.stored), routes })
    }
}

/// What a definition says that makes a difference to what is served.
fn essence(definition: Definition<'_>) -> Value {
    let value = definition.0;
    let terminating = definition.is_terminating();
    serde_json::json!([value["metadata"]["uid"], value["spec"], value["status"]["acceptedNames"], terminating])
}

/// The definitions that are established in the store, before it is followed: their caches are filled with all others.
async fn established(core: &Core) -> Result<BTreeMap<String, Served>, Status> {
    let prefix = layout::resource_prefix(&DEFINITIONS);
    let found = core.store.range(Range::new(KeyRange::Prefix(prefix.into()))).await.map_err(store_failed)?;
    let mut served = BTreeMap::new();
    for kv in &found.kvs {
        let object = layout::decode(&kv.value, kv.mod_revision).map_err(Status::internal)?;
        let value: Value = serde_json::from_slice(object.body()).map_err(Status::internal)?;
        let definition = Definition(&value);
        if is_served(definition, &core.resources) {
            let made = Served::new(definition, |resources| core.caches.of(&resources.stored));
            served.extend(made.map(|made| (definition.name().to_owned(), made)));
        }
    }
    Ok(served)
}

fn is_served(definition: Definition<'_>, table: &Table) -> bool {
    let plural = definition.storage().map(|resource| resource.plural);
    definition.is_established() && plural.is_some_and(|plural| !table.is_fixed(definition.group(), &plural))
}

/// Keeps what is served in step with what is defined.
pub(super) struct Driver {
    served: BTreeMap<String, Served>,
    /// The definitions as they were last read.
    known: BTreeMap<String, (Revision, Value)>,
}

impl Driver {
    /// Serves what is established, before the store is followed.
    pub(super) async fn open(core: &Core) -> Result<Self, Status> {
        let driver = Self { served: established(core).await?, known: BTreeMap::new() };
        driver.publish(core);
        Ok(driver)
    }

    fn publish(&self, core: &Core) {
        core.resources.define(self.served.values().flat_map(|served| served.routes.iter().cloned()).collect());
    }

    /// Follows the definitions for ever.
    pub(super) async fn run(mut self, core: Arc<Core>) {
        let Some(cache) = core.cache_of(&DEFINITIONS) else {
            return;
        };
        if core.caches.reach(1).await.is_err() {
            return;
        }
        loop {
            let changes = cache.changes().get();
            let (definitions, next, _) = cache.snapshot();
            let objects: Vec<Object> = entries(&definitions, None, None).map(|entry| entry.object.clone()).collect();
            let (done, draining) = self.pass(&core, &objects).await;
            if done {
                core.definitions.seen.advance(next.max(1));
            }
            let mut events = vec![cache.changes().reach(changes + 1).boxed()];
            for (cache, changes) in &draining {
                events.push(cache.changes().reach(changes + 1).boxed());
            }
            if !done || !draining.is_empty() {
                events.push(tokio::time::sleep(RETRY).boxed());
            }
            events.push(core.caches.until_stopped().map(drop).boxed());
            select_all(events).await;
            if core.caches.check_running().is_err() {
                return;
            }
        }
    }

    /// Does what is to be done about the definitions there are. Whether that is all; and the caches of which something has to change
    /// before more can be.
    async fn pass(&mut self, core: &Core, objects: &[Object]) -> (bool, Vec<(Arc<ResourceCache>, u64)>) {
        self.read(objects);
        let mut done = true;
        let gone: Vec<String> = self.served.keys().filter(|name| !self.known.contains_key(*name)).cloned().collect();
        let gone: Vec<Served> = gone.iter().filter_map(|name| self.served.remove(name)).collect();
        let mut changed = !gone.is_empty();
        let mut replaced: Vec<Arc<ResourceCache>> =
            gone.into_iter().map(|served| served.stored.cache.clone()).collect();
        for (name, (_, value)) in &self.known {
            let definition = Definition(value);
            if !is_served(definition, &core.resources) {
                continue;
            }
            let before = self.served.get(name);
            if before.is_some_and(|served| served.of == essence(definition)) {
                continue;
            }
            let made = Served::new(definition, |resources| core.caches.add(&resources.stored));
            let Some(made) = made else {
                continue;
            };
            if let Err(error) = fill(&*core.store, &made.stored.cache).await {
                tracing::warn!(definition = name, %error, "what is defined cannot be read from the store; trying again");
                core.caches.remove(&made.stored.cache);
                done = false;
                continue;
            }
            replaced.extend(self.served.insert(name.clone(), made).map(|before| before.stored.cache.clone()));
            changed = true;
        }
        if changed {
            self.publish(core);
        }
        for cache in replaced {
            core.caches.remove(&cache);
        }
        let mut draining = Vec::new();
        for name in self.known.keys().cloned().collect::<Vec<String>>() {
            let value = &self.known[&name].1;
            let definition = Definition(value);
            let outcome = if definition.awaits_cleanup() {
                match self.served.get(&name) {
                    Some(served) => {
                        let cache = &served.stored.cache;
                        draining.push((cache.clone(), cache.changes().get()));
                        match drain(core, &served.stored).await {
                            Ok(true) => self.release(core, &name).await,
                            outcome => outcome.map(drop),
                        }
                    }
                    None => self.release(core, &name).await,
                }
            } else {
                self.grant(core, &name).await
            };
            match outcome {
                Ok(()) => {}
                // It has changed, and is looked at again.
                Err(status) if matches!(status.reason, Reason::Conflict | Reason::NotFound) => {}
                Err(status) => {
                    tracing::warn!(definition = name, %status, "a definition cannot be brought up to date; trying again");
                    done = false;
                }
            }
        }
        (done, draining)
    }

    /// Reads those that have changed.
    fn read(&mut self, objects: &[Object]) {
        let mut before = std::mem::take(&mut self.known);
        for object in objects {
            let same = before.remove(object.name()).filter(|(revision, _)| *revision == object.revision());
            let read = || serde_json::from_slice(object.body()).ok().map(|value| (object.revision(), value));
            self.known.extend(same.or_else(read).map(|read| (object.name().to_owned(), read)));
        }
    }

    /// Grants a definition its names.
    async fn grant(&mut self, core: &Core, name: &str) -> Result<(), Status> {
        let (revision, value) = &self.known[name];
        let definition = Definition(value);
        let all = self.known.values().map(|(_, value)| Definition(value));
        let status = status(definition, all, &core.now());
        if definition.is_terminating() || status == value["status"] {
            return Ok(());
        }
        let mut value = value.clone();
        value["status"] = status;
        write(core, Part::Status, *revision, value.clone()).await?;
        // What is granted next is granted beside this.
        self.known.insert(name.to_owned(), (0, value));
        Ok(())
    }

    /// Lets a definition go whose objects are gone.
    async fn release(&self, core: &Core, name: &str) -> Result<(), Status> {
        let (revision, value) = &self.known[name];
        let mut value = value.clone();
        if let Some(finalizers) = value["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        write(core, Part::Whole, *revision, value).await
    }
}

/// Deletes the objects of a resource whose definition goes; whether none is left.
async fn drain(core: &Core, route: &Arc<Route>) -> Result<bool, Status> {
    core.catch_up().await?;
    let (objects, _, _) = route.cache.snapshot();
    let user = itself();
    let options = Options { propagation: Some(Propagation::Background), ..Options::default() };
    let deletions = entries(&objects, None, None).filter(|entry| !entry.object.is_deleting()).map(|entry| {
        let key = entry.object.key().clone();
        let (user, options) = (&user, &options);
        async move {
            let namespace = Some(&key.namespace).filter(|namespace| !namespace.is_empty());
            match call(core, user, route, namespace, options).delete(&key.name).await {
                Err(status) if status.reason != Reason::NotFound => Err(status),
                _ => Ok(()),
            }
        }
    });
    let deletions: Vec<_> = deletions.collect();
    futures::stream::iter(deletions).buffered(AT_ONCE).try_collect::<Vec<()>>().await?;
    core.catch_up().await?;
    Ok(route.cache.snapshot().0.is_empty())
}

/// Writes a definition as long as it is still the one of this revision.
async fn write(core: &Core, part: Part, revision: Revision, mut value: Value) -> Result<(), Status> {
    value["metadata"]["resourceVersion"] = revision.to_string().into();
    let routes = core.resources.now();
    let name = Definition(&value).name().to_owned();
    let (user, options) = (itself(), Options::default());
    let mut call = call(core, &user, routes.find(&DEFINITIONS)?, None, &options);
    let body = Body::Value(value);
    call.update(&name, part, body).await.map(drop)
}

fn call<'a>(
    core: &'a Core,
    user: &'a User,
    route: &'a Arc<Route>,
    namespace: Option<&'a Arc<str>>,
    options: &'a Options,
) -> Call<'a> {
    Call { core, user, route, namespace, options, user_agent: "kube-apiserver", warnings: Vec::new() }
}

impl Core {
    /// Waits until everything is served that is defined at present.
    pub(super) async fn serve_definitions(&self) -> Result<(), Status> {
        let Some(cache) = self.cache_of(&DEFINITIONS) else {
            return Ok(());
        };
        self.catch_up().await?;
        let next = cache.snapshot().1;
        let seen = tokio::time::timeout(SERVED_MAX, self.definitions.seen.reach(next.max(1))).await;
        seen.map_err(|_| Status::new(Reason::ServerTimeout, "what is defined is not served yet"))
    }
}
