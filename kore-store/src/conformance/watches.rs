//! Watches: complete, ordered, atomic, resumable, filtered; progress that is true.

use super::probe::{Change, Probe, plain};
use super::{Outcome, Wrong, ensure, same};
use crate::{KeyRange, Op, Revision, Txn, WatchRequest, Watched};

type Changes = Vec<(Revision, Vec<Change>)>;

/// Creations, updates, deletions, several keys at once; and what a watch must tell of them.
async fn write(probe: &Probe<'_>) -> Result<Changes, Wrong> {
    let mut expected = Vec::new();
    let mut change = |revision, changes| expected.push((revision, changes));
    let to = |key, value, previous| probe.change(key, value, previous);
    change(probe.put("a", "1").await?, vec![to("a", Some("1"), None)]);
    change(probe.put("a", "2").await?, vec![to("a", Some("2"), Some("1"))]);
    let both = Txn::new()
        .then(Op::put(probe.key("c"), "1"))
        .then(Op::delete(probe.key("a")))
        .then(Op::put(probe.key("b"), "1"));
    change(
        probe.txn(both).await?.revision,
        vec![to("a", None, Some("2")), to("b", Some("1"), None), to("c", Some("1"), None)],
    );
    change(probe.put("a", "3").await?, vec![to("a", Some("3"), None)]);
    let all = Txn::new().then(Op::delete_prefix(probe.key("")));
    change(
        probe.txn(all).await?.revision,
        vec![to("a", None, Some("3")), to("b", None, Some("1")), to("c", None, Some("1"))],
    );
    for number in 0..20 {
        let value = number.to_string();
        let key = format!("n{number:02}");
        let revision = probe.put(&key, &value).await?;
        change(revision, vec![probe.change(&key, Some(&value), None)]);
    }
    Ok(expected)
}

fn last(expected: &Changes) -> Revision {
    expected.last().map_or(0, |(revision, _)| *revision)
}

pub(super) async fn complete(probe: &Probe<'_>) -> Outcome {
    let mut watch = probe.watch(probe.request()).await?;
    let expected = write(probe).await?;
    let told = probe.told(&mut watch, last(&expected)).await?;
    for event in told.iter().flat_map(|batch| batch.events.iter()) {
        let created = event.previous.is_none();
        same("created", (event.is_creation(), event.kv.version == 1), (created, created))?;
    }
    same("what was told", plain(&told), expected)
}

pub(super) async fn resumed(probe: &Probe<'_>) -> Outcome {
    let expected = write(probe).await?;
    for (number, (from, _)) in expected.iter().enumerate() {
        let mut watch = probe.watch(probe.request().from(*from)).await?;
        let told = probe.told(&mut watch, last(&expected)).await?;
        same(&format!("told from {from}"), plain(&told), expected[number..].to_vec())?;
    }
    Ok(())
}

pub(super) async fn filtered(probe: &Probe<'_>) -> Outcome {
    let from = probe.revision().await? + 1;
    let expected = write(probe).await?;
    let about = |keys: KeyRange| -> Changes {
        let mut left = expected.clone();
        for (_, changes) in &mut left {
            changes.retain(|change| keys.contains(&change.key));
        }
        left.retain(|(_, changes)| !changes.is_empty());
        left
    };
    let interval = KeyRange::Interval { start: probe.key("b"), end: Some(probe.key("n10")) };
    for keys in [KeyRange::Key(probe.key("a")), KeyRange::Prefix(probe.key("n1")), interval] {
        let expected = about(keys.clone());
        let request = WatchRequest::new(keys.clone()).with_previous().from(from);
        let mut watch = probe.watch(request).await?;
        let told = probe.told(&mut watch, last(&expected)).await?;
        same(&format!("told of {keys:?}"), plain(&told), expected)?;
    }
    Ok(())
}

pub(super) async fn future(probe: &Probe<'_>) -> Outcome {
    let from = probe.revision().await? + 4;
    let mut watch = probe.watch(probe.request().from(from)).await?;
    watch.request_progress();
    let progress = probe.next(&mut watch).await?;
    ensure(matches!(progress, Some(Watched::Progress(told)) if told < from), || {
        format!("{from} is yet to come, and instead of progress until then: {progress:?}")
    })?;
    let expected = write(probe).await?;
    let told = probe.told(&mut watch, last(&expected)).await?;
    let later: Changes = expected.into_iter().filter(|(revision, _)| *revision >= from).collect();
    same("told", plain(&told), later)
}

/// More than any store reads ahead.
pub(super) async fn slow(probe: &Probe<'_>) -> Outcome {
    let mut watch = probe.watch(probe.request()).await?;
    let mut revision = probe.put("first", "0").await?;
    let told = probe.told(&mut watch, revision).await?;
    same("told at first", told.len(), 1)?;
    let start = revision;
    for number in 0..1500 {
        revision = probe.put("same", &number.to_string()).await?;
    }
    let told = probe.told(&mut watch, revision).await?;
    let revisions: Vec<Revision> = told.iter().map(|batch| batch.revision).collect();
    same("told later", revisions, (start + 1..=revision).collect())
}

pub(super) async fn kinds(probe: &Probe<'_>) -> Outcome {
    let from = probe.revision().await? + 1;
    let mut puts = probe.watch(probe.request().without_deletions()).await?;
    let mut deletions = probe.watch(probe.request().without_puts()).await?;
    let expected = write(probe).await?;
    let only = |is_put: bool| -> Changes {
        let mut left = expected.clone();
        left.iter_mut().for_each(|(_, changes)| changes.retain(|change| change.value.is_some() == is_put));
        left.retain(|(_, changes)| !changes.is_empty());
        left
    };
    let (written, deleted) = (only(true), only(false));
    same("told only of writes", plain(&probe.told(&mut puts, last(&written)).await?), written.clone())?;
    same("told only of deletions", plain(&probe.told(&mut deletions, last(&deleted)).await?), deleted.clone())?;
    // Also of what has happened.
    let mut puts = probe.watch(probe.request().from(from).without_deletions()).await?;
    let mut deletions = probe.watch(probe.request().from(from).without_puts()).await?;
    same("told later only of writes", plain(&probe.told(&mut puts, last(&written)).await?), written)?;
    same("told later only of deletions", plain(&probe.told(&mut deletions, last(&deleted)).await?), deleted)
}
