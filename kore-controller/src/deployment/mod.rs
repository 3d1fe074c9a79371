//! Deployments: roll a template out over ReplicaSets, one set a template.
//!
//! - `plan`: one step of a deployment, and the writes it takes
//! - `rolling`, `recreate`: the two strategies
//! - `scale`: a new number of replicas in the middle of a rollout
//! - `revision`: templates, hashes, revisions, history
//! - `limits`: surge and unavailability in pods
//! - `status`: counts and conditions
//! - this file carries the plan out
//!
//! Sets are named and labelled by a hash of their template (`pod-template-hash`). Rolling back is writing an old template:
//! the set that ran it is found again and gets a new revision.

pub(crate) mod limits;
pub(crate) mod plan;
pub(crate) mod recreate;
pub(crate) mod revision;
pub(crate) mod rolling;
pub(crate) mod scale;
pub(crate) mod status;
#[cfg(test)]
mod tables;
#[cfg(test)]
pub(crate) mod testing;

use crate::objects::claim::{adopted, controller_reference, is_controlled_by, released};
use crate::objects::template::Templated;
use crate::objects::versions::Spec;
use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use kore_api::client::{Client, EventType, Informer, carry_part};
use kore_api::object::{Object, ObjectKey, View};
use kore_api::request::{Options, Propagation};
use kore_api::selector::LabelSelector;
use plan::{Operation, Snapshot};

/// The controller of Deployments: a handle, and the future that runs it. It needs the controller of ReplicaSets beside it.
pub fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Deployment>::new("deployment-controller", client, caches);
    let deployments = controller.primary();
    let sets = controller.relates::<ReplicaSet>(move |set| deployments_of(&deployments, set));
    let pods = {
        let sets = sets.clone();
        // Only the end of a pod matters, to those who wait for it; the sets' statuses say everything else.
        controller.relates::<Pod>(move |pod| if pod.is_deleting() { owner_of_set(&sets, pod) } else { vec![] })
    };
    controller.open(Deployments { sets, pods })
}

/// The deployment that controls the set; for a set that nobody controls, those that would adopt it.
fn deployments_of(deployments: &Informer<Deployment>, set: &Object) -> Vec<ObjectKey> {
    let namespace = set.namespace().unwrap_or_default();
    if set.controller().is_some() {
        return controlling_deployment(set).into_iter().collect();
    }
    let selects = |deployment: &Object| {
        let deployment = deployment.view::<Deployment>().ok();
        let spec: Option<&DeploymentSpec> = deployment.as_deref().and_then(|deployment| deployment.spec());
        matches!(spec.map(|spec| LabelSelector::from_api(&spec.selector)), Some(Ok(selector)) if selector.matches_object(set))
    };
    deployments.list_namespace(namespace).into_iter().filter(selects).map(|d| d.key().clone()).collect()
}

fn owner_of_set(sets: &Informer<ReplicaSet>, pod: &Object) -> Vec<ObjectKey> {
    let owner = pod.controller().filter(|owner| &*owner.kind == "ReplicaSet");
    let key = owner.map(|owner| ObjectKey::namespaced(pod.namespace().unwrap_or_default(), &*owner.name));
    let set = key.and_then(|key| sets.get(&key));
    set.and_then(|set| controlling_deployment(&set)).into_iter().collect()
}

fn controlling_deployment(set: &Object) -> Option<ObjectKey> {
    let owner = set.controller()?;
    let ours = &*owner.kind == "Deployment" && owner.api_version.starts_with("apps/");
    ours.then(|| ObjectKey::namespaced(set.namespace().unwrap_or_default(), &*owner.name))
}

struct Deployments {
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

#[async_trait]
impl Reconciler for Deployments {
    type Kind = Deployment;

    async fn reconcile(&self, deployment: View<Deployment>, ctx: &Context) -> Result<Action, Error> {
        let object = deployment.object();
        let namespace = object.namespace().unwrap_or_default();
        let mut sets: Vec<View<ReplicaSet>> = Vec::new();
        for set in self.sets.list_namespace(namespace) {
            if set.controller().is_none_or(|owner| *owner.uid == *object.uid()) {
                sets.push(set.view()?);
            }
        }
        let mut pods: Vec<View<Pod>> = Vec::new();
        let spec: Option<&DeploymentSpec> = deployment.spec();
        if spec.is_some_and(|spec| !limits::is_rolling(spec)) {
            let owned = |pod: &Object| {
                let owner = pod.controller();
                owner.is_some_and(|owner| sets.iter().any(|set| set.object().uid() == &*owner.uid))
            };
            for pod in self.pods.list_namespace(namespace).iter().filter(|pod| owned(pod)) {
                pods.push(pod.view()?);
            }
        }
        let template = deployment.template();
        let snapshot = Snapshot { deployment: &deployment, template: &template, sets: &sets, pods: &pods };
        let plan = plan::plan(&snapshot, ctx.now());
        if plan.selects_all {
            let message = "this deployment selects all pods: a non-empty selector is required";
            ctx.event(object, EventType::Warning, "SelectingAll", message);
        }
        let mut current = deployment;
        for operation in plan.operations {
            current = execute(current, operation, ctx).await?;
        }
        Ok(Action::after(plan.after))
    }
}

/// Carries out one write; returns the deployment as it is then.
async fn execute(
    deployment: View<Deployment>,
    operation: Operation<View<ReplicaSet>>,
    ctx: &Context,
) -> Result<View<Deployment>, Error> {
    match operation {
        Operation::Adopt(set) => {
            // The cache may show a deployment that has meanwhile been deleted: its sets are not to be adopted back.
            let object = deployment.object();
            let deployments = ctx.client().namespaced::<Deployment>(object.namespace().unwrap_or_default());
            let live = deployments.get(object.name()).await?;
            if live.object().uid() != object.uid() || live.object().is_deleting() {
                return Err(Error::other("the deployment is being deleted: it adopts nothing"));
            }
            let metadata = adopted(&set.metadata, controller_reference::<Deployment>(&deployment.metadata));
            ctx.replace(&set, &ReplicaSet { metadata, ..set.to_owned() }).await?;
        }
        Operation::Release(set) => {
            let metadata = released(&set.metadata, deployment.object().uid());
            ctx.replace(&set, &ReplicaSet { metadata, ..set.to_owned() }).await?;
        }
        Operation::Create(set) => create(&deployment, &set, ctx).await?,
        Operation::Update(base, set) => {
            ctx.replace(&base, &*set).await?;
            note_scaling(&deployment, &set, size(&base), size(&set), ctx);
        }
        Operation::Delete(set) => {
            ctx.delete(&set, &Options::default().propagation(Propagation::Background)).await?;
        }
        Operation::Revision(number) => {
            let mut new = deployment.to_owned();
            let annotations = new.metadata.annotations.get_or_insert_default();
            annotations.insert(revision::REVISION.into(), number.to_string());
            return ctx.replace(&deployment, &new).await;
        }
        Operation::Status(status) => return write_status(&deployment, *status, ctx).await,
    }
    Ok(deployment)
}

async fn create(deployment: &View<Deployment>, set: &ReplicaSet, ctx: &Context) -> Result<(), Error> {
    // The set's template is the deployment's and the hash label: what neither type knows comes along.
    let whole = carry_part(deployment, "spec.template", set, "spec.template")?;
    let template = whole["spec"]["template"].clone();
    let error = match ctx.create_value::<ReplicaSet>(whole).await {
        Ok(_) => {
            note_scaling(deployment, set, 0, size(set), ctx);
            return Ok(());
        }
        Err(error) => error,
    };
    let api = error.api();
    if api.is_some_and(|error| error.is_namespace_terminating()) {
        return Ok(());
    }
    let mut status = deployment.status.clone().unwrap_or_default();
    if api.is_some_and(|error| error.is_already_exists()) {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let sets = ctx.client().namespaced::<ReplicaSet>(deployment.object().namespace().unwrap_or_default());
        let taken = sets.get(name).await?;
        if is_controlled_by(&taken.metadata, deployment.metadata.uid.as_ref())
            && revision::same_template(&taken.template(), &template)
        {
            return Err(error); // It is ours, and the cache did not show it yet: look again.
        }
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    } else {
        let message = format!("cannot create a ReplicaSet: {error}");
        ctx.event(deployment.object(), EventType::Warning, status::reason::CREATE_ERROR, message.clone());
        let spec: Option<&DeploymentSpec> = deployment.spec();
        if spec.is_some_and(|spec| status::deadline(spec).is_some()) {
            let reason = status::reason::CREATE_ERROR;
            status::set(&mut status, status::condition(status::PROGRESSING, "False", reason, message, ctx.now()));
        }
    }
    if deployment.status.as_ref() != Some(&status) {
        write_status(deployment, status, ctx).await?;
    }
    Err(error)
}

async fn write_status(
    deployment: &View<Deployment>,
    status: DeploymentStatus,
    ctx: &Context,
) -> Result<View<Deployment>, Error> {
    let new = Deployment { status: Some(status), ..deployment.to_owned() };
    ctx.replace_status(deployment, &new).await
}

fn note_scaling(deployment: &View<Deployment>, set: &ReplicaSet, from: i32, to: i32, ctx: &Context) {
    if from != to {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let direction = if to > from { "up" } else { "down" };
        let message = format!("scaled {direction} replica set {name} from {from} to {to}");
        ctx.event(deployment.object(), EventType::Normal, "ScalingReplicaSet", message);
    }
}

fn size(set: &ReplicaSet) -> i32 {
    let spec: Option<&ReplicaSetSpec> = set.spec();
    spec.and_then(|spec| spec.replicas).unwrap_or(1)
}
