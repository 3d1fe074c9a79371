//! One resource that is known at run time.

use std::sync::Arc;

use serde_json::Value;

use super::{Client, Informer, Selection};
use crate::error::{Error, Status};
use crate::object::{Object, ResourceType, metadata_mut};
use crate::patch::PatchKind;
use crate::request::{Body, Content, ObjectList, Options, Request, Response, Verb, WatchStream};

/// One resource, in one namespace or in all: what [`super::Api`] is made of.
#[derive(Clone, Debug)]
pub struct DynamicApi {
    client: Client,
    resource: Arc<ResourceType>,
    namespace: Option<Arc<str>>,
}

impl DynamicApi {
    pub(super) fn new(client: Client, resource: Arc<ResourceType>) -> Self {
        Self { client, resource, namespace: None }
    }

    /// The same resource in one namespace; for a cluster-scoped resource, the same.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        let namespace = self.resource.is_namespaced().then(|| Arc::from(namespace));
        Self { namespace, ..self.clone() }
    }

    /// The resource.
    pub fn resource(&self) -> &Arc<ResourceType> {
        &self.resource
    }

    /// The client this goes through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A copy of the selected objects that follows the server's while the returned future runs.
    pub fn informer(&self, selection: Selection) -> (Informer<()>, impl Future<Output = ()> + Send + use<>) {
        Informer::new(self.clone(), selection)
    }

    /// Reads one object.
    ///
    /// # Errors
    /// Not found, and as [`super::Transport::call`].
    pub async fn get(&self, name: &str) -> Result<Object, Error> {
        let response = self.send(Verb::Get, Some(name), None, Options::default(), Body::Empty).await?;
        self.object(Verb::Get, response)
    }

    /// Reads one object, or `None` if there is none.
    ///
    /// # Errors
    /// As [`super::Transport::call`].
    pub async fn get_opt(&self, name: &str) -> Result<Option<Object>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a page of objects; all of them where `options` sets no limit.
    ///
    /// # Errors
    /// As [`super::Transport::call`].
    pub async fn list(&self, options: &Options) -> Result<ObjectList, Error> {
        let response = self.send(Verb::List, None, None, options.clone(), Body::Empty).await?;
        match response.content {
            Content::List(list) => Ok(list),
            other => Err(self.unexpected(Verb::List, &other)),
        }
    }

    /// Follows changes from `options.resource_version` on.
    ///
    /// # Errors
    /// As [`super::Transport::call`]; expired if the revision has been compacted away.
    pub async fn watch(&self, options: &Options) -> Result<WatchStream, Error> {
        let response = self.send(Verb::Watch, None, None, options.clone(), Body::Empty).await?;
        match response.content {
            Content::Watch(stream) => Ok(stream),
            other => Err(self.unexpected(Verb::Watch, &other)),
        }
    }

    /// Makes a new object. `apiVersion`, `kind` and the namespace are filled in.
    ///
    /// # Errors
    /// Already exists, invalid, and as [`super::Transport::call`].
    pub async fn create(&self, object: Value, options: &Options) -> Result<Object, Error> {
        let object = self.stamp(object)?;
        let response = self.send(Verb::Create, None, None, options.clone(), Body::Value(object)).await?;
        self.object(Verb::Create, response)
    }

    /// Replaces the object, or its `subresource`. With a `metadata.resourceVersion` only if it has not changed since.
    ///
    /// # Errors
    /// Not found, conflict, invalid, and as [`super::Transport::call`].
    pub async fn replace(
        &self,
        name: &str,
        subresource: Option<&str>,
        object: Value,
        options: &Options,
    ) -> Result<Object, Error> {
        let object = self.stamp(object)?;
        let response = self.send(Verb::Update, Some(name), subresource, options.clone(), Body::Value(object)).await?;
        self.object(Verb::Update, response)
    }

    /// Changes part of the object, or of its `subresource`.
    ///
    /// # Errors
    /// Not found, invalid, and as [`super::Transport::call`].
    pub async fn patch(
        &self,
        name: &str,
        subresource: Option<&str>,
        kind: PatchKind,
        patch: Value,
        options: &Options,
    ) -> Result<Object, Error> {
        let body = Body::Patch(kind, patch);
        let response = self.send(Verb::Patch, Some(name), subresource, options.clone(), body).await?;
        self.object(Verb::Patch, response)
    }

    /// Applies a configuration to the object, or to its `subresource` (server-side apply): what it states is set and from then on
    /// owned by `options.field_manager`; what that manager applied before and this one does not state is removed, unless
    /// somebody else owns it. There being no such object, it is made. `apiVersion`, `kind` and `metadata.name` are filled in.
    ///
    /// # Errors
    /// Conflict, with the fields and their owners, if it changes what others own and `options.force` is not set; invalid; and as
    /// [`super::Transport::call`].
    pub async fn apply(
        &self,
        name: &str,
        subresource: Option<&str>,
        config: Value,
        options: &Options,
    ) -> Result<Object, Error> {
        let mut config = self.stamp(config)?;
        config["metadata"]["name"] = name.into();
        self.patch(name, subresource, PatchKind::Apply, config, options).await
    }

    /// Deletes the object: at once (`None`), or it is now on its way out (the object as it is).
    ///
    /// # Errors
    /// Not found, conflict if a precondition does not hold, and as [`super::Transport::call`].
    pub async fn delete(&self, name: &str, options: &Options) -> Result<Option<Object>, Error> {
        let response = self.send(Verb::Delete, Some(name), None, options.clone(), Body::Empty).await?;
        match response.content {
            Content::Object(object) => Ok(Some(object)),
            Content::Status(_) => Ok(None),
            other => Err(self.unexpected(Verb::Delete, &other)),
        }
    }

    /// Deletes all objects that `options` selects.
    ///
    /// # Errors
    /// As [`super::Transport::call`].
    pub async fn delete_collection(&self, options: &Options) -> Result<(), Error> {
        self.send(Verb::DeleteCollection, None, None, options.clone(), Body::Empty).await.map(drop)
    }

    /// Posts to a subresource, for example `binding`.
    ///
    /// # Errors
    /// Not found, conflict, and as [`super::Transport::call`].
    pub async fn post(&self, name: &str, subresource: &str, body: Value, options: &Options) -> Result<Response, Error> {
        self.send(Verb::Create, Some(name), Some(subresource), options.clone(), Body::Value(body)).await
    }

    /// Reads a subresource, for example `scale` or `log`.
    ///
    /// # Errors
    /// Not found, and as [`super::Transport::call`].
    pub async fn get_subresource(&self, name: &str, subresource: &str, options: &Options) -> Result<Response, Error> {
        self.send(Verb::Get, Some(name), Some(subresource), options.clone(), Body::Empty).await
    }

    async fn send(
        &self,
        verb: Verb,
        name: Option<&str>,
        subresource: Option<&str>,
        options: Options,
        body: Body,
    ) -> Result<Response, Error> {
        let request = Request {
            verb,
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            name: name.map(Arc::from),
            subresource: subresource.map(Arc::from),
            options,
            body,
            user_agent: self.client.user_agent().clone(),
        };
        self.client.call(request).await
    }

    /// `apiVersion`, `kind` and namespace of an object that is about to be sent.
    fn stamp(&self, mut object: Value) -> Result<Value, Error> {
        let unsendable = |problem: String| Error::Unsendable { what: format!("a {}", self.resource.kind), problem };
        let metadata = metadata_mut(&mut object).map_err(|error| unsendable(error.to_string()))?;
        if let Some(namespace) = &self.namespace {
            metadata.entry("namespace").or_insert_with(|| (&**namespace).into());
        }
        let fields = object.as_object_mut().ok_or_else(|| unsendable("not a JSON object".into()))?;
        // A Scale, a Binding: a subresource may have a kind of its own.
        fields.entry("apiVersion").or_insert_with(|| self.resource.api_version().into());
        fields.entry("kind").or_insert_with(|| (&*self.resource.kind).into());
        Ok(object)
    }

    fn object(&self, verb: Verb, response: Response) -> Result<Object, Error> {
        match response.content {
            Content::Object(object) | Content::Created(object) => Ok(object),
            Content::Value(value) => Ok(Object::from_value(value, 0)?),
            other => Err(self.unexpected(verb, &other)),
        }
    }

    fn unexpected(&self, verb: Verb, content: &Content) -> Error {
        Status::internal(format!("{verb} {} answered with {content:?}", self.resource)).into()
    }
}
