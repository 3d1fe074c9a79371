//! The points after the choice of a node. They may wait for others: each pod's binding runs beside the cycles of other pods,
//! as many at once as [`Config::bindings`](crate::Config::bindings) says.

use async_trait::async_trait;
use kore_api::client::Client;

use super::{Plugin, Verdict};
use crate::engine::BindFailure;
use crate::pod::PodInfo;

/// A pod on its way to a node.
pub struct Binding<'a> {
    pub(crate) pod: &'a PodInfo,
    pub(crate) node: &'a str,
    pub(crate) client: &'a Client,
}

impl<'a> Binding<'a> {
    /// The pod.
    pub fn pod(&self) -> &'a PodInfo {
        self.pod
    }

    /// The node's name.
    pub fn node(&self) -> &'a str {
        self.node
    }

    /// The scheduler's own access to the API.
    pub fn client(&self) -> &'a Client {
        self.client
    }
}

/// Prepares what the pod needs before it is bound, a volume for example. Plugins are asked one after the other; a refusal
/// gives the place on the node back.
///
/// ```
/// use kore_sched::{Binding, Plugin, PreBind, Rejection, Verdict};
/// use k8s_openapi::api::core::v1::ConfigMap;
///
/// /// Waits for nothing, but insists that the pod's configuration is there.
/// struct Configured;
///
/// impl Plugin for Configured {
///     type State = ();
///     fn name(&self) -> &'static str { "Configured" }
/// }
///
/// #[async_trait::async_trait]
/// impl PreBind for Configured {
///     async fn pre_bind(&self, binding: &Binding<'_>, _: &mut ()) -> Verdict {
///         let maps = binding.client().namespaced::<ConfigMap>(&binding.pod().key().namespace);
///         match maps.get_opt(&binding.pod().key().name).await {
///             Ok(Some(_)) => Ok(()),
///             Ok(None) => Err(Rejection::unschedulable("no configuration")),
///             Err(error) => Err(Rejection::error(error.to_string())),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait PreBind: Plugin {
    /// Prepares, or refuses.
    async fn pre_bind(&self, binding: &Binding<'_>, state: &mut Self::State) -> Verdict;
}

/// What a [`Bind`] plugin did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindAnswer {
    /// It bound the pod.
    Bound,
    /// The pod is not for it: the next one is asked.
    NotMine,
}

/// Binds the pod. Plugins are asked in order until one does; a profile has at least one.
///
/// ```
/// use kore_sched::{Bind, BindAnswer, BindFailure, Binding, Plugin};
/// use k8s_openapi::api::core::v1::Pod;
///
/// struct Binder;
///
/// impl Plugin for Binder {
///     type State = ();
///     fn name(&self) -> &'static str { "Binder" }
/// }
///
/// #[async_trait::async_trait]
/// impl Bind for Binder {
///     async fn bind(&self, binding: &Binding<'_>, _: &mut ()) -> Result<BindAnswer, BindFailure> {
///         let pod = binding.pod();
///         let pods = binding.client().namespaced::<Pod>(&pod.key().namespace);
///         pods.bind(&pod.key().name, pod.uid(), binding.node()).await?;
///         Ok(BindAnswer::Bound)
///     }
/// }
/// ```
#[async_trait]
pub trait Bind: Plugin {
    /// Binds the pod, or leaves it to the next plugin.
    async fn bind(&self, binding: &Binding<'_>, state: &mut Self::State) -> Result<BindAnswer, BindFailure>;
}

/// Is told that the pod was bound.
///
/// ```
/// use kore_sched::{Binding, Plugin, PostBind};
///
/// struct Tell;
///
/// impl Plugin for Tell {
///     type State = ();
///     fn name(&self) -> &'static str { "Tell" }
/// }
///
/// #[async_trait::async_trait]
/// impl PostBind for Tell {
///     async fn post_bind(&self, binding: &Binding<'_>, _: &mut ()) {
///         tracing::info!(pod = %binding.pod().key(), node = binding.node(), "bound");
///     }
/// }
/// ```
#[async_trait]
pub trait PostBind: Plugin {
    /// The pod was bound.
    async fn post_bind(&self, binding: &Binding<'_>, state: &mut Self::State);
}

impl From<kore_api::error::Error> for BindFailure {
    fn from(error: kore_api::error::Error) -> BindFailure {
        if error.is_not_found() || error.is_conflict() {
            return BindFailure::Overtaken;
        }
        BindFailure::Failed { message: error.to_string() }
    }
}
