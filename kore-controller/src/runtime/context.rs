//! Through which a reconcile writes.

use crate::Error;
use futures::future::join_all;
use jiff::Timestamp;
use kore_api::Revision;
use kore_api::client::{Client, EventRecorder, EventType, Informer};
use kore_api::object::{Kind, Object, ResourceType, View};
use kore_api::request::Options;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One reconcile's access to the API server. What is written through it is remembered, and the object is not reconciled
/// again before the informers have seen it.
///
/// Every write is conditional: a replace on the revision that was read, a deletion on the uid.
pub struct Context {
    shared: Arc<Surroundings>,
    written: Mutex<Vec<Written>>,
}

/// What all reconciles of a controller share.
pub(crate) struct Surroundings {
    pub(crate) client: Client,
    pub(crate) recorder: EventRecorder,
    pub(crate) progress: BTreeMap<ResourceType, Informer<()>>,
}

/// One write, until the informer of its kind has seen it.
enum Written {
    At(ResourceType, Revision),
    Deleted(ResourceType, Object),
}

impl Context {
    pub(crate) fn new(shared: Arc<Surroundings>) -> Self {
        Context { shared, written: Mutex::default() }
    }

    /// The client, under the controller's identity: for reads, and for writes that no later reconcile needs to see.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.shared.client.clock().now()
    }

    /// Creates an object, in the namespace that its metadata names.
    ///
    /// # Errors
    /// As [`Api::create`](kore_api::client::Api::create).
    pub async fn create<K: Kind>(&self, object: &K) -> Result<View<K>, Error> {
        let namespace = object.metadata().namespace.as_deref().unwrap_or_default();
        let created = self.client().namespaced::<K>(namespace).create(object).await?;
        Ok(self.saw(created))
    }

    /// As [`Context::create`], of an object in full: one made from a part of another object by
    /// [`carry_part`](kore_api::client::carry_part), so that fields which `K` does not know come along.
    ///
    /// # Errors
    /// As [`Context::create`].
    pub async fn create_value<K: Kind>(&self, object: Value) -> Result<View<K>, Error> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let api = self.client().namespaced::<K>(namespace);
        let created = api.dynamic().create(object, &Options::default()).await?;
        Ok(self.saw(created.view().map_err(kore_api::error::Error::from)?))
    }

    /// Replaces `base` by `new`, keeping the fields that `K` does not know.
    ///
    /// # Errors
    /// As [`Api::replace`](kore_api::client::Api::replace); a conflict if `base` is not what there is any more.
    pub async fn replace<K: Kind>(&self, base: &View<K>, new: &K) -> Result<View<K>, Error> {
        let replaced = self.client().api::<K>().replace(base, new).await?;
        Ok(self.saw(replaced))
    }

    /// Replaces the status of `base` by that of `new`, keeping the fields that `K` does not know.
    ///
    /// # Errors
    /// As [`Context::replace`].
    pub async fn replace_status<K: Kind>(&self, base: &View<K>, new: &K) -> Result<View<K>, Error> {
        let replaced = self.client().api::<K>().replace_status(base, new).await?;
        Ok(self.saw(replaced))
    }

    /// Deletes exactly this object, not another that came to have its name. That it is gone already is no error.
    ///
    /// # Errors
    /// As [`Api::delete`](kore_api::client::Api::delete), but for not found.
    pub async fn delete<K: Kind>(&self, object: &View<K>, options: &Options) -> Result<(), Error> {
        let object = object.object();
        let api = self.client().namespaced::<K>(object.namespace().unwrap_or_default());
        let options = options.clone().precondition_uid(object.uid());
        match api.delete(object.name(), &options).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        self.remember(Written::Deleted(ResourceType::of::<K>(), object.clone()));
        Ok(())
    }

    /// Tells users what happened to an object; best effort, never waits.
    pub fn event(&self, object: &Object, event_type: EventType, reason: &str, message: impl Into<String>) {
        self.shared.recorder.event(object, event_type, reason, message);
    }

    /// Waits until the informers have seen everything that was written.
    pub(crate) async fn settle(self) {
        let written = self.written.into_inner().unwrap_or_else(PoisonError::into_inner);
        let progress = &self.shared.progress;
        join_all(written.iter().map(|written| async move {
            // What no informer follows, no reconcile reads from one.
            let (Written::At(resource, _) | Written::Deleted(resource, _)) = written;
            match (progress.get(resource), written) {
                (None, _) => {}
                (Some(informer), Written::At(_, revision)) => informer.reached(*revision).await,
                (Some(informer), Written::Deleted(_, object)) => deletion_seen(informer, object).await,
            }
        }))
        .await;
    }

    fn saw<K: Kind>(&self, view: View<K>) -> View<K> {
        self.remember(Written::At(ResourceType::of::<K>(), view.object().revision()));
        view
    }

    fn remember(&self, written: Written) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(written);
    }
}

/// Waits until the informer has seen that the object is gone, or on its way out.
async fn deletion_seen(informer: &Informer<()>, object: &Object) {
    loop {
        // Read first: if the object is still there after that, its deletion has a later revision.
        let revision = informer.revision();
        let found = informer.get(object.key());
        if !found.is_some_and(|found| found.uid() == object.uid() && !found.is_deleting()) {
            return;
        }
        informer.reached(revision + 1).await;
    }
}
