//! The one task that writes.
//!
//! It takes requests from the queue in order, evaluates each on an index that runs ahead of what is published, and gathers
//! their records and answers in a group. While one group is flushed the next one gathers; when the flush is done, the group
//! is published and answered, in that order, and the next flush begins as soon as those who were answered have asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::disk::{Disk, checkpoint_name};
use super::segment::FRAME_HEADER;
use super::{Shared, checkpoint, record, unavailable};
use crate::index::{Applied, Index, Shown, Write};
use crate::published::SWEEP;
use crate::{Error, EventBatch, Lease, LeaseId, Result, Revision, Txn, TxnResponse};

/// A group that has reached so many bytes of records takes no more requests than have been taken from the queue.
const GROUP_BYTES: usize = 4 << 20;

/// A group that answers so many requests takes no more, those aside that have been taken from the queue: such as write nothing
/// are answered with their group, too.
const GROUP_ANSWERS: usize = 4096;

/// How often those who were just answered may ask again before the next flush begins.
const GATHERINGS: usize = 16;

/// Bytes of records for which a flush is begun at once: it takes about as long to write them as to make them durable.
const WORTH_A_FLUSH: usize = 128 << 10;

/// A checkpoint is due when so many times as much is on disk as there is.
const WASTE: u64 = 3;

/// Requests taken from the queue at a time, and leases ended.
const TAKE: usize = 256;

/// Bytes of a group's buffer that are kept for the next one.
const KEPT_BUFFER: usize = 256 << 10;

/// What waits for the writer.
pub(crate) struct Queued {
    pub(crate) command: Command,
    /// Its part of what may wait, until it is taken.
    pub(crate) room: OwnedSemaphorePermit,
}

/// What the writer is asked for.
pub(crate) enum Command {
    Txn { txn: Txn, reply: oneshot::Sender<Result<TxnResponse>> },
    Compact { revision: Revision, reply: oneshot::Sender<Result<()>> },
    Grant { id: LeaseId, ttl_seconds: u64, reply: oneshot::Sender<Result<Lease>> },
    Revoke { id: LeaseId, reply: oneshot::Sender<Result<()>> },
    Close { reply: oneshot::Sender<Result<()>> },
}

/// An answer that waits for its group to be durable.
struct Answer {
    /// Whether the request wrote something: then nobody knows the outcome of a failed flush.
    wrote: bool,
    send: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Answer {
    fn new<T: Send + 'static>(reply: oneshot::Sender<Result<T>>, answer: T, wrote: bool) -> Answer {
        // Whoever asked may have gone away: then nobody hears.
        let send = move |outcome: Result<()>| drop(reply.send(outcome.map(|()| answer)));
        Answer { wrote, send: Box::new(send) }
    }
}

/// Requests that become durable together.
struct Group {
    /// Their records, behind room for the frame's header.
    frame: Vec<u8>,
    batches: Vec<EventBatch>,
    answers: Vec<Answer>,
    granted: Vec<(LeaseId, Duration)>,
}

impl Group {
    fn new(mut frame: Vec<u8>) -> Group {
        frame.clear();
        frame.shrink_to(KEPT_BUFFER);
        frame.resize(FRAME_HEADER, 0);
        Group { frame, batches: Vec::new(), answers: Vec::new(), granted: Vec::new() }
    }

    fn has_records(&self) -> bool {
        self.frame.len() > FRAME_HEADER
    }

    fn is_full(&self) -> bool {
        self.frame.len() >= GROUP_BYTES || self.answers.len() >= GROUP_ANSWERS
    }

    fn is_empty(&self) -> bool {
        !self.has_records() && self.answers.is_empty()
    }
}

/// What a flush gives back.
struct Flushed {
    disk: Disk,
    frame: Vec<u8>,
    outcome: Result<()>,
}

struct InFlight {
    flush: JoinHandle<Flushed>,
    group: Group,
    /// What is to be seen when it is done: the group, and nothing after it.
    shown: Shown,
}

struct Checkpoint {
    sequence: u64,
    written: JoinHandle<Result<u64>>,
}

/// The log, as it was found.
pub(crate) struct LogState {
    pub(crate) disk: Disk,
    /// Bytes logged since the last checkpoint was begun.
    pub(crate) log_bytes: u64,
    /// Bytes of the last checkpoint.
    pub(crate) last_checkpoint: u64,
    /// Bytes to be logged between two checkpoints, at least.
    pub(crate) checkpoint_bytes: u64,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Queued>,
    group: Group,
    /// Here when it is not flushing.
    disk: Option<Disk>,
    in_flight: Option<InFlight>,
    checkpoint: Option<Checkpoint>,
    /// The groups that the last checkpoint covers, when segments are to be let go.
    covered: Option<u64>,
    log_bytes: u64,
    last_checkpoint: u64,
    checkpoint_bytes: u64,
    /// Somebody was answered since the last flush began.
    answered: bool,
    closing: bool,
    /// Who waits for the store to be closed.
    closed: Vec<oneshot::Sender<Result<()>>>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Receiver<Queued>, log: LogState) -> Writer {
        Writer {
            shared,
            commands,
            group: Group::new(Vec::new()),
            disk: Some(log.disk),
            in_flight: None,
            checkpoint: None,
            covered: None,
            log_bytes: log.log_bytes,
            last_checkpoint: log.last_checkpoint,
            checkpoint_bytes: log.checkpoint_bytes,
            answered: false,
            closing: false,
            closed: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self) -> Result<()> {
        let outcome = self.work().await;
        if let Err(error) = &outcome {
            let revision = self.index(|index| index.revision);
            tracing::error!(%error, revision, "the store stops");
        }
        self.stop(&outcome);
        outcome
    }

    async fn work(&mut self) -> Result<()> {
        let mut taken = Vec::with_capacity(TAKE);
        let published = self.shared.published.clone();
        loop {
            self.gather().await;
            self.begin()?;
            // However much is asked for: a group that was full has been taken away, unless another is being flushed.
            let due = if self.has_room() { self.end_leases() } else { None };
            self.begin()?;
            if self.closing && self.in_flight.is_none() && self.checkpoint.is_none() {
                return self.close().await;
            }
            let room = self.has_room();
            tokio::select! {
                biased;
                flushed = flushed(&mut self.in_flight), if self.in_flight.is_some() => {
                    self.end(flushed?)?;
                }
                written = written(&mut self.checkpoint), if self.checkpoint.is_some() => {
                    let (sequence, size) = written?;
                    self.checkpoint = None;
                    self.covered = Some(sequence);
                    self.last_checkpoint = size;
                }
                count = self.commands.recv_many(&mut taken, TAKE), if room => {
                    // None: every handle is gone, and nobody will ask for anything again.
                    self.closing |= count == 0;
                    for Queued { command, room } in taken.drain(..) {
                        self.take(command);
                        drop(room);
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = tokio::task::yield_now(), if self.in_flight.is_none() && published.has_stale() => {}
                () = published.unpinned.notified() => {}
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.closing && !self.group.is_full()
    }

    /// Lets those who have just been answered ask again before the next flush begins, so that it is theirs, too: otherwise
    /// every flush would find half of them waiting for the one before. Nobody waits for time to pass: as soon as nobody has
    /// anything to ask, or the group is worth a flush, it begins.
    async fn gather(&mut self) {
        if !std::mem::take(&mut self.answered) {
            return;
        }
        let worth = |group: &Group| group.frame.len() >= WORTH_A_FLUSH || group.is_full();
        for _ in 0..GATHERINGS {
            if worth(&self.group) || self.closing {
                return;
            }
            tokio::task::yield_now().await;
            let before = self.group.answers.len();
            while !worth(&self.group)
                && !self.closing
                && let Ok(Queued { command, .. }) = self.commands.try_recv()
            {
                self.take(command);
            }
            if self.group.answers.len() == before {
                return;
            }
        }
    }

    /// Begins to flush the group that has gathered, if nothing else is being flushed.
    fn begin(&mut self) -> Result<()> {
        if self.in_flight.is_some() {
            return Ok(());
        }
        if self.shared.published.has_stale() {
            // More than this group adds, so that it comes to an end.
            self.shared.published.sweep(SWEEP.max(2 * self.group.batches.len()));
        }
        if self.group.is_empty() {
            return Ok(());
        }
        let shown = self.shared.published.read()?.index.shown();
        let mut group = std::mem::replace(&mut self.group, Group::new(Vec::new()));
        if !group.has_records() {
            self.publish(group, shown);
            return Ok(());
        }
        let mut disk = self.disk.take().expect("the disk is here when nothing is in flight");
        let mut frame = std::mem::take(&mut group.frame);
        let (covered, revision) = (self.covered.take(), shown.revision);
        self.log_bytes += frame.len() as u64;
        let flush = tokio::task::spawn_blocking(move || {
            let mut outcome = disk.append(&mut frame, revision);
            if let (Ok(()), Some(covered)) = (&outcome, covered) {
                outcome = disk.release(covered);
            }
            Flushed { disk, frame, outcome }
        });
        self.in_flight = Some(InFlight { flush, group, shown });
        Ok(())
    }

    /// A group is durable, or it failed.
    fn end(&mut self, flushed: Flushed) -> Result<()> {
        let InFlight { group, shown, .. } = self.in_flight.take().expect("something was flushed");
        if let Err(error) = flushed.outcome {
            // First, so that nobody who hears of it can still read.
            self.shared.published.fail(unavailable(&error.to_string()));
            fail(group.answers, &error);
            return Err(error);
        }
        if self.group.frame.capacity() <= FRAME_HEADER {
            self.group.frame = Group::new(flushed.frame).frame;
        }
        self.disk = Some(flushed.disk);
        self.publish(group, shown);
        self.checkpoint_if_due()
    }

    /// Begins a checkpoint of what is shown now, if the log has become long, and most of it is about what is gone: a log of
    /// what is there is as good as a checkpoint.
    fn checkpoint_if_due(&mut self) -> Result<()> {
        let (None, true, Some(disk)) = (&self.checkpoint, self.log_bytes >= self.checkpoint_bytes, &self.disk) else {
            return Ok(());
        };
        if self.last_checkpoint + self.log_bytes < WASTE * self.shared.published.read()?.index.size.on_disk() {
            return Ok(());
        }
        self.log_bytes = 0;
        let (sequence, place) = (disk.sequence, disk.place.clone());
        let walk = self.shared.published.walk()?;
        let written = tokio::task::spawn_blocking(move || {
            let name = checkpoint_name(sequence);
            checkpoint::write(&*place.files, &place.dir, &name, walk, sequence)
        });
        self.checkpoint = Some(Checkpoint { sequence, written });
        Ok(())
    }

    /// Shows a durable group to readers and watchers, and then answers its requests.
    fn publish(&mut self, group: Group, shown: Shown) {
        self.shared.published.show(shown, group.batches);
        if !group.granted.is_empty() {
            let now = Instant::now();
            let mut deadlines = self.shared.deadlines();
            for (id, ttl) in group.granted {
                deadlines.set(id, ttl, now);
            }
        }
        self.answered |= !group.answers.is_empty();
        for answer in group.answers {
            (answer.send)(Ok(()));
        }
    }

    /// Evaluates a request, and adds what it leads to to the group.
    fn take(&mut self, command: Command) {
        match command {
            Command::Txn { txn, reply } => self.txn(txn, reply),
            Command::Compact { revision, reply } => match self.index(|index| index.compact(revision)) {
                Ok(()) => {
                    record::put_compact(&mut self.group.frame, revision);
                    self.answer(reply, (), true);
                }
                Err(error) => self.refuse(reply, error),
            },
            Command::Grant { id, ttl_seconds, reply } => self.grant(id, ttl_seconds, reply),
            Command::Revoke { id, reply } => match self.revoke(id) {
                Ok(()) => self.answer(reply, (), true),
                Err(error) => self.refuse(reply, error),
            },
            Command::Close { reply } => {
                self.closing = true;
                self.closed.push(reply);
            }
        }
    }

    fn txn(&mut self, txn: Txn, reply: oneshot::Sender<Result<TxnResponse>>) {
        let quota = self.shared.limits.quota_bytes;
        let frame = &mut self.group.frame;
        let start = frame.len();
        record::begin_txn(frame);
        let mut writes = 0;
        let mut log = |write: Write<'_>| {
            record::put_write(frame, write);
            writes += 1;
        };
        let applied = self.shared.published.write().index.apply(txn, quota, &mut log);
        let wrote = matches!(&applied, Ok(Applied { batch: Some(_), .. }));
        match wrote {
            true => record::end_txn(&mut self.group.frame, start, writes),
            false => self.group.frame.truncate(start),
        }
        match applied {
            Ok(Applied { response, batch }) => {
                self.group.batches.extend(batch);
                self.answer(reply, response, wrote);
            }
            Err(error) => self.refuse(reply, error),
        }
    }

    /// Changes the index; readers do not see it yet.
    fn index<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.shared.published.write().index)
    }

    fn grant(&mut self, id: LeaseId, ttl_seconds: u64, reply: oneshot::Sender<Result<Lease>>) {
        let limit = self.shared.limits.leases;
        let granted = self.index(|index| index.grant(id, ttl_seconds, limit));
        let (chosen, id) = match granted {
            Ok(granted) => (id == 0, granted),
            Err(error) => return self.refuse(reply, error),
        };
        let ttl = Duration::from_secs(ttl_seconds);
        record::put_grant(&mut self.group.frame, id, ttl_seconds, chosen);
        self.group.granted.push((id, ttl));
        self.answer(reply, Lease::fresh(id, ttl), true);
    }

    fn revoke(&mut self, id: LeaseId) -> Result<()> {
        let batch = self.index(|index| index.revoke(id))?;
        self.shared.deadlines().remove(id);
        // Its grant may be on its way still.
        let in_flight = self.in_flight.as_mut().map(|in_flight| &mut in_flight.group);
        for group in in_flight.into_iter().chain([&mut self.group]) {
            group.granted.retain(|(granted, _)| *granted != id);
        }
        record::put_revoke(&mut self.group.frame, id);
        self.group.batches.extend(batch);
        Ok(())
    }

    /// Ends some of the leases that are due. When the next one is.
    fn end_leases(&mut self) -> Option<Instant> {
        let mut deadlines = self.shared.deadlines();
        let next = deadlines.next()?;
        let now = Instant::now();
        if next > now {
            return Some(next);
        }
        let due = deadlines.take_due(now, TAKE);
        drop(deadlines);
        for id in due {
            // Somebody may have revoked it in the meantime: it is gone either way.
            drop(self.revoke(id));
        }
        // However many end: those who ask have their turn, too.
        for _ in 0..TAKE {
            let Ok(Queued { command, .. }) = self.commands.try_recv() else { break };
            self.take(command);
        }
        self.shared.deadlines().next()
    }

    /// An answer waits for its group, also that of a request which wrote nothing: it may have seen what is not durable yet.
    fn answer<T: Send + 'static>(&mut self, reply: oneshot::Sender<Result<T>>, answer: T, wrote: bool) {
        self.group.answers.push(Answer::new(reply, answer, wrote));
    }

    fn refuse<T: Send + 'static>(&mut self, reply: oneshot::Sender<Result<T>>, error: Error) {
        let send = move |outcome: Result<()>| drop(reply.send(outcome.and(Err(error))));
        self.group.answers.push(Answer { wrote: false, send: Box::new(send) });
    }

    /// Marks the end of the log: whatever is damaged before it is not mistaken for a write that a crash tore.
    async fn close(&mut self) -> Result<()> {
        let mut disk = self.disk.take().expect("the disk is here when nothing is in flight");
        let revision = self.index(|index| index.revision);
        let marked = tokio::task::spawn_blocking(move || disk.append(&mut vec![0; FRAME_HEADER], revision));
        marked.await.map_err(|_| unavailable("the runtime is shutting down"))??;
        self.shared.published.fail(unavailable("the store has been closed"));
        for reply in self.closed.drain(..) {
            drop(reply.send(Ok(())));
        }
        Ok(())
    }

    /// Nobody is served any more.
    fn stop(&mut self, outcome: &Result<()>) {
        let reason = match outcome {
            Ok(()) => unavailable("the store has been closed"),
            Err(error) => unavailable(&error.to_string()),
        };
        self.shared.published.fail(reason.clone());
        self.shared.room.close();
        self.commands.close();
        if let Some(InFlight { group, .. }) = self.in_flight.take() {
            fail(group.answers, &reason);
        }
        for answer in std::mem::take(&mut self.group.answers) {
            (answer.send)(Err(reason.clone()));
        }
        for reply in self.closed.drain(..) {
            drop(reply.send(Err(reason.clone())));
        }
        while let Ok(Queued { command, .. }) = self.commands.try_recv() {
            command.refuse(reason.clone());
        }
    }
}

impl Command {
    fn refuse(self, error: Error) {
        match self {
            Command::Txn { reply, .. } => drop(reply.send(Err(error))),
            Command::Grant { reply, .. } => drop(reply.send(Err(error))),
            Command::Compact { reply, .. } | Command::Revoke { reply, .. } | Command::Close { reply } => {
                drop(reply.send(Err(error)))
            }
        }
    }
}

/// A dropped run future stops the store, too.
impl Drop for Writer {
    fn drop(&mut self) {
        self.stop(&Err(unavailable("its run future has been dropped")));
    }
}

/// Tells those whose group could not be made durable.
fn fail(answers: Vec<Answer>, error: &Error) {
    let reason: Arc<str> = error.to_string().into();
    for answer in answers {
        let reason = reason.clone();
        (answer.send)(Err(match answer.wrote {
            true => Error::OutcomeUnknown { reason },
            false => Error::Unavailable { reason },
        }));
    }
}

async fn flushed(in_flight: &mut Option<InFlight>) -> Result<Flushed> {
    match in_flight {
        Some(in_flight) => (&mut in_flight.flush).await.map_err(|_| unavailable("the runtime is shutting down")),
        None => std::future::pending().await,
    }
}

async fn written(checkpoint: &mut Option<Checkpoint>) -> Result<(u64, u64)> {
    match checkpoint {
        Some(checkpoint) => match (&mut checkpoint.written).await {
            Ok(size) => Ok((checkpoint.sequence, size?)),
            Err(_) => Err(unavailable("the runtime is shutting down")),
        },
        None => std::future::pending().await,
    }
}
