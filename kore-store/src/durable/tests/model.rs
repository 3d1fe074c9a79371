//! Random histories against a model that keeps every state there ever was.

use std::collections::BTreeMap;

use futures::StreamExt;
use proptest::prelude::*;

use super::*;
use crate::{Compare, Event, MemoryStore, Put, Watched};

type State = BTreeMap<Bytes, KeyValue>;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    /// Deletes the keys that begin so, and puts another one.
    DeletePrefix(u8),
    /// Puts if the key was last written that many revisions ago, else puts another.
    Compare(u8, u64, u8),
    /// Compacts that many revisions back.
    Compact(u64),
    /// Opens the store again, after its process or the machine died.
    Reopen(bool),
    Close,
    Read(u64, u8),
    Watch(u64, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12u8;
    prop_oneof![
        8 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        4 => key.clone().prop_map(Step::Delete),
        1 => key.clone().prop_map(Step::DeletePrefix),
        4 => (key.clone(), 0..4u64, any::<u8>()).prop_map(|(key, back, value)| Step::Compare(key, back, value)),
        2 => (0..20u64).prop_map(Step::Compact),
        1 => any::<bool>().prop_map(Step::Reopen),
        1 => Just(Step::Close),
        3 => (0..30u64, key.clone()).prop_map(|(back, key)| Step::Read(back, key)),
        3 => (0..30u64, key).prop_map(|(back, key)| Step::Watch(back, key)),
    ]
}

/// Twelve keys, in three families.
fn key(number: u8) -> Bytes {
    format!("{}/{}", number % 3, number / 3).into()
}

fn family(number: u8) -> Bytes {
    format!("{}/", number % 3).into()
}

/// The store as anybody would write it who had memory to waste.
struct Model {
    /// By revision.
    states: Vec<State>,
    compacted: Revision,
}

impl Model {
    fn new() -> Model {
        Model { states: vec![State::new(), State::new()], compacted: 0 }
    }

    fn revision(&self) -> Revision {
        self.states.len() as Revision - 1
    }

    fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    fn write(&mut self, puts: &[(Bytes, Bytes)], deletes: &[Bytes]) {
        let mut state = self.now().clone();
        let revision = self.revision() + 1;
        for key in deletes {
            state.remove(key);
        }
        for (key, value) in puts {
            let before = self.now().get(key).filter(|_| !deletes.contains(key));
            let kv = KeyValue {
                key: key.clone(),
                value: value.clone(),
                create_revision: before.map_or(revision, |kv| kv.create_revision),
                mod_revision: revision,
                version: before.map_or(1, |kv| kv.version + 1),
                lease: 0,
            };
            state.insert(key.clone(), kv);
        }
        if state != *self.now() {
            self.states.push(state);
        }
    }

    fn range(&self, keys: &KeyRange, at: Revision) -> Vec<KeyValue> {
        let state = self.states[at as usize].values();
        state.filter(|kv| keys.contains(&kv.key)).cloned().collect()
    }

    /// What changed at a revision: key, value now, value before.
    fn events(&self, keys: &KeyRange, at: Revision) -> Vec<(Bytes, Option<KeyValue>, Option<KeyValue>)> {
        let (before, now) = (&self.states[at as usize - 1], &self.states[at as usize]);
        let all: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
        all.into_iter()
            .filter(|key| keys.contains(key) && before.get(*key) != now.get(*key))
            .map(|key| (key.clone(), now.get(key).cloned(), before.get(key).cloned()))
            .collect()
    }
}

async fn act(store: &dyn Store, model: &mut Model, step: &Step) {
    let value = |byte: u8| Bytes::from(vec![byte; 20 + byte as usize]);
    match *step {
        Step::Put(k, v) => {
            store.put(key(k), value(v)).await.unwrap();
            model.write(&[(key(k), value(v))], &[]);
        }
        Step::Delete(k) => {
            let deleted = store.delete(KeyRange::Key(key(k))).await.unwrap();
            assert_eq!(deleted == 1, model.now().contains_key(&key(k)));
            model.write(&[], &[key(k)]);
        }
        Step::DeletePrefix(k) => {
            let txn = Txn::new().then(Op::delete_prefix(family(k))).then(Op::put("marker", "m"));
            store.txn(txn).await.unwrap();
            let gone: Vec<_> = model.now().keys().filter(|key| key.starts_with(&family(k))).cloned().collect();
            model.write(&[("marker".into(), "m".into())], &gone);
        }
        Step::Compare(k, back, v) => {
            let at = model.now().get(&key(k)).map_or(0, |kv| kv.mod_revision);
            let expected = at.saturating_sub(back);
            let txn = Txn::new()
                .when(Compare::mod_revision(key(k), expected))
                .then(Op::Put(Put::new(key(k), value(v))))
                .otherwise(Op::put("lost", value(v)))
                .otherwise(Op::get(key(k)));
            let done = store.txn(txn).await.unwrap();
            assert_eq!(done.succeeded, at == expected);
            if done.succeeded {
                model.write(&[(key(k), value(v))], &[]);
            } else {
                assert_eq!(done.first_kv().map(|kv| &**kv), model.now().get(&key(k)));
                model.write(&[("lost".into(), value(v))], &[]);
            }
        }
        Step::Compact(back) => {
            let at = model.revision().saturating_sub(back);
            let done = store.compact(at).await;
            assert_eq!(done.is_ok(), at > model.compacted, "compact {at}: {done:?}");
            model.compacted = model.compacted.max(at);
        }
        Step::Read(back, k) => {
            let at = model.revision().saturating_sub(back).max(1);
            let keys = KeyRange::Prefix(family(k));
            let read = store.range(Range::new(keys.clone()).at(at)).await;
            match read {
                Ok(read) => {
                    assert!(at >= model.compacted);
                    let kvs: Vec<_> = read.kvs.iter().map(|kv| KeyValue::clone(kv)).collect();
                    assert_eq!(kvs, model.range(&keys, at), "read at {at}");
                }
                Err(error) => assert!(error.is_compacted() && at < model.compacted, "read at {at}: {error}"),
            }
        }
        Step::Watch(back, k) => watch(store, model, back, k).await,
        Step::Reopen(_) | Step::Close => {}
    }
    let status = store.status().await.unwrap();
    assert_eq!(
        (status.revision, status.compacted, status.keys),
        (model.revision(), model.compacted, model.now().len() as u64)
    );
}

/// Bytes of one version, as the quota counts them.
fn bytes_of(kv: &KeyValue) -> u64 {
    kv.key.len() as u64 + kv.value.len() as u64 + 192
}

/// Compacts everything: then the store holds what exists now, the marks of what the last write deleted, and nothing else.
async fn sweeps_out(store: &dyn Store, model: &Model) {
    let now = model.revision();
    if now > model.compacted {
        store.compact(now).await.unwrap();
    }
    let marks = model.events(&KeyRange::all(), now);
    let marks = marks.iter().filter(|(_, now, _)| now.is_none());
    let live: u64 = model.now().values().map(bytes_of).sum();
    let expected = live + marks.map(|(key, _, _)| key.len() as u64 + 192).sum::<u64>();
    let swept = async {
        while store.status().await.unwrap().bytes != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let swept = tokio::time::timeout(Duration::from_secs(5), swept).await;
    let left = store.status().await.unwrap().bytes;
    assert!(swept.is_ok(), "{left} bytes are left, {expected} are expected");
}

async fn watch(store: &dyn Store, model: &Model, back: u64, k: u8) {
    let from = model.revision().saturating_sub(back).max(1);
    let keys = KeyRange::Prefix(family(k));
    let request = WatchRequest::new(keys.clone()).from(from).with_previous().with_progress();
    let mut watch = match store.watch(request).await {
        Ok(watch) => watch,
        Err(error) => return assert!(error.is_compacted() && from < model.compacted, "{error}"),
    };
    assert!(from >= model.compacted);
    watch.request_progress();
    let mut told = Vec::new();
    loop {
        match watch.next().await.unwrap().unwrap() {
            Watched::Batch(batch) => told.push(batch),
            Watched::Progress(revision) => {
                assert_eq!(revision, model.revision());
                break;
            }
        }
    }
    let mut told = told.into_iter();
    for at in from.max(2)..=model.revision() {
        let expected = model.events(&keys, at);
        if expected.is_empty() {
            continue;
        }
        let batch = told.next().unwrap_or_else(|| panic!("nothing was told of {at}"));
        assert_eq!(batch.revision, at);
        let live = |event: &Event| Some(KeyValue::clone(&event.kv)).filter(|kv| !kv.is_deletion());
        let found: Vec<_> = batch
            .events
            .iter()
            .map(|event| {
                // What was overwritten at the compacted revision may be forgotten.
                let previous = event.previous.as_ref().map(|kv| KeyValue::clone(kv));
                (event.kv.key.clone(), live(event), previous)
            })
            .collect();
        if at > model.compacted {
            assert_eq!(found, expected, "told of {at}");
        } else {
            let without = |all: &[(Bytes, Option<KeyValue>, _)]| -> Vec<_> {
                all.iter().map(|(key, now, _)| (key.clone(), now.clone())).collect()
            };
            assert_eq!(without(&found), without(&expected), "told of {at}");
        }
    }
    assert!(told.next().is_none());
}

async fn durable(steps: &[Step]) {
    let mut disk = SimDisk::default();
    let mut model = Model::new();
    let mut rest = steps;
    while !rest.is_empty() {
        let lives = |step: &Step| matches!(step, Step::Reopen(_) | Step::Close);
        let end = rest.iter().position(lives).unwrap_or(rest.len());
        let (life, then) = rest.split_at(end);
        let (store, run) = open(&disk, small()).await.unwrap();
        let work = async {
            assert_eq!(everything(&store).await.1, model.range(&KeyRange::all(), model.revision()));
            for step in life {
                act(&store, &mut model, step).await;
            }
            if then.is_empty() && model.revision() > 1 {
                sweeps_out(&store, &model).await;
            }
            if matches!(then.first(), Some(Step::Close)) {
                store.close().await.unwrap();
            }
        };
        let run = async {
            run.await.unwrap();
            // It was closed: `work` ends next.
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = work => {}
            () = run => {}
        }
        drop(store);
        disk = match then.first() {
            Some(Step::Reopen(true)) => disk.after(Power::Lost),
            _ => disk.after(Power::Kept),
        };
        rest = then.get(1..).unwrap_or(&[]);
    }
}

fn paused(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_durable_store_is_the_model(steps in prop::collection::vec(step(), 1..250)) {
        paused(durable(&steps));
    }

    #[test]
    fn the_memory_store_is_the_model(steps in prop::collection::vec(step(), 1..250)) {
        paused(async {
            let store = MemoryStore::new();
            let mut model = Model::new();
            for step in &steps {
                act(&store, &mut model, step).await;
            }
            if model.revision() > 1 {
                sweeps_out(&store, &model).await;
            }
        });
    }
}
