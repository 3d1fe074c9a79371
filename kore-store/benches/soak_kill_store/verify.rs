//! What must be in the directory of a child that was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use kore_store::{
    DurableStore, Entropy, Error, EventBatch, KeyRange, KeyValue, Range, Revision, Status, Store, WatchRequest, Watched,
};

use super::child::{DELETES, SLOTS, last, leased, slot};
use super::ledger::{Ledger, Stage};
use super::options;

/// Opens the store, compares what is there with what was said, and notes what is known from then on.
pub(crate) async fn verify(dir: &Path, ledger: &mut Ledger, random: &Entropy) {
    let (store, run) = DurableStore::open(dir, options()).await.expect("what a kill leaves can be opened");
    let ends_well = random.below(2) == 0;
    let checks = async {
        let status = store.status().await.expect("it is open");
        compaction(&store, &status, ledger).await;
        let told = history(&store, &status).await;
        writers(&store, &status, &told, ledger).await;
        leases(&store, ledger).await;
        assert!(status.revision >= ledger.revision, "{status:?}, and {} was answered", ledger.revision);
        ledger.revision = status.revision;
        if ends_well {
            store.close().await.expect("it is open");
        }
    };
    tokio::select! {
        biased;
        () = checks => {}
        stopped = run => assert!(ends_well, "the store stopped: {stopped:?}"),
    }
}

async fn compaction(store: &DurableStore, status: &Status, ledger: &mut Ledger) {
    let (least, most) = ledger.compacted;
    assert!((least..=most).contains(&status.compacted), "{status:?}, and compacted to {least}, perhaps to {most}");
    ledger.compacted = (status.compacted, status.compacted);
    if status.compacted > 1 {
        let before = store.range(Range::new(KeyRange::all()).at(status.compacted - 1)).await;
        assert!(matches!(before, Err(Error::Compacted { .. })), "{before:?}");
        store.range(Range::new(KeyRange::all()).at(status.compacted)).await.expect("the boundary can be read");
    }
}

/// What the revisions behind the compaction changed: each changed something, so nothing is missing in between.
async fn history(store: &DurableStore, status: &Status) -> BTreeMap<Revision, EventBatch> {
    let from = status.compacted.max(1) + 1;
    let mut watch = store.watch(WatchRequest::prefix("").from(from)).await.expect("it is not compacted");
    let mut told = BTreeMap::new();
    for revision in from..=status.revision {
        let item = tokio::time::timeout(Duration::from_secs(30), watch.next()).await.expect("it is told in time");
        match item {
            Some(Ok(Watched::Batch(batch))) if batch.revision == revision => drop(told.insert(revision, batch)),
            other => panic!("instead of revision {revision}: {other:?}"),
        }
    }
    told
}

fn parsed(kv: &KeyValue) -> u64 {
    String::from_utf8_lossy(&kv.value).trim_end().parse().expect("values are numbers")
}

async fn writers(store: &DurableStore, status: &Status, told: &BTreeMap<Revision, EventBatch>, ledger: &mut Ledger) {
    let all = store.range(Range::prefix("writer/")).await.expect("it is open");
    let mut found: BTreeMap<&[u8], &KeyValue> = all.kvs.iter().map(|kv| (&kv.key[..], &**kv)).collect();
    let mut recovered = 0;
    for (number, writer) in ledger.writers() {
        let counted = found.remove(last(number).as_bytes());
        let done = counted.map_or(0, parsed);
        let (least, most) = (writer.acknowledged, writer.sent);
        assert!((least..=most).contains(&done), "writer {number} is at {done}: {least} was answered, {most} sent");
        recovered += done - least;
        // Each write that was answered is where its answer says, as long as that can be seen.
        for (count, revision) in &writer.revisions {
            assert!(*revision <= status.revision, "write {count} of {number} took {revision}: {status:?}");
            if let Some(batch) = told.get(revision) {
                let counts = |kv: &KeyValue| &kv.key[..] == last(number).as_bytes() && parsed(kv) == *count;
                assert!(batch.events.iter().any(|event| counts(&event.kv)), "write {count} of {number} took {batch:?}");
            }
        }
        // Both keys of a write, or none.
        for place in 0..SLOTS {
            let count = (0..=done).rev().find(|count| count % SLOTS == place && *count > 0);
            let kv = found.remove(slot(number, place).as_bytes());
            let expected = count.filter(|count| count % DELETES != 0);
            assert_eq!(kv.map(parsed), expected, "slot {place} of writer {number}, which is at {done}");
            if let (Some(kv), true) = (kv, count == Some(done)) {
                assert_eq!(Some(kv.mod_revision), counted.map(|kv| kv.mod_revision), "write {done} of {number}");
            }
        }
        (writer.sent, writer.acknowledged) = (done, done);
        writer.revisions.clear();
    }
    assert!(found.is_empty(), "nobody wrote {found:?}");
    ledger.recovered += recovered;
}

async fn leases(store: &DurableStore, ledger: &mut Ledger) {
    let existing: BTreeSet<u64> = store.leases().await.expect("it is open").into_iter().collect();
    assert!(existing.iter().all(|id| ledger.leases.contains_key(id)), "a lease that nobody granted: {existing:?}");
    for (id, lease) in &mut ledger.leases {
        let exists = existing.contains(id);
        let kv = store.get(leased(*id).into()).await.expect("it is open");
        let is_attached = kv.is_some();
        assert!(exists || lease.granted < Stage::Done || lease.revoked > Stage::NotAsked, "{id} is lost: {lease:?}");
        assert!(!exists || lease.revoked < Stage::Done, "{id} was revoked: {lease:?}");
        assert!(exists || !is_attached, "{kv:?} is left of a lease that is gone: {lease:?}");
        assert!(!exists || is_attached || lease.attached < Stage::Done, "the key of {id} is lost: {lease:?}");
        if let Some(kv) = kv {
            assert_eq!((kv.lease, parsed(&kv)), (*id, *id));
        }
        let stage = |is_so| if is_so { Stage::Done } else { Stage::NotAsked };
        (lease.granted, lease.attached, lease.revoked) = (stage(exists), stage(is_attached), Stage::NotAsked);
    }
    ledger.leases.retain(|id, _| existing.contains(id));
}
