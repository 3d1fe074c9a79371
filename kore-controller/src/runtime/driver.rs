//! The loop around the queue: it alone knows tasks and time.
//!
//! Changes become keys, keys become runs, all in one future. A panic ends one run of one key.

use super::reconciler::Action;
use crate::Error;
use crate::queue::{Config, Outcome, Priority, Queue};
use futures::future::{BoxFuture, join_all};
use futures::stream::{FuturesUnordered, SelectAll, StreamExt};
use futures::{FutureExt, Stream, stream};
use kore_api::client::{Change, Changes, Informer};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

/// How long reconciles that run when the controller is stopped may go on; after that they are dropped.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A controller that runs somewhere. Cloning is cheap; dropping it stops nothing.
#[derive(Clone, Debug)]
pub struct Handle {
    stop: Arc<watch::Sender<bool>>,
    statistics: watch::Receiver<Statistics>,
}

impl Handle {
    /// Stops the controller in good order: no further reconcile starts, those that run finish (within 30 s), and then the
    /// run future ends.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// What the controller has done so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics.borrow().clone()
    }
}

/// What a controller has done, and has still to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Reconciles that ended, however they ended.
    pub reconciles: u64,
    /// Reconciles that failed, panics included.
    pub failures: u64,
    /// Reconciles that panicked.
    pub panics: u64,
    /// Keys that run now.
    pub running: usize,
    /// Keys that are ready to run.
    pub ready: usize,
    /// Keys that wait for a time.
    pub waiting: usize,
}

/// What a controller is made of, whatever its keys are.
pub(crate) struct Parts<K> {
    pub(crate) name: String,
    /// Sends the events that are recorded.
    pub(crate) recording: BoxFuture<'static, ()>,
    /// What must have listed once before anything runs.
    pub(crate) informers: Vec<Informer<()>>,
    pub(crate) sources: Vec<Source<K>>,
    pub(crate) config: Config,
    /// One run of a key. It is dropped with the controller.
    pub(crate) run: Box<dyn Fn(K) -> BoxFuture<'static, End> + Send + Sync>,
}

/// One watched kind: its changes, and the keys that a change concerns.
pub(crate) struct Source<K> {
    pub(crate) changes: Changes,
    pub(crate) keys: Box<dyn FnMut(Change) -> Vec<K> + Send>,
}

/// How one run of a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fine(Action),
    Failed,
    Panicked,
}

pub(crate) fn open<K>(parts: Parts<K>) -> (Handle, impl Future<Output = ()> + Send + use<K>)
where
    K: Ord + Clone + Send + 'static,
{
    let stop = Arc::new(watch::Sender::new(false));
    let statistics = watch::Sender::new(Statistics::default());
    let handle = Handle { stop: stop.clone(), statistics: statistics.subscribe() };
    let run = async move {
        let span = tracing::info_span!("controller", name = %parts.name);
        let Parts { mut recording, informers, sources, config, run, .. } = parts;
        let mut stopped = stop.subscribe();
        let stopped = async move {
            // The sender is in `stop`, which this future holds.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let both = async {
            let driving = drive(&informers, sources, Queue::new(config), run, &statistics, stopped);
            tokio::pin!(driving);
            tokio::select! {
                biased;
                () = &mut driving => {}
                () = &mut recording => driving.await,
            }
        };
        both.instrument(span).await;
        drop(stop);
    };
    (handle, run)
}

async fn drive<K: Ord + Clone + Send + 'static>(
    informers: &[Informer<()>],
    mut sources: Vec<Source<K>>,
    mut queue: Queue<K>,
    run: Box<dyn Fn(K) -> BoxFuture<'static, End> + Send + Sync>,
    statistics: &watch::Sender<Statistics>,
    stopped: impl Future<Output = ()>,
) {
    let origin = Instant::now();
    let now = || origin.elapsed();
    tokio::pin!(stopped);
    tokio::select! {
        biased;
        () = &mut stopped => return,
        _ = join_all(informers.iter().map(Informer::synced)) => {}
    }
    // What was there before is less urgent than what happens from now on.
    for source in &mut sources {
        while let Some(change) = source.changes.try_next() {
            for key in (source.keys)(change) {
                queue.add(key, Priority::LOW, now());
            }
        }
    }
    let mut triggers: SelectAll<_> = sources.into_iter().map(|source| Box::pin(keys_of(source))).collect();
    let start = |key: K| {
        let run = AssertUnwindSafe(run(key.clone())).catch_unwind();
        run.map(|end| (key, end.unwrap_or(End::Panicked)))
    };
    let mut jobs = FuturesUnordered::new();
    loop {
        while let Some(key) = queue.next(now()) {
            jobs.push(start(key));
        }
        statistics.send_modify(|statistics| {
            statistics.running = queue.running();
            statistics.ready = queue.ready();
            statistics.waiting = queue.waiting();
        });
        let wake = queue.wake_at();
        tokio::select! {
            biased;
            () = &mut stopped => break,
            Some((key, end)) = jobs.next() => {
                statistics.send_modify(|statistics| end.count(statistics));
                queue.finish(&key, end.outcome(), now());
                // Busy jobs do not keep changes out, nor the other way round.
                let keys = triggers.next().now_or_never().flatten().unwrap_or_default();
                keys.into_iter().for_each(|key| queue.add(key, Priority::NORMAL, now()));
            }
            Some(keys) = triggers.next() => {
                keys.into_iter().for_each(|key| queue.add(key, Priority::NORMAL, now()));
            }
            () = sleep_until(origin + wake.unwrap_or_default()), if wake.is_some() => {}
        }
    }
    let finish = async {
        while let Some((_, end)) = jobs.next().await {
            statistics.send_modify(|statistics| end.count(statistics));
        }
    };
    if timeout(STOP_LIMIT, finish).await.is_err() {
        tracing::warn!(running = jobs.len(), "reconciles did not end in time and are dropped");
    }
}

/// The keys that changes of one source concern, for as long as its informer lives.
fn keys_of<K: 'static>(source: Source<K>) -> impl Stream<Item = Vec<K>> {
    stream::unfold(source, |mut source| async {
        let change = source.changes.next().await?;
        let keys = (source.keys)(change);
        Some((keys, source))
    })
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            End::Fine(Action::Done) => Outcome::Done,
            End::Fine(Action::After(delay)) => Outcome::After(delay),
            End::Failed | End::Panicked => Outcome::Retry,
        }
    }

    fn count(self, statistics: &mut Statistics) {
        statistics.reconciles += 1;
        statistics.failures += u64::from(!matches!(self, End::Fine(_)));
        statistics.panics += u64::from(self == End::Panicked);
    }
}

impl From<Result<Action, Error>> for End {
    fn from(result: Result<Action, Error>) -> Self {
        match result {
            Ok(action) => End::Fine(action),
            Err(error) => {
                if error.api().is_some_and(|error| error.is_conflict()) {
                    tracing::debug!(%error, "somebody else wrote; trying again");
                } else {
                    tracing::warn!(%error, "failed; trying again");
                }
                End::Failed
            }
        }
    }
}
