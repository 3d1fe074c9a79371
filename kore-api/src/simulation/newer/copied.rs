//! Whether an object that was made from its controller's pod template carries the fields along that its maker does not know.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::carried;
use super::fields::Place;
use crate::object::ResourceType;

/// Who controls an object that is being created.
pub(super) struct Owner {
    pub(super) resource: ResourceType,
    pub(super) name: String,
}

/// The kinds that have a pod template of which they make something, at `spec.template`.
const OWNERS: [ResourceType; 5] = [
    ResourceType::of::<Deployment>(),
    ResourceType::of::<ReplicaSet>(),
    ResourceType::of::<StatefulSet>(),
    ResourceType::of::<DaemonSet>(),
    ResourceType::of::<Job>(),
];

/// The controller of `created`, if it is of a kind with a pod template.
pub(super) fn owner_of(created: &Value) -> Option<Owner> {
    let owners = created["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let is_it = |resource: &&ResourceType| {
        owner["kind"] == *resource.kind && owner["apiVersion"].as_str() == Some(&*resource.api_version())
    };
    let resource = OWNERS.iter().find(is_it)?.clone();
    Some(Owner { resource, name: owner["name"].as_str()?.to_owned() })
}

/// The fields of the owner's template that `created` has lost: of a pod's `spec` those of the template's `spec` (what becomes
/// of a template's metadata is stated field by field), of anything else with a template those of the template. `None` if it has
/// neither.
pub(super) fn lost(
    resource: &ResourceType,
    created: &Value,
    owner: &ResourceType,
    base: &Value,
) -> Option<Vec<(String, String)>> {
    let place = Place::of(owner).field("spec").field("template");
    let template = &base["spec"]["template"];
    match &*resource.kind {
        "Pod" => Some(carried::lost_at("spec", &place.field("spec"), &template["spec"], &created["spec"])),
        _ => {
            let made = created["spec"].get("template")?;
            Some(carried::lost_at("spec.template", &place, template, made))
        }
    }
}
