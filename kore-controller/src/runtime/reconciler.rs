//! The trait that users implement.

use super::Context;
use crate::Error;
use async_trait::async_trait;
use kore_api::object::{Kind, ObjectKey, View};
use std::time::Duration;

/// Moves the world towards what one object asks for.
///
/// # The contract
///
/// **Level-triggered.** A reconcile is not told what changed: it looks at what there is and does what is missing. It may
/// be run at any time, any number of times, after a crash at any of its writes: running it again must converge.
///
/// **One at a time.** The same object is never reconciled twice at once by one controller; different objects are,
/// up to [`Config::concurrency`](crate::queue::Config::concurrency).
///
/// **Reads its own writes.** What a reconcile wrote through its [`Context`] is in the informers before the same object is
/// reconciled again. Nobody needs to remember what is expected.
///
/// **May fail.** An error or a panic concerns this object only; it is tried again after a back-off that doubles.
///
/// # Style
///
/// Keep the decision apart: a pure function from what there is to a list of operations, and a reconcile that carries
/// them out one by one. The decision is then tested as a table, and a crash after each operation can be simulated.
///
/// ```
/// use async_trait::async_trait;
/// use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
/// use kore_api::client::Informer;
/// use kore_api::object::{ObjectKey, View};
/// use kore_controller::{Action, Context, Error, Reconciler};
///
/// /// Puts a ConfigMap named `welcome` into every namespace.
/// struct Welcome {
///     maps: Informer<ConfigMap>,
/// }
///
/// /// The decision: what to create, if anything.
/// fn plan(namespace: &Namespace, welcome: Option<&ConfigMap>) -> Option<ConfigMap> {
///     let going = namespace.metadata.deletion_timestamp.is_some();
///     if going || welcome.is_some() {
///         return None;
///     }
///     let mut map = ConfigMap::default();
///     map.metadata.name = Some("welcome".into());
///     map.metadata.namespace = namespace.metadata.name.clone();
///     Some(map)
/// }
///
/// #[async_trait]
/// impl Reconciler for Welcome {
///     type Kind = Namespace;
///
///     async fn reconcile(&self, namespace: View<Namespace>, ctx: &Context) -> Result<Action, Error> {
///         let name = namespace.object().name();
///         let welcome = self.maps.view(&ObjectKey::namespaced(name, "welcome"))?;
///         if let Some(map) = plan(&namespace, welcome.as_deref()) {
///             ctx.create(&map).await?;
///         }
///         Ok(Action::Done)
///     }
/// }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Reconciler`",
    note = "implement `Reconciler` with `#[async_trait]`: a `Kind` and `async fn reconcile`"
)]
pub trait Reconciler: Send + Sync + 'static {
    /// The kind whose objects are reconciled.
    type Kind: Kind;

    /// Does what is missing for `object`, as the informers have it now.
    ///
    /// # Errors
    /// Any error, and a panic, makes the object be tried again after its back-off.
    async fn reconcile(&self, object: View<Self::Kind>, ctx: &Context) -> Result<Action, Error>;

    /// Called instead of [`reconcile`](Reconciler::reconcile) when there is no object of this key (any more). What hangs
    /// on owner references is cleaned up by the garbage collector; this is for what does not. Does nothing by default.
    ///
    /// # Errors
    /// As for [`reconcile`](Reconciler::reconcile).
    async fn gone(&self, key: &ObjectKey, ctx: &Context) -> Result<Action, Error> {
        let _ = (key, ctx);
        Ok(Action::Done)
    }
}

/// What is to happen next with an object that was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes.
    Done,
    /// Reconcile it again after this long, or sooner if something changes.
    After(Duration),
}

impl Action {
    /// [`Action::After`] if there is a time to wait for.
    pub fn after(delay: Option<Duration>) -> Self {
        delay.map_or(Action::Done, Action::After)
    }
}
