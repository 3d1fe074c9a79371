//! Watches: each change once and in order, whatever the selector and however slow the reader.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use kore_api::error::Error;
use kore_api::patch::PatchKind;
use kore_api::request::{Options, WatchEvent, WatchStream};
use kore_api::{Entropy, Revision};
use serde_json::json;

use crate::harness::*;

/// The next event, as text.
async fn next(stream: &mut WatchStream) -> String {
    match stream.next().await.expect("the watch goes on") {
        Ok(WatchEvent::Added(object)) => format!("+{}", object.name()),
        Ok(WatchEvent::Modified(object)) => format!("~{}", object.name()),
        Ok(WatchEvent::Deleted(object)) => format!("-{}", object.name()),
        Ok(WatchEvent::Bookmark { initial_events_end: true, .. }) => "all".into(),
        Ok(WatchEvent::Bookmark { .. }) => "mark".into(),
        Err(error) => error.to_string(),
    }
}

fn is_silent(stream: &mut WatchStream) -> bool {
    futures::FutureExt::now_or_never(stream.next()).is_none()
}

#[tokio::test(start_paused = true)]
async fn where_a_watch_starts() {
    serve(async |server| {
        let things = api(&server, things());
        let first = things.create(thing("a", json!({})), &Options::default()).await.unwrap();
        things.create(thing("b", json!({})), &Options::default()).await.unwrap();
        let after = things.watch(&Options::default().from_revision(first.revision())).await;
        let mut after = after.unwrap();
        let mut all = things.watch(&Options::default()).await.unwrap();
        let mut any = things.watch(&Options::default().resource_version("0")).await.unwrap();
        let streaming = Options::default()
            .send_initial_events(true)
            .allow_watch_bookmarks(true)
            .resource_version_match("NotOlderThan");
        let mut streaming = things.watch(&streaming).await.unwrap();
        things.delete("a", &Options::default()).await.unwrap();
        for (stream, expected) in [
            (&mut after, vec!["+b", "-a"]),
            (&mut all, vec!["+a", "+b", "-a"]),
            (&mut any, vec!["+a", "+b", "-a"]),
            (&mut streaming, vec!["+a", "+b", "all", "-a"]),
        ] {
            for event in expected {
                assert_eq!(next(stream).await, event);
            }
            assert!(is_silent(stream));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn selectors_turn_changes_into_comings_and_goings() {
    serve(async |server| {
        let things = api(&server, things());
        let mut red = things.watch(&Options::default().fields("spec.color=red")).await.unwrap();
        let mut labelled = things.watch(&Options::default().labels("l=1")).await.unwrap();
        things.create(thing("a", json!({"color": "red"})), &Options::default()).await.unwrap();
        let patch = async |patch| things.patch("a", None, PatchKind::Merge, patch, &Options::default()).await.unwrap();
        patch(json!({"metadata": {"labels": {"l": "1"}}})).await;
        let left = patch(json!({"spec": {"color": "blue"}})).await;
        patch(json!({"spec": {"color": "red"}})).await;
        let gone = patch(json!({"metadata": {"labels": null}})).await;
        things.delete("a", &Options::default()).await.unwrap();
        assert_eq!(next(&mut red).await, "+a");
        assert_eq!(next(&mut red).await, "~a");
        let Some(Ok(WatchEvent::Deleted(object))) = red.next().await else { panic!("it has left") };
        assert_eq!(object.revision(), left.revision());
        assert_eq!(object.to_value()["spec"]["color"], "red", "as it last was");
        for event in ["+a", "~a", "-a"] {
            assert_eq!(next(&mut red).await, event);
        }
        for event in ["+a", "~a", "~a"] {
            assert_eq!(next(&mut labelled).await, event);
        }
        let Some(Ok(WatchEvent::Deleted(object))) = labelled.next().await else { panic!("it has left") };
        assert_eq!(object.revision(), gone.revision());
        assert!(is_silent(&mut labelled));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_of_progress() {
    serve(async |server| {
        let things = api(&server, things());
        let options = Options::default().allow_watch_bookmarks(true).timeout_seconds(200);
        let mut red = things.watch(&options.fields("spec.color=red")).await.unwrap();
        let start = tokio::time::Instant::now();
        let filtered = things.create(thing("a", json!({"color": "blue"})), &Options::default()).await.unwrap();
        let Some(Ok(WatchEvent::Bookmark { revision, .. })) = red.next().await else { panic!("a bookmark comes") };
        assert!(revision >= filtered.revision());
        assert!(start.elapsed() < Duration::from_millis(100), "soon after a change that was filtered out");
        // Other resources move the revision, too: told from time to time.
        let config = json!({"metadata": {"name": "c"}});
        let configs = resource("", "configmaps", "ConfigMap", kore_api::object::Scope::Namespaced);
        let other = api(&server, configs).create(config, &Options::default()).await.unwrap();
        let Some(Ok(WatchEvent::Bookmark { revision, .. })) = red.next().await else { panic!("a bookmark comes") };
        assert_eq!(revision, other.revision());
        assert!(start.elapsed() >= Duration::from_secs(50));
        assert!(red.next().await.is_none(), "the watch ends in time");
        assert_eq!(start.elapsed().as_secs(), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_forgotten_has_expired() {
    let store = memory();
    open(builder(&store).window(16, 1 << 20), async |server| {
        let things = api(&server, things());
        let first = things.create(thing("first", json!({})), &Options::default()).await.unwrap();
        let mut slow = things.watch(&Options::default().from_revision(first.revision())).await.unwrap();
        for at in 0..100 {
            things.create(thing(&format!("t{at}"), json!({})), &Options::default()).await.unwrap();
        }
        things.list(&Options::default()).await.unwrap();
        // The request is in order: that its revision has expired is the one event of the watch.
        let mut late = things.watch(&Options::default().from_revision(first.revision())).await.unwrap();
        let status = refused(late.next().await.unwrap());
        assert!(late.next().await.is_none());
        assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        let mut seen = 0;
        let error = loop {
            match slow.next().await.expect("an error comes first") {
                Ok(_) => seen += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_expired(), "{error}");
        assert!(seen < 100);
        assert!(slow.next().await.is_none(), "nothing follows an error");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_the_server() {
    let (server, run) = builder(&memory()).open().await.unwrap();
    let mut run = Box::pin(run);
    let mut stream = tokio::select! {
        biased;
        stream = async { api(&server, things()).watch(&Options::default()).await.unwrap() } => stream,
        () = &mut run => unreachable!("a server runs until it is dropped"),
    };
    let (ended, ()) = futures::join!(stream.next(), async { drop(run) });
    assert!(ended.is_none());
}

/// A watch's copy of a collection, kept as a client keeps it.
struct Copy {
    things: kore_api::client::DynamicApi,
    options: Options,
    objects: BTreeMap<String, Revision>,
    revision: Revision,
    expired: usize,
}

impl Copy {
    async fn list(&mut self) {
        let list = self.things.list(&self.options).await.unwrap();
        self.objects = list.items.iter().map(|object| (object.name().to_owned(), object.revision())).collect();
        self.revision = list.revision;
    }

    /// Follows until `until` is reached, pausing now and then.
    async fn follow(&mut self, until: Revision, entropy: &Entropy) {
        while self.revision < until {
            let options = self.options.clone().allow_watch_bookmarks(true);
            let mut stream = match self.things.watch(&options.from_revision(self.revision)).await {
                Ok(stream) => stream,
                Err(error) => {
                    self.give_up(&error).await;
                    continue;
                }
            };
            while self.revision < until {
                // A connection breaks now and then.
                if entropy.below(40) == 0 {
                    break;
                }
                let event = stream.next().await.expect("a watch without a timeout goes on");
                match event {
                    Ok(event) => self.apply(event),
                    Err(error) => {
                        self.give_up(&error).await;
                        break;
                    }
                }
                if entropy.below(10) == 0 {
                    tokio::time::sleep(Duration::from_millis(entropy.below(400))).await;
                }
            }
        }
    }

    async fn give_up(&mut self, error: &Error) {
        assert!(error.is_expired(), "{error}");
        self.expired += 1;
        self.list().await;
    }

    fn apply(&mut self, event: WatchEvent) {
        let revision = match &event {
            WatchEvent::Bookmark { revision, .. } => *revision,
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                assert!(object.revision() > self.revision, "each change once, in order");
                object.revision()
            }
        };
        match event {
            WatchEvent::Added(object) => {
                assert_eq!(self.objects.insert(object.name().to_owned(), revision), None, "new to this watch");
            }
            WatchEvent::Modified(object) => {
                assert!(self.objects.insert(object.name().to_owned(), revision).is_some(), "known to this watch");
            }
            WatchEvent::Deleted(object) => {
                assert!(self.objects.remove(object.name()).is_some(), "known to this watch");
            }
            WatchEvent::Bookmark { .. } => {}
        }
        self.revision = self.revision.max(revision);
    }
}

/// Random writes, random selectors, random pauses, broken connections: every watch ends with what a list shows.
async fn random_history(seed: u64, window: usize) -> usize {
    let store = memory();
    open(builder(&store).window(window, 1 << 20), async |server| {
        let entropy = Entropy::seeded(seed);
        let api = api(&server, things());
        let selections = [
            Options::default(),
            Options::default().fields("spec.color=red"),
            Options::default().labels("l in (1,2)"),
            Options::default().labels("!l").fields("spec.color!=red"),
            Options::default().fields("metadata.name=t3"),
        ];
        let mut copies: Vec<Copy> = selections
            .into_iter()
            .map(|options| Copy { things: api.clone(), options, objects: BTreeMap::new(), revision: 0, expired: 0 })
            .collect();
        for copy in &mut copies {
            copy.list().await;
        }
        let writing = async {
            let mut last = 0;
            for _ in 0..400 {
                let name = format!("t{}", entropy.below(8));
                let color = ["red", "blue", "green"][entropy.below(3) as usize];
                let label = entropy.below(4);
                let labels = if label == 0 { json!(null) } else { json!({"l": label.to_string()}) };
                let metadata = json!({"name": name, "labels": labels});
                let outcome = match entropy.below(3) {
                    0 => api
                        .create(json!({"metadata": metadata, "spec": {"color": color}}), &Options::default())
                        .await
                        .map(Some),
                    1 => {
                        let patch = json!({"metadata": {"labels": labels}, "spec": {"color": color}});
                        api.patch(&name, None, PatchKind::Merge, patch, &Options::default()).await.map(Some)
                    }
                    _ => api.delete(&name, &Options::default()).await,
                };
                match outcome {
                    Ok(Some(object)) => last = last.max(object.revision()),
                    Ok(None) => {}
                    Err(error) => {
                        assert!(error.is_not_found() || error.is_already_exists(), "{error}")
                    }
                }
                if entropy.below(5) == 0 {
                    tokio::time::sleep(Duration::from_millis(entropy.below(50))).await;
                }
            }
            // One more that every watch can wait for.
            last.max(api.create(thing("end", json!({})), &Options::default()).await.unwrap().revision())
        };
        // The readers do not know yet how far they will have to read: to somewhere beyond the last write.
        let (last, ()) = futures::join!(writing, async {
            let readers = copies.iter_mut().map(|copy| copy.follow(150, &entropy));
            futures::future::join_all(readers).await;
        });
        let readers = copies.iter_mut().map(|copy| copy.follow(last, &entropy));
        futures::future::join_all(readers).await;
        for copy in &copies {
            let list = copy.things.list(&copy.options).await.unwrap();
            let listed: BTreeMap<String, Revision> =
                list.items.iter().map(|object| (object.name().to_owned(), object.revision())).collect();
            assert_eq!(copy.objects, listed, "seed {seed}, {:?}", copy.options);
        }
        copies.iter().map(|copy| copy.expired).sum()
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn watches_agree_with_lists() {
    for seed in 0..20 {
        assert_eq!(random_history(seed, 65_536).await, 0, "with room enough nothing expires");
    }
    let mut expired = 0;
    for seed in 20..40 {
        expired += random_history(seed, 24).await;
    }
    assert!(expired > 0, "a small window must have been too small for somebody");
}
