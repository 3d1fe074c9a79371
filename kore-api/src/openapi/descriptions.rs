//! The texts of types and fields, taken at run time from the JSON schemas that come with `k8s-openapi`.

use k8s_openapi::schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value};

use super::PathSource;

/// The texts of every type that the kinds of a document reach.
pub(super) struct Descriptions {
    types: Map<String, Value>,
}

impl Descriptions {
    pub(super) fn of(sources: &[&PathSource]) -> Descriptions {
        let mut generator = SchemaSettings::openapi3().into_generator();
        for source in sources {
            describe(&mut generator, &source.api_version, &source.kind);
            for subresource in &source.subresources {
                describe(&mut generator, &subresource.api_version, &subresource.kind);
            }
        }
        describe(&mut generator, "meta/v1", "DeleteOptions");
        describe(&mut generator, "meta/v1", "Status");
        Descriptions { types: generator.take_definitions(false) }
    }

    pub(super) fn of_type(&self, definition: &str) -> Option<&str> {
        self.types.get(definition)?["description"].as_str()
    }

    pub(super) fn field(&self, definition: &str, field: &str) -> Option<&str> {
        self.types.get(definition)?["properties"][field]["description"].as_str()
    }
}

macro_rules! kinds {
    ($($api_version:literal in $($package:ident)::+ { $($kind:ident)* })*) => {
        /// Enters a kind and everything it reaches. A kind that `k8s-openapi` does not have stays without texts.
        fn describe(generator: &mut SchemaGenerator, api_version: &str, kind: &str) {
            match api_version {
                $($api_version => {
                    use k8s_openapi::$($package)::+ as package;
                    match kind {
                        $(stringify!($kind) => drop(generator.subschema_for::<package::$kind>()),)*
                        _ => {}
                    }
                })*
                _ => {}
            }
        }
    };
}

kinds! {
    "meta/v1" in apimachinery::pkg::apis::meta::v1 { DeleteOptions Status }
    "v1" in api::core::v1 {
        Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod
        PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
    }
    "admissionregistration.k8s.io/v1" in api::admissionregistration::v1 {
        MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
    }
    "apiextensions.k8s.io/v1" in apiextensions_apiserver::pkg::apis::apiextensions::v1 { CustomResourceDefinition }
    "apiregistration.k8s.io/v1" in kube_aggregator::pkg::apis::apiregistration::v1 { APIService }
    "apps/v1" in api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
    "authentication.k8s.io/v1" in api::authentication::v1 { SelfSubjectReview TokenRequest TokenReview }
    "authorization.k8s.io/v1" in api::authorization::v1 {
        LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
    }
    "autoscaling/v1" in api::autoscaling::v1 { HorizontalPodAutoscaler Scale }
    "autoscaling/v2" in api::autoscaling::v2 { HorizontalPodAutoscaler }
    "batch/v1" in api::batch::v1 { CronJob Job }
    "certificates.k8s.io/v1" in api::certificates::v1 { CertificateSigningRequest }
    "coordination.k8s.io/v1" in api::coordination::v1 { Lease }
    "discovery.k8s.io/v1" in api::discovery::v1 { EndpointSlice }
    "events.k8s.io/v1" in api::events::v1 { Event }
    "flowcontrol.apiserver.k8s.io/v1" in api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
    "networking.k8s.io/v1" in api::networking::v1 { IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR }
    "node.k8s.io/v1" in api::node::v1 { RuntimeClass }
    "policy/v1" in api::policy::v1 { Eviction PodDisruptionBudget }
    "rbac.authorization.k8s.io/v1" in api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding }
    "resource.k8s.io/v1" in api::resource::v1 { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
    "scheduling.k8s.io/v1" in api::scheduling::v1 { PriorityClass }
    "storage.k8s.io/v1" in api::storage::v1 { CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass }
}
