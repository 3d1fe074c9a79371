//! etcd's Watch service: a stream on which a client has any number of watches.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::bells::{Bell, Bells};
use super::call::{Answers, Messages};
use super::connection::Common;
use super::failure::{COMPACTED, Failure, TOO_MANY_REQUESTS};
use super::{Shared, answer, translate};
use crate::etcd::wire::{
    FilterType, WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchRequestUnion, WatchResponse,
};
use crate::{Error, Event, KeyValue, Result, Revision, Watch, Watched};

/// Progress is not told more often, as in etcd.
pub(super) const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Bytes of events after which no further revision is put into the same message.
const MESSAGE_FULL: usize = 64 << 10;

/// The id of answers that are about no watch, or about all of them.
const NO_WATCH: i64 = -1;

/// Serves a watch stream until the client has said its last, or something fails.
pub(super) async fn serve(common: &Common, requests: &mut Messages, answers: &mut Answers) -> Result<(), Failure> {
    let interval = common.shared.options.progress_interval;
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stream = WatchStream::new(&common.shared);
    loop {
        // What is to be told is told first: until the client has taken it, nothing more is read or gathered.
        while let Some(response) = stream.outgoing.pop_front() {
            match stream.fragments(&response) {
                true => send_in_parts(answers, response, common.shared.options.request_bytes).await?,
                false => answers.send(&response).await?,
            }
        }
        tokio::select! {
            biased;
            request = requests.next::<WatchRequest>() => match request? {
                Some(request) => stream.asked(request).await?,
                None => return Ok(()),
            },
            gathered = poll_fn(|context| stream.gather(context)) => gathered?,
            _ = ticks.tick() => stream.tick(),
        }
    }
}

/// Sends an answer in parts, none of which is larger than the limit unless it has one event.
async fn send_in_parts(answers: &mut Answers, response: WatchResponse, limit: usize) -> Result<(), Failure> {
    if response.events.len() < 2 || response.encoded_len() < limit {
        return answers.send(&response).await;
    }
    let WatchResponse { events, .. } = response;
    let mut part = WatchResponse { events: Vec::new(), fragment: true, ..response };
    let empty = part.encoded_len();
    let mut size = empty;
    for event in events {
        // With its number and its length.
        let more = event.encoded_len() + 6;
        if size + more > limit && !part.events.is_empty() {
            answers.send(&part).await?;
            part.events.clear();
            size = empty;
        }
        size += more;
        part.events.push(event);
    }
    part.fragment = false;
    answers.send(&part).await
}

struct WatchStream<'a> {
    shared: &'a Shared,
    watches: BTreeMap<i64, Entry>,
    bells: Bells,
    /// The id for the next watch whose client did not choose one.
    next_id: i64,
    /// What is to be sent: answers to one request, or what one watch had to tell.
    outgoing: VecDeque<WatchResponse>,
    round: Round,
}

struct Entry {
    watch: Watch,
    /// Its part of what the server takes.
    _room: OwnedSemaphorePermit,
    bell: Bell,
    previous: bool,
    fragment: bool,
    /// Tell progress at every tick since which there was nothing else to tell.
    notify: bool,
    told_since_tick: bool,
    /// A tick waits for this watch to tell its progress; and so does the round.
    in_tick: bool,
    in_round: bool,
}

/// Asking all watches of the stream how far they are. The answer is for all of them: it is given when each has told how
/// far it is, and it is the least of that. A watch tells it by progress or an event from behind the question: one that always
/// has something to tell never comes to the former.
#[derive(Default)]
struct Round {
    /// The revision at which it was asked.
    asked_at: Revision,
    /// How many have yet to tell.
    waiting: usize,
    least: Option<Revision>,
    /// Asked once more meanwhile, at this revision: that wants a picture of its own.
    again: Option<Revision>,
}

impl<'a> WatchStream<'a> {
    fn new(shared: &'a Shared) -> WatchStream<'a> {
        let (watches, bells, outgoing) = (BTreeMap::new(), Bells::default(), VecDeque::new());
        WatchStream { shared, watches, bells, next_id: 0, outgoing, round: Round::default() }
    }

    async fn asked(&mut self, request: WatchRequest) -> Result<(), Failure> {
        match request.request_union {
            Some(WatchRequestUnion::Create(request)) => self.create(request).await,
            Some(WatchRequestUnion::Cancel(request)) => self.cancel(request).await,
            Some(WatchRequestUnion::Progress(_)) => {
                let now = self.shared.store.status().await?.revision;
                match self.round.waiting {
                    0 => self.begin_round(now),
                    _ => self.round.again = Some(now),
                }
                Ok(())
            }
            // As etcd, which does not end a stream for what it does not know.
            None => Ok(()),
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), Failure> {
        let now = self.shared.store.status().await?.revision;
        let id = match self.id(&request) {
            Ok(id) => id,
            Err(reason) => {
                self.outgoing.push_back(self.refused(now, reason));
                return Ok(());
            }
        };
        let Ok(room) = self.shared.watching.clone().try_acquire_owned() else {
            self.outgoing.push_back(self.refused(now, TOO_MANY_REQUESTS.message.into_owned()));
            return Ok(());
        };
        let watch = match self.shared.store.watch(asked_of_store(&request, now)).await {
            Ok(watch) => Ok(watch),
            Err(Error::Compacted { at, .. }) => Err(at),
            Err(error @ Error::InvalidRequest { .. }) => {
                let reason = Failure::from(error).message.into_owned();
                self.outgoing.push_back(self.refused(now, reason));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // The watch goes on behind the revision that is stated here.
        self.outgoing.push_back(WatchResponse { created: true, ..self.response(now, id) });
        match watch {
            Ok(watch) => self.add(id, watch, room, &request),
            Err(at) => self.outgoing.push_back(self.compacted(now, id, at)),
        }
        Ok(())
    }

    /// The id of a new watch, or why it cannot be.
    fn id(&mut self, request: &WatchCreateRequest) -> Result<i64, String> {
        let (key, end) = (&request.key[..], &request.range_end[..]);
        if request.start_revision < 0 {
            return Err(COMPACTED.message.into_owned());
        }
        if !matches!(end, b"" | b"\0") && end <= key {
            return Err("mvcc: watcher range is empty".into());
        }
        if self.watches.len() >= self.shared.options.watches_per_stream {
            return Err(TOO_MANY_REQUESTS.message.into_owned());
        }
        match request.watch_id {
            0 => {
                while self.watches.contains_key(&self.next_id) {
                    self.next_id += 1;
                }
                self.next_id += 1;
                Ok(self.next_id - 1)
            }
            id if id == NO_WATCH || self.watches.contains_key(&id) => {
                Err("mvcc: duplicate watch ID provided on the WatchStream".into())
            }
            id => Ok(id),
        }
    }

    fn add(&mut self, id: i64, watch: Watch, room: OwnedSemaphorePermit, request: &WatchCreateRequest) {
        let entry = Entry {
            watch,
            _room: room,
            bell: self.bells.bell(id),
            previous: request.prev_kv,
            fragment: request.fragment,
            notify: request.progress_notify,
            told_since_tick: false,
            in_tick: false,
            in_round: false,
        };
        self.watches.insert(id, entry);
        // A round that is under way is answered for this watch, too.
        if self.round.waiting > 0 {
            self.join_round(id);
        }
    }

    async fn cancel(&mut self, request: WatchCancelRequest) -> Result<(), Failure> {
        let id = request.watch_id;
        if self.watches.contains_key(&id) {
            let now = self.shared.store.status().await?.revision;
            self.outgoing.push_back(WatchResponse { canceled: true, ..self.response(now, id) });
            self.remove(id);
        }
        Ok(())
    }

    fn remove(&mut self, id: i64) {
        if self.watches.remove(&id).is_some_and(|entry| entry.in_round) {
            self.leave_round(None);
        }
    }

    fn begin_round(&mut self, asked_at: Revision) {
        self.round = Round { asked_at, ..Round::default() };
        let ids: Vec<i64> = self.watches.keys().copied().collect();
        ids.into_iter().for_each(|id| self.join_round(id));
    }

    fn join_round(&mut self, id: i64) {
        if let Some(entry) = self.watches.get_mut(&id) {
            entry.in_round = true;
            entry.ask();
            self.round.waiting += 1;
        }
    }

    /// A watch has told how far it is, or is there no more.
    fn leave_round(&mut self, told: Option<Revision>) {
        self.round.waiting -= 1;
        self.round.least = match (self.round.least, told) {
            (Some(least), Some(told)) => Some(least.min(told)),
            (least, told) => least.or(told),
        };
        if self.round.waiting == 0 {
            if let Some(least) = self.round.least {
                self.outgoing.push_back(self.response(least, NO_WATCH));
            }
            if let Some(asked_at) = self.round.again.take() {
                self.begin_round(asked_at);
            }
        }
    }

    fn tick(&mut self) {
        for entry in self.watches.values_mut().filter(|entry| entry.notify) {
            if !std::mem::take(&mut entry.told_since_tick) && !entry.in_tick {
                entry.in_tick = true;
                entry.ask();
            }
        }
    }

    /// Ready when a watch had something to tell, which is then to be sent.
    fn gather(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while let Some(id) = self.bells.next(context) {
            // The bell of a watch that is no more may have rung before.
            let Some(entry) = self.watches.get_mut(&id) else { continue };
            let told = entry.tell();
            let in_tick = told.progress.is_some() && std::mem::take(&mut entry.in_tick);
            entry.told_since_tick |= told.last.is_some();
            // Progress may be the answer to an earlier question.
            let far = told.progress.max(told.last).filter(|far| *far >= self.round.asked_at);
            let in_round = far.is_some() && std::mem::take(&mut entry.in_round);
            if let Some(last) = told.last {
                let events = WatchResponse { events: told.events, ..self.response(last, id) };
                self.outgoing.push_back(events);
            }
            if let Some(revision) = told.progress.filter(|_| in_tick) {
                self.outgoing.push_back(self.response(revision, id));
            }
            if in_round {
                self.leave_round(far);
            }
            match told.ended {
                None => {}
                Some(Error::Compacted { at, .. }) => {
                    self.outgoing.push_back(self.compacted(at, id, at));
                    self.remove(id);
                }
                Some(error) => return Poll::Ready(Err(error.into())),
            }
            if !self.outgoing.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    /// True when the watch that this is about takes messages in parts.
    fn fragments(&self, response: &WatchResponse) -> bool {
        self.watches.get(&response.watch_id).is_some_and(|entry| entry.fragment)
    }

    fn response(&self, revision: Revision, watch_id: i64) -> WatchResponse {
        WatchResponse { header: self.shared.header(revision), watch_id, ..WatchResponse::default() }
    }

    fn refused(&self, now: Revision, cancel_reason: String) -> WatchResponse {
        WatchResponse { created: true, canceled: true, cancel_reason, ..self.response(now, NO_WATCH) }
    }

    /// A watch ends: what it would have told next is no more.
    fn compacted(&self, now: Revision, id: i64, at: Revision) -> WatchResponse {
        WatchResponse { canceled: true, compact_revision: at.cast_signed(), ..self.response(now, id) }
    }
}

/// What etcd's request asks of a store that is at this revision.
fn asked_of_store(request: &WatchCreateRequest, now: Revision) -> crate::WatchRequest {
    // `\0` is the smallest key. Copied: a watch must not keep the buffer that its request was read into.
    let key = if request.key.is_empty() { b"\0" } else { &request.key[..] };
    let (key, end) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(&request.range_end));
    let mut asked = crate::WatchRequest::new(translate::keys(key, end));
    asked.from = match request.start_revision.cast_unsigned() {
        0 => now + 1,
        from => from,
    };
    asked.previous = request.prev_kv;
    asked.puts = !request.filters.contains(&(FilterType::NoPut as i32));
    asked.deletions = !request.filters.contains(&(FilterType::NoDelete as i32));
    asked
}

/// What a watch had to tell: events, then its progress, then its end.
#[derive(Default)]
struct Told {
    events: Vec<crate::etcd::wire::Event>,
    /// The last revision that there are events of.
    last: Option<Revision>,
    progress: Option<Revision>,
    ended: Option<Error>,
}

impl Entry {
    /// Has the watch tell how far it is.
    fn ask(&mut self) {
        self.watch.request_progress();
        self.bell.ring();
    }

    /// What the watch has to tell now, as much as goes into a message.
    fn tell(&mut self) -> Told {
        let mut told = Told::default();
        let mut size = 0;
        let mut context = Context::from_waker(self.bell.quiet());
        loop {
            match Pin::new(&mut self.watch).poll_next(&mut context) {
                Poll::Ready(Some(Ok(Watched::Batch(batch)))) => {
                    let wanted = |event| answer::event(event, self.previous);
                    told.events.extend(batch.events.iter().map(wanted));
                    told.last = Some(batch.revision);
                    size += batch.events.iter().map(size_of_event).sum::<usize>();
                    if size < MESSAGE_FULL {
                        continue;
                    }
                    // There may be more: it has its turn again.
                    self.bell.ring();
                }
                Poll::Ready(Some(Ok(Watched::Progress(revision)))) => {
                    told.progress = Some(revision);
                    self.bell.ring();
                }
                Poll::Ready(Some(Err(error))) => told.ended = Some(error),
                Poll::Ready(None) => told.ended = Some(Error::Unavailable { reason: "a watch has ended".into() }),
                Poll::Pending => {}
            }
            return told;
        }
    }
}

/// About how many bytes an event takes in a message.
fn size_of_event(event: &Event) -> usize {
    const OVERHEAD: usize = 64;
    let bytes_of = |kv: &Arc<KeyValue>| OVERHEAD + kv.key.len() + kv.value.len();
    bytes_of(&event.kv) + event.previous.as_ref().map_or(0, bytes_of)
}
