//! Progress: true for watchers that are behind, busy, filtered or idle, whenever it is asked.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{try_join_all, try_join3};

use super::probe::Probe;
use super::{Outcome, Wrong, ensure, same};
use crate::{Range, Revision, Watch, WatchRequest, Watched};

/// Revisions behind a watch that is asked at once: enough for a store to read them in several steps. (etcd 3.4 tells the current
/// revision then, before any of the events: etcd#15220.)
const BEHIND: usize = 4000;

/// Writes so many revisions, every tenth one to the key `rare`; answers with the first and the last.
async fn write(probe: &Probe<'_>, count: usize) -> Result<(Revision, Revision), Wrong> {
    let (mut first, mut last) = (Revision::MAX, 0);
    let numbers: Vec<usize> = (0..count).collect();
    for chunk in numbers.chunks(100) {
        let put = async |number: &usize| match number % 10 {
            0 => probe.put("rare", &number.to_string()).await,
            _ => probe.put(&format!("often/{}", number % 7), &number.to_string()).await,
        };
        for revision in try_join_all(chunk.iter().map(put)).await? {
            first = first.min(revision);
            last = last.max(revision);
        }
    }
    Ok((first, last))
}

/// Reads until progress covers a revision, and answers with the last revision that was told before. Whether it was told
/// everything, the judge knows.
async fn until(probe: &Probe<'_>, watch: &mut Watch, last: Revision) -> Result<Revision, Wrong> {
    let mut told = 0;
    loop {
        match probe.next(watch).await? {
            Some(Watched::Batch(batch)) => told = batch.revision,
            Some(Watched::Progress(progress)) if progress >= last => return Ok(told),
            Some(Watched::Progress(_)) => {}
            None => return Err(Wrong::Found(format!("progress to {last} never came; {told} was the last told"))),
        }
    }
}

pub(super) async fn asked(probe: &Probe<'_>) -> Outcome {
    for round in 0..5 {
        let mut watch = probe.watch(probe.request()).await?;
        let mut last = 0;
        for number in 0..50 {
            last = probe.put(&format!("{round}-{number}"), "v").await?;
            // Asked at an earlier revision, it is answered with the present one all the same.
            if number == 20 {
                watch.request_progress();
            }
        }
        watch.request_progress();
        same("told before the progress", until(probe, &mut watch, last).await?, last)?;
    }
    // Also a watch that waits already hears that it is asked.
    let mut watch = probe.watch(WatchRequest::key(probe.key("idle"))).await?;
    let now = probe.revision().await?;
    let waiting = futures::poll!(watch.next()).is_pending();
    ensure(waiting, || "a watch told something before anything happened".into())?;
    watch.request_progress();
    same("told to an idle watch", until(probe, &mut watch, now).await?, 0)
}

pub(super) async fn idle(probe: &Probe<'_>) -> Outcome {
    let request = WatchRequest::key(probe.key("idle")).with_progress();
    let mut watch = probe.watch(request).await?;
    let revision = probe.put("busy", "v").await?;
    same("told to an idle watch", until(probe, &mut watch, revision).await?, 0)
}

pub(super) async fn behind(probe: &Probe<'_>) -> Outcome {
    let (first, last) = write(probe, BEHIND).await?;
    let rare = || WatchRequest::key(probe.key("rare")).with_previous();
    let last_rare = probe.get("rare").await?.map_or(0, |kv| kv.mod_revision);
    let oftens = probe.range(Range::prefix(probe.key("often/"))).await?;
    let last_often = oftens.kvs.iter().map(|kv| kv.mod_revision).max().unwrap_or(0);
    let often = || WatchRequest::prefix(probe.key("often/")).with_previous();
    let rows = [
        ("of most", often(), 0, last_often),
        ("of a rare key", rare(), 0, last_rare),
        ("of a rare key, with progress unasked", rare().with_progress(), 0, last_rare),
        ("of an idle key", WatchRequest::key(probe.key("idle")), 0, 0),
        ("after some events", often(), 7, last_often),
    ];
    for (what, request, read, expected) in rows {
        let mut watch = probe.watch(request.from(first)).await?;
        for _ in 0..read {
            probe.next(&mut watch).await?;
        }
        watch.request_progress();
        let told = until(probe, &mut watch, last).await?;
        same(&format!("a watch {what}: the last told"), told, expected)?;
    }
    Ok(())
}

pub(super) async fn busy(probe: &Probe<'_>) -> Outcome {
    let rare = || WatchRequest::key(probe.key("rare")).with_previous();
    let writing = async {
        for number in 0..300 {
            let key = if number % 7 == 0 { "rare" } else { "often" };
            probe.put(key, &number.to_string()).await?;
            // Watchers get a turn now and then only: they have several revisions to read at a time.
            if number % 5 == 0 {
                tokio::task::yield_now().await;
            }
        }
        probe.put("rare", "last").await?;
        Ok(())
    };
    let following = async |mut watch: Watch, asks: bool| {
        loop {
            if asks {
                watch.request_progress();
            }
            match probe.next(&mut watch).await? {
                Some(Watched::Batch(batch)) if batch.events.iter().any(|event| &event.kv.value[..] == b"last") => {
                    return Ok(());
                }
                Some(Watched::Batch(_)) => tokio::task::yield_now().await,
                // Asked as fast as it answers, it would do nothing else.
                Some(Watched::Progress(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
                None => break,
            }
        }
        Err(Wrong::Found("the last write was not told".into()))
    };
    let unasked = following(probe.watch(rare().with_progress()).await?, false);
    let asked = following(probe.watch(rare()).await?, true);
    let all = try_join3(writing, unasked, asked);
    match tokio::time::timeout(Duration::from_secs(60), all).await {
        Ok(done) => done.map(|_| ()),
        Err(_) => Err(Wrong::Found("not everything was told in a minute".into())),
    }
}
