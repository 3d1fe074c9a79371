//! Single keys: writing, reading, deleting, and racing for one.

use std::str;

use super::probe::Probe;
use super::{Outcome, ensure, same};
use crate::{Compare, Error, KeyValue, Op, Range, Revision, Txn};

pub(super) async fn read_back(probe: &Probe<'_>) -> Outcome {
    same("a key never written", probe.get("a").await?, None)?;
    let first = probe.put("a", "one").await?;
    let mut expected = KeyValue {
        key: probe.key("a"),
        value: "one".into(),
        create_revision: first,
        mod_revision: first,
        version: 1,
        lease: 0,
    };
    same("written", probe.get("a").await?.as_deref(), Some(&expected))?;
    let second = probe.put("a", "two").await?;
    expected.value = "two".into();
    expected.mod_revision = second;
    expected.version = 2;
    same("written again", probe.get("a").await?.as_deref(), Some(&expected))?;
    probe.put("b", "").await?;
    let empty = probe.get("b").await?;
    same("an empty value", empty.map(|kv| kv.value.len()), Some(0))
}

pub(super) async fn revisions(probe: &Probe<'_>) -> Outcome {
    let start = probe.put("a", "1").await?;
    same("status", probe.revision().await?, start)?;
    same("the next write", probe.put("b", "1").await?, start + 1)?;
    same("the same value again", probe.put("b", "1").await?, start + 2)?;
    probe.get("a").await?;
    same("a deletion of nothing", probe.delete("none").await?, 0)?;
    let lost = Txn::new()
        .when(Compare::mod_revision(probe.key("a"), 0))
        .then(Op::put(probe.key("a"), "2"))
        .otherwise(Op::get(probe.key("a")));
    same("a lost comparison", probe.txn(lost).await?.revision, start + 2)?;
    let both = Txn::new().then(Op::put(probe.key("c"), "1")).then(Op::put(probe.key("d"), "1"));
    same("two keys at once", probe.txn(both).await?.revision, start + 3)?;
    for key in ["c", "d"] {
        let kv = probe.get(key).await?;
        same("its revision", kv.map(|kv| kv.mod_revision), Some(start + 3))?;
    }
    same("a deletion", probe.delete("c").await?, 1)?;
    same("status", probe.revision().await?, start + 4)
}

pub(super) async fn deletion(probe: &Probe<'_>) -> Outcome {
    probe.put("a", "one").await?;
    probe.put("a", "two").await?;
    same("deleted", probe.delete("a").await?, 1)?;
    same("deleted again", probe.delete("a").await?, 0)?;
    same("read", probe.get("a").await?, None)?;
    let listed = probe.range(Range::new(probe.keys())).await?;
    same("listed", (listed.kvs.len(), listed.count), (0, 0))?;
    let revision = probe.put("a", "three").await?;
    let kv = probe.get("a").await?;
    let found = kv.map(|kv| (kv.version, kv.create_revision, kv.mod_revision));
    same("written again", found, Some((1, revision, revision)))
}

/// Eight clients count one number up, twenty times each, by comparing and writing.
pub(super) async fn races(probe: &Probe<'_>) -> Outcome {
    probe.put("n", "0").await?;
    let client = async |_: usize| -> Outcome {
        for _ in 0..20 {
            let mut won = false;
            while !won {
                let Some(kv) = probe.get("n").await? else {
                    return ensure(false, || "the number is gone".into());
                };
                let number: u64 = str::from_utf8(&kv.value).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
                // The others get in between, also in a store that answers at once.
                tokio::task::yield_now().await;
                let txn = Txn::new()
                    .when(Compare::mod_revision(probe.key("n"), kv.mod_revision))
                    .then(Op::put(probe.key("n"), (number + 1).to_string()));
                won = probe.txn(txn).await?.succeeded;
            }
        }
        Ok(())
    };
    futures::future::try_join_all((0..8).map(client)).await?;
    let kv = probe.get("n").await?;
    let found = kv.map(|kv| (kv.value.clone(), kv.version));
    same("the number after 160 increments", found, Some(("160".into(), 161)))
}

/// Also what a refusal tells of the key.
pub(super) async fn compared(probe: &Probe<'_>) -> Outcome {
    let refused = async |what: &str, answer: crate::Result<Revision>, expected: Option<(&str, Revision)>| match answer {
        Err(Error::Conflict { key, current }) => {
            same(&format!("{what}: the key"), key, probe.key("a"))?;
            let found = current.as_ref().map(|kv| (&kv.value[..], kv.mod_revision));
            same(&format!("{what}: what it holds"), found, expected.map(|(value, at)| (value.as_bytes(), at)))
        }
        other => ensure(false, || format!("{what}: instead of `Conflict`: {other:?}")),
    };
    let start = probe.revision().await?;
    refused("not there", probe.compare_and_put("a", "0", start).await, None).await?;
    let one = probe.compare_and_put("a", "1", 0).await?;
    same("created", one, start + 1)?;
    refused("created twice", probe.compare_and_put("a", "2", 0).await, Some(("1", one))).await?;
    let two = probe.compare_and_put("a", "2", one).await?;
    refused("put again", probe.compare_and_put("a", "3", one).await, Some(("2", two))).await?;
    refused("deleted too late", probe.compare_and_delete("a", one).await, Some(("2", two))).await?;
    same("no refusal takes a revision", probe.revision().await?, start + 2)?;
    same("what is left of it", probe.get("a").await?.map(|kv| (kv.value.clone(), kv.version)), Some(("2".into(), 2)))?;
    same("deleted", probe.compare_and_delete("a", two).await?, two + 1)?;
    refused("deleted again", probe.compare_and_delete("a", two).await, None).await?;
    refused("put after it was deleted", probe.compare_and_put("a", "4", two).await, None).await?;
    same("read", probe.get("a").await?, None)
}
