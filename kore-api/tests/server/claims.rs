//! Claims: nothing is handed out twice, whoever writes at the same time and whatever restarts.

use std::collections::BTreeSet;

use futures::future::join_all;
use kore_api::patch::PatchKind;
use kore_api::registry::{NODE_PORTS, Pool};
use kore_api::request::Options;
use serde_json::{Value, json};

use crate::harness::*;

fn wants_port() -> Value {
    json!({"metadata": {"generateName": "p-"}, "spec": {"ports": [{"port": null}]}})
}

#[tokio::test(start_paused = true)]
async fn concurrent_wishes_get_different_values_until_there_are_no_more() {
    let store = memory();
    open(builder(&store), async |server| {
        let things = api(&server, things());
        let options = Options::default();
        let created = join_all((0..40).map(|_| things.create(wants_port(), &options)));
        let ports: BTreeSet<i64> = created
            .await
            .into_iter()
            .map(|object| object.unwrap().to_value()["spec"]["ports"][0]["port"].as_i64().unwrap())
            .collect();
        assert_eq!(ports, (30_000..=30_039).collect(), "each of forty, once");
        let full = refused(things.create(wants_port(), &Options::default()).await);
        assert_eq!(full.code, 500);
        assert!(full.message.contains("the range 30000-30039 is full"), "{full}");
    })
    .await;
    // Another server over the same store knows what is taken.
    open(builder(&store), async |server| {
        let things = api(&server, things());
        assert_eq!(refused(things.create(wants_port(), &Options::default()).await).code, 500);
        let one = things.list(&Options::default()).await.unwrap().items.swap_remove(7);
        let port = one.to_value()["spec"]["ports"][0]["port"].clone();
        things.delete(one.name(), &Options::default()).await.unwrap();
        let again = things.create(wants_port(), &Options::default()).await.unwrap();
        assert_eq!(again.to_value()["spec"]["ports"][0]["port"], port, "what was released is free");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_value_of_ones_own_choice_must_be_free_and_in_the_range() {
    serve(async |server| {
        let things = api(&server, things());
        let create = async |name: &str, address: &str| {
            things.create(thing(name, json!({"address": address})), &Options::default()).await
        };
        create("a", "127.96.0.10").await.unwrap();
        for (address, problem) in [
            ("127.96.0.10", "spec.address: Invalid value: \"127.96.0.10\": provided IP is already allocated"),
            ("10.0.0.1", "is not in the valid range. The range of valid IPs is 127.96.0.0/16"),
        ] {
            let status = refused(create("b", address).await);
            assert_eq!(status.code, 422);
            assert!(status.message.contains(problem), "{status}");
        }
        // A change moves the claim; what was held is free at once.
        let moved = json!({"spec": {"address": "127.96.0.11"}});
        things.patch("a", None, PatchKind::Merge, moved, &Options::default()).await.unwrap();
        create("b", "127.96.0.10").await.unwrap();
        let taken = json!({"spec": {"address": "127.96.0.10"}});
        assert_eq!(refused(things.patch("a", None, PatchKind::Merge, taken, &Options::default()).await).code, 422);
        let none = json!({"spec": {"address": null}});
        things.patch("b", None, PatchKind::Merge, none, &Options::default()).await.unwrap();
        create("c", "127.96.0.10").await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_object_may_name_a_value_twice_and_holds_it_once() {
    serve(async |server| {
        let things = api(&server, things());
        let both = json!({"ports": [{"port": 30_001}, {"port": 30_001}, {"port": null}]});
        let made = things.create(thing("dns", both), &Options::default()).await.unwrap().to_value();
        assert_ne!(made["spec"]["ports"][2]["port"], 30_001);
        things.delete("dns", &Options::default()).await.unwrap();
        things.create(thing("dns", json!({"ports": [{"port": 30_001}]})), &Options::default()).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_two_who_choose_the_same_one_gets_it() {
    serve(async |server| {
        let things = api(&server, things());
        let outcomes = join_all((0..10).map(|at| {
            let things = things.clone();
            async move {
                things.create(thing(&format!("t{at}"), json!({"ports": [{"port": 30_005}]})), &Options::default()).await
            }
        }))
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_pool_nothing_is_claimed() {
    let store = memory();
    open(builder(&store).pool(NODE_PORTS, Pool::numbers(1, 1)), async |server| {
        let things = api(&server, things());
        things.create(wants_port(), &Options::default()).await.unwrap();
        assert_eq!(refused(things.create(wants_port(), &Options::default()).await).code, 500);
    })
    .await;
}
