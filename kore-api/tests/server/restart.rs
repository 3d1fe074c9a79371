//! A server over a store that has been used.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kore_api::request::{Options, WatchEvent};
use serde_json::json;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn watches_go_on_across_a_restart() {
    let store = memory();
    let (revision, token) = open(builder(&store), async |server| {
        let things = api(&server, things());
        for name in ["a", "b", "c"] {
            things.create(thing(name, json!({})), &Options::default()).await.unwrap();
        }
        let page = things.list(&Options::default().limit(2)).await.unwrap();
        things.delete("b", &Options::default()).await.unwrap();
        (page.revision, page.continue_token)
    })
    .await;
    open(builder(&store), async |server| {
        let things = api(&server, things());
        let mut watch = things.watch(&Options::default().from_revision(revision)).await.unwrap();
        let Some(Ok(WatchEvent::Deleted(object))) = watch.next().await else { panic!("what happened in between") };
        assert_eq!(object.name(), "b");
        things.create(thing("d", json!({})), &Options::default()).await.unwrap();
        let Some(Ok(WatchEvent::Added(object))) = watch.next().await else { panic!("what happens now") };
        assert_eq!(object.name(), "d");
        let rest = things.list(&Options::default().continue_token(token.expect("there is more"))).await.unwrap();
        assert_eq!(names(&rest.items), ["c"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_compacted_has_expired_after_a_restart_too() {
    let store = memory();
    let old = open(builder(&store), async |server| {
        let things = api(&server, things());
        let old = things.create(thing("a", json!({})), &Options::default()).await.unwrap().revision();
        for at in 0..10 {
            things.create(thing(&format!("t{at}"), json!({})), &Options::default()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(70)).await;
        things.create(thing("last", json!({})), &Options::default()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(400)).await;
        old
    })
    .await;
    assert!(store.status().await.unwrap().compacted > old);
    open(builder(&store), async |server| {
        let things = api(&server, things());
        let mut late = things.watch(&Options::default().from_revision(old)).await.unwrap();
        assert_eq!(refused(late.next().await.unwrap()).code, 410);
        let list = things.list(&Options::default()).await.unwrap();
        assert_eq!(list.items.len(), 12);
        assert!(things.watch(&Options::default().from_revision(list.revision)).await.is_ok());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_servers_over_one_store_see_each_other() {
    let store = memory();
    open(builder(&store), async |first| {
        open(builder(&store), async |second| {
            let (here, there) = (api(&first, things()), api(&second, things()));
            let mut watch = there.watch(&Options::default()).await.unwrap();
            let made = here.create(thing("a", json!({"color": "red"})), &Options::default()).await.unwrap();
            assert_eq!(there.get("a").await.unwrap(), made);
            let Some(Ok(WatchEvent::Added(object))) = watch.next().await else { panic!("it is told") };
            assert_eq!(object, made);
            let red = there.list(&Options::default().fields("spec.color=red")).await.unwrap();
            assert_eq!(red.items, [made]);
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_seed_one_history() {
    let history = async || {
        let store = memory();
        open(builder(&store), async |server| {
            let things = api(&server, things());
            for at in 0..10 {
                let spec = json!({"size": at, "address": null});
                things
                    .create(json!({"metadata": {"generateName": "x-"}, "spec": spec}), &Options::default())
                    .await
                    .unwrap();
            }
        })
        .await;
        let all = store.range(kore_store::Range::prefix("")).await.unwrap();
        all.kvs.iter().map(|kv| (kv.mod_revision, kv.key.clone(), kv.value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(history().await, history().await);
}

#[tokio::test]
async fn on_a_durable_store_all_of_it_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let reopen =
        async |work: &mut dyn FnMut(kore_api::server::Server) -> futures::future::LocalBoxFuture<'static, ()>| {
            let (store, run) = kore_store::DurableStore::open(dir.path(), Default::default()).await.unwrap();
            let serving =
                open(builder(&(Arc::new(store) as Arc<dyn kore_store::Store>)), async |server| work(server).await);
            tokio::select! {
                biased;
                () = serving => {}
                ended = run => panic!("the store ended: {ended:?}"),
            }
        };
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let first = seen.clone();
    reopen(&mut |server| {
        let first = first.clone();
        Box::pin(async move {
            let things = api(&server, things());
            for at in 0..10 {
                let spec = json!({"address": null, "size": at});
                things.create(thing(&format!("t{at}"), spec), &Options::default()).await.unwrap();
            }
            things.delete("t3", &Options::default()).await.unwrap();
            *first.borrow_mut() = things.list(&Options::default()).await.unwrap().items;
        })
    })
    .await;
    reopen(&mut |server| {
        let seen = seen.clone();
        Box::pin(async move {
            let things = api(&server, things());
            let listed = things.list(&Options::default()).await.unwrap().items;
            assert_eq!(listed, *seen.borrow());
            let mut watch = things.watch(&Options::default().from_revision(listed[8].revision())).await.unwrap();
            assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Deleted(_)))));
            let address = listed[0].to_value()["spec"]["address"].clone();
            let taken = things.create(thing("new", json!({"address": address})), &Options::default()).await;
            assert_eq!(refused(taken).code, 422);
        })
    })
    .await;
}
