//! A watch of the store: one feed after the other, told as if it were one.
//!
//! Everything is done while the watch is polled: reading, finding another member, looking for progress.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::Inner;
use super::assembly::Assembly;
use super::cluster::{Backoff, unavailable};
use super::feed::{Feed, Fragments, Told, Ways};
use super::translate::Span;
use crate::{Error, EventBatch, Result, Revision, Watch, WatchRequest, WatchSource, Watched};

/// How long a member has to say where it stands, or a marker to arrive, before the question is put again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Begins a watch: at a definite revision, on a member that has taken it.
pub(super) async fn begin(store: Arc<Inner>, request: WatchRequest) -> Result<Watch> {
    let cluster = &store.cluster;
    let key = Span::new(&request.keys, None).key;
    let current = cluster.revision(&key).await?;
    let from = match request.from {
        0 => current + 1,
        from => from,
    };
    // etcd would tell too, but only later.
    if from > 1 && from <= current && cluster.is_compacted(&key, from - 1).await? {
        let oldest = cluster.oldest(&key, from - 1).await?;
        return Err(compacted(from, oldest));
    }
    let asked = Arc::new(Asked::default());
    let mut telling = Telling {
        key,
        asked: asked.clone(),
        feed: None,
        assembly: Assembly::new(from),
        ready: VecDeque::new(),
        told: current.min(from - 1),
        pursuit: Pursuit::None,
        tick: Instant::now() + cluster.options.progress_interval,
        backoff: Backoff::new(cluster.options.entropy.clone()),
        ended: false,
        store: store.clone(),
        request,
    };
    match timeout(cluster.options.request_timeout, telling.resume()).await {
        Ok(resumed) => resumed?,
        Err(_) => return Err(unavailable("no member took the watch in time")),
    }
    let stream = futures::stream::unfold(telling, |mut telling| async move {
        let told = telling.next().await?;
        Some((told, telling))
    });
    Ok(Watch::new(EtcdWatch { stream: Box::pin(stream), asked }))
}

/// A watch from `from` is refused: the oldest revision that can be read is this. The oldest that can be watched is that
/// too, except for who asked for it.
fn compacted(from: Revision, oldest: Revision) -> Error {
    Error::Compacted { requested: from, at: if from < oldest { oldest } else { oldest + 1 } }
}

/// Whether somebody asked for progress.
#[derive(Default)]
struct Asked {
    progress: AtomicBool,
    now: Notify,
}

struct EtcdWatch {
    stream: BoxStream<'static, Result<Watched>>,
    asked: Arc<Asked>,
}

impl Stream for EtcdWatch {
    type Item = Result<Watched>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

impl WatchSource for EtcdWatch {
    fn request_progress(self: Pin<&mut Self>) {
        self.asked.progress.store(true, Ordering::Relaxed);
        self.asked.now.notify_one();
    }
}

/// How far the watch is with learning progress.
enum Pursuit {
    None,
    /// Finds out the current revision: everything up to there shall have been told.
    Looking {
        looking: BoxFuture<'static, Result<Revision>>,
        asked: bool,
    },
    /// Waits until everything up to this revision has been told.
    Waiting {
        target: Revision,
        asked: bool,
        provoking: Option<BoxFuture<'static, Result<()>>>,
        again: Instant,
    },
}

struct Telling {
    store: Arc<Inner>,
    request: WatchRequest,
    /// A key that the user may read.
    key: Bytes,
    asked: Arc<Asked>,
    feed: Option<Feed>,
    assembly: Assembly,
    /// To be told; nothing more is read before.
    ready: VecDeque<Watched>,
    /// The revision told last.
    told: Revision,
    pursuit: Pursuit,
    /// When to look for progress unasked.
    tick: Instant,
    backoff: Backoff,
    ended: bool,
}

/// What happened.
enum Happened {
    Told(Result<Told, super::Failure>),
    Asked,
    Tick,
    Looked(Result<Revision>),
    Provoked(Result<()>),
    Again,
}

impl Telling {
    async fn next(&mut self) -> Option<Result<Watched>> {
        while !self.ended {
            if let Some(told) = self.ready.pop_front() {
                return Some(Ok(told));
            }
            if let Err(error) = self.step().await {
                self.ended = true;
                return Some(Err(error));
            }
        }
        None
    }

    /// Waits for one thing to happen, and does what follows from it.
    async fn step(&mut self) -> Result<()> {
        self.resume().await?;
        let happened = self.wait().await;
        match happened {
            Happened::Told(Ok(told)) => self.take(told).await?,
            Happened::Told(Err(failure)) => self.lose(failure)?,
            Happened::Asked => {
                if self.asked.progress.swap(false, Ordering::Relaxed) {
                    self.look(true);
                }
            }
            Happened::Tick => {
                self.tick = Instant::now() + self.store.cluster.options.progress_interval;
                self.look(false);
            }
            Happened::Looked(looked) => self.pursue(looked),
            Happened::Provoked(provoked) => {
                if let Err(error) = provoked {
                    tracing::debug!(%error, "a marker could not be written");
                }
            }
            Happened::Again => self.provoke(),
        }
        self.settle();
        Ok(())
    }

    async fn wait(&mut self) -> Happened {
        let feed = self.feed.as_mut().expect("it was resumed");
        let (looking, provoking, again) = match &mut self.pursuit {
            Pursuit::None => (None, None, None),
            Pursuit::Looking { looking, .. } => (Some(looking), None, None),
            Pursuit::Waiting { provoking, again, .. } => (None, provoking.as_mut(), Some(*again)),
        };
        let idle = looking.is_none() && again.is_none();
        let quiet = again.is_some() && provoking.is_none();
        tokio::select! {
            biased;
            told = feed.next() => Happened::Told(told),
            looked = maybe(looking) => Happened::Looked(looked),
            provoked = maybe(provoking) => {
                if let Pursuit::Waiting { provoking, .. } = &mut self.pursuit {
                    *provoking = None;
                }
                Happened::Provoked(provoked)
            }
            () = self.asked.now.notified(), if idle => Happened::Asked,
            () = sleep_until(self.tick), if idle && self.request.progress => Happened::Tick,
            () = sleep_until(again.unwrap_or(self.tick)), if quiet => Happened::Again,
        }
    }

    /// Makes sure that there is a feed.
    async fn resume(&mut self) -> Result<()> {
        while self.feed.is_none() {
            let opened = Feed::open(&self.store.cluster, &self.request, self.assembly.next()).await;
            match opened {
                Ok(feed) => {
                    self.feed = Some(feed);
                    // What was waited for may not come on this one.
                    if let Pursuit::Waiting { asked, .. } = self.pursuit {
                        self.look(asked);
                    }
                }
                Err(failure) => {
                    self.lose(failure)?;
                    self.backoff.wait().await;
                }
            }
        }
        Ok(())
    }

    /// The feed has failed.
    fn lose(&mut self, failure: super::Failure) -> Result<()> {
        tracing::debug!(?failure, next = self.assembly.next(), "a watch looks for another member");
        if let Some(feed) = self.feed.take() {
            self.store.cluster.fail(feed.connection());
        }
        self.assembly.broken();
        match Option::<Error>::from(failure) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes what the member tells.
    async fn take(&mut self, told: Told) -> Result<()> {
        self.backoff.reset();
        match told {
            Told::Events(events, fragments) => {
                let batches = self.assembly.push(events, fragments == Fragments::More);
                if self.feed.as_ref().is_some_and(Feed::must_look) {
                    self.refuse_if_compacted(self.assembly.arrived()).await?;
                }
                for batch in batches {
                    self.tell(batch).await?;
                }
            }
            Told::Progress { revision, asked: false } => {
                self.assembly.passed(revision);
                if self.request.progress && revision > self.told {
                    self.progress(revision);
                }
            }
            Told::Progress { revision, asked: true } => {
                if matches!(self.pursuit, Pursuit::Waiting { target, .. } if revision >= target) {
                    self.assembly.passed(revision);
                }
            }
            Told::Compacted(oldest) => {
                self.feed = None;
                self.assembly.broken();
                let next = self.assembly.next();
                // A member that resynchronizes begins at where the watch began (etcd#15520), not at where it is.
                if next <= oldest {
                    return Err(compacted(next, oldest));
                }
            }
        }
        Ok(())
    }

    async fn tell(&mut self, batch: EventBatch) -> Result<()> {
        let marker = match self.feed.as_ref().map(Feed::ways) {
            Some(Ways::Marker(marker)) => Some(marker.clone()),
            _ => None,
        };
        let is_marker = |key: &Bytes| marker.as_ref() == Some(key);
        let batch = match batch.events.iter().any(|event| is_marker(&event.kv.key)) {
            false => batch,
            true => {
                let rest: Vec<_> = batch.events.iter().filter(|event| !is_marker(&event.kv.key)).cloned().collect();
                EventBatch::new(batch.revision, rest)
            }
        };
        let Some(batch) = batch.wanted(&self.request) else {
            return Ok(());
        };
        // Only what is before the compacted revision is missing; the change made by it may lack it.
        if self.request.previous && batch.events.iter().any(|event| event.previous.is_none() && !event.is_creation()) {
            self.refuse_if_compacted(batch.revision).await?;
        }
        self.told = batch.revision;
        self.ready.push_back(Watched::Batch(batch));
        Ok(())
    }

    async fn refuse_if_compacted(&mut self, at: Revision) -> Result<()> {
        let cluster = &self.store.cluster;
        match cluster.is_compacted(&self.key, at).await? {
            true => Err(Error::Compacted { requested: at, at: cluster.oldest(&self.key, at).await? }),
            false => Ok(()),
        }
    }

    fn progress(&mut self, revision: Revision) {
        self.told = revision;
        self.ready.push_back(Watched::Progress(revision));
    }

    /// Begins to look for progress.
    fn look(&mut self, asked: bool) {
        let (store, key) = (self.store.clone(), self.key.clone());
        let looking = Box::pin(async move { store.cluster.revision(&key).await });
        self.pursuit = Pursuit::Looking { looking, asked };
    }

    /// The current revision is known: everything up to there is to be told.
    fn pursue(&mut self, looked: Result<Revision>) {
        let Pursuit::Looking { asked, .. } = self.pursuit else { return };
        let target = match looked {
            Ok(target) => target,
            Err(error) => {
                tracing::debug!(%error, "a watch cannot learn the current revision");
                // Who asked is answered when it can be learned.
                match asked {
                    true => self.look(true),
                    false => self.pursuit = Pursuit::None,
                }
                return;
            }
        };
        let next = self.assembly.next();
        if target < next {
            self.pursuit = Pursuit::None;
            if asked || target > self.told {
                self.progress(target.max(self.told));
            }
            return;
        }
        if !asked && self.store.markers.only(next, target) {
            self.pursuit = Pursuit::None;
            return;
        }
        self.pursuit = Pursuit::Waiting { target, asked, provoking: None, again: Instant::now() };
        self.provoke();
    }

    /// Makes the member tell something at the target or behind it.
    fn provoke(&mut self) {
        let Pursuit::Waiting { provoking, again, .. } = &mut self.pursuit else { return };
        let Some(feed) = &mut self.feed else { return };
        *again = Instant::now() + ASK_AGAIN;
        match feed.ways() {
            Ways::Requested => feed.ask(),
            Ways::Marker(marker) => *provoking = Some(Box::pin(self.store.clone().mark(marker.clone()))),
            Ways::Everything => {}
        }
    }

    /// Tells progress if what was waited for has come, and everything about it is done.
    fn settle(&mut self) {
        if let Pursuit::Waiting { target, provoking: None, asked, .. } = self.pursuit
            && self.assembly.next() > target
        {
            self.pursuit = Pursuit::None;
            let reached = self.assembly.next() - 1;
            if asked || reached > self.told {
                self.progress(reached.max(self.told));
            }
        }
    }
}

/// Waits for it, if there is one.
async fn maybe<T>(future: Option<&mut BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
