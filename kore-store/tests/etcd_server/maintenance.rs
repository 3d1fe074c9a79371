//! Maintenance, cluster and authentication.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kore_store::{
    EtcdServer, EtcdServerOptions, Limits, MemoryStore, Range, Ranged, Result, Snapshot, Status, Store, Txn, Watch,
};
use ring::digest;

use crate::support::short::*;
use crate::support::{Client, Served, Stream};
use crate::wire::*;

async fn hash(client: &Client, revision: i64) -> HashKvResponse {
    client.call("Maintenance/HashKV", &HashKvRequest { revision }).await.unwrap()
}

#[tokio::test]
async fn the_server_tells_where_it_stands() {
    let served = Served::memory().await;
    let client = served.client().await;
    client.call::<PutResponse>("KV/Put", &put("a", "1")).await.unwrap();
    let status: StatusResponse = client.call("Maintenance/Status", &StatusRequest {}).await.unwrap();
    assert_eq!((&status.version[..], revision(&status.header)), (EtcdServer::VERSION, 2));
    assert!(status.db_size > 0 && status.db_size_quota == 2 << 30 && status.errors.is_empty(), "{status:?}");
    let head = status.header.unwrap();
    assert_eq!(status.leader, head.member_id);
    let members: MemberListResponse =
        client.call("Cluster/MemberList", &MemberListRequest { linearizable: true }).await.unwrap();
    let [member] = &members.members[..] else { panic!("{members:?}") };
    assert_eq!((member.id, &member.name[..]), (head.member_id, "default"));
    assert_eq!(member.client_urls, [format!("http://{}", served.address)]);
    let auth: AuthStatusResponse = client.call("Auth/AuthStatus", &AuthStatusRequest {}).await.unwrap();
    assert!(!auth.enabled);
    let defragmented: DefragmentResponse = client.call("Maintenance/Defragment", &DefragmentRequest {}).await.unwrap();
    assert_eq!(defragmented.header, None);

    for (method, code, message) in [
        ("Auth/Authenticate", 9, "etcdserver: authentication is not enabled"),
        ("Auth/UserAdd", 12, "etcdserver: authentication is not supported by this store"),
        ("Cluster/MemberAdd", 12, "etcdserver: this store has one member, which cannot be changed"),
        ("Maintenance/MoveLeader", 9, "etcdserver: bad leader transferee"),
        ("Maintenance/Downgrade", 12, "etcdserver: this store cannot be downgraded"),
    ] {
        let refused = client.refused(method, &[]).await;
        assert_eq!((refused.code, &refused.message[..]), (code, message), "{method}");
    }
}

#[tokio::test]
async fn the_checksum_is_that_of_the_pairs_at_a_revision() {
    let served = Served::memory().await;
    let client = served.client().await;
    for key in 0..600 {
        client.call::<PutResponse>("KV/Put", &put(&format!("k{key:03}"), "v")).await.unwrap();
    }
    let full = hash(&client, 0).await;
    assert_eq!((full.hash_revision, full.compact_revision), (601, -1));
    // Only one pair differs, on the last page.
    client.call::<PutResponse>("KV/Put", &put("k599", "w")).await.unwrap();
    assert_ne!(hash(&client, 0).await.hash, full.hash);
    assert_eq!(hash(&client, 601).await.hash, full.hash);
    let compact = CompactionRequest { revision: 602, physical: false };
    client.call::<CompactionResponse>("KV/Compact", &compact).await.unwrap();
    assert_eq!(hash(&client, 0).await.compact_revision, 602);
    for revision in [601, 603] {
        let request = HashKvRequest { revision };
        assert_eq!(client.call::<HashKvResponse>("Maintenance/HashKV", &request).await.unwrap_err().code, 11);
    }
    let hash: HashResponse = client.call("Maintenance/Hash", &HashRequest {}).await.unwrap();
    assert_eq!(revision(&hash.header), 602);
}

#[tokio::test]
async fn a_full_store_raises_an_alarm_until_there_is_room() {
    let store = MemoryStore::with_limits(Limits::default().quota_bytes(10_000));
    let served = Served::store(Arc::new(store), EtcdServerOptions::default()).await;
    let client = served.client().await;
    let alarms = async || {
        let get = AlarmRequest::default();
        client.call::<AlarmResponse>("Maintenance/Alarm", &get).await.unwrap().alarms.len()
    };
    let large = put("a", &"x".repeat(6000));
    client.call::<PutResponse>("KV/Put", &large).await.unwrap();
    assert_eq!(alarms().await, 0);
    client.call::<PutResponse>("KV/Put", &large).await.unwrap_err();
    assert_eq!(alarms().await, 1);
    let status: StatusResponse = client.call("Maintenance/Status", &StatusRequest {}).await.unwrap();
    assert!(status.errors[0].contains("NOSPACE"), "{status:?}");
    let disarm = AlarmRequest { action: 2, ..Default::default() };
    let disarmed: AlarmResponse = client.call("Maintenance/Alarm", &disarm).await.unwrap();
    assert_eq!((disarmed.alarms.len(), alarms().await), (1, 0));
    client.call::<PutResponse>("KV/Put", &large).await.unwrap_err();
    assert_eq!(alarms().await, 1);
    // Room is made by whoever deletes and compacts: the alarm ends with it.
    let gone: DeleteRangeResponse = client.call("KV/DeleteRange", &delete("a")).await.unwrap();
    let compact = CompactionRequest { revision: revision(&gone.header), physical: true };
    client.call::<CompactionResponse>("KV/Compact", &compact).await.unwrap();
    assert_eq!(alarms().await, 0);
    client.call::<PutResponse>("KV/Put", &large).await.unwrap();
}

/// A store that is nothing but its snapshot.
struct Pictured(Vec<Bytes>);

#[async_trait]
impl Store for Pictured {
    async fn range(&self, _: Range) -> Result<Ranged> {
        Ok(Ranged::new(7, Vec::new()))
    }
    async fn txn(&self, _: Txn) -> Result<kore_store::TxnResponse> {
        Err(kore_store::Error::Unsupported { what: "writing" })
    }
    async fn watch(&self, _: kore_store::WatchRequest) -> Result<Watch> {
        Err(kore_store::Error::Unsupported { what: "watching" })
    }
    async fn compact(&self, _: kore_store::Revision) -> Result<()> {
        Err(kore_store::Error::Unsupported { what: "compaction" })
    }
    async fn status(&self) -> Result<Status> {
        Ok(Status::new(7, 0))
    }
    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(7, futures::stream::iter(self.0.clone().into_iter().map(Ok))))
    }
}

#[tokio::test]
async fn a_snapshot_comes_in_the_frame_that_etcdctl_checks() {
    let chunks = vec![Bytes::from(vec![1; 100_000]), Bytes::new(), Bytes::from(vec![2; 77])];
    let data = chunks.concat();
    let served = Served::store(Arc::new(Pictured(chunks)), EtcdServerOptions::default()).await;
    let client = served.client().await;
    let mut stream: Stream = client.stream("Maintenance/Snapshot").await;
    stream.send(&SnapshotRequest {});
    stream.finish();
    let (mut file, mut last) = (Vec::new(), None);
    while let Some(part) = stream.next::<SnapshotResponse>().await.unwrap() {
        assert_eq!(revision(&part.header), 7);
        file.extend_from_slice(&part.blob);
        assert_ne!(last, Some(0), "something came after the last part");
        last = Some(part.remaining_bytes);
    }
    assert_eq!((file.len() % 512, last), (32, Some(0)));
    let (framed, sum) = file.split_at(file.len() - 32);
    assert_eq!(digest::digest(&digest::SHA256, framed).as_ref(), sum);
    let end = framed.iter().rposition(|byte| *byte == 0x80).unwrap();
    assert!(framed[..end] == data && framed[end + 1..].iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn what_the_store_cannot_do_is_unimplemented() {
    let served = Served::store(Arc::new(Pictured(Vec::new())), EtcdServerOptions::default()).await;
    let client = served.client().await;
    let refused = client.call::<PutResponse>("KV/Put", &put("a", "1")).await.unwrap_err();
    assert_eq!((refused.code, &refused.message[..]), (12, "etcdserver: this store does not support writing"));
    assert_eq!(client.refused("Lease/LeaseGrant", &[]).await.code, 12);
}
