//! The checks. Each is given the probe of a store that was just opened, and goes on with it after each crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join;

use super::World;
use crate::conformance::probe::{Probe, plain};
use crate::conformance::{Outcome, Workload, Wrong, ensure, same};
use crate::{Entropy, Error, KeyValue, Op, Range, Revision, Txn, Watched};

pub(super) async fn acknowledged(world: &mut World<'_>, probe: &Probe<'_>) -> Outcome {
    // By key: the value, and the revision that wrote it.
    let mut expected: BTreeMap<Bytes, (Bytes, Revision)> = BTreeMap::new();
    for round in 0..5 {
        let store = world.store.clone();
        let now = probe.on(&*store);
        for number in 0..10 {
            let (key, value) = (number.to_string(), round.to_string());
            let revision = now.put(&key, &value).await?;
            expected.insert(now.key(&key), (value.into(), revision));
        }
        // The last one of all writes two keys.
        let both = Txn::new().then(Op::put(now.key("a"), "both")).then(Op::put(now.key("b"), "both"));
        let last = now.txn(both).await?.revision;
        expected.extend([now.key("a"), now.key("b")].map(|key| (key, ("both".into(), last))));
        world.crash().await?;
        // A second crash before anything else has happened.
        world.crash().await?;
        let store = world.store.clone();
        let now = probe.on(&*store);
        let found = now.range(Range::new(now.keys())).await?;
        same("the revision", found.revision, last)?;
        let pair = |kv: &Arc<KeyValue>| (kv.key.clone(), (kv.value.clone(), kv.mod_revision));
        same("what is there", found.kvs.iter().map(pair).collect(), expected.clone())?;
    }
    Ok(())
}

pub(super) async fn revisions(world: &mut World<'_>, probe: &Probe<'_>) -> Outcome {
    for round in 0..3 {
        let store = world.store.clone();
        let now = probe.on(&*store);
        let mut watch = now.watch(now.request()).await?;
        now.put("kept", &round.to_string()).await?;
        now.put("gone", &round.to_string()).await?;
        // The last trace of its revision is that something is no longer there.
        now.delete("gone").await?;
        let last = now.revision().await?;
        now.told(&mut watch, last).await?;
        world.crash().await?;
        let store = world.store.clone();
        let now = probe.on(&*store);
        same("the revision", now.revision().await?, last)?;
        same("the next write", now.put("next", &round.to_string()).await?, last + 1)?;
    }
    Ok(())
}

pub(super) async fn history(world: &mut World<'_>, probe: &Probe<'_>) -> Outcome {
    let one = probe.put("a", "1").await?;
    let two = probe.put("a", "2").await?;
    let three =
        probe.txn(Txn::new().then(Op::delete(probe.key("a"))).then(Op::put(probe.key("b"), "1"))).await?.revision;
    let four = probe.put("a", "4").await?;
    world.crash().await?;
    let store = world.store.clone();
    let now = probe.on(&*store);
    for (at, expected) in [(one, Some("1")), (two, Some("2")), (three, None), (four, Some("4"))] {
        let found = now.range(Range::key(now.key("a")).at(at)).await?;
        let value = found.kvs.first().map(|kv| kv.value.clone());
        same(&format!("read at {at}"), value, expected.map(Into::into))?;
    }
    let five = now.put("b", "2").await?;
    let change = |key, value, previous| now.change(key, value, previous);
    let expected = [
        (one, vec![change("a", Some("1"), None)]),
        (two, vec![change("a", Some("2"), Some("1"))]),
        (three, vec![change("a", None, Some("2")), change("b", Some("1"), None)]),
        (four, vec![change("a", Some("4"), None)]),
        (five, vec![change("b", Some("2"), Some("1"))]),
    ];
    for (number, (from, _)) in expected.iter().enumerate() {
        let mut watch = now.watch(now.request().from(*from)).await?;
        let told = now.told(&mut watch, five).await?;
        same(&format!("told from {from}"), plain(&told), expected[number..].to_vec())?;
    }
    Ok(())
}

pub(super) async fn leases(world: &mut World<'_>, probe: &Probe<'_>) -> Outcome {
    let long = probe.grant(600, 0).await?.id;
    let short = probe.grant(5, 0).await?.id;
    let revoked = probe.grant(600, 88_001).await?.id;
    for (name, lease) in [("long", long), ("short", short), ("revoked", revoked)] {
        probe.put_leased(name, lease).await?;
    }
    probe.revoke(revoked).await?;
    world.crash().await?;
    let store = world.store.clone();
    let now = probe.on(&*store);
    for (name, lease, is_there) in [("long", long, true), ("short", short, true), ("revoked", revoked, false)] {
        let listed = now.leases().await?.contains(&lease);
        same(&format!("the lease of {name} is there"), listed, is_there)?;
        let key = now.get(name).await?.map(|kv| kv.lease);
        same(&format!("the lease that {name} is attached to"), key, is_there.then_some(lease))?;
    }
    let described = now.lease(long).await?;
    same("its keys", described.keys, vec![now.key("long")])?;
    ensure(described.remaining <= described.ttl, || "a lease has more left than it was granted".into())?;
    same("its full time", now.keep_alive(long).await?.ttl, Duration::from_secs(600))?;
    let fresh = now.grant(600, 0).await?.id;
    ensure(fresh != long && fresh != short, || format!("a new lease was given the id of an old one: {fresh}"))?;
    // The short one lives for its time again at most, and then takes its key with it.
    let mut watch = now.watch(now.request()).await?;
    match now.next(&mut watch).await? {
        Some(Watched::Batch(batch)) => {
            let expected = vec![(batch.revision, vec![now.change("short", None, Some("leased"))])];
            same("told when the lease ended", plain(&[batch]), expected)?;
        }
        other => return Err(Wrong::Found(format!("instead of a lease that ends: {other:?}"))),
    }
    world.crash().await?;
    let store = world.store.clone();
    let now = probe.on(&*store);
    same("a key of a lease that ended", now.get("short").await?, None)?;
    ensure(!now.leases().await?.contains(&short), || "a lease that ended is back".into())?;
    for lease in [long, fresh] {
        now.revoke(lease).await?;
    }
    same("a key of a lease that was revoked after two crashes", now.get("long").await?, None)
}

pub(super) async fn compaction(world: &mut World<'_>, probe: &Probe<'_>) -> Outcome {
    let one = probe.put("a", "1").await?;
    let two = probe.put("a", "2").await?;
    let three = probe.put("a", "3").await?;
    probe.compact(two).await?;
    world.crash().await?;
    let store = world.store.clone();
    let now = probe.on(&*store);
    same("compacted", now.status().await?.compacted, two)?;
    let read = now.range(Range::key(now.key("a")).at(one)).await;
    ensure(matches!(read, Err(Error::Compacted { at, .. }) if at == two), || {
        format!("read what was compacted before the crash: {read:?}")
    })?;
    for (at, expected) in [(two, "2"), (three, "3")] {
        let read = now.range(Range::key(now.key("a")).at(at)).await?;
        same(&format!("read at {at}"), read.kvs.first().map(|kv| kv.value.clone()), Some(expected.into()))?;
    }
    let mut watch = now.watch(now.request().from(three)).await?;
    let told = now.told(&mut watch, three).await?;
    same("told behind it", plain(&told), vec![(three, vec![now.change("a", Some("3"), Some("2"))])])?;
    // Once more: nothing of it comes back with the next crash.
    now.compact(three).await?;
    let after = now.put("a", "4").await?;
    world.crash().await?;
    let store = world.store.clone();
    let now = probe.on(&*store);
    let read = now.range(Range::key(now.key("a")).at(two)).await;
    ensure(matches!(read, Err(Error::Compacted { at, .. }) if at == three), || {
        format!("read what was compacted before the second crash: {read:?}")
    })?;
    same("the revision", now.revision().await?, after)
}

/// Crashes while eight clients work.
const ROUNDS: u64 = 12;

pub(super) async fn load(world: &mut World<'_>, probe: &Probe<'_>) -> Outcome {
    let entropy = Entropy::seeded(14);
    let recorder = probe.recorder.clone().pausing(entropy.clone());
    let workload = Workload::default().prefix(probe.key("")).calls(40);
    for round in 0..ROUNDS {
        let store = world.store.clone();
        let working = workload.clients_on(&*store, &recorder, entropy.clone(), format!("{round}-"));
        let crash = async {
            recorder.sent(20 + entropy.below(150)).await;
            // It may be taken, evaluated, written or answered.
            for _ in 0..entropy.below(8) {
                tokio::task::yield_now().await;
            }
            world.crash().await
        };
        // Whoever is still waiting then waits forever.
        let working = tokio::time::timeout(Duration::from_secs(20), working);
        let (worked, opened) = join(working, crash).await;
        worked.unwrap_or(Ok(())).map_err(|violation| Wrong::Found(violation.to_string()))?;
        opened?;
        // What is there, and what happened: the judge knows what it must be.
        let store = world.store.clone();
        let now = probe.on(&*store);
        let found = now.range(Range::new(now.keys())).await?;
        let compacted = now.status().await?.compacted;
        for back in [1, 5, 20] {
            let at = found.revision.saturating_sub(back).max(compacted).max(1);
            now.range(Range::new(now.keys()).at(at)).await?;
        }
        let from = found.revision.saturating_sub(30).max(compacted + 1);
        let mut watch = now.watch(now.request().from(from)).await?;
        watch.request_progress();
        loop {
            match now.next(&mut watch).await? {
                Some(Watched::Progress(progress)) if progress >= found.revision => break,
                Some(_) => {}
                None => return Err(Wrong::Found(format!("not told what was recovered, up to {}", found.revision))),
            }
        }
        probe.judge()?;
    }
    Ok(())
}
