//! The `binding` subresource of pods: assigns a pod to a node.

use serde_json::{Value, json};

use super::core::Call;
use super::update::{Made, Part};
use super::{body, metadata};
use crate::error::{FieldError, Reason, Status};
use crate::object::Object;
use crate::request::{Body, Content, Verb};

impl Call<'_> {
    /// Sets `spec.nodeName` and the condition `PodScheduled` in one write, if the pod is still the one that is meant, and is not
    /// assigned or on its way out.
    pub(super) async fn bind(&mut self, name: &str, body: Body) -> Result<Content, Status> {
        let binding = body::other(body, "v1", "Binding")?;
        metadata::check_key(&binding, &self.key(name))?;
        let target = &binding["target"];
        let node = target["name"].as_str().unwrap_or_default();
        let mut errors = Vec::new();
        if node.is_empty() {
            errors.push(FieldError::required("target.name", ""));
        }
        match target["kind"].as_str() {
            None | Some("" | "Node") => {}
            Some(other) => errors.push(FieldError::not_supported("target.kind", other, &["Node", "<empty>"])),
        }
        if !errors.is_empty() {
            return Err(Status::invalid(self.resource(), name, &errors));
        }
        let resource = self.route.info.resource.clone();
        let now = self.core.now();
        let mut make = |_: &mut Vec<String>, old: &Object| {
            let mut pod = old.to_unmanaged_value();
            let conflict = |problem: String| Err(Status::conflict(&resource, name, problem));
            if old.is_deleting() {
                return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
            }
            if let Some(other) = pod["spec"]["nodeName"].as_str().filter(|other| !other.is_empty()) {
                return conflict(format!("pod {name} is already assigned to node {other:?}"));
            }
            if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
                return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
            }
            pod["spec"]["nodeName"] = node.into();
            set_scheduled(&mut pod, &now);
            take_over(&mut pod, &binding)?;
            // As upstream: a binding is nobody's edit.
            Ok(Made::Untracked(pod))
        };
        self.modify(name, Verb::Create, Part::Inner("binding"), &mut make).await?;
        Ok(Content::Status(Status { code: 201, ..Status::new(Reason::Unknown, "") }))
    }
}

fn set_scheduled(pod: &mut Value, now: &str) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let conditions = conditions.as_array_mut().expect("made above");
    match conditions.iter_mut().find(|other| other["type"] == "PodScheduled") {
        Some(other) => *other = condition,
        None => conditions.push(condition),
    }
}

/// What the binding says of the pod besides: which one is meant, and annotations for it.
fn take_over(pod: &mut Value, binding: &Value) -> Result<(), Status> {
    let about = &binding["metadata"];
    let metadata = metadata::metadata_mut(pod)?;
    for field in ["uid", "resourceVersion"] {
        match about[field].as_str().filter(|value| !value.is_empty()) {
            Some(value) => drop(metadata.insert(field.into(), value.into())),
            None => drop(metadata.remove(field)),
        }
    }
    if let Some(added) = about["annotations"].as_object().filter(|added| !added.is_empty()) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.extend(added.clone());
        }
    }
    Ok(())
}
