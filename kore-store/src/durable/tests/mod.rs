//! The durable store on a disk that fails.
//!
//! - `disk`: the disk; `crash`: the power fails at every operation; `model`: random histories
//! - `leases`: when leases end
//! - here: torn tails, damage, failing and full disks

mod crash;
mod disk;
mod leases;
mod model;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::{KeyRange, Op};
use disk::{Power, SimDisk};

/// Small files, so that little work fills many of them.
fn small() -> Options {
    Options::default().segment_bytes(2048).checkpoint_bytes(6000).entropy(Entropy::seeded(1))
}

async fn open(disk: &SimDisk, options: Options) -> Result<(DurableStore, Run)> {
    DurableStore::open_on(Arc::new(disk.clone()), Path::new("/data"), options).await
}

/// Runs the store while `work` goes on, and drops it then: as good as killed.
async fn killed<T>(disk: &SimDisk, options: Options, work: impl AsyncFnOnce(DurableStore) -> T) -> T {
    let (store, run) = open(disk, options).await.expect("the store opens");
    tokio::select! {
        biased;
        done = work(store) => done,
        stopped = run => panic!("the store stopped: {stopped:?}"),
    }
}

/// Everything that is in the store.
async fn everything(store: &DurableStore) -> (Revision, Vec<KeyValue>) {
    let ranged = store.range(Range::new(KeyRange::all())).await.unwrap();
    let kvs = ranged.kvs.iter().map(|kv| KeyValue::clone(kv)).collect();
    (ranged.revision, kvs)
}

async fn reopened(disk: &SimDisk) -> (Revision, Vec<KeyValue>) {
    killed(disk, small(), async |store| everything(&store).await).await
}

/// The newest checkpoint that is whole. The store writes them in the background.
fn newest_checkpoint(disk: &SimDisk) -> Option<String> {
    disk.names().into_iter().rfind(|name| crate::durable::disk::number_of(name, "checkpoint").is_some())
}

async fn fill(store: &DurableStore, keys: std::ops::Range<usize>) {
    for key in keys {
        let value = vec![b'v'; 50 + key];
        store.put(format!("key-{key}").into(), value.into()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_tail_torn_at_any_byte_is_cut_off() {
    let disk = SimDisk::default();
    let before = killed(&disk, small(), async |store| {
        fill(&store, 0..3).await;
        let before = everything(&store).await;
        fill(&store, 3..4).await;
        before
    })
    .await;
    let newest = "log-0000000000000001";
    let mut whole = Vec::new();
    disk.damage(newest, |bytes| whole = bytes.clone());
    let scan = segment::scan(&whole, 1);
    let last = scan.frames.last().unwrap().clone();
    assert_eq!(last.sequence, 4);
    for cut in last.offset..last.payload.end {
        for filler in [0, 0xff] {
            let torn = disk.after(Power::Kept);
            torn.damage(newest, |bytes| {
                // A byte that was to be the filler is not torn.
                bytes[cut] = if whole[cut] == filler { !filler } else { filler };
                bytes[cut + 1..last.payload.end].fill(filler);
            });
            assert_eq!(reopened(&torn).await, before, "torn at {cut}");
            // The log goes on from there.
            let after = killed(&torn, small(), async |store| {
                fill(&store, 7..9).await;
                everything(&store).await
            })
            .await;
            assert_eq!(reopened(&torn).await, after);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_before_the_tail_is_refused() {
    let disk = SimDisk::default();
    let options = || small().segment_bytes(1 << 20).checkpoint_bytes(1 << 20);
    killed(&disk, options(), async |store| fill(&store, 0..20).await).await;
    let name = "log-0000000000000001";
    let mut whole = Vec::new();
    disk.damage(name, |bytes| whole = bytes.clone());
    let frames = segment::scan(&whole, 1).frames;
    for frame in &frames[..frames.len() - 1] {
        for at in [frame.offset, frame.offset + 9, frame.payload.start, frame.payload.end - 1] {
            let damaged = disk.after(Power::Kept);
            damaged.damage(name, |bytes| bytes[at] ^= 4);
            match open(&damaged, options()).await.err() {
                Some(Error::Corrupt { file, offset, .. }) => {
                    assert!(file.ends_with(name));
                    assert_eq!(offset, frame.offset as u64);
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_close_the_tail_is_guarded_too() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, small()).await.unwrap();
    let work = async {
        fill(&store, 0..3).await;
        store.close().await
    };
    tokio::try_join!(run, work).unwrap();
    assert!(matches!(store.get("key-1".into()).await, Err(Error::Unavailable { .. })));
    assert!(matches!(store.put("a".into(), "b".into()).await, Err(Error::Unavailable { .. })));

    let name = "log-0000000000000001";
    disk.damage(name, |bytes| {
        let frames = segment::scan(bytes, 1).frames;
        let last_write = &frames[frames.len() - 2];
        bytes[last_write.payload.start + 3] ^= 1;
    });
    assert!(matches!(open(&disk, small()).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_checkpoint_is_refused() {
    let disk = SimDisk::default();
    killed(&disk, small(), async |store| {
        while newest_checkpoint(&disk).is_none() {
            fill(&store, 0..10).await;
            store.compact(store.status().await.unwrap().revision).await.unwrap();
        }
    })
    .await;
    // Another checkpoint may be on its way still.
    let whole = disk.after(Power::Kept);
    let newest = newest_checkpoint(&whole).unwrap();
    reopened(&whole.after(Power::Kept)).await;

    let damaged = whole.after(Power::Kept);
    damaged.damage(&newest, |bytes| bytes[100] ^= 1);
    assert!(matches!(open(&damaged, small()).await, Err(Error::Corrupt { .. })));

    let cut = whole.after(Power::Kept);
    cut.damage(&newest, |bytes| bytes.truncate(100));
    assert!(matches!(open(&cut, small()).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_missing_segment_is_refused() {
    let disk = SimDisk::default();
    let options = || small().checkpoint_bytes(1 << 20);
    killed(&disk, options(), async |store| fill(&store, 0..40).await).await;
    let segments: Vec<_> = disk.names().into_iter().filter(|name| name.starts_with("log-")).collect();
    assert!(segments.len() > 2);
    for name in &segments[..segments.len() - 1] {
        let missing = disk.after(Power::Kept);
        missing.remove(&Path::new("/data").join(name)).unwrap();
        assert!(matches!(open(&missing, options()).await, Err(Error::Corrupt { .. })), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_is_final_and_its_outcome_unknown() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, small()).await.unwrap();
    let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
    let work = async {
        fill(&store, 0..3).await;
        disk.fail_sync_at(disk.syncs() + 1);
        store.put("lost".into(), "?".into()).await
    };
    let (stopped, outcome) = tokio::join!(run, work);
    assert!(matches!(stopped, Err(Error::Io { action: "sync", .. })), "{stopped:?}");
    assert!(outcome.unwrap_err().is_outcome_unknown());
    for refused in [
        store.get("key-0".into()).await.map(drop),
        store.put("a".into(), "b".into()).await.map(drop),
        store.status().await.map(drop),
        store.close().await,
    ] {
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    use futures::StreamExt;
    // What was durable may be told or not; what was not is not told.
    let told: Vec<_> = (&mut watch).collect().await;
    assert!(matches!(told.last(), Some(Err(Error::Unavailable { .. }))));
    drop(store);

    let acknowledged = disk.after(Power::Lost);
    let (revision, kvs) = reopened(&acknowledged).await;
    assert_eq!((revision, kvs.len()), (4, 3));

    // The system shows what it failed to write. Who has seen it sees it again.
    let restarted = disk.after_kill();
    let (_, kvs) = reopened(&restarted).await;
    assert_eq!(kvs.len(), 4);
    assert_eq!(reopened(&restarted.after(Power::Lost)).await.1, kvs);
}

#[tokio::test]
async fn nobody_sees_what_is_not_durable() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, small()).await.unwrap();
    let work = async {
        fill(&store, 0..1).await;
        let mut watch = store.watch(WatchRequest::prefix("")).await.unwrap();
        let gate = disk.gate();
        let mut write = Box::pin(store.put("key-0".into(), "new".into()));
        let mut doomed = Box::pin(async {
            let compare = crate::Compare::value("key-0", "new");
            let txn = Txn::new().when(compare).then(Op::delete("none")).otherwise(Op::delete("none"));
            store.txn(txn).await
        });
        tokio::select! {
            biased;
            _ = &mut write => panic!("answered before it was durable"),
            _ = &mut doomed => panic!("answered before what it saw was durable"),
            () = gate.0.reached.notified() => {}
        }
        let seen = store.get("key-0".into()).await.unwrap().unwrap();
        assert_eq!((seen.version, store.status().await.unwrap().revision), (1, 2));
        assert!(futures::poll!(futures::StreamExt::next(&mut watch)).is_pending());
        assert!(futures::poll!(&mut doomed).is_pending());
        drop(gate);
        assert_eq!(write.await.unwrap(), 3);
        assert!(doomed.await.unwrap().succeeded);
        assert_eq!(store.get("key-0".into()).await.unwrap().unwrap().version, 2);
        assert!(futures::poll!(futures::StreamExt::next(&mut watch)).is_ready());
    };
    tokio::select! {
        biased;
        () = work => {}
        stopped = run => panic!("{stopped:?}"),
    }
}

/// What is read at one moment is read, however fast it is overwritten and compacted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_that_reads_is_not_disturbed_by_compactions() {
    let dir = tempfile::tempdir().unwrap();
    let (store, run) = DurableStore::open(dir.path(), small()).await.unwrap();
    tokio::spawn(run);
    futures::future::join_all((0..3000).map(|key| store.put(format!("a{key:04}").into(), "0".into()))).await;
    let compacting = store.clone();
    let compactions = tokio::spawn(async move {
        loop {
            let revision = compacting.put("a".into(), "1".into()).await.unwrap();
            compacting.compact(revision).await.unwrap();
        }
    });
    let mut overtaken = 0;
    while overtaken < 2 {
        // Long enough for several compactions to come in between.
        let txn = (0..100).fold(Txn::new(), |txn, _| txn.then(Range::prefix("a").count_only().into()));
        let done = store.txn(txn).await.unwrap();
        assert!(done.responses.iter().all(|response| *response == done.responses[0]), "{done:?}");
        overtaken += u32::from(store.status().await.unwrap().compacted > done.revision);
    }
    compactions.abort();
}

/// A log of whole frames from which one was taken out, in the middle and between two segments.
#[tokio::test(start_paused = true)]
async fn missing_frames_are_noticed() {
    let disk = SimDisk::default();
    let options = || small().checkpoint_bytes(1 << 20);
    killed(&disk, options(), async |store| fill(&store, 0..40).await).await;
    let (first, second) = ("log-0000000000000001", "log-0000000000000002");

    let middle = disk.after(Power::Kept);
    middle.damage(first, |bytes| {
        let frames = segment::scan(bytes, 1).frames;
        bytes.drain(frames[1].offset..frames[2].offset);
    });
    assert!(matches!(open(&middle, options()).await, Err(Error::Corrupt { .. })));

    // Also when the segment behind it is the newest and has no frame yet.
    let end = disk.after(Power::Kept);
    for name in end.names().iter().filter(|name| name.starts_with("log-") && name.as_str() > second) {
        end.remove(&Path::new("/data").join(name)).unwrap();
    }
    end.damage(second, |bytes| bytes.truncate(segment::HEADER));
    let whole = end.after(Power::Kept);
    assert!(open(&whole, options()).await.is_ok());
    end.damage(first, |bytes| {
        let last = segment::scan(bytes, 1).frames.pop().unwrap();
        bytes[last.offset..last.payload.end].fill(0);
    });
    assert!(matches!(open(&end, options()).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_the_store_and_it_opens_again() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, small()).await.unwrap();
    disk.capacity(Some(16_000));
    let mut written = 0;
    let work = async {
        loop {
            match store.put(format!("key-{written}").into(), vec![0; 100].into()).await {
                Ok(_) => written += 1,
                Err(error) => return error,
            }
        }
    };
    let (stopped, refused) = tokio::join!(run, work);
    assert!(stopped.unwrap_err().to_string().contains("log-"));
    assert!(refused.is_outcome_unknown());
    drop(store);
    assert!(written > 0);
    disk.capacity(None);
    let (_, kvs) = reopened(&disk.after(Power::Kept)).await;
    assert!(kvs.len() >= written);
}

#[tokio::test(start_paused = true)]
async fn one_flush_a_group() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, Options::default()).await.unwrap();
    let before = disk.syncs();
    let work = async {
        let writes = (0..64).map(|key| store.put(format!("key-{key}").into(), "v".into()));
        futures::future::try_join_all(writes).await.unwrap()
    };
    tokio::select! {
        biased;
        revisions = work => {
            assert_eq!(revisions, (2..66).collect::<Vec<_>>());
            assert!(disk.syncs() - before <= 2, "{} flushes", disk.syncs() - before);
        }
        stopped = run => panic!("{stopped:?}"),
    }
}

/// While one group is flushed and checkpoints are taken, the next ones gather.
#[tokio::test(start_paused = true)]
async fn checkpoints_hold_what_was_durable_when_they_began() {
    let disk = SimDisk::default();
    let before = killed(&disk, small(), async |store| {
        let client = async |client: usize| {
            for number in 0..20 {
                let key = format!("{client}-{}", number % 3);
                // Some come when the flush of the others has begun.
                for _ in 0..client % 4 {
                    tokio::task::yield_now().await;
                }
                let revision = store.put(key.into(), vec![b'v'; 100].into()).await.unwrap();
                // Somebody else may have compacted more.
                drop(store.compact(revision.saturating_sub(8)).await);
            }
        };
        futures::future::join_all((0..16).map(client)).await;
        while newest_checkpoint(&disk).is_none() {
            tokio::task::yield_now().await;
        }
        everything(&store).await
    })
    .await;
    assert_eq!((before.0, before.1.len()), (321, 48));
    assert_eq!(reopened(&disk.after(Power::Lost)).await, before);
}

#[tokio::test]
async fn a_directory_has_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = DurableStore::open(dir.path(), Options::default()).await.unwrap();
    let second = DurableStore::open(dir.path(), Options::default()).await.err();
    let message = second.expect("it is in use").to_string();
    assert!(message.contains(&dir.path().display().to_string()), "{message}");
    drop(first);
    let again = DurableStore::open(dir.path(), Options::default()).await;
    assert!(again.is_ok());
}

#[tokio::test]
async fn the_files_are_the_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let opened = DurableStore::open(&dir, Options::default()).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(opened);
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    drop(DurableStore::open(dir.path(), Options::default()).await.unwrap());
    std::fs::write(dir.path().join("FORMAT"), "kore-store 3\n").unwrap();
    let refused = DurableStore::open(dir.path(), Options::default()).await.err();
    let message = refused.expect("it is newer").to_string();
    assert!(message.contains("kore-store 3") && message.contains("FORMAT"), "{message}");
    std::fs::remove_file(dir.path().join("FORMAT")).unwrap();
    // Without a word about its format, and without data: made anew.
    let again = DurableStore::open(dir.path(), Options::default()).await;
    assert!(again.is_ok());
}

#[tokio::test(start_paused = true)]
async fn data_without_a_format_is_refused() {
    let disk = SimDisk::default();
    killed(&disk, small(), async |store| fill(&store, 0..3).await).await;
    disk.remove(Path::new("/data/FORMAT")).unwrap();
    assert!(matches!(open(&disk, small()).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_before_the_run_future_is_dropped_has_an_end() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, small()).await.unwrap();
    let mut write = Box::pin(store.put("a".into(), "b".into()));
    assert!(futures::poll!(&mut write).is_pending());
    drop(run);
    assert!(write.await.is_err());
    assert!(matches!(store.get("a".into()).await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn other_peoples_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = (dir.path().join("letter.tmp"), dir.path().join("checkpoint-0000000000000001.tmp"));
    std::fs::create_dir(dir.path().join("a directory.tmp")).unwrap();
    std::fs::write(&theirs, "theirs").unwrap();
    std::fs::write(&ours, "half").unwrap();
    let (_store, _run) = DurableStore::open(dir.path(), Options::default()).await.unwrap();
    assert!(theirs.exists() && !ours.exists());

    // A directory of a newer version is not touched at all.
    let newer = tempfile::tempdir().unwrap();
    let half = newer.path().join("checkpoint-0000000000000001.tmp");
    std::fs::write(newer.path().join("FORMAT"), "kore-store 99\n").unwrap();
    std::fs::write(&half, "half").unwrap();
    assert!(matches!(DurableStore::open(newer.path(), Options::default()).await, Err(Error::Format { .. })));
    assert!(half.exists());
}

#[tokio::test]
async fn a_directory_is_made_with_those_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("a/b/c");
    let (_store, _run) = DurableStore::open(&below, Options::default()).await.unwrap();
    assert!(below.join("FORMAT").exists());
}

/// What callers that gave up have asked for still waits, and counts.
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_makes_no_room() {
    let disk = SimDisk::default();
    let mut options = small();
    options.queue_kib = 4;
    let (store, run) = open(&disk, options).await.unwrap();
    let put = |key: &'static str| store.put(key.into(), vec![0; 1000].into());
    for key in ["a", "b", "c", "d"] {
        assert!(tokio::time::timeout(Duration::from_secs(1), put(key)).await.is_err(), "nobody writes yet");
    }
    // All room is taken: this one is not even asked for.
    assert!(tokio::time::timeout(Duration::from_secs(1), put("e")).await.is_err());
    let work = async {
        put("f").await.unwrap();
        everything(&store).await.1.iter().map(|kv| kv.key.clone()).collect::<Vec<_>>()
    };
    let keys = tokio::select! {
        biased;
        keys = work => keys,
        stopped = run => panic!("the store stopped: {stopped:?}"),
    };
    assert_eq!(keys, ["a", "b", "c", "d", "f"]);
}
