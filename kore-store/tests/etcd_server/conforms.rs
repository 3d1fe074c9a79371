//! A store, served as an etcd, used as a store again, is still one: the suite runs through both.

use std::sync::Arc;

use kore_store::{DurableStore, EtcdOptions, EtcdServerOptions, EtcdStore, Options, conformance};

use crate::support::Served;

#[tokio::test]
async fn a_store_behind_an_etcd_conforms() {
    let dir = tempfile::tempdir().unwrap();
    // Small enough for rotation and checkpoints to go on meanwhile.
    let options = Options::default().segment_bytes(8192).checkpoint_bytes(16384);
    let (store, run) = DurableStore::open(dir.path(), options).await.unwrap();
    tokio::spawn(run);
    let served = Served::store(Arc::new(store), EtcdServerOptions::default()).await;
    let store = EtcdStore::connect(EtcdOptions::new([format!("http://{}", served.address)])).await.unwrap();
    let report = conformance::run(&store).await;
    assert!(report.is_passed() && report.skipped.is_empty(), "{report}");
}
