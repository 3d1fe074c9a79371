//! Compaction: at, before and after the boundary.

use super::probe::{Probe, plain};
use super::{Outcome, Wrong, ensure, same};
use crate::{Error, Range, Result, Watched};

/// The boundary that a refusal names.
fn refused<T: std::fmt::Debug>(answer: Result<T>) -> std::result::Result<u64, Wrong> {
    match answer {
        Err(Error::Compacted { at, .. }) => Ok(at),
        other => Err(Wrong::Found(format!("instead of `Compacted`: {other:?}"))),
    }
}

pub(super) async fn reads(probe: &Probe<'_>) -> Outcome {
    let mut written = Vec::new();
    for number in 0..6 {
        written.push(probe.put("a", &number.to_string()).await?);
    }
    probe.put("gone", "v").await?;
    probe.delete("gone").await?;
    let now = probe.revision().await?;
    probe.compact(written[3]).await?;
    for (number, at) in written.iter().enumerate() {
        let read = probe.range(Range::key(probe.key("a")).at(*at)).await;
        if number < 3 {
            same("the boundary", refused(read)?, written[3])?;
        } else {
            let value = read?.kvs.first().map(|kv| kv.value.clone());
            same(&format!("read at {at}"), value, Some(number.to_string().into()))?;
        }
    }
    let again = refused(probe.compact(written[3]).await)?;
    same("compacted again", again, written[3])?;
    refused(probe.compact(written[1]).await)?;
    let future = probe.compact(now + 1).await;
    ensure(matches!(future, Err(Error::FutureRevision { .. })), || {
        format!("compacted at {}, now being {now}: {future:?}", now + 1)
    })?;
    probe.compact(now).await?;
    same(
        "after compacting all",
        probe.get("a").await?.map(|kv| (kv.value.clone(), kv.version)),
        Some(("5".into(), 6)),
    )?;
    same("what was deleted", probe.get("gone").await?, None)
}

pub(super) async fn watched(probe: &Probe<'_>) -> Outcome {
    let one = probe.put("a", "1").await?;
    let two = probe.put("a", "2").await?;
    let three = probe.put("a", "3").await?;
    probe.compact(two).await?;
    let at = refused(probe.watch(probe.request().from(one)).await)?;
    same("the boundary", at, two)?;
    let mut watch = probe.watch(probe.request().from(two)).await?;
    let told = probe.told(&mut watch, three).await?;
    let revisions: Vec<_> = told.iter().map(|batch| batch.revision).collect();
    same("told from the boundary", revisions, vec![two, three])?;
    let mut watch = probe.watch(probe.request().from(three)).await?;
    let told = probe.told(&mut watch, three).await?;
    same("told behind it", plain(&told), vec![(three, vec![probe.change("a", Some("3"), Some("2"))])])
}

pub(super) async fn boundary(probe: &Probe<'_>) -> Outcome {
    probe.put("a", "1").await?;
    probe.delete("a").await?;
    let deleted = probe.revision().await?;
    let after = probe.put("b", "1").await?;
    probe.compact(deleted).await?;
    let mut watch = probe.watch(probe.request().from(deleted)).await?;
    let told = probe.told(&mut watch, after).await?;
    let found: Vec<_> = told
        .iter()
        .flat_map(|batch| batch.events.iter().map(|event| (event.kv.key.clone(), event.is_deletion())))
        .collect();
    same("told", found, vec![(probe.key("a"), true), (probe.key("b"), false)])?;
    probe.compact(after).await?;
    let read = probe.range(Range::key(probe.key("a"))).await?;
    same("read", read.count, 0)
}

pub(super) async fn stalled(probe: &Probe<'_>) -> Outcome {
    let mut watch = probe.watch(probe.request()).await?;
    let first = probe.put("a", "0").await?;
    let mut last = first;
    for number in 1..200 {
        last = probe.put("a", &number.to_string()).await?;
    }
    probe.compact(last).await?;
    let mut expected = first;
    // It may still be told what it had at hand, without a gap; if not everything, then that it fell behind.
    while expected <= last {
        match probe.next(&mut watch).await {
            Ok(Some(Watched::Batch(batch))) => {
                same("told without a gap", batch.revision, expected)?;
                expected += 1;
            }
            Ok(Some(Watched::Progress(_))) => {}
            Err(Error::Compacted { .. }) => return Ok(()),
            other => {
                return Err(Wrong::Found(format!("instead of {expected} or `Compacted`: {other:?}")));
            }
        }
    }
    Ok(())
}
