//! One watch on one member, for as long as its stream lives.

use bytes::Bytes;
use futures::channel::mpsc;
use tokio::time::timeout;
use tonic::Streaming;

use super::Progress;
use super::cluster::Cluster;
use super::connection::Connection;
use super::refusal::{Failure, Refusal};
use super::translate::{Span, revision, signed, unsigned};
use crate::etcd::wire;
use crate::{Error, Revision, WatchRequest};

/// Requests that wait for the stream: creation, and one question for progress at a time.
const REQUESTS: usize = 4;

pub(super) struct Feed {
    connection: Connection,
    requests: mpsc::Sender<wire::WatchRequest>,
    answers: Streaming<wire::WatchResponse>,
    progress: Ways,
    /// Answers that came so far.
    received: u64,
}

/// How progress is learned on this stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ways {
    /// The member is asked.
    Requested,
    /// This key is written.
    Marker(Bytes),
    /// By waiting: every revision has an event.
    Everything,
}

/// What a member tells.
#[derive(Debug)]
pub(super) enum Told {
    Events(Vec<wire::Event>, Fragments),
    /// Everything up to here has been sent; `asked` when somebody asked.
    Progress {
        revision: Revision,
        asked: bool,
    },
    /// It is behind the compacted revision, which is this.
    Compacted(Revision),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragments {
    More,
    Last,
}

impl Feed {
    /// Begins at this revision. A member that begins a watch at the compacted revision may have lost a deletion there, so
    /// it is asked for one revision more, which whoever assembles the answers leaves out.
    pub(super) async fn open(cluster: &Cluster, request: &WatchRequest, from: Revision) -> Result<Feed, Failure> {
        let connection = cluster.connection().await.map_err(Failure::NotDone)?;
        cluster.introduce(&connection).await?;
        let (metadata, number) = cluster.metadata(true);
        let span = Span::new(&request.keys, None);
        let marker = match cluster.options.progress {
            Progress::Auto => !connection.version.has_sound_watches(),
            Progress::Requested => false,
            Progress::Marker => true,
        };
        let (span, progress) = match marker {
            false if span.is_nothing() => (Span { key: span.key, end: Bytes::new() }, Ways::Requested),
            false => (span, Ways::Requested),
            true => match span.with_marker() {
                (wider, Some(marker)) => (wider, Ways::Marker(marker)),
                (same, None) => (same, Ways::Everything),
            },
        };
        let create = wire::WatchCreateRequest {
            key: span.key,
            range_end: span.end,
            start_revision: signed(from.saturating_sub(1).max(1)),
            progress_notify: true,
            prev_kv: request.previous,
            fragment: true,
            ..Default::default()
        };
        let (mut requests, queue) = mpsc::channel(REQUESTS);
        let create = wire::WatchRequest { request_union: Some(wire::WatchRequestUnion::Create(create)) };
        requests.try_send(create).expect("the queue is empty");
        let opening = async {
            let answers = connection.streaming("/etcdserverpb.Watch/Watch", queue, metadata).await;
            let mut answers: Streaming<wire::WatchResponse> = answers.map_err(|status| Failure::of(&status))?;
            let created = answers.message().await.map_err(|status| Failure::of(&status))?;
            Ok((answers, created.ok_or(Failure::Open("etcd ended the stream".into()))?))
        };
        let opened = timeout(cluster.options.request_timeout, opening).await;
        let opened = opened.unwrap_or(Err(Failure::Open("no answer in time".into())));
        let opened = opened.and_then(|(answers, created)| match created.canceled {
            true => Err(ended(&created)),
            false => Ok(answers),
        });
        match opened {
            Ok(answers) => Ok(Feed { connection, requests, answers, progress, received: 0 }),
            Err(Failure::Token) => {
                cluster.authenticate(&connection, number).await?;
                Err(Failure::NotDone("the token was not known".into()))
            }
            Err(failure) => {
                if !matches!(failure, Failure::Refused(_)) {
                    cluster.fail(&connection);
                }
                Err(failure)
            }
        }
    }

    pub(super) fn ways(&self) -> &Ways {
        &self.progress
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks the member where it stands. When the queue is full it has been asked.
    pub(super) fn ask(&mut self) {
        let ask = wire::WatchRequestUnion::Progress(wire::WatchProgressRequest {});
        drop(self.requests.try_send(wire::WatchRequest { request_union: Some(ask) }));
    }

    /// What the member tells next. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Told, Failure> {
        loop {
            let answer = self.answers.message().await.map_err(|status| Failure::of(&status))?;
            let answer = answer.ok_or(Failure::Open("etcd ended the stream".into()))?;
            if answer.compact_revision > 0 {
                return Ok(Told::Compacted(unsigned(answer.compact_revision)));
            }
            if answer.canceled {
                return Err(ended(&answer));
            }
            if answer.created {
                continue;
            }
            if answer.events.is_empty() && !answer.fragment {
                // A question is answered to the stream as a whole.
                return Ok(Told::Progress { revision: revision(&answer.header), asked: answer.watch_id < 0 });
            }
            self.received += 1;
            let fragments = if answer.fragment { Fragments::More } else { Fragments::Last };
            return Ok(Told::Events(answer.events, fragments));
        }
    }

    /// True when it must be made sure now that the member has not dropped events.
    ///
    /// A member with etcd#17555 drops events of a watch that is behind a compaction when 128 answers wait for the watch.
    /// All of them were queued before, so they are behind that compaction too, and come before what is missing. One look
    /// in less than 128 answers therefore sees a watch in danger before it is told of anything behind a gap.
    pub(super) fn must_look(&self) -> bool {
        !self.connection.version.has_sound_watches() && self.received.is_multiple_of(64)
    }
}

/// Why etcd ended a watch.
fn ended(answer: &wire::WatchResponse) -> Failure {
    if answer.compact_revision > 0 {
        return Failure::Refused(Refusal::Compacted);
    }
    let reason = answer.cancel_reason.as_str();
    Failure::said(reason).unwrap_or_else(|| match reason.contains("permission denied") {
        true => Failure::Refused(Refusal::Other(reason.into())),
        false => Failure::Open(format!("etcd ended the watch: {reason}").into()),
    })
}

impl From<Failure> for Option<Error> {
    /// The error that ends a watch; None: the watch goes on elsewhere.
    fn from(failure: Failure) -> Option<Error> {
        match failure {
            Failure::Refused(refusal) => Some(super::Failed::Refused(refusal).plain()),
            Failure::NotDone(_) | Failure::Token | Failure::Open(_) => None,
        }
    }
}
