//! Ranges: selecting, limiting, counting, older revisions, pages.

use std::sync::Arc;

use super::probe::Probe;
use super::{Outcome, ensure, same};
use crate::{Error, KeyRange, KeyValue, Range, Ranged};

fn names(probe: &Probe<'_>, kvs: &[Arc<KeyValue>]) -> Vec<String> {
    let prefix = probe.key("").len();
    let name = |kv: &Arc<KeyValue>| String::from_utf8_lossy(&kv.key[prefix..]).into_owned();
    kvs.iter().map(name).collect()
}

pub(super) async fn selection(probe: &Probe<'_>) -> Outcome {
    for name in ["b", "a/2", "c", "a/1", "a", "a/3", "a0"] {
        probe.put(name, &format!("value of {name}")).await?;
    }
    let key = |name| probe.key(name);
    let all = ["a", "a/1", "a/2", "a/3", "a0", "b", "c"];
    let from = KeyRange::Interval { start: key("b"), end: Some(key("c\0")) };
    let rows: Vec<(&str, Range, &[&str], u64)> = vec![
        ("everything", Range::new(probe.keys()), &all, 7),
        ("one key", Range::key(key("a")), &all[..1], 1),
        ("no key", Range::key(key("x")), &[], 0),
        ("a prefix", Range::prefix(key("a/")), &all[1..4], 3),
        ("a prefix that is a key", Range::prefix(key("a")), &all[..5], 5),
        ("an interval", Range::interval(key("a/2"), key("b")), &all[2..5], 3),
        ("an interval to its last key", Range::new(from), &all[5..], 2),
        ("an empty interval", Range::interval(key("b"), key("a")), &[], 0),
        ("a limit", Range::new(probe.keys()).limit(3), &all[..3], 7),
        ("a limit that is enough", Range::prefix(key("a/")).limit(3), &all[1..4], 3),
        ("behind a key", Range::new(probe.keys()).start_after(key("a/2")), &all[3..], 4),
        ("behind a gap", Range::new(probe.keys()).start_after(key("a/25")).limit(1), &all[3..4], 4),
        ("behind the last", Range::new(probe.keys()).start_after(key("c")), &[], 0),
        ("behind its only key", Range::key(key("a")).start_after(key("a")), &[], 0),
    ];
    for (what, range, expected, count) in rows {
        let found = probe.range(range.clone()).await?;
        same(what, names(probe, &found.kvs), expected.iter().map(|name| name.to_string()).collect())?;
        same(&format!("{what}: count and more"), (found.count, found.more), (count, count > expected.len() as u64))?;
        let counted = probe.range(range.count_only()).await?;
        same(&format!("{what}: only counted"), (counted.count, counted.kvs.len()), (count, 0))?;
    }
    let bare = probe.range(Range::prefix(key("a/")).keys_only()).await?;
    same("only keys", names(probe, &bare.kvs), vec!["a/1".into(), "a/2".into(), "a/3".into()])?;
    ensure(bare.kvs.iter().all(|kv| kv.value.is_empty() && kv.version == 1), || {
        "only keys: a value, or no version".into()
    })
}

pub(super) async fn old(probe: &Probe<'_>) -> Outcome {
    let one = probe.put("a", "one").await?;
    let two = probe.put("a", "two").await?;
    probe.delete("a").await?;
    let three = two + 1;
    let four = probe.put("a", "four").await?;
    for (at, expected) in [(one, Some("one")), (two, Some("two")), (three, None), (four, Some("four"))] {
        let found = probe.range(Range::key(probe.key("a")).at(at)).await?;
        let value = found.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        same(&format!("read at {at}"), value.as_deref(), expected)?;
        same("the picture's revision", found.revision, at)?;
    }
    let before = probe.range(Range::key(probe.key("a")).at(one - 1)).await;
    if let Ok(before) = before {
        same("read before its creation", before.count, 0)?;
    }
    match probe.range(Range::key(probe.key("a")).at(four + 1)).await {
        Err(Error::FutureRevision { .. }) => Ok(()),
        other => ensure(false, || format!("a read at {}, now being {four}: {other:?}", four + 1)),
    }
}

pub(super) async fn paging(probe: &Probe<'_>) -> Outcome {
    for number in 0..25 {
        probe.put(&format!("{number:02}"), "old").await?;
    }
    let mut page: Ranged = probe.range(Range::new(probe.keys()).limit(4)).await?;
    let at = page.revision;
    let mut found = page.kvs.clone();
    let mut number = 0;
    while page.more {
        // Everything changes in between: keys before, after and amid.
        probe.put(&format!("{number:02}"), "new").await?;
        probe.put(&format!("{number:02}-between"), "new").await?;
        probe.delete(&format!("{:02}", 24 - number)).await?;
        number += 1;
        let Some(last) = found.last() else {
            return ensure(false, || "an empty page that says there is more".into());
        };
        let next = Range::new(probe.keys()).at(at).limit(4).start_after(last.key.clone());
        page = probe.range(next).await?;
        same("count", page.count + found.len() as u64, 25)?;
        found.extend(page.kvs.iter().cloned());
    }
    let expected: Vec<String> = (0..25).map(|number| format!("{number:02}")).collect();
    same("all pages", names(probe, &found), expected)?;
    ensure(found.iter().all(|kv| &kv.value[..] == b"old"), || "a page holds a later value".into())
}
