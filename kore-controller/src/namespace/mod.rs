//! Namespaces: a namespace that is deleted is emptied first.
//!
//! - `plan`: what a round of deleting says about the next
//! - this file does the rounds
//!
//! Everything namespaced is deleted, whatever its kind: pods first, the rest once they are gone (KEP-5080), so that what
//! pods depend on outlives them. Then the finalizer `kubernetes` in `spec.finalizers` is taken away, and the server
//! removes the namespace.

pub(crate) mod plan;

use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler, Resources};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kore_api::client::{Client, Informer};
use kore_api::error::Reason;
use kore_api::object::{ObjectKey, ResourceType, View};
use kore_api::request::{Options, Propagation};
use plan::{Content, Next};
use serde_json::{Value, json};

/// The controller of Namespaces: a handle, and the future that runs it.
pub fn open(
    client: &Client,
    caches: &mut Caches,
    resources: Resources,
) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Namespace>::new("namespace-controller", client, caches);
    let namespaces = controller.primary();
    // The end of a pod may be what a namespace waits for.
    controller.relates::<Pod>(move |pod| {
        let key = pod.namespace().filter(|_| pod.is_deleting()).map(ObjectKey::cluster);
        key.filter(|key| is_deleting(&namespaces, key)).into_iter().collect()
    });
    controller.open(Namespaces { resources })
}

fn is_deleting(namespaces: &Informer<Namespace>, key: &ObjectKey) -> bool {
    namespaces.get(key).is_some_and(|namespace| namespace.is_deleting())
}

struct Namespaces {
    resources: Resources,
}

#[async_trait]
impl Reconciler for Namespaces {
    type Kind = Namespace;

    async fn reconcile(&self, namespace: View<Namespace>, ctx: &Context) -> Result<Action, Error> {
        if !plan::is_ours(&namespace) {
            return Ok(Action::Done);
        }
        let content = self.empty(namespace.object().name(), ctx).await;
        let (status, next) = plan::plan(&namespace, &content, ctx.now());
        let current = if namespace.status.as_ref() == Some(&status) {
            namespace
        } else {
            let new = Namespace { status: Some(status), ..namespace.to_owned() };
            ctx.replace_status(&namespace, &new).await?
        };
        match next {
            Next::Wait(delay) => Ok(Action::After(delay)),
            Next::Finalize => finalize(&current, ctx).await.map(|()| Action::Done),
        }
    }
}

impl Namespaces {
    /// One round: deletes everything that may go now, and counts what is left.
    async fn empty(&self, namespace: &str, ctx: &Context) -> Content {
        let mut content = Content::default();
        let is_pods = |resource: &ResourceType| *resource == ResourceType::of::<Pod>();
        let namespaced = self.resources.list().into_iter().filter(ResourceType::is_namespaced);
        let (first, rest): (Vec<_>, Vec<_>) = namespaced.partition(is_pods);
        for batch in [first, rest] {
            for resource in batch {
                let name = resource.to_string();
                if let Err(error) = empty(resource, namespace, ctx, &mut content).await {
                    // Not every resource can be listed and deleted by collection; what cannot, holds nothing here.
                    let unknown = error.is_not_found();
                    let refused = error.status().is_some_and(|status| status.reason == Reason::MethodNotAllowed);
                    if !unknown && !refused {
                        content.failures.insert(name, error.to_string());
                    }
                }
            }
            if !content.remaining.is_empty() || !content.failures.is_empty() {
                break;
            }
        }
        content
    }
}

async fn empty(
    resource: ResourceType,
    namespace: &str,
    ctx: &Context,
    content: &mut Content,
) -> Result<(), kore_api::error::Error> {
    let name = resource.to_string();
    let api = ctx.client().dynamic(resource).in_namespace(namespace);
    api.delete_collection(&Options::default().propagation(Propagation::Background)).await?;
    let left = api.list(&Options::default()).await?.items;
    if left.is_empty() {
        return Ok(());
    }
    for object in &left {
        for finalizer in object.finalizers() {
            *content.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
        let grace = &object.to_value()["metadata"]["deletionGracePeriodSeconds"];
        content.grace_seconds = content.grace_seconds.max(grace.as_u64().unwrap_or(0));
    }
    content.remaining.insert(name, left.len());
    Ok(())
}

async fn finalize(namespace: &View<Namespace>, ctx: &Context) -> Result<(), Error> {
    let mut value = namespace.object().to_value();
    if let Some(finalizers) = value.pointer_mut("/spec/finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|finalizer| *finalizer != json!(plan::FINALIZER));
    }
    let api = ctx.client().dynamic(ResourceType::of::<Namespace>());
    match api.replace(namespace.object().name(), Some("finalize"), value, &Options::default()).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(drop).map_err(Error::from),
    }
}
