//! The process that is killed: many tasks write, and each says what it asks before it asks, and what it was answered.
//!
//! A line each: what it is about (`write`, `grant`, `attach`, `revoke`, `compact`), whether it is asked (`+`), done (`=`) or of unknown outcome
//! (`?`), and its numbers.

use std::fmt::Display;
use std::future::pending;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use kore_store::{Delete, DurableStore, Entropy, Error, KeyRange, LeaseId, Op, Put, Result, Revision, Store, Txn};

use super::options;

/// Tasks that write.
pub(crate) const WRITERS: u64 = 32;

/// Keys of a writer: its n-th write goes to the n-th of them, counted around.
pub(crate) const SLOTS: u64 = 8;

/// One in so many writes of a writer deletes instead.
pub(crate) const DELETES: u64 = 5;

/// Revisions that a compaction leaves.
const KEPT: Revision = 500;

/// How long leases live: longer than the soak.
const TTL: Duration = Duration::from_secs(100_000);

/// Leases beyond which one is revoked for each that is granted.
const LEASES: usize = 50;

pub(crate) fn last(writer: u64) -> String {
    format!("writer/{writer}/last")
}

pub(crate) fn slot(writer: u64, number: u64) -> String {
    format!("writer/{writer}/{}", number % SLOTS)
}

pub(crate) fn leased(id: LeaseId) -> String {
    format!("lease/{id}")
}

/// What a writer's n-th write does, at one revision: it counts, and puts or deletes.
fn write(writer: u64, number: u64) -> Txn {
    let counted = Txn::new().then(Op::put(last(writer), number.to_string()));
    let key = slot(writer, number);
    match number % DELETES {
        0 => counted.then(Delete::new(KeyRange::Key(key.into())).into()),
        // Some are larger than a page.
        1 => counted.then(Op::put(key, format!("{number:<5000}"))),
        _ => counted.then(Op::put(key, number.to_string())),
    }
}

fn say(line: impl Display) {
    // At once: what is in a pipe outlives the process.
    let line = format!("{line}\n");
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes()).and_then(|()| output.flush()).expect("the parent reads");
}

/// Says how a call ended.
fn said(what: &str, answer: Result<Option<Revision>>) {
    match answer {
        Ok(None) => say(format_args!("{what}=")),
        Ok(Some(revision)) => say(format_args!("{what}= {revision}")),
        Err(Error::OutcomeUnknown { .. }) => say(format_args!("{what}?")),
        Err(error) => say(format_args!("error {what}: {error}")),
    }
}

/// Works until it is killed.
pub(crate) async fn work(dir: &Path) {
    let (store, run) = match DurableStore::open(dir, options()).await {
        Ok(opened) => opened,
        Err(error) => {
            say(format_args!("error opening: {error}"));
            return pending().await;
        }
    };
    say("open");
    let latest = AtomicU64::new(0);
    let writers = join_all((0..WRITERS).map(|writer| keep_writing(&store, writer, &latest)));
    tokio::select! {
        biased;
        stopped = run => say(format_args!("error: the store stopped: {stopped:?}")),
        _ = writers => {}
        () = keep_leases(&store) => {}
        () = keep_compacting(&store, &latest) => {}
    }
    pending().await
}

async fn keep_writing(store: &DurableStore, writer: u64, latest: &AtomicU64) {
    let kv = store.get(last(writer).into()).await.expect("it is open");
    let mut number = kv.map_or(0, |kv| String::from_utf8_lossy(&kv.value).parse().expect("a number"));
    loop {
        number += 1;
        let what = format!("write {writer} {number} ");
        say(format_args!("{what}+"));
        let answer = store.txn(write(writer, number)).await.map(|done| done.revision);
        if let Ok(revision) = &answer {
            latest.fetch_max(*revision, Ordering::Relaxed);
        }
        said(&what, answer.map(Some));
    }
}

async fn keep_leases(store: &DurableStore) {
    let random = Entropy::system();
    loop {
        let id = random.next_u64() >> 16;
        say(format_args!("grant {id} +"));
        said(&format!("grant {id} "), store.grant(TTL, id).await.map(|_| None));
        say(format_args!("attach {id} +"));
        let attach = Txn::new().then(Put::new(leased(id), id.to_string()).lease(id).into());
        said(&format!("attach {id} "), store.txn(attach).await.map(|done| Some(done.revision)));
        let leases = store.leases().await.expect("it is open");
        if leases.len() > LEASES {
            let id = leases[random.below(leases.len() as u64) as usize];
            say(format_args!("revoke {id} +"));
            said(&format!("revoke {id} "), store.revoke(id).await.map(|()| None));
        }
    }
}

async fn keep_compacting(store: &DurableStore, latest: &AtomicU64) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let at = latest.load(Ordering::Relaxed).saturating_sub(KEPT);
        if at > store.status().await.expect("it is open").compacted {
            say(format_args!("compact {at} +"));
            said(&format!("compact {at} "), store.compact(at).await.map(|()| None));
        }
    }
}
