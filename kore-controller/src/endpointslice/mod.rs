//! EndpointSlices: which addresses stand behind a Service with a selector.
//!
//! - `endpoints`: the endpoint of one pod, and the ports of one service at one pod
//! - `plan`: how the endpoints are spread over slices, with as few writes as possible
//! - this file carries the plan out
//!
//! At most 100 endpoints a slice; pods whose named ports differ are in different slices; one address family a slice
//! (KEP-752). A service without a pod keeps one empty slice. Slices of a service that is gone are the garbage collector's.

pub(crate) mod endpoints;
pub(crate) mod plan;
#[cfg(test)]
mod tables;

use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kore_api::client::{Client, Informer};
use kore_api::object::{Object, ObjectKey, View};
use kore_api::request::Options;
use kore_api::selector::LabelSelector;

/// The controller of EndpointSlices: a handle, and the future that runs it.
pub fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Service>::new("endpointslice-controller", client, caches);
    let services = controller.primary();
    let nodes = controller.reads::<Node>();
    let slices = controller.relates::<EndpointSlice>(|slice| service_of(slice).into_iter().collect());
    let pods = controller.relates::<Pod>(move |pod| {
        let services = services.list_namespace(pod.namespace().unwrap_or_default());
        services.iter().filter(|service| selects(service, pod)).map(|service| service.key().clone()).collect()
    });
    controller.open(EndpointSlices { pods, slices, nodes })
}

struct EndpointSlices {
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
    nodes: Informer<Node>,
}

#[async_trait]
impl Reconciler for EndpointSlices {
    type Kind = Service;

    async fn reconcile(&self, service: View<Service>, ctx: &Context) -> Result<Action, Error> {
        let Some(selector) = selector(&service) else {
            return Ok(Action::Done);
        };
        if service.object().is_deleting() {
            return Ok(Action::Done);
        }
        let namespace = service.object().namespace().unwrap_or_default();
        let mut pods: Vec<View<Pod>> = Vec::new();
        for pod in self.pods.list_namespace(namespace).iter().filter(|pod| selector.matches_object(pod)) {
            pods.push(pod.view()?);
        }
        let mut slices: Vec<View<EndpointSlice>> = Vec::new();
        for slice in self.slices.list_namespace(namespace) {
            if service_of(&slice).as_ref() == Some(service.key()) {
                slices.push(slice.view()?);
            }
        }
        let zone = |node: &str| {
            let node = self.nodes.get(&ObjectKey::cluster(node))?;
            node.label("topology.kubernetes.io/zone").map(str::to_owned)
        };
        let plan = plan::plan(&service, &pods, &slices, &zone);
        for slice in &plan.create {
            match ctx.create(slice).await {
                Err(error) if error.api().is_some_and(|error| error.is_namespace_terminating()) => {
                    return Ok(Action::Done);
                }
                created => created.map(drop)?,
            }
        }
        for (base, slice) in &plan.update {
            ctx.replace(base, slice).await?;
        }
        for slice in &plan.delete {
            ctx.delete(slice, &Options::default()).await?;
        }
        Ok(Action::Done)
    }
}

/// What the service selects pods by; nothing for a service whose endpoints are somebody else's business.
fn selector(service: &Service) -> Option<LabelSelector> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    Some(LabelSelector::from_labels(selector.clone()))
}

fn selects(service: &Object, pod: &Object) -> bool {
    let selector = service.view::<Service>().ok().and_then(|service| selector(&service));
    selector.is_some_and(|selector| selector.matches_object(pod))
}

/// The service whose slice this is, if it is one of this controller's.
fn service_of(slice: &Object) -> Option<ObjectKey> {
    let ours = slice.label(plan::MANAGED_BY) == Some(plan::MANAGER);
    let service = slice.label(plan::SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::namespaced(slice.namespace().unwrap_or_default(), service))
}
