//! A ReplicaSet for the table tests.

use crate::objects::testing::{labels, meta};
use crate::objects::versions::Spec;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A set that selects `app=web`.
pub(crate) fn set(name: &str, replicas: i32) -> ReplicaSet {
    let mut set = ReplicaSet { metadata: meta(name), ..ReplicaSet::default() };
    let spec = set.spec_mut();
    spec.replicas = Some(replicas);
    spec.selector = LabelSelector { match_labels: labels(&[("app", "web")]), ..LabelSelector::default() };
    spec.template.get_or_insert_default().metadata.get_or_insert_default().labels = labels(&[("app", "web")]);
    set
}
