//! Compaction: at, before and after the boundary; while watchers catch up; and that it makes room.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{try_join, try_join_all};

use super::probe::{Probe, plain};
use super::{Outcome, Wrong, ensure, same};
use crate::{Error, EventBatch, Range, Result, Revision, Status, Watch, WatchRequest, Watched};

/// The boundary that a refusal names.
fn refused<T: std::fmt::Debug>(answer: Result<T>) -> std::result::Result<u64, Wrong> {
    match answer {
        Err(Error::Compacted { at, .. }) => Ok(at),
        other => Err(Wrong::Found(format!("instead of `Compacted`: {other:?}"))),
    }
}

/// The boundary that a watch is told, at once or as its first item; None: it is told something else.
async fn refused_watch(probe: &Probe<'_>, from: Revision) -> std::result::Result<Option<Revision>, Wrong> {
    let begun = match probe.watch(probe.request().from(from)).await {
        Ok(mut watch) => probe.next(&mut watch).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match begun {
        Ok(()) => Ok(None),
        Err(Error::Compacted { at, .. }) => Ok(Some(at)),
        Err(error) => Err(error.into()),
    }
}

/// A watch may be told where it can begin for sure: directly behind the boundary.
fn is_boundary(told: Revision, boundary: Revision) -> bool {
    told == boundary || told == boundary + 1
}

/// What a watch from the compacted revision is told. It may be refused, too; but not told a part.
async fn from_boundary(
    probe: &Probe<'_>,
    boundary: Revision,
    to: Revision,
) -> std::result::Result<Option<Vec<EventBatch>>, Wrong> {
    if let Some(at) = refused_watch(probe, boundary).await? {
        ensure(is_boundary(at, boundary), || format!("compacted at {boundary}, and a watch from there: {at}"))?;
        return Ok(None);
    }
    let mut watch = probe.watch(probe.request().from(boundary)).await?;
    probe.told(&mut watch, to).await.map(Some)
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
    let at = refused_watch(probe, one).await?;
    ensure(at.is_some_and(|at| is_boundary(at, two)), || {
        format!("compacted at {two}, and a watch from {one}: {at:?}")
    })?;
    if let Some(told) = from_boundary(probe, two, three).await? {
        let revisions: Vec<_> = told.iter().map(|batch| batch.revision).collect();
        same("told from the boundary", revisions, vec![two, three])?;
    }
    let now = probe.range(Range::key(probe.key("a")).at(two)).await?;
    same("read at the boundary", now.kvs.first().map(|kv| kv.value.clone()), Some("2".into()))?;
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
    if let Some(told) = from_boundary(probe, deleted, after).await? {
        let events = told.iter().flat_map(|batch| batch.events.iter());
        let found: Vec<_> = events.map(|event| (event.kv.key.clone(), event.is_deletion())).collect();
        same("told", found, vec![(probe.key("a"), true), (probe.key("b"), false)])?;
    }
    let mut watch = probe.watch(probe.request().from(deleted + 1)).await?;
    let told = probe.told(&mut watch, after).await?;
    same("told behind it", plain(&told), vec![(after, vec![probe.change("b", Some("1"), None)])])?;
    let then = probe.range(Range::new(probe.keys()).at(deleted)).await?;
    same("read at the boundary", then.count, 0)?;
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

pub(super) async fn waiting(probe: &Probe<'_>) -> Outcome {
    // A store may go about little that is new otherwise than about much.
    for writes in [1, 3, 100] {
        let [mut asked, mut told] = [
            probe.watch(WatchRequest::key(probe.key("idle")).with_previous()).await?,
            probe.watch(WatchRequest::key(probe.key("idle")).with_previous()).await?,
        ];
        // Some stores take a moment until a watch has caught up with them.
        let first = probe.put("idle", "first").await?;
        for watch in [&mut asked, &mut told] {
            probe.told(watch, first).await?;
            let waiting = futures::poll!(watch.next()).is_pending();
            ensure(waiting, || "a watch told something although nothing happened".into())?;
        }
        let mut deletions = probe.watch(WatchRequest::key(probe.key("gone")).without_puts()).await?;
        let gone = probe.put("gone", "v").await?;
        let gone = probe.compare_and_delete("gone", gone).await?;
        probe.told(&mut deletions, gone).await?;
        ensure(futures::poll!(deletions.next()).is_pending(), || "a watch told of a put it did not ask for".into())?;
        let gone = probe.put("gone", "not for it").await?;
        let mut last = 0;
        for number in 0..writes {
            last = probe.put("busy", &number.to_string()).await?;
        }
        // One is told progress before, and the compaction then passes it by; and after.
        for compacted in [false, true] {
            if compacted {
                for number in ["one", "two"] {
                    last = probe.put("busy", number).await?;
                }
                probe.compact(last).await?;
            }
            asked.request_progress();
            match probe.next(&mut asked).await? {
                Some(Watched::Progress(progress)) if progress >= last => {}
                other => return Err(Wrong::Found(format!("instead of progress to {last}: {other:?}"))),
            }
        }
        for number in 0..writes {
            last = probe.put("busy", &number.to_string()).await?;
        }
        let written = probe.put("idle", "v").await?;
        let gone = probe.compare_and_delete("gone", gone).await?;
        probe.compact(last).await?;
        for (mut watch, written) in [(asked, written), (told, written), (deletions, gone)] {
            let revisions = |batch: &EventBatch| batch.revision;
            let told: Vec<_> = probe.told(&mut watch, written).await?.iter().map(revisions).collect();
            same("told", told, vec![written])?;
        }
    }
    Ok(())
}

pub(super) async fn catching_up(probe: &Probe<'_>) -> Outcome {
    let mut first = Revision::MAX;
    let mut last = 0;
    for chunk in 0..20 {
        let keys: Vec<String> = (0..100).map(|number| format!("{}", (chunk + number) % 13)).collect();
        let written = try_join_all(keys.iter().map(|key| probe.put(key, "v"))).await?;
        first = written.iter().copied().fold(first, Revision::min);
        last = written.iter().copied().fold(last, Revision::max);
    }
    // Each is told everything, or that it fell behind, and nothing in between: the judge knows.
    let reading = async |from: Revision, pause: u64| {
        let mut watch = probe.watch(probe.request().from(from)).await?;
        loop {
            match probe.next(&mut watch).await {
                Ok(Some(Watched::Batch(batch))) if batch.revision >= last => return Ok(()),
                Ok(Some(_)) => {}
                Err(Error::Compacted { .. }) => return Ok(()),
                other => return Err(Wrong::Found(format!("instead of {last} or `Compacted`: {other:?}"))),
            }
            match pause {
                0 => tokio::task::yield_now().await,
                _ => tokio::time::sleep(Duration::from_millis(pause)).await,
            }
        }
    };
    let watchers = [(first, 0), (first, 1), (first + 500, 1), (first + 1000, 2), (last - 1, 0)];
    let reading = try_join_all(watchers.map(|(from, pause)| reading(from, pause)));
    let compacting = async {
        for step in 1..=10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            probe.compact(first + (last - first) * step / 10).await?;
        }
        Ok(())
    };
    try_join(reading, compacting).await.map(|_| ())
}

/// Bytes of a value, and how many of them are written.
const LARGE: usize = 64 << 10;
const MANY: usize = 128;

/// Nobody waits for a watcher that does not read, and nothing is kept for it beyond a compaction.
pub(super) async fn room(probe: &Probe<'_>) -> Outcome {
    let value = "v".repeat(LARGE);
    let before = probe.status().await?;
    if before.bytes == 0 && before.keys > 0 {
        return Err(Error::Unsupported { what: "bytes in the status" }.into());
    }
    let mut stalled: Vec<Watch> = Vec::new();
    for request in [probe.request(), probe.request().without_puts()] {
        stalled.push(probe.watch(request).await?);
    }
    let mut last = probe.put("a", "first").await?;
    for watch in &mut stalled[..1] {
        probe.told(watch, last).await?;
    }
    for number in 0..MANY {
        let written = tokio::time::timeout(Duration::from_secs(10), probe.put("a", &value)).await;
        last = written.map_err(|_| Wrong::Found(format!("a write waits for a watcher, after {number}")))??;
    }
    last = probe.put("a", "last").await?.max(last);
    probe.compact(last).await?;
    // A quarter of what was written may still be there, for whatever reason; in the end.
    let small = |status: &Status| status.bytes < before.bytes + (LARGE * MANY / 4) as u64;
    let mut status = probe.status().await?;
    for _ in 0..100 {
        if small(&status) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Some stores count anew when they write.
        last = probe.put("b", "").await?;
        status = probe.status().await?;
    }
    ensure(small(&status), || format!("{status:?} after a compaction, and {before:?} before {MANY} writes"))?;
    // And it is told so, or everything.
    for watch in &mut stalled[..1] {
        let mut told = 0;
        while told < last {
            match probe.next(watch).await {
                Ok(Some(Watched::Batch(batch))) => told = batch.revision,
                Err(Error::Compacted { .. }) => break,
                other => return Err(Wrong::Found(format!("instead of {last} or `Compacted`: {other:?}"))),
            }
        }
    }
    Ok(())
}
