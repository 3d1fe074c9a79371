//! What happens to a write between the decoder and the store.
//!
//! - [`Admission`], [`Write`] (`mod.rs`): a stage, and what it sees.
//! - [`Lookup`] (`lookup.rs`): what a stage may read meanwhile.
//! - [`NamespaceLifecycle`] (`namespace.rs`), [`NodeRestriction`] (`node.rs`), [`CertificateRequester`] (`requester.rs`): the stages that
//!   every server has.
//! - [`LimitRanger`] (`limits.rs`), [`Priority`] (`priority.rs`): what pods get that do not say, and may not exceed; every server has them.
//!   Quotas are charged by the server itself, in each write's transaction.
//! - [`ServiceAccounts`] (`account.rs`): as whom pods run.
//! - [`DefaultTolerationSeconds`] (`tolerations.rs`): how long pods bear with a node that fails.

mod account;
mod limits;
mod lookup;
mod namespace;
mod node;
mod priority;
mod requester;
mod tolerations;

pub use account::ServiceAccounts;
pub use limits::LimitRanger;
pub use lookup::Lookup;
pub use namespace::NamespaceLifecycle;
pub use node::NodeRestriction;
pub use priority::Priority;
pub use requester::CertificateRequester;
pub use tolerations::DefaultTolerationSeconds;

use std::sync::Arc;

use async_trait::async_trait;
use kore_store::Compare;
use serde_json::Value;

use crate::auth::User;
use crate::cache::layout;
use crate::error::Status;
use crate::object::{Object, ResourceType};
use crate::request::{Options, Verb};

/// A write on its way to the store.
#[derive(Debug)]
#[non_exhaustive]
pub struct Write<'a> {
    /// Who writes.
    pub user: &'a User,
    /// Create, update (patches included) or delete.
    pub verb: Verb,
    /// The resource.
    pub resource: &'a ResourceType,
    /// Which part of the object; empty: the object itself.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// How the write was asked for.
    pub options: &'a Options,
    /// The object as it is in the store; `None` for a creation.
    pub old: Option<&'a Object>,
    /// The object as it is to become, whichever part of it is written; `Null` for a deletion.
    pub object: Value,
    /// What else there is.
    pub lookup: Lookup<'a>,
    /// What must hold when the write reaches the store.
    pub(crate) guards: Vec<Compare>,
}

impl Write<'_> {
    /// Lets the write happen only if `other` is still as it is here when the write reaches the store. If it is not, the write
    /// goes through all stages again.
    pub fn only_while(&mut self, resource: &ResourceType, other: &Object) {
        let key = layout::object_key(&layout::resource_prefix(resource), other.key());
        self.guards.push(Compare::mod_revision(key, other.revision()));
    }
}

/// A stage between the decoder and the store: may change a write, then may refuse it.
///
/// All stages' [`Admission::mutate`] run in order, then the object is validated, then all stages'
/// [`Admission::validate`]. When the store reports that the object has changed meanwhile, a patch passes through all of it again
/// with the new old object, so that what validation sees is what is replaced.
///
/// ```
/// use kore_api::admission::{Admission, Write};
/// use kore_api::error::Status;
///
/// /// Every pod says which team runs it.
/// struct TeamLabel;
///
/// #[async_trait::async_trait]
/// impl Admission for TeamLabel {
///     async fn validate(&self, write: &Write<'_>) -> Result<(), Status> {
///         let is_pod = write.resource.plural == "pods" && write.subresource.is_empty();
///         if is_pod && write.object.is_object() && write.object["metadata"]["labels"]["team"].is_null() {
///             return Err(Status::forbidden(write.resource, write.name, "the label \"team\" is missing"));
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Changes the object before it is validated.
    ///
    /// # Errors
    /// A `Status` refuses the write and is what the client is told.
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        let _ = write;
        Ok(())
    }

    /// Has the last word on the object as it will be stored.
    ///
    /// # Errors
    /// A `Status` refuses the write and is what the client is told.
    async fn validate(&self, write: &Write<'_>) -> Result<(), Status> {
        let _ = write;
        Ok(())
    }
}

#[async_trait]
impl<A: Admission + ?Sized> Admission for Arc<A> {
    async fn mutate(&self, write: &mut Write<'_>) -> Result<(), Status> {
        (**self).mutate(write).await
    }

    async fn validate(&self, write: &Write<'_>) -> Result<(), Status> {
        (**self).validate(write).await
    }
}
