//! The loop around the queue: it alone knows tasks and time.
//!
//! Changes become keys, keys become reconciles, all in one future; a reconcile keeps its key until the informers have
//! seen what it wrote.

use super::context::{Context, Surroundings};
use super::controller::Source;
use super::reconciler::{Action, Reconciler};
use crate::Error;
use crate::queue::{Config, Outcome, Priority, Queue};
use futures::future::{BoxFuture, join_all};
use futures::stream::{FuturesUnordered, SelectAll, StreamExt};
use futures::{FutureExt, Stream, stream};
use kore_api::client::{Change, Informer};
use kore_api::object::{Kind, ObjectKey};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

/// How long a reconcile waits for the informers to see its writes; after that its key is tried again.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
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

/// What a controller is made of.
pub(crate) struct Parts<K: Kind, R, F> {
    pub(crate) name: String,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) recording: F,
    pub(crate) primary: Informer<K>,
    pub(crate) sources: Vec<Source>,
    pub(crate) config: Config,
    pub(crate) reconciler: R,
}

pub(crate) fn open<K, R, F>(
    parts: Parts<K, R, F>,
) -> (Handle, impl Future<Output = ()> + Send + use<K, R, F>)
where
    K: Kind,
    R: Reconciler<Kind = K>,
    F: Future<Output = ()> + Send,
{
    let stop = Arc::new(watch::Sender::new(false));
    let statistics = watch::Sender::new(Statistics::default());
    let handle = Handle {
        stop: stop.clone(),
        statistics: statistics.subscribe(),
    };
    let run = async move {
        let mut stopped = stop.subscribe();
        let stopped = async move {
            // The sender is in `stop`, which this future holds.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let span = tracing::info_span!("controller", name = %parts.name);
        let recording = parts.recording;
        let reconciling = reconcile_all(
            Worker {
                reconciler: Arc::new(parts.reconciler),
                primary: parts.primary,
                surroundings: parts.surroundings,
            },
            parts.sources,
            Queue::new(parts.config),
            &statistics,
            stopped,
        );
        let both = async {
            tokio::pin!(recording, reconciling);
            tokio::select! {
                biased;
                () = &mut reconciling => {}
                () = &mut recording => reconciling.await,
            }
        };
        both.instrument(span).await;
        drop(stop);
    };
    (handle, run)
}

async fn reconcile_all<R: Reconciler>(
    worker: Worker<R>,
    sources: Vec<Source>,
    mut queue: Queue<ObjectKey>,
    statistics: &watch::Sender<Statistics>,
    stopped: impl Future<Output = ()>,
) {
    let origin = Instant::now();
    let now = || origin.elapsed();
    tokio::pin!(stopped);
    tokio::select! {
        biased;
        () = &mut stopped => return,
        _ = join_all(worker.surroundings.progress.values().map(|informer| informer.synced())) => {}
    }
    // What was there before is less urgent than what happens from now on.
    let mut sources = sources;
    for source in &mut sources {
        while let Some(change) = source.changes.try_next() {
            for key in concerned(source, &change) {
                queue.add(key, Priority::LOW, now());
            }
        }
    }
    let mut triggers: SelectAll<_> = sources
        .into_iter()
        .map(|source| Box::pin(keys_of(source)))
        .collect();
    let mut jobs = FuturesUnordered::new();
    loop {
        while let Some(key) = queue.next(now()) {
            jobs.push(worker.run(key));
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
        tracing::warn!(
            running = jobs.len(),
            "reconciles did not end in time and are dropped"
        );
    }
}

/// The keys that changes of one source concern, for as long as its informer lives.
fn keys_of(source: Source) -> impl Stream<Item = Vec<ObjectKey>> {
    stream::unfold(source, |mut source| async {
        let change = source.changes.next().await?;
        let keys = concerned(&source, &change);
        Some((keys, source))
    })
}

fn concerned(source: &Source, change: &Change) -> Vec<ObjectKey> {
    let objects = change.before.iter().chain(&change.after);
    let mut keys: Vec<ObjectKey> = objects.flat_map(|object| (source.keys)(object)).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// How one reconcile ended.
enum End {
    Fine(Action),
    Failed,
    Panicked,
}

impl End {
    fn outcome(&self) -> Outcome {
        match self {
            End::Fine(Action::Done) => Outcome::Done,
            End::Fine(Action::After(delay)) => Outcome::After(*delay),
            End::Failed | End::Panicked => Outcome::Retry,
        }
    }

    fn count(&self, statistics: &mut Statistics) {
        statistics.reconciles += 1;
        statistics.failures += u64::from(!matches!(self, End::Fine(_)));
        statistics.panics += u64::from(matches!(self, End::Panicked));
    }
}

struct Worker<R: Reconciler> {
    reconciler: Arc<R>,
    primary: Informer<R::Kind>,
    surroundings: Arc<Surroundings>,
}

impl<R: Reconciler> Worker<R> {
    /// One reconcile, from the look at the informer until the informers have seen what it wrote.
    fn run(&self, key: ObjectKey) -> BoxFuture<'static, (ObjectKey, End)> {
        let (reconciler, primary) = (self.reconciler.clone(), self.primary.clone());
        let context = Context::new(self.surroundings.clone());
        let span = tracing::info_span!("reconcile", %key);
        let run = async move {
            let reconcile = AssertUnwindSafe(reconcile_one(&*reconciler, &primary, &key, &context));
            let end = match reconcile.catch_unwind().await {
                Ok(Ok(action)) => End::Fine(action),
                Ok(Err(error)) if error.api().is_some_and(|error| error.is_conflict()) => {
                    tracing::debug!(%error, "somebody else wrote; trying again");
                    End::Failed
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "reconcile failed; trying again");
                    End::Failed
                }
                Err(panic) => {
                    tracing::error!(
                        panic = panic_message(&*panic),
                        "reconcile panicked; trying again"
                    );
                    End::Panicked
                }
            };
            if timeout(SETTLE_LIMIT, context.settle()).await.is_err() {
                tracing::warn!("the informers have not seen what was written; trying again");
                return (key, End::Failed);
            }
            (key, end)
        };
        run.instrument(span).boxed()
    }
}

async fn reconcile_one<R: Reconciler>(
    reconciler: &R,
    primary: &Informer<R::Kind>,
    key: &ObjectKey,
    context: &Context,
) -> Result<Action, Error> {
    match primary.view(key)? {
        Some(object) => reconciler.reconcile(object, context).await,
        None => reconciler.gone(key, context).await,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a message")
}
