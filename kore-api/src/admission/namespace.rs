//! Nothing is made in a namespace that is not there, or on its way out.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;

use super::{Admission, Write};
use crate::error::{Status, StatusCause};
use crate::object::{ObjectKey, ResourceType};
use crate::request::Verb;

const NAMESPACES: ResourceType = ResourceType::of::<Namespace>();

/// Namespaces without which a cluster does not work.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

/// Nothing is made in a namespace that is not there, or on its way out; and some namespaces cannot be deleted.
///
/// Exact: a write relies on the namespace as it was seen here, so that nothing slips into one whose deletion begins meanwhile. A
/// server without the resource `namespaces` takes any namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceLifecycle;

#[async_trait]
impl Admission for NamespaceLifecycle {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        let is_namespace = write.resource.group.is_empty() && write.resource.plural == "namespaces";
        if is_namespace && write.verb == Verb::Delete && IMMORTAL.contains(&write.name) {
            return Err(Status::forbidden(write.resource, write.name, "this namespace may not be deleted"));
        }
        let makes = write.verb == Verb::Create && write.subresource.is_empty();
        if !makes || write.namespace.is_empty() || !write.lookup.knows(&NAMESPACES) {
            return Ok(());
        }
        let key = ObjectKey::cluster(write.namespace);
        let namespace = match write.lookup.cached(&NAMESPACES, &key) {
            Some(namespace) => namespace,
            None => {
                let found = write.lookup.get(&NAMESPACES, &key).await?;
                found.ok_or_else(|| Status::not_found(&NAMESPACES, write.namespace))?
            }
        };
        if namespace.is_deleting() {
            return Err(terminating(write));
        }
        write.only_while(&NAMESPACES, &namespace);
        Ok(())
    }
}

fn terminating(write: &Write<'_>) -> Status {
    let problem =
        format!("unable to create new content in namespace {} because it is being terminated", write.namespace);
    let mut status = Status::forbidden(write.resource, write.name, problem);
    if let Some(details) = &mut status.details {
        details.causes.push(StatusCause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {} is being terminated", write.namespace),
            field: "metadata.namespace".into(),
        });
    }
    status
}
