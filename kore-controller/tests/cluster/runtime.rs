//! The contract of the framework, kept for a reconciler that does not make it easy.

use crate::world::World;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kore_api::client::Informer;
use kore_api::object::{ObjectKey, View};
use kore_api::request::Options;
use kore_controller::queue::Config;
use kore_controller::{Action, Caches, Context, Controller, Error, Reconciler};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was seen, shared with the test.
#[derive(Default)]
struct Seen {
    running: BTreeMap<String, u32>,
    most_at_once: usize,
    runs: BTreeMap<String, u32>,
    gone: Vec<ObjectKey>,
}

/// Counts in `data.count` up to 5 by itself; panics and fails on the way as often as the name says.
struct Counter {
    maps: Informer<ConfigMap>,
    secrets: Informer<Secret>,
    seen: Arc<Mutex<Seen>>,
}

fn count(map: &ConfigMap) -> u32 {
    map.data.as_ref().and_then(|data| data.get("count")).and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl Reconciler for Counter {
    type Kind = ConfigMap;

    async fn reconcile(&self, map: View<ConfigMap>, ctx: &Context) -> Result<Action, Error> {
        let name = map.object().name().to_owned();
        let runs = {
            let mut seen = self.seen.lock().expect("not poisoned");
            let running = seen.running.entry(name.clone()).or_default();
            *running += 1;
            assert_eq!(*running, 1, "{name} runs twice at once");
            let at_once = seen.running.values().filter(|running| **running > 0).count();
            seen.most_at_once = seen.most_at_once.max(at_once);
            let runs = seen.runs.entry(name.clone()).or_default();
            *runs += 1;
            *runs
        };
        let _done = Done(&self.seen, &name);
        tokio::task::yield_now().await;
        assert!(!(name == "panics" && runs <= 3), "as asked");
        if name == "fails" && runs <= 3 {
            return Err(Error::other("as asked"));
        }
        let now = count(&map);
        let latest = self.maps.view(map.key())?.expect("seen just now");
        assert_eq!(count(&latest), now, "what was given is what the informer has");
        if now < 5 {
            let mut new = map.to_owned();
            new.data.get_or_insert_default().insert("count".into(), (now + 1).to_string());
            ctx.replace(&map, &new).await?;
            if now == 0 {
                let mut secret = Secret::default();
                secret.metadata.name = Some(name.clone());
                secret.metadata.namespace = map.metadata.namespace.clone();
                ctx.create(&secret).await?;
            } else {
                let secret = self.secrets.get(map.key()).expect("written by the run before this one");
                if now == 4 {
                    ctx.delete(&secret.view::<Secret>()?, &Options::default()).await?;
                }
            }
        } else {
            assert!(self.secrets.get(map.key()).is_none(), "deleted by the run before this one");
        }
        Ok(Action::Done)
    }

    async fn gone(&self, key: &ObjectKey, _: &Context) -> Result<Action, Error> {
        self.seen.lock().expect("not poisoned").gone.push(key.clone());
        Ok(Action::Done)
    }
}

struct Done<'a>(&'a Mutex<Seen>, &'a str);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        *self.0.lock().expect("not poisoned").running.get_mut(self.1).expect("running") -= 1;
    }
}

fn map(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "namespace": "default"}})
}

#[tokio::test(start_paused = true)]
async fn reads_its_writes_backs_off_and_stops_in_good_order() {
    let world = World::new(31).controllers("");
    world
        .run(async |cluster| {
            let seen = Arc::new(Mutex::new(Seen::default()));
            let mut caches = Caches::new(&cluster.client);
            let mut config = Config::default();
            config.concurrency = 4;
            let mut controller = Controller::new("counter", &cluster.client, &mut caches).config(config);
            let counter =
                Counter { maps: controller.primary(), secrets: controller.owns::<Secret>(), seen: seen.clone() };
            let (handle, run) = controller.open(counter);
            let names: Vec<String> =
                (0..20).map(|n| format!("map-{n}")).chain(["panics".into(), "fails".into()]).collect();
            for name in &names {
                cluster.create::<ConfigMap>(map(name)).await;
            }
            let test = async {
                cluster
                    .until::<ConfigMap>("default", |maps| {
                        maps.len() == names.len() && maps.iter().all(|map| count(map) == 5)
                    })
                    .await;
                cluster
                    .client
                    .namespaced::<ConfigMap>("default")
                    .delete("map-3", &Options::default())
                    .await
                    .expect("deleted");
                while seen.lock().expect("not poisoned").gone.is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                handle.stop();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = run => {}
                () = test => {}
                () = caches.run() => panic!("the informers stopped"),
            }
            let statistics = handle.statistics();
            assert_eq!((statistics.panics, statistics.failures), (3, 6));
            let seen = seen.lock().expect("not poisoned");
            assert!(seen.most_at_once <= 4 && seen.most_at_once > 1, "{} at once", seen.most_at_once);
            assert_eq!(seen.gone, [ObjectKey::namespaced("default", "map-3")]);
            assert!(seen.running.values().all(|running| *running == 0));
            // One run for each step and one that finds nothing to do, besides those that failed.
            assert!((6..=8).contains(&seen.runs["map-0"]), "{} runs", seen.runs["map-0"]);
        })
        .await
        .expect("no crash");
}
