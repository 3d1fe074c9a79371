//! Data directories that earlier versions wrote are opened by this one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kore_store::{DurableStore, KeyRange, Op, Options, Put, Range, Result, Store, Txn};

/// The format that this version writes.
const NEWEST: u32 = 2;

/// Small files: the fixture holds a checkpoint, full segments, spares, and a log behind the checkpoint.
fn options() -> Options {
    Options::default().segment_bytes(1024).checkpoint_bytes(2500)
}

fn fixture(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

/// What a fixture holds.
async fn write(store: &DurableStore) -> Result<()> {
    let lease = store.grant(Duration::from_secs(3600), 0).await?.id;
    store.grant(Duration::from_secs(60), 99).await?;
    store.revoke(99).await?;
    for number in 0..30 {
        let key = format!("key-{}", number % 5);
        let put = Put::new(key, format!("value {number}")).lease(lease * (number % 2));
        let mut txn = Txn::new().then(Op::Put(put));
        if number % 10 == 9 {
            txn = txn.then(Op::delete("key-0"));
        }
        store.txn(txn).await?;
    }
    store.compact(20).await?;
    // Leaves nothing behind but a log that is worth a checkpoint.
    for _ in 0..100 {
        store.grant(Duration::from_secs(60), 99).await?;
        store.revoke(99).await?;
    }
    store.delete(KeyRange::Prefix("key-1".into())).await?;
    store.put("last".into(), vec![0xff; 300].into()).await?;
    Ok(())
}

/// Everything there is, at every revision that can be read.
async fn describe(store: &DurableStore) -> Result<String> {
    let status = store.status().await?;
    let mut text = format!("{} {} {}\n", status.revision, status.compacted, status.bytes);
    for at in status.compacted..=status.revision {
        for kv in store.range(Range::new(KeyRange::all()).at(at)).await?.kvs {
            text += &format!("{at}: {kv:?}\n");
        }
    }
    for id in store.leases().await? {
        text += &format!("{:?}\n", store.lease(id).await?);
    }
    Ok(text)
}

/// Opens a store in this directory, and works with it.
async fn with<T>(dir: &Path, work: impl AsyncFnOnce(DurableStore) -> Result<T>) -> Result<T> {
    let (store, run) = DurableStore::open(dir, options()).await?;
    let work = async {
        let done = work(store.clone()).await?;
        store.close().await?;
        Ok(done)
    };
    Ok(tokio::try_join!(run, work)?.1)
}

#[tokio::test(start_paused = true)]
async fn every_format_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let expected = with(dir.path(), async |store| {
        write(&store).await?;
        describe(&store).await
    });
    let expected = expected.await.unwrap();
    for format in 1..=NEWEST {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture(format)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        // Twice: what opening it wrote is opened, too.
        for _ in 0..2 {
            let found = with(copy.path(), async |store| describe(&store).await).await;
            assert_eq!(found.unwrap(), expected, "format {format}");
        }
        // A version that knows only the older one does not get at what this one wrote.
        assert_eq!(std::fs::read_to_string(copy.path().join("FORMAT")).unwrap(), format!("kore-store {NEWEST}\n"));
    }
}

/// Writes the fixture of a new format, once: `KORE_NEW_FORMAT` is its number.
#[tokio::test(start_paused = true)]
#[ignore = "needs KORE_NEW_FORMAT"]
async fn write_the_fixture() {
    let Ok(format) = std::env::var("KORE_NEW_FORMAT") else { return };
    let dir = fixture(format.parse().expect("a number"));
    assert!(!dir.exists(), "a fixture is written once");
    with(&dir, async |store| write(&store).await).await.unwrap();
}
