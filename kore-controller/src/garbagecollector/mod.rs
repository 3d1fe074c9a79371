//! The garbage collector: what is owned goes when its last owner has gone.
//!
//! - `graph`: who owns whom, and what follows: pure
//! - this file feeds the graph from an informer of every resource, and carries out what it says
//!
//! Three ways to delete an owner, by `propagationPolicy`: in the background (its dependants are collected afterwards), in
//! the foreground (the finalizer `foregroundDeletion`: those that block it go first), orphaning (the finalizer `orphan`:
//! they stay, without it). Nothing is deleted for the lack of an owner before the server itself has said that there is no
//! such owner, and a deletion holds only for the revision that was looked at.

pub(crate) mod graph;
#[cfg(test)]
mod tables;

use crate::queue::Config;
use crate::runtime::driver::{self, End, Parts, Source};
use crate::{Action, Caches, Error, Handle, Resources};
use futures::FutureExt;
use futures::future::join_all;
use graph::{FOREGROUND, Facts, Graph, ORPHAN, Settle, Task, Uid, Verdict};
use kore_api::client::{Change, Client, DynamicApi};
use kore_api::object::{Object, OwnerReference, ResourceType};
use kore_api::request::Options;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::Instrument;

/// How soon to ask again about owners that exist but that no informer has shown.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// The garbage collector: a handle, and the future that runs it. It follows the resources that there are when it is opened.
pub fn open(
    client: &Client,
    caches: &mut Caches,
    resources: Resources,
) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let collector =
        Arc::new(Collector { client: client.clone(), resources: resources.clone(), graph: Mutex::default() });
    let (mut informers, mut sources) = (Vec::new(), Vec::new());
    for resource in resources.list() {
        let informer = caches.dynamic(&resource);
        let (resource, collector) = (Arc::new(resource), collector.clone());
        let keys = move |change: Change| collector.observe(&resource, change);
        sources.push(Source { changes: informer.subscribe(), keys: Box::new(keys) });
        informers.push(informer);
    }
    driver::open(Parts {
        name: "garbage-collector-controller".into(),
        recording: futures::future::ready(()).boxed(),
        informers,
        sources,
        config: Config::default(),
        run: Box::new(move |uid| {
            let collector = collector.clone();
            let span = tracing::info_span!("collect", %uid);
            async move { End::from(collector.collect(&uid).await) }.instrument(span).boxed()
        }),
    })
}

struct Collector {
    client: Client,
    resources: Resources,
    graph: Mutex<Graph>,
}

impl Collector {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change; whose situation it changes.
    fn observe(&self, resource: &Arc<ResourceType>, change: Change) -> Vec<Uid> {
        let mut graph = self.graph();
        let replaced = |before: &Object| change.after.as_ref().is_none_or(|after| after.uid() != before.uid());
        let mut concerned = match &change.before {
            Some(before) if replaced(before) => graph.gone(before.uid()),
            _ => Vec::new(),
        };
        if let Some(after) = &change.after {
            concerned.extend(graph.seen(Facts::of(resource, after)));
        }
        concerned
    }

    async fn collect(&self, uid: &Uid) -> Result<Action, Error> {
        let task = self.graph().task(uid);
        match task {
            Task::Nothing => Ok(Action::Done),
            Task::Finish(owner) => self.without_finalizer(&owner, FOREGROUND).await,
            Task::Orphan(owner, dependents) => {
                let leave = [owner.uid.clone()];
                let partings = join_all(dependents.iter().map(|dependent| self.disown(dependent, &leave))).await;
                partings.into_iter().collect::<Result<Vec<Action>, Error>>()?;
                self.without_finalizer(&owner, ORPHAN).await
            }
            Task::Settle(settle) => self.settle(&settle).await,
        }
    }

    async fn settle(&self, settle: &Settle) -> Result<Action, Error> {
        let mut existing = BTreeSet::new();
        for owner in &settle.unseen {
            if self.exists(&settle.facts, owner).await? {
                existing.insert(&*owner.uid);
            }
        }
        let facts = &settle.facts;
        match settle.verdict(&existing) {
            Verdict::Keep if existing.is_empty() => Ok(Action::Done),
            Verdict::Keep => Ok(Action::After(ASK_AGAIN)),
            Verdict::Disown(owners) => self.disown(facts, &owners).await,
            Verdict::Delete { propagation, unblock } => {
                if unblock {
                    // Its revision changes: the graph has to see that before it goes.
                    let changed = self.change(facts, ceases_to_block).await?;
                    if changed {
                        return Ok(Action::After(Duration::ZERO));
                    }
                }
                let options = Options::default()
                    .propagation(propagation)
                    .precondition_uid(&*facts.uid)
                    .precondition_revision(facts.revision);
                tracing::debug!(object = %facts.key, resource = %facts.resource, ?propagation, "has no owner left");
                match self.api(facts).delete(&facts.key.name, &options).await {
                    Err(error) if error.is_not_found() => Ok(Action::Done),
                    other => other.map(|_| Action::Done).map_err(Error::from),
                }
            }
        }
    }

    /// Whether the server has the owner that `dependent` names.
    async fn exists(&self, dependent: &Facts, owner: &OwnerReference) -> Result<bool, Error> {
        let resources = self.resources.list();
        let named =
            |resource: &&ResourceType| *resource.kind == *owner.kind && *resource.api_version() == *owner.api_version;
        let Some(resource) = resources.iter().find(named) else {
            // A kind that is not known (yet): nothing is deleted on a guess.
            return Ok(true);
        };
        if resource.is_namespaced() && dependent.key.namespace.is_empty() {
            return Ok(true); // Not a reference that can be followed.
        }
        let api = self.client.dynamic(resource.clone()).in_namespace(&dependent.key.namespace);
        let found = api.get_opt(&owner.name).await?;
        Ok(found.is_some_and(|found| *found.uid() == *owner.uid))
    }

    async fn disown(&self, dependent: &Facts, owners: &[Uid]) -> Result<Action, Error> {
        let leave = |metadata: &mut Value| {
            retain(metadata, "ownerReferences", |owner| !owners.iter().any(|uid| owner["uid"] == **uid))
        };
        self.change(dependent, leave).await.map(|_| Action::Done)
    }

    async fn without_finalizer(&self, object: &Facts, finalizer: &str) -> Result<Action, Error> {
        let remove = |metadata: &mut Value| retain(metadata, "finalizers", |other| *other != finalizer);
        self.change(object, remove).await.map(|_| Action::Done)
    }

    /// Writes the object as it is now with its metadata changed; whether there was something to write.
    async fn change(&self, facts: &Facts, change: impl Fn(&mut Value) -> bool) -> Result<bool, Error> {
        let api = self.api(facts);
        let Some(object) = api.get_opt(&facts.key.name).await?.filter(|object| *object.uid() == *facts.uid) else {
            return Ok(false);
        };
        let mut value = object.to_value();
        if !change(&mut value["metadata"]) {
            return Ok(false);
        }
        match api.replace(&facts.key.name, None, value, &Options::default()).await {
            Err(error) if error.is_not_found() => Ok(false),
            other => other.map(|_| true).map_err(Error::from),
        }
    }

    fn api(&self, facts: &Facts) -> DynamicApi {
        self.client.dynamic((*facts.resource).clone()).in_namespace(&facts.key.namespace)
    }
}

/// Keeps the entries of a list in `metadata` that pass; whether any did not.
fn retain(metadata: &mut Value, field: &str, keep: impl Fn(&Value) -> bool) -> bool {
    let Some(list) = metadata.get_mut(field).and_then(Value::as_array_mut) else {
        return false;
    };
    let before = list.len();
    list.retain(keep);
    list.len() < before
}

fn ceases_to_block(metadata: &mut Value) -> bool {
    let mut changed = false;
    for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
        if owner["blockOwnerDeletion"] == true {
            owner["blockOwnerDeletion"] = false.into();
            changed = true;
        }
    }
    changed
}
