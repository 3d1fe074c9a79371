//! The power fails before every single operation of a workload with rotation, checkpoints and compaction in it.

use super::*;
use crate::Compare;
use crate::Put;

const WRITES: u64 = 60;

/// What the workload was told.
#[derive(Default)]
struct Told {
    /// The highest revision that was acknowledged.
    acknowledged: Revision,
    /// The highest revision that was compacted, as acknowledged.
    compacted: Revision,
}

/// Step by step, every step known by the revision it leads to: the state at each revision is always the same.
async fn workload(store: &DurableStore, told: &mut Told) -> Result<()> {
    let lease = match store.grant(Duration::from_secs(3600), 7).await {
        Ok(_) | Err(Error::LeaseExists { .. }) => 7,
        Err(error) => return Err(error),
    };
    let from = store.status().await?.revision;
    told.acknowledged = told.acknowledged.max(from);
    for step in from..WRITES {
        let revision = store.txn(step_txn(step, lease)).await?.revision;
        assert_eq!(revision, step + 1);
        told.acknowledged = revision;
        if step % 20 == 19 {
            store.compact(step - 5).await?;
            told.compacted = step - 5;
        }
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

async fn until_the_power_fails(disk: &SimDisk, told: &mut Told) {
    let Ok((store, run)) = open(disk, small()).await else {
        return;
    };
    tokio::select! {
        biased;
        done = workload(&store, told) => drop(done),
        _ = run => {}
    }
}

async fn check(disk: &SimDisk, told: &Told, expected: &[Vec<KeyValue>], case: &str) {
    let opened = open(disk, small()).await;
    let (store, run) = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
    let (revision, kvs) = everything(&store).await;
    assert!(revision >= told.acknowledged, "{case}: {revision} after {}", told.acknowledged);
    assert_eq!(kvs, expected[revision as usize], "{case} at {revision}");
    let compacted = store.status().await.unwrap().compacted;
    assert!(compacted >= told.compacted, "{case}: compacted");
    for at in compacted.max(1)..=revision {
        let then = store.range(Range::new(KeyRange::all()).at(at)).await.unwrap();
        let kvs: Vec<KeyValue> = then.kvs.iter().map(|kv| KeyValue::clone(kv)).collect();
        assert_eq!(kvs, expected[at as usize], "{case} read at {at}");
    }
    drop(run);
}

#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_lost_wherever_the_power_fails() {
    let expected = expected().await;
    let whole = SimDisk::default();
    let mut told = Told::default();
    until_the_power_fails(&whole, &mut told).await;
    assert_eq!(told.acknowledged, WRITES);
    let names = whole.names();
    assert!(names.iter().any(|name| name.starts_with("checkpoint-")), "{names:?}");

    for crash_at in 0..whole.operations() {
        let crashed = SimDisk::default().crash_at(crash_at);
        let mut told = Told::default();
        until_the_power_fails(&crashed, &mut told).await;
        let seed = crash_at as u64;
        for power in [Power::Kept, Power::Lost, Power::Torn(seed), Power::Torn(seed + 100_000)] {
            let case = format!("crash at {crash_at}, {power:?}");
            let disk = crashed.after(power);
            check(&disk, &told, &expected, &case).await;

            // Only the process dies; what the next one shows is durable, whatever happens to the power then.
            let again = crashed.after_kill();
            let seen = match open(&again, small()).await {
                Ok((store, _run)) => everything(&store).await.0,
                Err(error) => panic!("{case}, after a kill: {error}"),
            };
            let seen = Told { acknowledged: seen, compacted: told.compacted };
            let disk = again.after(power);
            check(&disk, &seen, &expected, &format!("{case}, after a kill")).await;

            // And once more, while it recovers and goes on.
            let again = crashed.after(power).crash_at((crash_at * 7) % 13);
            let mut told = Told { acknowledged: told.acknowledged, compacted: told.compacted };
            until_the_power_fails(&again, &mut told).await;
            let disk = again.after(Power::Torn(seed + 200_000));
            check(&disk, &told, &expected, &format!("{case}, then again")).await;
        }
    }
}
