//! ReplicaSets: keep as many pods of one template as asked for.
//!
//! - `plan`: adopt, release, create, delete
//! - `rank`: which pods go first
//! - `status`: what the status says
//! - this file carries the plan out
//!
//! Pods are adopted and released by label selector and controller reference, created in batches that double as long as
//! all goes well, and deleted the least valuable first (pending before running, cheap before dear by
//! `controller.kubernetes.io/pod-deletion-cost`, crowded nodes first, young before old).

pub(crate) mod plan;
pub(crate) mod rank;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod testing;

use crate::objects::claim::{adopted, controller_reference, released};
use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kore_api::client::{Client, EventType, Informer, carry_part};
use kore_api::object::{Object, ObjectKey, View};
use kore_api::request::Options;
use kore_api::selector::LabelSelector;
use plan::{Plan, Snapshot};
use serde_json::Value;

/// The controller of ReplicaSets: a handle, and the future that runs it.
pub fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<ReplicaSet>::new("replicaset-controller", client, caches);
    let sets = controller.primary();
    let pods = {
        let sets = sets.clone();
        controller.relates::<Pod>(move |pod| sets_of(&sets, pod))
    };
    controller.open(ReplicaSets { sets, pods })
}

/// The set that controls the pod; for a pod that nobody controls, those that would adopt it.
fn sets_of(sets: &Informer<ReplicaSet>, pod: &Object) -> Vec<ObjectKey> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(owner) = pod.controller() {
        let ours = &*owner.kind == "ReplicaSet" && owner.api_version.starts_with("apps/");
        return ours.then(|| ObjectKey::namespaced(namespace, &*owner.name)).into_iter().collect();
    }
    let selects = |set: &Object| {
        let set = set.view::<ReplicaSet>().ok();
        let selector = set.as_deref().and_then(plan::spec).map(|spec| LabelSelector::from_api(&spec.selector));
        matches!(selector, Some(Ok(selector)) if selector.matches_object(pod))
    };
    sets.list_namespace(namespace).into_iter().filter(selects).map(|set| set.key().clone()).collect()
}

struct ReplicaSets {
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

#[async_trait]
impl Reconciler for ReplicaSets {
    type Kind = ReplicaSet;

    async fn reconcile(&self, set: View<ReplicaSet>, ctx: &Context) -> Result<Action, Error> {
        let all = self.pods.list_namespace(set.object().namespace().unwrap_or_default());
        let of = |uids: &[&str]| {
            let theirs = all.iter().filter(|pod| pod.controller().is_some_and(|owner| uids.contains(&&*owner.uid)));
            theirs.map(Object::view).collect::<Result<Vec<View<Pod>>, _>>()
        };
        let mut pods = of(&[set.object().uid()])?;
        let related = if pods.len() > plan::spec(&set).map_or(0, plan::replicas) {
            let siblings = self.siblings(set.object());
            of(&siblings.iter().map(Object::uid).collect::<Vec<_>>())?
        } else {
            Vec::new()
        };
        for orphan in all.iter().filter(|pod| pod.controller().is_none()) {
            pods.push(orphan.view()?);
        }
        let plan = plan::plan(&Snapshot { set: &set, pods: &pods, related: &related }, ctx.now());

        claim(&set, &plan, ctx).await?;
        let outcome = resize(&set, &plan, ctx).await;
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let status = status::status(&set, &plan, failure.as_deref(), ctx.now());
        if set.status.as_ref() != Some(&status) {
            let new = ReplicaSet { status: Some(status), ..set.to_owned() };
            ctx.replace_status(&set, &new).await?;
        }
        outcome?;
        Ok(Action::after(status::next_available(&set, &plan.active, ctx.now())))
    }
}

impl ReplicaSets {
    /// The sets with the same controller, this one included.
    fn siblings(&self, set: &Object) -> Vec<Object> {
        let Some(owner) = set.controller() else {
            return vec![set.clone()];
        };
        let mut sets = self.sets.list_namespace(set.namespace().unwrap_or_default());
        sets.retain(|other| other.controller().is_some_and(|other| other.uid == owner.uid));
        sets
    }
}

async fn claim(set: &View<ReplicaSet>, plan: &Plan<View<Pod>>, ctx: &Context) -> Result<(), Error> {
    if !plan.adopt.is_empty() {
        // The cache may show a set that has meanwhile been deleted: its pods are not to be adopted back.
        let object = set.object();
        let sets = ctx.client().namespaced::<ReplicaSet>(object.namespace().unwrap_or_default());
        let live = sets.get(object.name()).await?;
        if live.object().uid() != object.uid() || live.object().is_deleting() {
            return Err(Error::other("the set is being deleted: it adopts nothing"));
        }
    }
    for pod in &plan.adopt {
        let metadata = adopted(&pod.metadata, controller_reference::<ReplicaSet>(&set.metadata));
        ctx.replace(pod, &Pod { metadata, ..pod.to_owned() }).await?;
    }
    for pod in &plan.release {
        let metadata = released(&pod.metadata, set.object().uid());
        ctx.replace(pod, &Pod { metadata, ..pod.to_owned() }).await?;
    }
    Ok(())
}

async fn resize(set: &View<ReplicaSet>, plan: &Plan<View<Pod>>, ctx: &Context) -> Result<(), Error> {
    // The pods' spec is the template's: what neither type knows comes along.
    let pod = carry_part(set, "spec.template.spec", &new_pod(set), "spec")?;
    for batch in plan::slow_start(plan.create) {
        let created = join_all((0..batch).map(|_| create(set, pod.clone(), ctx))).await;
        created.into_iter().collect::<Result<Vec<()>, Error>>()?;
    }
    let deleted = join_all(plan.delete.iter().map(|pod| delete(set, pod, ctx))).await;
    deleted.into_iter().collect()
}

async fn create(set: &View<ReplicaSet>, pod: Value, ctx: &Context) -> Result<(), Error> {
    match ctx.create_value::<Pod>(pod).await {
        Ok(pod) => {
            let message = format!("created pod {}", pod.object().name());
            ctx.event(set.object(), EventType::Normal, "SuccessfulCreate", message);
            Ok(())
        }
        // The pods would be deleted at once; the namespace's deletion takes the set with it.
        Err(error) if error.api().is_some_and(|error| error.is_namespace_terminating()) => Ok(()),
        Err(error) => {
            ctx.event(set.object(), EventType::Warning, "FailedCreate", format!("cannot create a pod: {error}"));
            Err(error)
        }
    }
}

async fn delete(set: &View<ReplicaSet>, pod: &View<Pod>, ctx: &Context) -> Result<(), Error> {
    let name = pod.object().name();
    match ctx.delete(pod, &Options::default()).await {
        Ok(()) => {
            ctx.event(set.object(), EventType::Normal, "SuccessfulDelete", format!("deleted pod {name}"));
            Ok(())
        }
        Err(error) => {
            ctx.event(set.object(), EventType::Warning, "FailedDelete", format!("cannot delete pod {name}: {error}"));
            Err(error)
        }
    }
}

/// A pod from the set's template.
fn new_pod(set: &ReplicaSet) -> Pod {
    let template = plan::spec(set).and_then(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference::<ReplicaSet>(&set.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
