//! One resource through its typed view.

use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::Pod;
use kore_store::Revision;
use serde_json::{Value, json};

use super::DynamicApi;
use crate::error::Error;
use crate::object::{Kind, View};
use crate::patch::PatchKind;
use crate::request::{Options, WatchStream};
use crate::schema::{Schema, graft};

/// The objects of kind `K`: in one namespace ([`super::Client::namespaced`]), or in all and cluster-scoped ones
/// ([`super::Client::api`]). Reads, watches and deletions of collections work on all namespaces; everything that names one
/// object of a namespaced kind needs the namespace.
pub struct Api<K> {
    inner: DynamicApi,
    kind: PhantomData<fn() -> K>,
}

/// A page of typed objects, consistent at one revision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct List<K> {
    /// The objects, ordered by namespace and name.
    pub items: Vec<View<K>>,
    /// The revision at which this is what there was; a watch continues from it.
    pub revision: Revision,
    /// Where the next page begins, if there is one.
    pub continue_token: Option<String>,
}

impl<K: Kind> Api<K> {
    pub(super) fn new(inner: DynamicApi) -> Self {
        Self { inner, kind: PhantomData }
    }

    /// The same resource without types.
    pub fn dynamic(&self) -> &DynamicApi {
        &self.inner
    }

    /// Reads one object.
    ///
    /// # Errors
    /// Not found, and as [`super::Transport::call`].
    pub async fn get(&self, name: &str) -> Result<View<K>, Error> {
        Ok(self.inner.get(name).await?.view()?)
    }

    /// Reads one object, or `None` if there is none.
    ///
    /// # Errors
    /// As [`super::Transport::call`].
    pub async fn get_opt(&self, name: &str) -> Result<Option<View<K>>, Error> {
        Ok(self.inner.get_opt(name).await?.map(|object| object.view()).transpose()?)
    }

    /// Reads a page of objects; all of them where `options` sets no limit.
    ///
    /// # Errors
    /// As [`super::Transport::call`].
    pub async fn list(&self, options: &Options) -> Result<List<K>, Error> {
        let list = self.inner.list(options).await?;
        let items = list.items.iter().map(|object| object.view()).collect::<Result<_, _>>()?;
        Ok(List { items, revision: list.revision, continue_token: list.continue_token })
    }

    /// Follows changes from `options.resource_version` on.
    ///
    /// # Errors
    /// As [`super::Transport::call`]; expired if the revision has been compacted away.
    pub async fn watch(&self, options: &Options) -> Result<WatchStream, Error> {
        self.inner.watch(options).await
    }

    /// Makes a new object.
    ///
    /// # Errors
    /// Already exists, invalid, and as [`super::Transport::call`].
    pub async fn create(&self, object: &K) -> Result<View<K>, Error> {
        let created = self.inner.create(encode(object)?, &Options::default()).await?;
        Ok(created.view()?)
    }

    /// Replaces `base` by `new` if it has not changed since it was read. Fields of `base` that `K` does not know are kept,
    /// at every depth: what is sent is the object that `base` was read from with the difference between the two typed values applied.
    ///
    /// # Errors
    /// Not found, conflict, invalid, and as [`super::Transport::call`].
    pub async fn replace(&self, base: &View<K>, new: &K) -> Result<View<K>, Error> {
        self.replace_part(base, None, new).await
    }

    /// As [`Api::replace`], for `status` only: everything else in `new` is ignored by the server.
    ///
    /// # Errors
    /// As [`Api::replace`].
    pub async fn replace_status(&self, base: &View<K>, new: &K) -> Result<View<K>, Error> {
        self.replace_part(base, Some("status"), new).await
    }

    async fn replace_part(&self, base: &View<K>, part: Option<&str>, new: &K) -> Result<View<K>, Error> {
        let object = base.object();
        let schema = Schema::of(object.api_version(), object.kind());
        let whole = graft(schema.as_ref(), &object.to_unmanaged_value(), &encode(&**base)?, &encode(new)?);
        let api = match object.namespace() {
            Some(namespace) => &self.inner.in_namespace(namespace),
            None => &self.inner,
        };
        Ok(api.replace(object.name(), part, whole, &Options::default()).await?.view()?)
    }

    /// Changes part of an object.
    ///
    /// # Errors
    /// Not found, invalid, and as [`super::Transport::call`].
    pub async fn patch(&self, name: &str, kind: PatchKind, patch: Value) -> Result<View<K>, Error> {
        Ok(self.inner.patch(name, None, kind, patch, &Options::default()).await?.view()?)
    }

    /// Changes part of an object's `status`.
    ///
    /// # Errors
    /// Not found, invalid, and as [`super::Transport::call`].
    pub async fn patch_status(&self, name: &str, kind: PatchKind, patch: Value) -> Result<View<K>, Error> {
        Ok(self.inner.patch(name, Some("status"), kind, patch, &Options::default()).await?.view()?)
    }

    /// Deletes an object: at once (`None`), or it is now on its way out (the object as it is).
    ///
    /// # Errors
    /// Not found, conflict if a precondition does not hold, and as [`super::Transport::call`].
    pub async fn delete(&self, name: &str, options: &Options) -> Result<Option<View<K>>, Error> {
        Ok(self.inner.delete(name, options).await?.map(|object| object.view()).transpose()?)
    }

    /// Deletes all objects that `options` selects.
    ///
    /// # Errors
    /// As [`super::Transport::call`].
    pub async fn delete_collection(&self, options: &Options) -> Result<(), Error> {
        self.inner.delete_collection(options).await
    }
}

impl Api<Pod> {
    /// Assigns a pod to a node, if it is still this pod (`uid`) and assigned to none.
    ///
    /// # Errors
    /// Not found, conflict (assigned already, or another pod of that name), and as [`super::Transport::call`].
    pub async fn bind(&self, name: &str, uid: &str, node: &str) -> Result<(), Error> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        self.inner.post(name, "binding", binding, &Options::default()).await.map(drop)
    }
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), kind: PhantomData }
    }
}

impl<K> fmt::Debug for Api<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.inner.resource())
    }
}

pub(super) fn encode<K: Kind>(object: &K) -> Result<Value, Error> {
    let what = || format!("{} {:?}", K::KIND, object.metadata().name.as_deref().unwrap_or_default());
    serde_json::to_value(object).map_err(|error| Error::Unsendable { what: what(), problem: error.to_string() })
}
