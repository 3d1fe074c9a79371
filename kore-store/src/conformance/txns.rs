//! Transactions: comparisons, branches, refusals.

use super::probe::Probe;
use super::{Outcome, Wrong, ensure, same};
use crate::{Compare, Delete, Error, KeyRange, Op, OpResponse, Put, Range, Relation, Target, Txn};

pub(super) async fn relations(probe: &Probe<'_>) -> Outcome {
    let created = probe.put("a", "first").await?;
    let modified = probe.put("a", "middle").await?;
    let key = probe.key("a");
    let none = probe.key("none");
    let targets = [
        // A comparison that is equal, its target one less, and one more.
        (Target::Version(2), Target::Version(1), Target::Version(3)),
        (Target::CreateRevision(created), Target::CreateRevision(created - 1), Target::CreateRevision(created + 1)),
        (Target::ModRevision(modified), Target::ModRevision(modified - 1), Target::ModRevision(modified + 1)),
        (Target::Value("middle".into()), Target::Value("last".into()), Target::Value("next".into())),
    ];
    use Relation::{Equal, Greater, Less, NotEqual};
    let mut rows = Vec::new();
    for (equal, less, more) in targets {
        for (target, holding) in [(equal, [Equal].as_slice()), (less, &[NotEqual, Greater]), (more, &[NotEqual, Less])]
        {
            for relation in [Equal, NotEqual, Less, Greater] {
                let compare = Compare::new(KeyRange::Key(key.clone()), target.clone()).is(relation);
                rows.push((compare, holding.contains(&relation)));
            }
        }
    }
    let missing = |target| Compare::new(KeyRange::Key(none.clone()), target);
    rows.extend([
        (missing(Target::Version(0)), true),
        (missing(Target::ModRevision(0)), true),
        (missing(Target::CreateRevision(0)), true),
        (missing(Target::Lease(0)), true),
        (missing(Target::ModRevision(0)).is(Greater), false),
        (missing(Target::ModRevision(modified)).is(Less), true),
        (missing(Target::Value("".into())), false),
        (missing(Target::Value("x".into())).is(NotEqual), false),
        (Compare::lease(key.clone(), 0), true),
        (Compare::lease(key.clone(), 5), false),
        (Compare::new(probe.keys(), Target::Version(2)), true),
        (Compare::new(probe.keys(), Target::Version(1)), false),
        (Compare::new(KeyRange::Prefix(none.clone()), Target::Version(0)), true),
        (Compare::new(KeyRange::Prefix(none.clone()), Target::Version(9)), false),
        (Compare::new(KeyRange::Prefix(none.clone()), Target::Value("x".into())).is(NotEqual), false),
    ]);
    for (compare, expected) in rows {
        let what = format!("{compare:?}");
        let txn = Txn::new().when(compare).then(Op::get(key.clone()));
        same(&what, probe.txn(txn).await?.succeeded, expected)?;
    }
    let and =
        Txn::new().when(Compare::version(key.clone(), 2)).when(Compare::version(key.clone(), 3)).then(Op::get(key));
    same("two comparisons, of which one holds", probe.txn(and).await?.succeeded, false)
}

pub(super) async fn branches(probe: &Probe<'_>) -> Outcome {
    for name in ["a", "d/1", "d/2"] {
        probe.put(name, "before").await?;
    }
    let key = |name| probe.key(name);
    let txn = |version| {
        Txn::new()
            .when(Compare::version(key("a"), version))
            .then(Put::new(key("a"), "after").previous().into())
            .then(Op::get(key("a")))
            .then(Delete::new(KeyRange::Prefix(key("d/"))).previous().into())
            .then(Op::put(key("new"), "new"))
            .then(Range::new(probe.keys()).into())
            .otherwise(Op::get(key("a")))
            .otherwise(Op::put(key("else"), "else"))
    };
    let before = probe.revision().await?;
    let done = probe.txn(txn(1)).await?;
    same("the branch and the revision", (done.succeeded, done.revision), (true, before + 1))?;
    let [
        OpResponse::Put { previous: Some(put) },
        OpResponse::Range(own),
        OpResponse::Delete { deleted: 2, previous: deleted },
        OpResponse::Put { previous: None },
        OpResponse::Range(all),
    ] = &done.responses[..]
    else {
        return Err(Wrong::Found(format!("the answers do not fit the operations: {done:?}")));
    };
    same("what the written key held", &put.value[..], b"before")?;
    same(
        "its own write",
        own.kvs.iter().map(|kv| (&kv.value[..], kv.version, kv.mod_revision)).collect(),
        vec![(&b"after"[..], 2, before + 1)],
    )?;
    same("what was deleted", deleted.iter().map(|kv| kv.key.clone()).collect(), vec![key("d/1"), key("d/2")])?;
    same("what is there in the end", all.kvs.iter().map(|kv| kv.key.clone()).collect(), vec![key("a"), key("new")])?;

    let done = probe.txn(txn(1)).await?;
    same("the other branch", (done.succeeded, done.revision), (false, before + 2))?;
    same("what it read", done.first_kv().map(|kv| kv.value.clone()), Some("after".into()))?;
    same("what it wrote", probe.get("else").await?.map(|kv| kv.mod_revision), Some(before + 2))
}

pub(super) async fn refused(probe: &Probe<'_>) -> Outcome {
    probe.put("a", "before").await?;
    let before = probe.revision().await?;
    let key = |name| probe.key(name);
    let base = || Txn::new().then(Op::put(key("b"), "new"));
    let twice = probe.txn(base().then(Op::put(key("b"), "other"))).await;
    ensure(matches!(twice, Err(Error::DuplicateKey { .. })), || format!("a key written twice: {twice:?}"))?;
    let both = probe.txn(base().then(Op::delete_prefix(key("")))).await;
    ensure(matches!(both, Err(Error::DuplicateKey { .. })), || format!("a key written and deleted: {both:?}"))?;
    let future = probe.txn(base().then(Range::key(key("a")).at(before + 10).into())).await;
    ensure(matches!(future, Err(Error::FutureRevision { .. })), || format!("a read of the future: {future:?}"))?;
    let empty = probe.txn(base().then(Op::put("", "nameless"))).await;
    ensure(empty.is_err(), || format!("an empty key: {empty:?}"))?;
    same("what was to be written", probe.get("b").await?, None)?;
    same("the revision", probe.revision().await?, before)
}

pub(super) async fn nested(probe: &Probe<'_>) -> Outcome {
    let key = |name| probe.key(name);
    probe.put("a", "before").await?;
    let before = probe.revision().await?;
    // What is compared inside is what was there before the whole transaction; what is read inside is what was written.
    let deeper = Txn::new()
        .when(Compare::version(key("d"), 0))
        .then(Op::put(key("d"), "new"))
        .then(Op::get(key("a")))
        .otherwise(Op::put(key("wrong"), "v"));
    let inner = Txn::new()
        .when(Compare::value(key("a"), "before"))
        .then(Op::put(key("b"), "new"))
        .then(Op::Txn(deeper))
        .otherwise(Op::put(key("wrong"), "v"));
    let lost = Txn::new()
        .when(Compare::version(key("b"), 1))
        .then(Op::put(key("also-wrong"), "v"))
        .otherwise(Op::get(key("b")))
        .otherwise(Op::put(key("c"), "new"));
    let txn = Txn::new()
        .then(Op::put(key("a"), "after"))
        .then(Op::Txn(inner))
        .then(Op::Txn(lost))
        .then(Range::new(probe.keys()).count_only().into());
    let done = probe.txn(txn).await?;
    same("the branch and the revision", (done.succeeded, done.revision), (true, before + 1))?;
    let [OpResponse::Put { .. }, OpResponse::Txn(inner), OpResponse::Txn(lost), OpResponse::Range(all)] =
        &done.responses[..]
    else {
        return Err(Wrong::Found(format!("the answers do not fit the operations: {done:?}")));
    };
    same("the branches inside", (inner.succeeded, lost.succeeded), (true, false))?;
    let [OpResponse::Put { .. }, OpResponse::Txn(deeper)] = &inner.responses[..] else {
        return Err(Wrong::Found(format!("the answers do not fit the operations inside: {inner:?}")));
    };
    let read = deeper.first_kv().map(|kv| (kv.value.clone(), kv.mod_revision));
    same("read two levels down", read, Some(("after".into(), before + 1)))?;
    let read = lost.first_kv().map(|kv| (kv.value.clone(), kv.mod_revision));
    same("written by the one before", read, Some(("new".into(), before + 1)))?;
    same("counted in the end", all.count, 4)?;
    for (name, revision) in [
        ("a", Some(before + 1)),
        ("b", Some(before + 1)),
        ("c", Some(before + 1)),
        ("wrong", None),
        ("also-wrong", None),
    ] {
        same(name, probe.get(name).await?.map(|kv| kv.mod_revision), revision)?;
    }
    let read_only = Txn::new().then(Op::Txn(Txn::new().then(Op::get(key("a")))));
    same("one that only reads inside", probe.txn(read_only).await?.revision, before + 1)
}

pub(super) async fn nested_refused(probe: &Probe<'_>) -> Outcome {
    probe.put("a", "before").await?;
    let before = probe.revision().await?;
    let key = |name| probe.key(name);
    let put = |name| Op::put(key(name), "new");
    let inside = |op: Op| Op::Txn(Txn::new().then(op));
    let otherwise = |op: Op| Op::Txn(Txn::new().otherwise(op));
    let rows = [
        ("outside and inside", vec![put("b"), inside(put("b"))]),
        ("inside and outside", vec![inside(put("b")), put("b")]),
        ("in two of them", vec![inside(put("b")), inside(put("b"))]),
        ("in branches of two of them", vec![inside(put("b")), otherwise(put("b"))]),
        ("two levels down", vec![put("b"), inside(inside(put("b")))]),
        ("and deleted inside", vec![put("b"), inside(Op::delete_prefix(key("")))]),
        ("inside, and deleted", vec![inside(put("b")), Op::delete(key("b"))]),
    ];
    for (what, ops) in rows {
        let refused = probe.txn(ops.into_iter().fold(Txn::new(), Txn::then)).await;
        ensure(matches!(refused, Err(Error::DuplicateKey { .. })), || format!("written {what}: {refused:?}"))?;
    }
    let future = Range::key(key("a")).at(before + 10);
    let refused = probe.txn(Txn::new().then(put("b")).then(inside(future.into()))).await;
    ensure(matches!(refused, Err(Error::FutureRevision { .. })), || format!("a read of the future: {refused:?}"))?;
    same("what was to be written", probe.get("b").await?, None)?;
    same("the revision", probe.revision().await?, before)?;
    // Both branches of one may write the same key: only one is done.
    let either = Txn::new().when(Compare::version(key("a"), 7)).then(put("b")).otherwise(put("b"));
    same("either branch", probe.txn(Txn::new().then(Op::Txn(either))).await?.revision, before + 1)
}
