//! The power fails before every single operation of a workload of a thousand transactions, with rotation, checkpoints and
//! compaction in it.

use std::sync::{Mutex, OnceLock};

use super::*;
use crate::Compare;
use crate::Put;

/// The revision that the workload leads to: one transaction each.
const WRITES: u64 = 1_001;

/// Transactions that are asked for at once, and share groups.
const TOGETHER: u64 = 8;

/// What somebody has been told, and may not be taken back.
#[derive(Clone, Copy, Default)]
struct Told {
    revision: Revision,
    compacted: Revision,
}

/// Step by step, every step known by the revision it leads to: the state at each revision is always the same.
async fn workload(store: &DurableStore) -> Result<()> {
    let lease = match store.grant(Duration::from_secs(3600), 7).await {
        Ok(_) | Err(Error::LeaseExists { .. }) => 7,
        Err(error) => return Err(error),
    };
    let mut step = store.status().await?.revision;
    while step < WRITES {
        let end = WRITES.min(step + TOGETHER);
        let asked = (step..end).map(|step| store.txn(step_txn(step, lease)));
        for (step, done) in (step..end).zip(futures::future::join_all(asked).await) {
            assert_eq!(done?.revision, step + 1);
        }
        if end / 50 > step / 50 {
            match store.compact(end - 20).await {
                // It was done before the crash.
                Err(error) if error.is_compacted() => {}
                done => done?,
            }
        }
        step = end;
    }
    Ok(())
}

fn step_txn(step: u64, lease: LeaseId) -> Txn {
    let key = format!("key-{}", step % 7);
    let value = vec![step as u8; 40 + (step % 90) as usize];
    let txn = Txn::new()
        .when(Compare::mod_revision("never", 0))
        .then(Op::Put(Put::new(key, value).lease(lease * (step % 2))));
    match step % 5 {
        4 => txn.then(Op::delete(format!("key-{}", (step + 3) % 7))),
        _ => txn.then(Op::put("counter", step.to_string())),
    }
}

/// What the store holds at each revision, when nothing fails.
async fn expected() -> Vec<Vec<KeyValue>> {
    let disk = SimDisk::default();
    let options = small();
    killed(&disk, options, async |store| {
        store.grant(Duration::from_secs(3600), 7).await.unwrap();
        let mut states = vec![Vec::new(), Vec::new()];
        for step in 1..WRITES {
            store.txn(step_txn(step, 7)).await.unwrap();
            states.push(everything(&store).await.1);
        }
        states
    })
    .await
}

async fn until_the_power_fails(disk: &SimDisk) {
    let Ok((store, run)) = open(disk, small()).await else {
        return;
    };
    tokio::select! {
        biased;
        done = workload(&store) => drop(done),
        _ = run => {}
    }
}

fn told_by(store: &DurableStore) -> Told {
    let view = store.shared.published.read().expect("it is open");
    Told { revision: view.shown.revision, compacted: view.shown.compacted }
}

/// Opens the store, and finds a state that was, and nothing missing that somebody was told.
async fn check(disk: &SimDisk, told: Told, expected: &[Vec<KeyValue>], case: &str) {
    let opened = open(disk, small()).await;
    let (store, run) = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
    let Told { revision, compacted } = told_by(&store);
    assert!(revision >= told.revision, "{case}: {revision} after {}", told.revision);
    assert!(compacted >= told.compacted, "{case}: compacted {compacted} after {}", told.compacted);
    for at in compacted.max(1)..=revision {
        let then = store.range(Range::new(KeyRange::all()).at(at)).await.unwrap().kvs;
        assert!(then.iter().map(|kv| &**kv).eq(&expected[at as usize]), "{case} read at {at}: {then:?}");
    }
    drop(run);
}

#[tokio::test(start_paused = true)]
async fn nothing_told_is_lost_wherever_the_power_fails() {
    let expected = expected().await;
    // The disk before every operation, and what readers had been shown by then.
    let crashes: Arc<Mutex<Vec<(SimDisk, Told)>>> = Arc::default();
    let whole = SimDisk::default();
    let opened: Arc<OnceLock<DurableStore>> = Arc::default();
    whole.witnessed({
        let (crashes, opened) = (crashes.clone(), opened.clone());
        move |disk| {
            let told = opened.get().map(told_by).unwrap_or_default();
            crashes.lock().unwrap().push((disk, told));
        }
    });
    let (store, run) = open(&whole, small()).await.unwrap();
    assert!(opened.set(store.clone()).is_ok());
    tokio::select! {
        biased;
        done = workload(&store) => done.unwrap(),
        stopped = run => panic!("{stopped:?}"),
    }
    let crashes = std::mem::take(&mut *crashes.lock().unwrap());
    for kind in ["checkpoint", "spare"] {
        let there = crashes.iter().filter(|(disk, _)| disk.names().iter().any(|name| name.starts_with(kind)));
        assert!(there.count() > 100, "the workload has {kind}s in it");
    }
    for (at, (crashed, told)) in crashes.into_iter().enumerate() {
        let seed = at as u64;
        for power in [Power::Kept, Power::Lost, Power::Torn(seed), Power::Torn(seed + 100_000)] {
            let case = format!("crash at {at}, {power:?}");
            let disk = crashed.after(power);
            check(&disk, told, &expected, &case).await;

            // Only the process dies; what the next one shows is durable, whatever happens to the power then.
            let again = crashed.after_kill();
            let seen = match open(&again, small()).await {
                Ok((store, _run)) => told_by(&store),
                Err(error) => panic!("{case}, after a kill: {error}"),
            };
            let disk = again.after(power);
            check(&disk, seen, &expected, &format!("{case}, after a kill")).await;

            // And once more, while it recovers and goes on.
            let again = crashed.after(power).crash_at((at * 7) % 13);
            until_the_power_fails(&again).await;
            let disk = again.after(Power::Torn(seed + 200_000));
            check(&disk, told, &expected, &format!("{case}, then again")).await;
        }
    }
}
