//! [`EtcdStore`]: a real etcd cluster as a store.
//!
//! - here: the store
//! - `options`: how a cluster is reached
//! - `cluster`, `connection`, `tls`, `version`, `joint`: which member is talked to, and how
//! - `calls`, `translate`, `refusal`: requests into etcd's messages, its answers and refusals back
//! - `watch`, `feed`, `assembly`, `pursuit`, `progress`: watches
//! - `snapshot`: snapshots
//!
//! Nothing outside of `cluster` and `connection` knows which member answers; nothing outside of this folder knows gRPC.

mod assembly;
mod calls;
mod cluster;
mod connection;
mod feed;
mod joint;
mod options;
mod progress;
mod pursuit;
mod refusal;
mod snapshot;
mod tls;
mod translate;
mod version;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::etcd::wire;
use crate::index::check;
use crate::memory::whole_seconds;
use crate::{
    Error, Lease, LeaseId, Range, Ranged, Result, Revision, Snapshot, Status, Store, Txn, TxnResponse, Watch,
    WatchRequest,
};
use calls::{About, COMPACT, GRANT, RANGE, REVOKE, STATUS, TIME_TO_LIVE, TXN, TXN_READ_ONLY};
use cluster::{Cluster, Failed};
use connection::Connection;
pub use options::{EtcdOptions, Progress};
use progress::Markers;
use refusal::{Failure, Refusal};
use translate::{revision, signed, unsigned};

/// An etcd cluster, version 3.4 or later, as a store. Clones are handles of the same one.
///
/// ```no_run
/// use kore_store::{EtcdOptions, EtcdStore, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kore_store::Result<()> {
/// let options = EtcdOptions::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"]);
/// let store = EtcdStore::connect(options).await?;
/// let revision = store.put("greeting".into(), "hello".into()).await?;
/// let kv = store.get("greeting".into()).await?.expect("just written");
/// assert_eq!((&kv.value[..], kv.mod_revision), (&b"hello"[..], revision));
/// # Ok(())
/// # }
/// ```
///
/// All work is done while its calls and watches are polled, except that each connection has a task of its own on the
/// runtime that it was opened on: it moves bytes and answers pings, and ends with the connection.
///
/// # Members that fail
///
/// One member is talked to at a time; when it fails, is silent or knows no leader, the next one is. Reads are tried again
/// on other members until the [request timeout](EtcdOptions::request_timeout) is over, then they fail with
/// [`Error::Unavailable`]. A write is tried again when it surely has not been done. When it may have been - the connection
/// broke behind it, no answer came in time, or etcd itself does not know since its leader changed - it fails with
/// [`Error::OutcomeUnknown`].
///
/// # Watches
///
/// A watch goes on by itself when its member fails: on the next one, from the revision behind the last that it told. It
/// looks for a member for as long as it takes; only what no member will change ends it, with an error. A watch that is
/// not read buffers up to 512 KiB, and holds nothing else up; what comes then waits in etcd.
///
/// A watch that is to begin at the compacted revision itself is refused with [`Error::Compacted`], as one that is to
/// begin before it: etcd may have forgotten a deletion made there (etcd#19179). So is, for the same reason, one that a compaction
/// passes by in the tenth of a second after it began or went on with another member, whatever was compacted.
///
/// A watch that reads so slowly that its member queues answers up, from a member older than 3.4.31 or 3.5.13, is told
/// [`Error::Compacted`] as soon as it is behind the compacted revision: such members can drop its events silently from
/// there on (etcd#17555). To see that in time, one read goes with every 64 answers. One gap cannot be seen from outside:
/// such a member can forget a deletion that it is about to send next, if the compaction that makes its revision the
/// compacted one comes in the tenth of a second after a queue has run full, or between two thousands of revisions that
/// the watch catches up with.
///
/// # Progress
///
/// etcd can be asked where a watch stands. Members from 3.4.31 and 3.5.13 on are asked. Older ones answer with revisions
/// whose events they have yet to send (etcd#15220) or not at all (etcd#17507), so there a *marker* is written: a watch
/// reaches one key further than asked, to the key directly behind its own - `/pods0` for the prefix `/pods/`, `web\0` for
/// the key `web`. The key is written and deleted again, and when the watch is told so at some revision, everything up to
/// there has been told: it is one watch in etcd, and one watch is told in order. A second watch for the marker alone would
/// not do: etcd catches watches up one by one, also those of one stream, so that the marker's could be ahead.
///
/// The marker is there for an instant, under a lease of a minute in case that its writer dies, and it is written only
/// where progress is asked for. Watches of an `EtcdStore` do not tell of markers; listings, and other programs, may come
/// across them, and each takes two revisions. A key that is there already is written again as it is, value and lease
/// unchanged, and stays. Where a set of keys has no end, the marker is a key in it that nobody else writes. A user needs
/// the right to read and write the marker. While etcd has no room for it, progress waits. See [`EtcdOptions::progress`].
///
/// # What etcd does not tell
///
/// - [`Status::quota_bytes`] is 0 before etcd 3.6, as is `quota` in [`Error::QuotaExceeded`]. After that error, etcd
///   takes writes again when room was made *and* its alarm was disarmed.
/// - [`Status::compacted`], and [`Error::Compacted`]'s `at`, are found by reading at a few revisions. A store compacted at
///   revision 1 is told as never compacted.
/// - [`Snapshot::revision`] is the revision at which the snapshot was asked for: it holds that, and may hold a little more.
/// - A comparison on a range that has no keys is made once, with a key that does not exist.
///
/// Answers may be as large as etcd makes them, up to 2 GiB: read with a limit what may grow.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Arc<Cluster>,
    markers: Markers,
}

impl EtcdStore {
    /// Connects to the first endpoint that answers.
    ///
    /// Errors: [`Error::InvalidRequest`], when the options make no sense; [`Error::Unavailable`], when no endpoint can be
    /// reached within the request timeout, or the user is refused.
    pub async fn connect(options: EtcdOptions) -> Result<EtcdStore> {
        let cluster = Cluster::new(options)?;
        let introduced = cluster.attempt(true, |_, _| std::future::ready(Ok(()))).await;
        introduced.map_err(Failed::plain)?;
        Ok(EtcdStore { inner: Arc::new(Inner { cluster, markers: Markers::default() }) })
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.inner.cluster
    }
}

/// How often a read of a revision that has just come about is tried again.
const AGAIN: usize = 3;

#[async_trait]
impl Store for EtcdStore {
    async fn range(&self, request: Range) -> Result<Ranged> {
        let mut tries = 0;
        loop {
            let answer: Result<wire::RangeResponse, _> = self.cluster().call(RANGE, translate::range(&request)).await;
            let failed = match answer {
                Ok(answer) => {
                    let current = revision(&answer.header);
                    return Ok(translate::ranged(&request, answer, current));
                }
                Err(failed) => failed,
            };
            let error = self.cluster().explain(failed, About::revision(&request.keys, request.revision)).await;
            tries += 1;
            match error {
                Error::FutureRevision { requested, current } if requested <= current && tries < AGAIN => {}
                error => return Err(error),
            }
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        check(&txn, &self.cluster().options.limits)?;
        let method = match txn.is_read_only() {
            true => TXN_READ_ONLY,
            false => TXN,
        };
        match self.cluster().call(method, translate::txn(&txn)).await {
            Ok(answer) => translate::txn_response(&txn, answer)
                .ok_or_else(|| Error::OutcomeUnknown { reason: "etcd's answer does not fit the transaction".into() }),
            Err(failed) => Err(self.cluster().explain(failed, About::txn(&txn)).await),
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        watch::begin(self.inner.clone(), request).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let request = wire::CompactionRequest { revision: signed(revision), physical: false };
        let about = || About { revisions: (revision.saturating_sub(1), revision), ..About::default() };
        let failed = match revision {
            // etcd takes it for a compaction.
            0 => Failed::Refused(Refusal::Compacted),
            _ => match self.cluster().call::<_, wire::CompactionResponse>(COMPACT, request).await {
                Ok(_) => return Ok(()),
                Err(failed) => failed,
            },
        };
        Err(match self.cluster().explain(failed, about()).await {
            Error::Compacted { at, .. } => Error::Compacted { requested: revision, at },
            error => error,
        })
    }

    async fn status(&self) -> Result<Status> {
        let cluster = self.cluster();
        let any = Bytes::from_static(b"\0");
        let compacted = match cluster.is_compacted(&any, 1).await.map_err(Failed::plain)? {
            true => cluster.oldest(&any, 1).await?,
            false => 0,
        };
        let status: wire::StatusResponse = cluster.call(STATUS, wire::StatusRequest {}).await.map_err(Failed::plain)?;
        let everything = translate::range(&Range::prefix("").count_only());
        let counted: wire::RangeResponse = cluster.call(RANGE, everything).await.map_err(Failed::plain)?;
        Ok(Status {
            revision: revision(&counted.header),
            compacted,
            bytes: unsigned(if status.db_size_in_use > 0 { status.db_size_in_use } else { status.db_size }),
            quota_bytes: unsigned(status.db_size_quota),
            keys: unsigned(counted.count),
        })
    }

    async fn grant(&self, ttl: Duration, id: LeaseId) -> Result<Lease> {
        let seconds = whole_seconds(ttl);
        let request = wire::LeaseGrantRequest { ttl: signed(seconds), id: id as i64 };
        match self.cluster().call::<_, wire::LeaseGrantResponse>(GRANT, request).await {
            Ok(granted) => Ok(Lease::fresh(granted.id as u64, Duration::from_secs(unsigned(granted.ttl)))),
            Err(failed @ Failed::Refused(Refusal::LeaseTooLong)) => {
                Err(self.cluster().explain(failed, About::lease(seconds)).await)
            }
            Err(failed) => Err(self.cluster().explain(failed, About::lease(id)).await),
        }
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        let request = wire::LeaseKeepAliveRequest { id: id as i64 };
        // Kept twice is kept.
        let kept = self.cluster().attempt(true, |connection: Connection, metadata| {
            let request = request.clone();
            async move {
                let path = "/etcdserverpb.Lease/LeaseKeepAlive";
                let answers = connection.streaming(path, futures::stream::iter([request]), metadata).await;
                let mut answers = answers.map_err(|status| Failure::of(&status))?;
                let answer: Option<wire::LeaseKeepAliveResponse> =
                    answers.message().await.map_err(|status| Failure::of(&status))?;
                answer.ok_or(Failure::Open("etcd ended the stream".into()))
            }
        });
        match kept.await {
            Ok(kept) if kept.ttl <= 0 => Err(Error::LeaseNotFound { id }),
            Ok(kept) => Ok(Lease::fresh(id, Duration::from_secs(unsigned(kept.ttl)))),
            Err(failed) => Err(self.cluster().explain(failed, About::lease(id)).await),
        }
    }

    async fn revoke(&self, id: LeaseId) -> Result<()> {
        let request = wire::LeaseRevokeRequest { id: id as i64 };
        match self.cluster().call::<_, wire::LeaseRevokeResponse>(REVOKE, request).await {
            Ok(_) => Ok(()),
            Err(failed) => Err(self.cluster().explain(failed, About::lease(id)).await),
        }
    }

    async fn lease(&self, id: LeaseId) -> Result<Lease> {
        let request = wire::LeaseTimeToLiveRequest { id: id as i64, keys: true };
        match self.cluster().call(TIME_TO_LIVE, request).await {
            Ok(answer) => translate::lease(answer).ok_or(Error::LeaseNotFound { id }),
            Err(failed) => Err(self.cluster().explain(failed, About::lease(id)).await),
        }
    }

    async fn leases(&self) -> Result<Vec<LeaseId>> {
        // A member answers with what it has, and may be behind: a read before it brings it up to date.
        let look = translate::range(&Range::key("\0").count_only());
        let listed = self.cluster().attempt(true, |connection: Connection, metadata| {
            let look = look.clone();
            async move {
                let said = |status: tonic::Status| Failure::of(&status);
                let _: wire::RangeResponse =
                    connection.unary(RANGE.path, look, metadata.clone()).await.map_err(said)?;
                let path = "/etcdserverpb.Lease/LeaseLeases";
                connection.unary(path, wire::LeaseLeasesRequest {}, metadata).await.map_err(said)
            }
        });
        let listed: wire::LeaseLeasesResponse = listed.await.map_err(Failed::plain)?;
        let mut ids: Vec<LeaseId> = listed.leases.into_iter().map(|lease| lease.id as u64).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// etcd's own snapshot, byte for byte as `etcdctl snapshot save` writes it, checksum included: it restores an etcd.
    async fn snapshot(&self) -> Result<Snapshot> {
        snapshot::begin(self.cluster()).await
    }
}
