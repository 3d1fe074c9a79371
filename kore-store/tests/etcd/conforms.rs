//! The crate's own suite.

use kore_store::{EtcdOptions, EtcdStore, KeyRange, Progress, Store, conformance};

use crate::harness::{Etcd, connect};

/// What etcd does differently and may, as the suite finds it: the check, and how its finding begins.
const DIFFERS: &[(&str, &str)] = &[
    // A comparison on a range without keys is made once, with a key that does not exist.
    (
        "comparisons hold exactly when they should, also for keys that do not exist",
        "Compare { keys: Prefix(b\"conformance/07/none\"), relation: Equal, target: Version(9) }: found false",
    ),
    // A deletion at the compacted revision may be forgotten, so a watch from there on is refused.
    ("a watch begins at the compacted revision, and not before", "a call failed: revision"),
    ("a deletion at the compacted revision is still told", "a call failed: revision"),
];

async fn conforms(store: &EtcdStore) {
    // What an earlier run left.
    store.delete(KeyRange::Prefix("conformance/".into())).await.unwrap();
    let mut report = conformance::run(store).await;
    report.failed.retain(|failure| {
        !DIFFERS.iter().any(|(check, what)| failure.check == *check && failure.what.starts_with(what))
    });
    assert!(report.is_passed() && report.skipped.is_empty(), "{report}");
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn one_member_conforms() {
    let etcd = Etcd::single().await;
    conforms(&etcd.store().await).await;
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn three_members_conform_through_each() {
    let etcd = Etcd::start(3, &[]).await;
    conforms(&etcd.store().await).await;
    // One of them leads; the others are asked alone.
    for member in &etcd.members {
        conforms(&connect(EtcdOptions::new([&member.endpoint])).await).await;
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn the_suite_catches_progress_as_this_etcd_tells_it() {
    let etcd = Etcd::single().await;
    let store = connect(etcd.options().progress(Progress::Requested)).await;
    let report = conformance::run(&store).await;
    assert!(report.failed().contains(&"progress is not told before what it covers"), "{report}");
}
