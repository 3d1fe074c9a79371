//! What clients asked of a store and were answered, and what watches told: recorded on the way, to be judged afterwards.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::linearizability::{Violation, check};
use super::model::Model;
use crate::layer::{Answer, Around, Call, Layer, Layered, Reply, Request, through};
use crate::{
    Entropy, Error, KeyRange, KeyValue, Range, Ranged, Result, Revision, Store, Txn, TxnResponse, Watch, WatchRequest,
    Watched,
};

/// Calls and items of watches that one history takes. What comes later is not recorded, and [`Recorder::check`] says so.
const CAPACITY: usize = 4_000_000;

/// Counts beginnings and ends: of two that happened one after the other, the later has the greater number.
pub(super) type Tick = u64;

/// A layer that records what goes through it, for [`Recorder::check`]: each call with its beginning, its end and its answer, and
/// what each watch tells. A call whose outcome is unknown, or whose future is dropped, is recorded as one that may have
/// happened, once, at any time after its beginning, or never.
///
/// Everybody who writes must write through clones of one recorder, from [`Recorder::begin`] on, but for what
/// [`Recorder::beside_others`] allows; leases may end on their own.
///
/// ```
/// use futures::StreamExt;
/// use kore_store::conformance::Recorder;
/// use kore_store::layer::Layer;
/// use kore_store::{MemoryStore, Store, WatchRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let recorder = Recorder::begin(&store).await?;
/// let store = recorder.layer(store);
///
/// let mut watch = store.watch(WatchRequest::prefix("")).await?;
/// let write = |client: u8| store.put("key".into(), vec![client].into());
/// futures::future::try_join_all((0..8).map(write)).await?;
/// store.get("key".into()).await?;
/// for _ in 0..8 {
///     watch.next().await.expect("a watch does not end")?;
/// }
///
/// let summary = recorder.check()?;
/// assert_eq!((summary.writes, summary.events), (8, 8));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Recorder {
    history: Arc<Mutex<History>>,
    /// Pauses are drawn from it, so that calls overlap whose store answers at once.
    pauses: Option<Entropy>,
    /// Counts the calls that were sent.
    sent: watch::Sender<u64>,
}

/// What was recorded.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) base: Model,
    /// Others write other keys: a revision that nobody here wrote is theirs.
    pub(super) is_shared: bool,
    /// Where the store was compacted when the history began.
    pub(super) compacted: Revision,
    pub(super) calls: Vec<Called>,
    pub(super) watches: Vec<Watching>,
    /// Calls to watch that have not been given their watch yet.
    begun: Vec<(WatchRequest, Tick)>,
    tick: Tick,
    size: usize,
    /// Calls that have begun and not ended.
    under_way: u64,
}

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Called {
    pub(super) asked: Asked,
    pub(super) begun: Tick,
    /// `Tick::MAX`: nobody knows.
    pub(super) ended: Tick,
    pub(super) answered: Answered,
    /// Calls that were under way when it began.
    pub(super) beside: u64,
}

/// What was asked; what does not matter to a history is left out.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Range(Range),
    Txn(Txn),
    Watch(WatchRequest),
    Compact(Revision),
    Other,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    Range(Ranged),
    Txn(TxnResponse),
    /// Something that tells the current revision, and nothing else.
    Revision(Revision),
    Done,
    /// It did not happen.
    Refused(Error),
    /// It may have happened, or may yet.
    Unknown,
}

/// A watch.
#[derive(Clone, Debug)]
pub(super) struct Watching {
    pub(super) request: WatchRequest,
    pub(super) begun: Tick,
    pub(super) ended: Tick,
    pub(super) told: Vec<(Tick, Result<Watched>)>,
}

impl Recorder {
    /// A history that begins now, with what the store holds. Nobody may write meanwhile.
    pub async fn begin<S: Store + ?Sized>(store: &S) -> Result<Recorder> {
        let all = store.range(Range::new(KeyRange::all())).await?;
        let compacted = store.status().await?.compacted;
        Ok(Recorder::of(all.revision, all.kvs, compacted))
    }

    /// A history that begins with a store at this revision that holds this.
    pub(super) fn of(revision: Revision, kvs: Vec<Arc<KeyValue>>, compacted: Revision) -> Recorder {
        let history = History {
            base: Model::new(revision, kvs),
            is_shared: false,
            compacted,
            calls: Vec::new(),
            watches: Vec::new(),
            begun: Vec::new(),
            tick: 0,
            size: 0,
            under_way: 0,
        };
        Recorder { history: Arc::new(Mutex::new(history)), pauses: None, sent: watch::Sender::new(0) }
    }

    /// Lets a drawn time of up to eight milliseconds pass between the beginning of a call and its being sent, and between
    /// its answer and its end, so that calls overlap, and how differs from seed to seed.
    #[must_use]
    pub fn pausing(mut self, entropy: Entropy) -> Recorder {
        self.pauses = Some(entropy);
        self
    }

    /// Others may write other keys meanwhile, or the store itself may (some that stand before another one do, for progress): a
    /// revision of which nothing was seen need not be explained.
    #[must_use]
    pub fn beside_others(self) -> Recorder {
        self.lock().is_shared = true;
        self
    }

    /// Judges everything that was recorded until now: calls that have not ended count as unknown.
    ///
    /// Errors: what was answered or told that cannot have been, with what shows it.
    pub fn check(&self) -> Result<Summary, Violation> {
        let history = self.lock().clone();
        if history.size > CAPACITY {
            let what = format!("more than {CAPACITY} calls and items of watches were to be recorded");
            return Err(Violation::new(super::Property::Recorded, 0, what));
        }
        let timeline = check(&history)?;
        timeline.check_watches(&history)?;
        Ok(Summary::of(&history))
    }

    /// Makes a call. Boxed: rustc cannot tell that the future of a generic method is `Send` for every lifetime.
    pub(super) fn ask<'a, R: Request>(&'a self, request: R, store: &'a dyn Store) -> BoxFuture<'a, Result<R::Answer>> {
        Box::pin(self.call(request, store))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many more calls have been sent.
    pub(super) async fn sent(&self, more: u64) {
        let mut sent = self.sent.subscribe();
        let target = *sent.borrow_and_update() + more;
        // The sender is in `self`.
        drop(sent.wait_for(|sent| *sent >= target).await);
    }

    async fn pause(&self) {
        let Some(entropy) = &self.pauses else {
            return;
        };
        match entropy.below(8) {
            0 => {}
            1 => tokio::task::yield_now().await,
            drawn => tokio::time::sleep(Duration::from_millis(drawn)).await,
        }
    }
}

impl Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("recorded", &self.lock().size).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Recorder {
    type Service = Layered<S, Recorder>;

    fn layer(&self, inner: S) -> Self::Service {
        Layered::new(inner, self.clone())
    }
}

impl Around for Recorder {
    async fn call<R: Request, S: Store + ?Sized>(&self, request: R, store: &S) -> Result<R::Answer> {
        let pending = Pending::begin(self, request.call());
        self.pause().await;
        self.sent.send_modify(|sent| *sent += 1);
        let answer = request.send(store).await;
        self.pause().await;
        pending.end(&answer);
        answer
    }

    fn watch(&self, request: &WatchRequest, watch: Watch) -> Watch {
        let mut history = self.lock();
        let ended = history.next_tick();
        // Which of several that asked the same it is, nobody knows: it began no earlier than the first.
        let begun = history.begun.iter().find(|(asked, _)| asked == request).map_or(0, |(_, begun)| *begun);
        if let Some(last) = history.begun.iter().rposition(|(asked, _)| asked == request) {
            history.begun.remove(last);
        }
        let number = history.watches.len();
        history.watches.push(Watching { request: request.clone(), begun, ended, told: Vec::new() });
        drop(history);
        let recorder = self.clone();
        through(watch, move |item| {
            let mut history = recorder.lock();
            let tick = history.next_tick();
            if history.has_room() {
                history.watches[number].told.push((tick, item.clone()));
            }
            item
        })
    }
}

impl History {
    fn next_tick(&mut self) -> Tick {
        self.tick += 1;
        self.tick
    }

    fn has_room(&mut self) -> bool {
        self.size += 1;
        self.size <= CAPACITY
    }
}

/// A call that has begun. Dropping it leaves open whether it happens.
pub(super) struct Pending<'a> {
    recorder: &'a Recorder,
    number: Option<usize>,
    /// When it began, for a call that no watch has come of.
    watchless: Option<Tick>,
}

impl<'a> Pending<'a> {
    pub(super) fn begin(recorder: &'a Recorder, call: Call<'_>) -> Pending<'a> {
        let mut history = recorder.lock();
        let begun = history.next_tick();
        let asked = match call {
            Call::Range(range) => Asked::Range(range.clone()),
            Call::Txn(txn) => Asked::Txn(txn.clone()),
            Call::Watch(request) => {
                history.begun.push((request.clone(), begun));
                Asked::Watch(request.clone())
            }
            Call::Compact(revision) => Asked::Compact(revision),
            _ => Asked::Other,
        };
        let beside = history.under_way;
        history.under_way += 1;
        let number = history.has_room().then_some(history.calls.len());
        if number.is_some() {
            history.calls.push(Called { asked, begun, ended: Tick::MAX, answered: Answered::Unknown, beside });
        }
        Pending { recorder, number, watchless: matches!(call, Call::Watch(_)).then_some(begun) }
    }

    pub(super) fn end<T: Answer>(mut self, answer: &Result<T>) {
        let answered = match answer.as_ref().map(Answer::reply) {
            Err(Error::OutcomeUnknown { .. }) => return,
            Err(error) => Answered::Refused(error.clone()),
            Ok(Reply::Range(ranged)) => Answered::Range(ranged.clone()),
            Ok(Reply::Txn(done)) => Answered::Txn(done.clone()),
            Ok(Reply::Watch) => {
                self.watchless = None;
                Answered::Done
            }
            Ok(reply) => reply.revision().map_or(Answered::Done, Answered::Revision),
        };
        let mut history = self.recorder.lock();
        let ended = history.next_tick();
        if let Some(call) = self.number.map(|number| &mut history.calls[number]) {
            call.ended = ended;
            call.answered = answered;
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut history = self.recorder.lock();
        history.under_way -= 1;
        if let Some(begun) = self.watchless {
            history.begun.retain(|(_, tick)| *tick != begun);
        }
    }
}

/// What a history that passed was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Calls.
    pub calls: u64,
    /// Transactions that wrote, as their answers have it.
    pub writes: u64,
    /// Calls whose outcome is unknown.
    pub unknown: u64,
    /// Calls that were refused, or failed without effect.
    pub refused: u64,
    /// Pairs of calls of which one began while the other was under way.
    pub overlaps: u64,
    /// Watches.
    pub watches: u64,
    /// Events that watches told.
    pub events: u64,
}

impl Summary {
    fn of(history: &History) -> Summary {
        let mut summary = Summary { watches: history.watches.len() as u64, ..Summary::default() };
        for call in &history.calls {
            summary.calls += 1;
            summary.overlaps += call.beside;
            match (&call.asked, &call.answered) {
                (Asked::Txn(txn), Answered::Txn(done)) => summary.writes += u64::from(wrote(txn, done)),
                (_, Answered::Unknown) => summary.unknown += 1,
                (_, Answered::Refused(_)) => summary.refused += 1,
                _ => {}
            }
        }
        for (_, item) in history.watches.iter().flat_map(|watch| &watch.told) {
            if let Ok(Watched::Batch(batch)) = item {
                summary.events += batch.events.len() as u64;
            }
        }
        summary
    }
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.calls += other.calls;
        self.writes += other.writes;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.overlaps += other.overlaps;
        self.watches += other.watches;
        self.events += other.events;
    }
}

/// Whether a transaction wrote something, as its answer has it.
pub(super) fn wrote(txn: &Txn, done: &TxnResponse) -> bool {
    use crate::{Op, OpResponse};
    let ops = if done.succeeded { &txn.success } else { &txn.failure };
    ops.iter().zip(&done.responses).any(|(op, response)| match (op, response) {
        (Op::Put(_), _) => true,
        (_, OpResponse::Delete { deleted, .. }) => *deleted > 0,
        (Op::Txn(nested), OpResponse::Txn(done)) => wrote(nested, done),
        _ => false,
    })
}
