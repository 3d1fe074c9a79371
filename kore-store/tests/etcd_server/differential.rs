//! The same requests to a store and to a real etcd, and the same answers.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;

use crate::support::real::Etcd;
use crate::support::short::*;
use crate::support::{Client, Served};
use crate::wire::*;

/// A request, as a caller writes it.
#[derive(Clone, Debug)]
enum Ask {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    Left(LeaseTimeToLiveRequest),
}

/// What was answered, without what tells the servers apart.
async fn ask(client: &Client, request: &Ask) -> String {
    async fn call<A: Message + Default + Debug>(client: &Client, method: &str, request: &impl Message) -> String {
        let answer = client.call::<A>(method, request).await;
        let text = match answer {
            Ok(answer) => format!("{answer:?}"),
            Err(refused) => format!("{refused:?}"),
        };
        without(without(without(text, "cluster_id: "), "member_id: "), "raft_term: ")
    }
    match request {
        Ask::Range(request) => call::<RangeResponse>(client, "KV/Range", request).await,
        Ask::Put(request) => call::<PutResponse>(client, "KV/Put", request).await,
        Ask::Delete(request) => call::<DeleteRangeResponse>(client, "KV/DeleteRange", request).await,
        Ask::Txn(request) => call::<TxnResponse>(client, "KV/Txn", request).await,
        Ask::Compact(request) => call::<CompactionResponse>(client, "KV/Compact", request).await,
        Ask::Grant(request) => call::<LeaseGrantResponse>(client, "Lease/LeaseGrant", request).await,
        Ask::Revoke(request) => call::<LeaseRevokeResponse>(client, "Lease/LeaseRevoke", request).await,
        Ask::Left(request) => {
            let left = client.call::<LeaseTimeToLiveResponse>("Lease/LeaseTimeToLive", request).await;
            let Ok(mut left) = left else { return format!("{left:?}") };
            left.keys.sort();
            // A second may pass between the two.
            format!("{} {} {} {:?}", left.id, left.ttl / 100, left.granted_ttl, left.keys)
        }
    }
}

/// The text without the numbers that follow this.
fn without(text: String, name: &str) -> String {
    let mut parts = text.split(name);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + name + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Asks both, and remembers where they differ.
struct Both {
    ours: Client,
    real: Client,
    differences: Vec<String>,
    asked: usize,
}

impl Both {
    async fn ask(&mut self, request: Ask) {
        let (ours, real) = (ask(&self.ours, &request).await, ask(&self.real, &request).await);
        self.asked += 1;
        // Which of several faults a transaction is refused for is not part of the contract.
        let both_refused = [&ours, &real].iter().all(|answer| answer.starts_with("Refused"));
        if ours != real && !(matches!(request, Ask::Txn(_)) && both_refused) {
            self.differences.push(format!("{request:?}\n  ours: {ours}\n  etcd: {real}"));
        }
    }

    fn check(&self) {
        let (count, shown) = (self.differences.len(), self.differences[..self.differences.len().min(5)].join("\n"));
        assert!(count == 0, "{count} of {} answers differ:\n{shown}", self.asked);
    }
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn key(&mut self) -> String {
        ["a", "ab", "b", "b/1", "b/2", "b/3", "c", "d/1"][self.roll(8) as usize].into()
    }

    fn range_end(&mut self) -> Bytes {
        match self.roll(6) {
            0 => bytes("\0"),
            1 => bytes("b0"),
            2 => bytes("c"),
            3 => bytes("d0"),
            _ => Bytes::new(),
        }
    }

    fn number(&mut self, most: u64) -> i64 {
        if self.one_in(2) { 0 } else { self.roll(most).cast_signed() }
    }

    fn range(&mut self, now: u64) -> RangeRequest {
        RangeRequest {
            key: if self.one_in(20) { Bytes::new() } else { bytes(&self.key()) },
            range_end: self.range_end(),
            limit: self.number(5),
            revision: self.number(now + 3),
            sort_order: self.roll(3) as i32,
            // One that etcd does not know ends the process, in this version.
            sort_target: self.roll(5) as i32,
            serializable: self.one_in(2),
            keys_only: self.one_in(4),
            count_only: self.one_in(6),
            min_mod_revision: self.number(now * 8) / 8 * i64::from(self.one_in(3)),
            max_mod_revision: self.number(now) * i64::from(self.one_in(3)),
            min_create_revision: self.number(now) * i64::from(self.one_in(4)),
            max_create_revision: self.number(now) * i64::from(self.one_in(4)),
        }
    }

    fn put(&mut self) -> PutRequest {
        let mut put = PutRequest { prev_kv: self.one_in(2), ..put(&self.key(), &self.roll(1000).to_string()) };
        match self.roll(12) {
            0 => put.ignore_value = true,
            1 => (put.ignore_value, put.value) = (true, Bytes::new()),
            2 => put.ignore_lease = true,
            3 => put.lease = 100 + self.roll(4).cast_signed(),
            4 => put.key = Bytes::new(),
            _ => {}
        }
        put
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let range_end = if self.one_in(3) { self.range_end() } else { Bytes::new() };
        DeleteRangeRequest { range_end, prev_kv: self.one_in(2), ..delete(&self.key()) }
    }

    fn compare(&mut self, now: u64) -> Compare {
        let target = self.roll(5) as i32;
        let number = self.number(now) - i64::from(self.one_in(8));
        let with = match if self.one_in(10) { self.roll(5) as i32 } else { target } {
            0 => TargetUnion::Version(self.roll(4).cast_signed() - 1),
            1 => TargetUnion::CreateRevision(number),
            2 => TargetUnion::ModRevision(number),
            3 => TargetUnion::Value(bytes(&self.roll(1000).to_string())),
            _ => TargetUnion::Lease(self.number(104)),
        };
        let range_end = if self.one_in(4) { self.range_end() } else { Bytes::new() };
        let compare = Compare { target, result: self.roll(4) as i32, range_end, ..at(&self.key(), 0) };
        Compare { target_union: if self.one_in(10) { None } else { Some(with) }, ..compare }
    }

    fn branch(&mut self, now: u64, depth: u64) -> Vec<RequestOp> {
        let ops = (0..self.roll(4)).map(|_| match self.roll(8) {
            0..=2 => op(self.put()),
            // etcd overlooks some transactions that put a key and delete it, which a store refuses: those that delete in a
            // nested one behind another nested one that puts, or every key from one on.
            3 if depth == 0 => {
                let mut delete = self.delete();
                if delete.range_end == bytes("\0") {
                    delete.range_end = bytes("z");
                }
                op(delete)
            }
            4 if depth < 2 => op(self.txn(now, depth + 1)),
            5 if self.one_in(10) => RequestOp { request: None },
            _ => op(self.range(now)),
        });
        ops.collect()
    }

    fn txn(&mut self, now: u64, depth: u64) -> TxnRequest {
        let compare = (0..self.roll(3)).map(|_| self.compare(now)).collect();
        let (success, failure) = (self.branch(now, depth), self.branch(now, depth));
        TxnRequest { compare, success, failure }
    }
}

#[tokio::test]
#[ignore = "needs etcd"]
async fn requests_are_answered_as_by_a_real_etcd() {
    for seed in 7..10 {
        one_history(seed).await;
    }
}

async fn one_history(seed: u64) {
    let (served, etcd) = (Served::memory().await, Etcd::start().await);
    let (ours, real) = (served.client().await, Client::connect(etcd.address).await);
    // etcd has been asked for its health, which writes nothing: both begin at revision 1.
    let mut both = Both { ours, real, differences: Vec::new(), asked: 0 };
    for id in 100..102 {
        both.ask(Ask::Grant(LeaseGrantRequest { ttl: 4000 + id, id })).await;
    }
    let (mut dice, mut compacted) = (Dice(seed), 1);
    for round in 0..4000_u64 {
        let range: RangeResponse = both.ours.call("KV/Range", &get("a")).await.unwrap();
        let now = revision(&range.header).cast_unsigned();
        let request = match dice.roll(40) {
            0..=9 => Ask::Put(dice.put()),
            10..=12 => Ask::Delete(dice.delete()),
            13..=24 => Ask::Range(dice.range(now)),
            25..=36 => Ask::Txn(dice.txn(now, 0)),
            37 if round % 7 == 0 && round < 3000 => {
                compacted += dice.roll(now - compacted + 2);
                Ask::Compact(CompactionRequest { revision: compacted.cast_signed(), physical: true })
            }
            38 => match dice.roll(3) {
                0 => Ask::Grant(LeaseGrantRequest { ttl: 4500, id: 100 + dice.roll(4).cast_signed() }),
                1 => Ask::Revoke(LeaseRevokeRequest { id: 100 + dice.roll(4).cast_signed() }),
                _ => Ask::Left(LeaseTimeToLiveRequest { id: 100 + dice.roll(4).cast_signed(), keys: true }),
            },
            _ => Ask::Range(prefix("b")),
        };
        compacted = compacted.min(now);
        both.ask(request).await;
    }
    both.check();
    let (ours, real) = (events(&both.ours, compacted).await, events(&both.real, compacted).await);
    assert!(ours.len() > 100, "{} events", ours.len());
    assert_eq!(ours, real);
}

/// Everything that a watch tells from a revision on, ordered within each revision.
async fn events(client: &Client, from: u64) -> Vec<(i64, Bytes, String)> {
    let last: PutResponse = client.call("KV/Put", &put("last", "")).await.unwrap();
    let last = revision(&last.header);
    let mut stream = client.stream("Watch/Watch").await;
    let start_revision = from.cast_signed() + 1;
    stream.send(&watch(WatchCreateRequest { start_revision, prev_kv: true, ..create_watch("\0", bytes("\0")) }));
    let mut told: Vec<(i64, Bytes, String)> = Vec::new();
    while told.last().is_none_or(|(revision, ..)| *revision < last) {
        let response: WatchResponse = stream.next().await.unwrap().unwrap();
        assert!(!response.canceled, "{response:?}");
        told.extend(response.events.iter().map(|event| {
            let kv = event.kv.as_ref().unwrap();
            (kv.mod_revision, kv.key.clone(), format!("{event:?}"))
        }));
    }
    told.sort();
    told
}
