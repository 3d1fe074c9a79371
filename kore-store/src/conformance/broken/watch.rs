//! What goes wrong on a watch of a broken store.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::future::BoxFuture;

use super::Fault;
use super::store::State;
use crate::{Error, Event, EventBatch, KeyValue, Result, Revision, Store, Watch, WatchRequest, WatchSource, Watched};

/// What the watch knows of its store.
pub(super) struct Facts {
    pub(super) store: Arc<dyn Store>,
    pub(super) request: WatchRequest,
    /// The current revision when it began.
    pub(super) begun_at: Revision,
    /// The compacted revision when it began.
    pub(super) boundary: Revision,
    /// How many writes there had been when it was last polled.
    pub(super) polled: Arc<AtomicU64>,
    pub(super) state: Arc<State>,
}

pub(super) struct BrokenWatch {
    inner: Watch,
    fault: Fault,
    facts: Facts,
    batches: usize,
    /// What is told next.
    pending: VecDeque<Result<Watched>>,
    /// Begins anew behind a compaction.
    again: Option<BoxFuture<'static, Result<Watch>>>,
}

impl BrokenWatch {
    pub(super) fn new(inner: Watch, fault: Fault, facts: Facts) -> BrokenWatch {
        BrokenWatch { inner, fault, facts, batches: 0, pending: VecDeque::new(), again: None }
    }

    /// What becomes of a batch.
    fn tell(&mut self, batch: EventBatch) {
        self.batches += 1;
        let Facts { request, begun_at, boundary, state, .. } = &self.facts;
        let behind = state.latest().saturating_sub(batch.revision);
        let told = match self.fault {
            Fault::SplitTransaction => {
                let one = |event: &Event| EventBatch::new(batch.revision, [event.clone()]);
                batch.events.iter().map(one).collect()
            }
            Fault::SkippedBatch if self.batches.is_multiple_of(7) => vec![],
            Fault::SkippedWhenBehind if behind > 100 && self.batches.is_multiple_of(50) => vec![],
            Fault::SkippedWhenResumed if self.batches == 1 && batch.revision <= *begun_at => vec![],
            Fault::LostDeletion if batch.revision == *boundary => {
                let left: Vec<Event> = batch.events.iter().filter(|event| !event.is_deletion()).cloned().collect();
                if left.is_empty() { vec![] } else { vec![EventBatch::new(batch.revision, left)] }
            }
            Fault::RepeatedBatch if self.batches.is_multiple_of(5) => vec![batch.clone(), batch],
            Fault::WrongPrevious => {
                vec![changed(&batch, |event| Event { previous: Some(event.kv.clone()), ..event.clone() })]
            }
            Fault::WrongCreation => vec![changed(&batch, |event| {
                let version = u64::from(!event.is_deletion());
                let kv = KeyValue { version, ..KeyValue::clone(&event.kv) };
                Event { kv: Arc::new(kv), ..event.clone() }
            })],
            _ => vec![batch],
        };
        if self.fault == Fault::ImpatientWatch && behind > 1000 {
            let (requested, at) = (state.latest() - behind, state.latest());
            self.pending.push_back(Err(Error::Compacted { requested, at }));
        }
        if self.fault == Fault::UnaskedProgress && request.progress && behind > 0 {
            self.pending.push_back(Ok(Watched::Progress(state.latest())));
        }
        self.pending.extend(told.into_iter().map(|batch| Ok(Watched::Batch(batch))));
    }
}

/// A batch with each of its events changed.
fn changed(batch: &EventBatch, change: impl Fn(&Event) -> Event) -> EventBatch {
    EventBatch::new(batch.revision, batch.events.iter().map(change).collect::<Vec<_>>())
}

impl Stream for BrokenWatch {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.facts.polled.store(this.facts.state.writes(), Ordering::Relaxed);
        loop {
            if let Some(told) = this.pending.pop_front() {
                return Poll::Ready(Some(told));
            }
            if let Some(again) = &mut this.again {
                this.inner = ready!(again.as_mut().poll(context))?;
                this.again = None;
            }
            let compacted = this.facts.state.compacted();
            if this.fault == Fault::JumpyWatch && compacted > this.facts.begun_at {
                let requested = this.facts.begun_at;
                return Poll::Ready(Some(Err(Error::Compacted { requested, at: compacted })));
            }
            match ready!(Pin::new(&mut this.inner).poll_next(context)) {
                Some(Ok(Watched::Batch(batch))) => this.tell(batch),
                Some(Err(Error::Compacted { at, .. })) if this.fault == Fault::SilentSkip => {
                    let (store, request) = (this.facts.store.clone(), this.facts.request.clone().from(at));
                    this.again = Some(Box::pin(async move { store.watch(request).await }));
                }
                item => return Poll::Ready(item),
            }
        }
    }
}

impl WatchSource for BrokenWatch {
    fn request_progress(mut self: Pin<&mut Self>) {
        match self.fault {
            Fault::EarlyProgress => {
                let ahead = self.facts.begun_at + 1_000;
                self.pending.push_back(Ok(Watched::Progress(ahead)));
            }
            Fault::EagerProgress => {
                let latest = self.facts.state.latest();
                self.pending.push_back(Ok(Watched::Progress(latest)));
            }
            _ => self.inner.request_progress(),
        }
    }
}
