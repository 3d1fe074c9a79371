//! Snapshots, restoring them, and looking at a data directory from outside.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use kore_store::{
    DurableStore, Error, KeyRange, Limits, MemoryStore, Op, Options, Put, Range, Result, Store, Txn, offline,
};

fn options() -> Options {
    Options::default().segment_bytes(4096).checkpoint_bytes(8192)
}

/// Opens a store in this directory, works with it, and closes it.
async fn with<T>(dir: &Path, work: impl AsyncFnOnce(&DurableStore) -> T) -> T {
    let (store, run) = DurableStore::open(dir, options()).await.unwrap();
    let work = async {
        let done = work(&store).await;
        store.close().await?;
        Ok(done)
    };
    tokio::try_join!(run, work).unwrap().1
}

/// Histories, deletions, leases, a compaction.
async fn fill(store: &dyn Store) {
    let lease = store.grant(Duration::from_secs(3600), 0).await.unwrap().id;
    store.grant(Duration::from_secs(60), 99).await.unwrap();
    for number in 0..60u64 {
        let put = Put::new(format!("key-{:02}", number % 13), format!("value {number}")).lease(lease * (number % 2));
        let mut txn = Txn::new().then(Op::Put(put));
        if number % 10 == 9 {
            txn = txn.then(Op::delete(format!("key-{:02}", number % 7 + 3)));
        }
        // A key may be written and deleted at once: then it is left.
        let _ = store.txn(txn).await;
    }
    let now = store.status().await.unwrap().revision;
    store.compact(now - 20).await.unwrap();
}

/// Everything there is, at every revision that can be read.
async fn describe(store: &dyn Store) -> String {
    let status = store.status().await.unwrap();
    let mut text = format!("{} {} {}\n", status.revision, status.compacted, status.keys);
    for at in status.compacted.max(1)..=status.revision {
        for kv in store.range(Range::new(KeyRange::all()).at(at)).await.unwrap().kvs {
            text += &format!("{at}: {kv:?}\n");
        }
    }
    for id in store.leases().await.unwrap() {
        text += &format!("{:?}\n", store.lease(id).await.unwrap());
    }
    text
}

async fn bytes_of(store: &dyn Store) -> Vec<u8> {
    let chunks: Vec<Bytes> = store.snapshot().await.unwrap().try_collect().await.unwrap();
    chunks.concat()
}

fn in_chunks(bytes: &[u8], size: usize) -> impl stream::Stream<Item = Result<Bytes>> + use<> {
    let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_becomes_the_same_store_again() {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new();
    fill(&memory).await;
    let expected = describe(&memory).await;
    let durable = with(dir.path(), async |store| {
        fill(store).await;
        assert_eq!(describe(store).await, expected);
        bytes_of(store).await
    });
    assert_eq!(durable.await, bytes_of(&memory).await, "both stores have one form of snapshot");

    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("made/on/the/way");
    let revision = DurableStore::restore(&to, in_chunks(&bytes_of(&memory).await, 777)).await.unwrap();
    assert_eq!(revision, memory.status().await.unwrap().revision);
    // It goes on from there, and is found again.
    let written = with(&to, async |store| {
        assert_eq!(describe(store).await, expected);
        let next = store.put("next".into(), "n".into()).await.unwrap();
        assert_eq!(next, revision + 1);
        describe(store).await
    });
    let written = written.await;
    assert_eq!(with(&to, async |store| describe(store).await).await, written);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_a_picture_of_one_moment_whatever_goes_on() {
    let store = MemoryStore::with_limits(Limits::default().quota_bytes(1 << 30));
    let key = |number: u64| Bytes::from(format!("key-{number:05}"));
    for value in [b'u', b'v'] {
        for number in 0..3000 {
            store.put(key(number), vec![value; 400].into()).await.unwrap();
        }
    }
    let mut snapshot = store.snapshot().await.unwrap();
    let revision = snapshot.revision();
    let mut bytes = snapshot.next().await.unwrap().unwrap().to_vec();
    // Everything is written again, deleted, and compacted away.
    for number in 0..3000 {
        store.put(key(number), "late".into()).await.unwrap();
    }
    store.delete(KeyRange::Prefix("key-00".into())).await.unwrap();
    store.compact(store.status().await.unwrap().revision).await.unwrap();
    while let Some(chunk) = snapshot.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    drop(snapshot);

    let dir = tempfile::tempdir().unwrap();
    assert_eq!(DurableStore::restore(dir.path(), in_chunks(&bytes, 1 << 16)).await.unwrap(), revision);
    with(dir.path(), async |store| {
        let all = store.range(Range::new(KeyRange::all())).await.unwrap();
        assert_eq!((all.count, all.revision), (3000, revision));
        assert!(all.kvs.iter().all(|kv| kv.value[..] == [b'v'; 400]));
        // Also what had been overwritten when it was taken.
        let before = store.range(Range::new(KeyRange::all()).at(3001)).await.unwrap();
        assert_eq!(before.count, 3000);
        assert!(before.kvs.iter().all(|kv| kv.value[..] == [b'u'; 400]));
    })
    .await;
    // What the snapshot kept from being swept out goes with the next write.
    for number in 0..100 {
        store.put(key(number), "later".into()).await.unwrap();
    }
    let status = store.status().await.unwrap();
    assert!(status.bytes < 3000 * 300, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_history_of_one_key_goes_over_several_blocks() {
    let store = MemoryStore::new();
    for number in 0..40u8 {
        store.put("hot".into(), vec![number; 100_000].into()).await.unwrap();
        store.put("large".into(), vec![number; 400_000 * usize::from(number % 2)].into()).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let snapshot = bytes_of(&store).await;
    DurableStore::restore(dir.path(), in_chunks(&snapshot, 1 << 20)).await.unwrap();
    with(dir.path(), async |restored| assert!(describe(restored).await == describe(&store).await)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_whole_snapshot_is_refused_and_leaves_no_store() {
    let store = MemoryStore::new();
    fill(&store).await;
    let whole = bytes_of(&store).await;
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("nothing".into(), Vec::new()),
        ("something else".into(), b"SQLite format 3\0 and so on and so forth".to_vec()),
        ("goes on".into(), [&whole[..], b"more"].concat()),
    ];
    for cut in (0..whole.len()).step_by(97) {
        cases.push((format!("cut at {cut}"), whole[..cut].to_vec()));
    }
    for at in (0..whole.len()).step_by(31) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        cases.push((format!("flipped at {at}"), flipped));
    }
    for (case, bytes) in cases {
        let dir = tempfile::tempdir().unwrap();
        let refused = DurableStore::restore(dir.path(), in_chunks(&bytes, 500)).await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{case}: {refused:?}");
        assert!(offline::check(dir.path()).await.is_err(), "{case}");
    }
    // What etcdctl puts behind it does no harm, and nothing else may be there.
    let padded = [&whole[..], &[0x80], &vec![0; 511 - whole.len() % 512], &[7; 32]].concat();
    let dir = tempfile::tempdir().unwrap();
    DurableStore::restore(dir.path(), in_chunks(&padded, 500)).await.unwrap();
    with(dir.path(), async |restored| assert_eq!(describe(restored).await, describe(&store).await)).await;
    let mut other = padded.clone();
    other[whole.len() + 1] = 1;
    let dir = tempfile::tempdir().unwrap();
    assert!(DurableStore::restore(dir.path(), in_chunks(&other, 500)).await.is_err());

    // The snapshot's own error is told.
    let dir = tempfile::tempdir().unwrap();
    let lost = Error::Unavailable { reason: "the network is gone".into() };
    let chunks = in_chunks(&whole, 500).take(2).chain(stream::iter([Err(lost)]));
    let refused = DurableStore::restore(dir.path(), chunks).await.unwrap_err();
    assert!(refused.to_string().contains("the network is gone"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_restored_over_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let before = with(dir.path(), async |store| {
        fill(store).await;
        let snapshot = store.snapshot().await.unwrap();
        let refused = DurableStore::restore(dir.path(), snapshot).await;
        assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
        describe(store).await
    });
    let before = before.await;
    let refused = DurableStore::restore(dir.path(), MemoryStore::default().snapshot().await.unwrap()).await;
    assert!(matches!(refused, Err(Error::Io { action: "restore into", .. })), "{refused:?}");
    assert_eq!(with(dir.path(), async |store| describe(store).await).await, before);
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn dumped(dir: &Path) -> String {
    let written = Written::default();
    offline::dump(dir, written.clone()).await.unwrap();
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_checked_and_dumped_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(offline::check(dir.path().join("none")).await, Err(Error::Io { .. })));
    let nothing = offline::check(dir.path()).await.unwrap_err().to_string();
    assert!(nothing.contains("FORMAT"), "{nothing}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "looking makes nothing");

    let status = with(dir.path(), async |store| {
        fill(store).await;
        store.put("last \"key\"\n".into(), vec![0xff; 300].into()).await.unwrap();
        let refused = offline::check(dir.path()).await;
        assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
        store.status().await.unwrap()
    });
    let status = status.await;
    let checked = offline::check(dir.path()).await.unwrap();
    assert_eq!((checked.revision, checked.compacted), (status.revision, status.compacted));
    assert_eq!((checked.bytes, checked.keys >= status.keys), (status.bytes, true), "{checked}");
    assert_eq!((checked.leases, checked.has_torn_tail), (2, false), "{checked}");
    assert!(checked.segments >= 1 && checked.log_bytes > 300, "{checked}");

    let dump = dumped(dir.path()).await;
    for expected in [
        "lease 99 of 60 s",
        r#"put last \"key\"\n lease 0 300 bytes "\xff\xff"#,
        &format!("compact to revision {}", status.compacted),
        &format!("to revision {}", status.revision),
    ] {
        assert!(dump.contains(expected), "{expected} is missing in\n{dump}");
    }
    assert!(!dump.contains("DAMAGED"), "{dump}");

    // Damage is found, described, and looked past.
    let mut segments: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("log-"));
    segments.sort();
    let newest = segments.last().unwrap();
    let mut bytes = std::fs::read(newest).unwrap();
    bytes[64 + 50] ^= 1;
    std::fs::write(newest, bytes).unwrap();
    match offline::check(dir.path()).await {
        Err(Error::Corrupt { file, offset: 64, .. }) => assert_eq!(&file, newest),
        other => panic!("{other:?}"),
    }
    assert!(dumped(dir.path()).await.contains("DAMAGED at byte 64"));
    assert!(matches!(DurableStore::open(dir.path(), options()).await.err(), Some(Error::Corrupt { .. })));
}
