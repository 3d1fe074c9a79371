//! Lists: selectors, pages that fit together, revisions old and new.

use std::time::Duration;

use kore_api::patch::PatchKind;
use kore_api::request::Options;
use serde_json::json;

use crate::harness::*;

#[tokio::test(start_paused = true)]
async fn selectors() {
    serve(async |server| {
        let things = api(&server, things());
        for (name, color) in [("a", "red"), ("b", "blue"), ("c", "red")] {
            let sent = json!({"metadata": {"name": name, "labels": {"n": name}}, "spec": {"color": color}});
            things.create(sent, &Options::default()).await.unwrap();
        }
        for (options, expected) in [
            (Options::default(), vec!["a", "b", "c"]),
            (Options::default().labels("n in (a,b)"), vec!["a", "b"]),
            (Options::default().fields("spec.color=red"), vec!["a", "c"]),
            (Options::default().fields("spec.color!=red"), vec!["b"]),
            (Options::default().fields("metadata.name=c"), vec!["c"]),
            (Options::default().fields("metadata.name=c,spec.color=blue"), vec![]),
            (Options::default().fields("spec.color=red").labels("n=a"), vec!["a"]),
        ] {
            let list = things.list(&options).await.unwrap();
            assert_eq!(names(&list.items), expected, "{options:?}");
        }
        let status = refused(things.list(&Options::default().fields("spec.size=1")).await);
        assert_eq!(status.code, 400);
        assert!(status.message.contains("field label not supported: spec.size"), "{status}");
        assert_eq!(refused(things.list(&Options::default().labels("a in (")).await).code, 400);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pages_are_of_one_revision_whatever_is_written_meanwhile() {
    serve(async |server| {
        let things = api(&server, things());
        for at in 0..30 {
            things.create(thing(&format!("t{at:02}"), json!({"size": 1})), &Options::default()).await.unwrap();
        }
        let whole = things.list(&Options::default()).await.unwrap();
        let mut options = Options::default().limit(7);
        let mut items = Vec::new();
        for page in 0.. {
            let list = things.list(&options).await.unwrap();
            assert_eq!(list.revision, whole.revision);
            items.extend(list.items);
            let Some(token) = list.continue_token else {
                break;
            };
            assert_eq!(list.remaining, Some(30 - items.len() as u64));
            options.continue_token = Some(token);
            // New ones before and behind, changed ones, deleted ones: more than lie between two snapshots.
            for at in 0..100 {
                things.create(thing(&format!("s{page}-{at}"), json!({})), &Options::default()).await.unwrap();
                let patch = json!({"spec": {"size": page * 1000 + at}});
                things.patch("t29", None, PatchKind::Merge, patch, &Options::default()).await.unwrap();
            }
            things.delete(&format!("t{:02}", 10 + page), &Options::default()).await.unwrap();
        }
        assert_eq!(items, whole.items);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn old_revisions_come_from_the_store_until_they_expire() {
    let store = memory();
    // A window of eight changes: the rest is read from the store.
    open(builder(&store).window(8, 1 << 20).history(Duration::from_secs(60)), async |server| {
        let things = api(&server, things());
        for at in 0..20 {
            let color = if at % 2 == 0 { "red" } else { "blue" };
            things.create(thing(&format!("t{at:02}"), json!({"color": color})), &Options::default()).await.unwrap();
        }
        let whole = things.list(&Options::default()).await.unwrap();
        for at in 0..20 {
            things.delete(&format!("t{at:02}"), &Options::default()).await.unwrap();
        }
        let exactly = Options::default().from_revision(whole.revision).resource_version_match("Exact");
        assert_eq!(things.list(&exactly).await.unwrap().items, whole.items);
        let red = things.list(&exactly.clone().fields("spec.color=red").limit(4)).await.unwrap();
        assert_eq!(names(&red.items), ["t00", "t02", "t04", "t06"]);
        let more = Options::default().fields("spec.color=red").limit(100);
        let more = more.continue_token(red.continue_token.clone().expect("there is more"));
        assert_eq!(things.list(&more).await.unwrap().items.len(), 6);

        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(12)).await;
            let patch = json!({"metadata": {"labels": {"n": "1"}}});
            let _ = things.patch("none", None, PatchKind::Merge, patch, &Options::default()).await;
            things.create(json!({"metadata": {"generateName": "x-"}}), &Options::default()).await.unwrap();
        }
        let expired = refused(things.list(&more).await);
        assert_eq!(expired.code, 410);
        assert!(expired.message.contains("continue parameter is too old"), "{expired}");
        assert_eq!(refused(things.list(&exactly).await).code, 410);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn which_revision_is_asked_for() {
    serve(async |server| {
        let things = api(&server, things());
        let first = things.create(thing("a", json!({})), &Options::default()).await.unwrap();
        let second = things.create(thing("b", json!({})), &Options::default()).await.unwrap();
        let with = |revision: &str, matching: Option<&str>| {
            let mut options = Options::default().resource_version(revision);
            options.resource_version_match = matching.map(Into::into);
            options
        };
        let at_first = first.revision().to_string();
        for (options, expected) in [
            (with(&at_first, None), vec!["a", "b"]),
            (with(&at_first, Some("NotOlderThan")), vec!["a", "b"]),
            (with(&at_first, Some("Exact")), vec!["a"]),
            (with(&at_first, None).limit(5), vec!["a"]),
            (with("0", None), vec!["a", "b"]),
        ] {
            assert_eq!(names(&things.list(&options).await.unwrap().items), expected, "{options:?}");
        }
        let nonsense = Options::default().resource_version_match("Exact");
        for options in [nonsense, with("0", Some("Exact")), with("x", None), with("1", Some("Sometimes"))] {
            assert_eq!(refused(things.list(&options).await).code, 400, "{options:?}");
        }
        let future = refused(things.list(&with(&(second.revision() + 100).to_string(), None)).await);
        assert_eq!(future.code, 504);
        assert!(future.message.starts_with("Too large resource version"), "{future}");
    })
    .await;
}
