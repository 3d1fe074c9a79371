//! What every policy is.

/// A scheduling policy: something with a name that takes part in one or more extension points.
///
/// The points are traits of their own ([`Filter`](crate::Filter), [`Score`](crate::Score), …). A policy implements those it
/// needs and is registered at them with [`Profile::plugin`](crate::Profile::plugin).
///
/// ```
/// use kore_sched::{Depends, Plugin};
///
/// struct Quiet;
///
/// impl Plugin for Quiet {
///     /// What the policy works out once for a pod and reads for each node. `()` for nothing.
///     type State = ();
///
///     fn name(&self) -> &'static str {
///         "Quiet"
///     }
///
///     /// Optional: the answers depend on the pod and on one node, so that they can be remembered until the node changes.
///     fn depends(&self) -> Depends {
///         Depends::Node
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scheduling plugin",
    note = "implement `kore_sched::Plugin` (`type State = ();` and `fn name`), then the traits of the points it takes part in"
)]
pub trait Plugin: Send + Sync + 'static {
    /// What the plugin remembers of one pod from one point to the next: made by `default()` when the pod's cycle begins,
    /// filled by the points that get it mutably, dropped when the pod is bound or given up.
    type State: Default + Send + Sync + 'static;

    /// The plugin's name: unique in its profile, shown in explanations, configuration and metrics.
    fn name(&self) -> &'static str;

    /// What the plugin's verdicts and scores depend on. The default is right for every plugin, and the slowest: one plugin
    /// that depends on everything makes its profile look at every node for every pod.
    fn depends(&self) -> Depends {
        Depends::Everything
    }
}

/// What verdicts and scores of a plugin depend on, apart from its own arguments, which do not change.
///
/// Declaring less than `Everything` is a promise: of the pod the plugin reads only [`PodClass`](crate::PodClass) (never its
/// name, annotations or other fields), and of the cluster only what the variant says, and its answers are a function of
/// that. The engine then remembers answers for pods of one class and asks again only for nodes that changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Depends {
    /// The pod's class alone: the same for every node, whatever happens in the cluster.
    Pod,
    /// The pod's class and the node asked about, with the pods on it.
    Node,
    /// The pod's class and all nodes of the topology domain of the node asked about.
    Domain,
    /// Anything.
    #[default]
    Everything,
}
