//! Deployments and their sets for the table tests.

use super::revision;
use crate::objects::template::Templated;
use crate::objects::testing::{labels, meta, time};
use crate::objects::versions::Spec;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A deployment of image `web:1` that selects `app=web`.
pub(crate) fn deployment(name: &str, replicas: i32) -> Deployment {
    let mut deployment = Deployment { metadata: meta(name), ..Deployment::default() };
    let spec: &mut DeploymentSpec = deployment.spec_mut();
    spec.replicas = Some(replicas);
    spec.progress_deadline_seconds = Some(600);
    spec.revision_history_limit = Some(10);
    spec.selector = LabelSelector { match_labels: labels(&[("app", "web")]), ..LabelSelector::default() };
    spec.template.metadata.get_or_insert_default().labels = labels(&[("app", "web")]);
    with_image(deployment, "web:1")
}

pub(crate) fn with_image(mut deployment: Deployment, image: &str) -> Deployment {
    let container = Container { name: "web".into(), image: Some(image.into()), ..Container::default() };
    let spec: &mut DeploymentSpec = deployment.spec_mut();
    spec.template.spec = Some(PodSpec { containers: vec![container], ..PodSpec::default() });
    deployment
}

/// With these limits, each a number or a percentage.
pub(crate) fn rolling(mut deployment: Deployment, surge: &str, unavailable: &str) -> Deployment {
    let value = |text: &str| text.parse().map_or_else(|_| IntOrString::String(text.into()), IntOrString::Int);
    let spec: &mut DeploymentSpec = deployment.spec_mut();
    let rolling = RollingUpdateDeployment { max_surge: Some(value(surge)), max_unavailable: Some(value(unavailable)) };
    spec.strategy = Some(DeploymentStrategy { type_: Some("RollingUpdate".into()), rolling_update: Some(rolling) });
    deployment
}

/// The set that the deployment would make for this image: sized, marked with revision 1, `available` pods available.
/// The image `old` comes before all others in creation.
pub(crate) fn set_of(deployment: &Deployment, image: &str, replicas: i32) -> ReplicaSet {
    let of = with_image(deployment.clone(), image);
    let spec: &DeploymentSpec = of.spec().expect("a spec");
    let mut set = revision::new_set(&of, spec, &(&of).template());
    let name = set.metadata.name.clone().expect("named");
    let annotations = revision::current(&set.metadata, &of.metadata, 0);
    set.metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        uid: Some(format!("uid-{name}")),
        generation: Some(1),
        creation_timestamp: Some(time(i64::from(image != "old"))),
        annotations: Some(revision::sized(&annotations, spec)),
        ..set.metadata
    };
    set.spec_mut().replicas = Some(replicas);
    available(set, replicas)
}

pub(crate) fn available(mut set: ReplicaSet, available: i32) -> ReplicaSet {
    let replicas = set.spec_mut().replicas.unwrap_or(1);
    let status = set.status.get_or_insert_default();
    status.replicas = replicas;
    status.ready_replicas = Some(available);
    status.available_replicas = Some(available);
    status.observed_generation = Some(1);
    set
}
