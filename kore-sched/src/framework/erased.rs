//! How typed plugins become one list.
//!
//! Each plugin has a slot in its profile. A pod's cycle has one boxed state a slot; an adapter knows the type of its plugin
//! and gives it its own state. One call of an adapter does all nodes, so that erasure costs a call a pod and not a node.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::engine::BindFailure;
use crate::node::NodeIndex;
use crate::node_set::NodeSet;
use crate::pod::PodInfo;

/// The state of one plugin for one pod.
pub(crate) type State = Box<dyn Any + Send + Sync>;

/// One plugin with the points it is registered at.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) depends: Depends,
    pub(crate) new_state: fn() -> State,
    pub(crate) pre_enqueue: Option<Arc<dyn ErasedPreEnqueue>>,
    pub(crate) queue_sort: Option<Arc<dyn ErasedQueueSort>>,
    pub(crate) enqueue: Option<Arc<dyn ErasedEnqueue>>,
    pub(crate) pre_filter: Option<Arc<dyn ErasedPreFilter>>,
    pub(crate) filter: Option<Arc<dyn ErasedFilter>>,
    pub(crate) post_filter: Option<Arc<dyn ErasedPostFilter>>,
    pub(crate) pre_score: Option<Arc<dyn ErasedPreScore>>,
    pub(crate) score: Option<(i64, Arc<dyn ErasedScore>)>,
    pub(crate) reserve: Option<Arc<dyn ErasedReserve>>,
    pub(crate) permit: Option<Arc<dyn ErasedPermit>>,
    pub(crate) pre_bind: Option<Arc<dyn ErasedPreBind>>,
    pub(crate) bind: Option<Arc<dyn ErasedBind>>,
    pub(crate) post_bind: Option<Arc<dyn ErasedPostBind>>,
}

impl Entry {
    pub(crate) fn new<P: Plugin>(plugin: &P) -> Entry {
        Entry {
            name: plugin.name(),
            depends: plugin.depends(),
            new_state: || Box::new(P::State::default()),
            pre_enqueue: None,
            queue_sort: None,
            enqueue: None,
            pre_filter: None,
            filter: None,
            post_filter: None,
            pre_score: None,
            score: None,
            reserve: None,
            permit: None,
            pre_bind: None,
            bind: None,
            post_bind: None,
        }
    }

    /// The events a pod is woken by that this plugin refused.
    pub(crate) fn interest(&self) -> Interest {
        match &self.enqueue {
            Some(plugin) => plugin.interest(),
            // The same answer whatever happens, until the pod is another one.
            None if self.depends == Depends::Pod => Interest::THIS_POD,
            None => Interest::ALL,
        }
    }

    /// Whether it takes part in the choice of a node.
    pub(crate) fn decides(&self) -> bool {
        self.pre_filter.is_some() || self.filter.is_some() || self.pre_score.is_some() || self.score.is_some()
    }

    /// Whether it takes part in what comes after the choice of a node.
    pub(crate) fn has_later_points(&self) -> bool {
        self.post_filter.is_some()
            || self.reserve.is_some()
            || self.permit.is_some()
            || self.pre_bind.is_some()
            || self.bind.is_some()
            || self.post_bind.is_some()
    }

    pub(crate) fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        if !self.interest().meets(event.interest()) {
            return Hint::Skip;
        }
        match &self.enqueue {
            Some(plugin) => plugin.hint(pod, event),
            None => Hint::Queue,
        }
    }
}

/// Makes every point's trait fit for a list, whatever the plugin's state.
pub(crate) struct Adapter<P>(pub(crate) Arc<P>);

/// What a state is before its plugin has looked at it.
type Slot = dyn Any + Send + Sync;

fn typed<P: Plugin>(state: &Slot) -> &P::State {
    state.downcast_ref().expect("the state in a plugin's slot is of the plugin's own type")
}

fn typed_mut<P: Plugin>(state: &mut Slot) -> &mut P::State {
    state.downcast_mut().expect("the state in a plugin's slot is of the plugin's own type")
}

pub(crate) trait ErasedPreEnqueue: Send + Sync {
    fn pre_enqueue(&self, ctx: &Ctx<'_>) -> Verdict;
}

impl<P: PreEnqueue> ErasedPreEnqueue for Adapter<P> {
    fn pre_enqueue(&self, ctx: &Ctx<'_>) -> Verdict {
        self.0.pre_enqueue(ctx)
    }
}

pub(crate) trait ErasedQueueSort: Send + Sync {
    fn compare(&self, a: Queued<'_>, b: Queued<'_>) -> Ordering;
}

impl<P: QueueSort> ErasedQueueSort for Adapter<P> {
    fn compare(&self, a: Queued<'_>, b: Queued<'_>) -> Ordering {
        self.0.compare(a, b)
    }
}

pub(crate) trait ErasedEnqueue: Send + Sync {
    fn interest(&self) -> Interest;
    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint;
}

impl<P: Enqueue> ErasedEnqueue for Adapter<P> {
    fn interest(&self) -> Interest {
        self.0.interest()
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent) -> Hint {
        self.0.hint(pod, event)
    }
}

pub(crate) trait ErasedPreFilter: Send + Sync {
    fn pre_filter(&self, ctx: &Ctx<'_>, state: &mut Slot) -> Result<Candidates, Rejection>;
}

impl<P: PreFilter> ErasedPreFilter for Adapter<P> {
    fn pre_filter(&self, ctx: &Ctx<'_>, state: &mut Slot) -> Result<Candidates, Rejection> {
        self.0.pre_filter(ctx, typed_mut::<P>(state))
    }
}

pub(crate) trait ErasedFilter: Send + Sync {
    fn filter(&self, ctx: &Ctx<'_>, state: &Slot, node: NodeIndex) -> Verdict;
    fn filter_all(&self, ctx: &Ctx<'_>, state: &Slot, nodes: &mut NodeSet);
}

impl<P: Filter> ErasedFilter for Adapter<P> {
    fn filter(&self, ctx: &Ctx<'_>, state: &Slot, node: NodeIndex) -> Verdict {
        self.0.filter(ctx, typed::<P>(state), ctx.node(node))
    }

    fn filter_all(&self, ctx: &Ctx<'_>, state: &Slot, nodes: &mut NodeSet) {
        self.0.filter_all(ctx, typed::<P>(state), nodes);
    }
}

pub(crate) trait ErasedPostFilter: Send + Sync {
    fn post_filter(&self, ctx: &Ctx<'_>, state: &mut Slot, refusals: &[Refusal]) -> Recourse;
}

impl<P: PostFilter> ErasedPostFilter for Adapter<P> {
    fn post_filter(&self, ctx: &Ctx<'_>, state: &mut Slot, refusals: &[Refusal]) -> Recourse {
        self.0.post_filter(ctx, typed_mut::<P>(state), refusals)
    }
}

pub(crate) trait ErasedPreScore: Send + Sync {
    fn pre_score(&self, ctx: &Ctx<'_>, state: &mut Slot, nodes: &[NodeIndex]) -> Scoring;
}

impl<P: PreScore> ErasedPreScore for Adapter<P> {
    fn pre_score(&self, ctx: &Ctx<'_>, state: &mut Slot, nodes: &[NodeIndex]) -> Scoring {
        self.0.pre_score(ctx, typed_mut::<P>(state), nodes)
    }
}

pub(crate) trait ErasedScore: Send + Sync {
    fn score(&self, ctx: &Ctx<'_>, state: &Slot, node: NodeIndex) -> i64;
    fn score_all(&self, ctx: &Ctx<'_>, state: &Slot, nodes: &[NodeIndex], scores: &mut [i64]);
    fn is_normalized(&self) -> bool;
    fn normalize(&self, ctx: &Ctx<'_>, state: &Slot, scores: &mut [i64]);
}

impl<P: Score> ErasedScore for Adapter<P> {
    fn score(&self, ctx: &Ctx<'_>, state: &Slot, node: NodeIndex) -> i64 {
        self.0.score(ctx, typed::<P>(state), ctx.node(node))
    }

    fn is_normalized(&self) -> bool {
        self.0.is_normalized()
    }

    fn score_all(&self, ctx: &Ctx<'_>, state: &Slot, nodes: &[NodeIndex], scores: &mut [i64]) {
        self.0.score_all(ctx, typed::<P>(state), nodes, scores);
    }

    fn normalize(&self, ctx: &Ctx<'_>, state: &Slot, scores: &mut [i64]) {
        self.0.normalize(ctx, typed::<P>(state), scores);
    }
}

pub(crate) trait ErasedReserve: Send + Sync {
    fn reserve(&self, ctx: &Ctx<'_>, state: &mut Slot, node: NodeIndex) -> Verdict;
    fn unreserve(&self, state: &mut Slot, node: &str);
}

impl<P: Reserve> ErasedReserve for Adapter<P> {
    fn reserve(&self, ctx: &Ctx<'_>, state: &mut Slot, node: NodeIndex) -> Verdict {
        self.0.reserve(ctx, typed_mut::<P>(state), ctx.node(node))
    }

    fn unreserve(&self, state: &mut Slot, node: &str) {
        self.0.unreserve(typed_mut::<P>(state), node);
    }
}

pub(crate) trait ErasedPermit: Send + Sync {
    fn permit(&self, ctx: &Ctx<'_>, state: &mut Slot, node: NodeIndex) -> Permission;
}

impl<P: Permit> ErasedPermit for Adapter<P> {
    fn permit(&self, ctx: &Ctx<'_>, state: &mut Slot, node: NodeIndex) -> Permission {
        self.0.permit(ctx, typed_mut::<P>(state), ctx.node(node))
    }
}

#[async_trait]
pub(crate) trait ErasedPreBind: Send + Sync {
    async fn pre_bind(&self, binding: &Binding<'_>, state: &mut Slot) -> Verdict;
}

#[async_trait]
impl<P: PreBind> ErasedPreBind for Adapter<P> {
    async fn pre_bind(&self, binding: &Binding<'_>, state: &mut Slot) -> Verdict {
        self.0.pre_bind(binding, typed_mut::<P>(state)).await
    }
}

#[async_trait]
pub(crate) trait ErasedBind: Send + Sync {
    async fn bind(&self, binding: &Binding<'_>, state: &mut Slot) -> Result<BindAnswer, BindFailure>;
}

#[async_trait]
impl<P: Bind> ErasedBind for Adapter<P> {
    async fn bind(&self, binding: &Binding<'_>, state: &mut Slot) -> Result<BindAnswer, BindFailure> {
        self.0.bind(binding, typed_mut::<P>(state)).await
    }
}

#[async_trait]
pub(crate) trait ErasedPostBind: Send + Sync {
    async fn post_bind(&self, binding: &Binding<'_>, state: &mut Slot);
}

#[async_trait]
impl<P: PostBind> ErasedPostBind for Adapter<P> {
    async fn post_bind(&self, binding: &Binding<'_>, state: &mut Slot) {
        self.0.post_bind(binding, typed_mut::<P>(state)).await;
    }
}
