//! Leases.

use std::sync::Arc;

use kore_store::EtcdServerOptions;

use crate::support::short::*;
use crate::support::{Refused, Served, memory};
use crate::wire::*;

#[tokio::test]
async fn a_lease_is_granted_kept_and_revoked() {
    let served = Served::memory().await;
    let client = served.client().await;
    let granted: LeaseGrantResponse =
        client.call("Lease/LeaseGrant", &LeaseGrantRequest { ttl: 100, id: 0 }).await.unwrap();
    assert!(granted.id != 0 && granted.ttl == 100, "{granted:?}");
    let chosen: LeaseGrantResponse =
        client.call("Lease/LeaseGrant", &LeaseGrantRequest { ttl: 5, id: 1234 }).await.unwrap();
    assert_eq!((chosen.id, revision(&chosen.header)), (1234, 1));
    let leased = PutRequest { lease: 1234, ..put("a", "1") };
    client.call::<PutResponse>("KV/Put", &leased).await.unwrap();

    let refused = |code, message: &str| Err(Refused { code, message: message.into() });
    let again = client.call::<LeaseGrantResponse>("Lease/LeaseGrant", &LeaseGrantRequest { ttl: 5, id: 1234 }).await;
    assert_eq!(again, refused(9, "etcdserver: lease already exists"));
    let long = LeaseGrantRequest { ttl: 9_000_000_001, id: 0 };
    let long = client.call::<LeaseGrantResponse>("Lease/LeaseGrant", &long).await;
    assert_eq!(long, refused(11, "etcdserver: too large lease TTL"));

    let ask = |id, keys| LeaseTimeToLiveRequest { id, keys };
    let left: LeaseTimeToLiveResponse = client.call("Lease/LeaseTimeToLive", &ask(1234, true)).await.unwrap();
    assert_eq!((left.granted_ttl, left.keys), (5, vec![bytes("a")]));
    assert!((0..=5).contains(&left.ttl), "{}", left.ttl);
    let left: LeaseTimeToLiveResponse = client.call("Lease/LeaseTimeToLive", &ask(1234, false)).await.unwrap();
    assert!(left.keys.is_empty());
    let none: LeaseTimeToLiveResponse = client.call("Lease/LeaseTimeToLive", &ask(9, false)).await.unwrap();
    assert_eq!((none.id, none.ttl, none.granted_ttl), (9, -1, 0));
    let all: LeaseLeasesResponse = client.call("Lease/LeaseLeases", &LeaseLeasesRequest {}).await.unwrap();
    assert_eq!(all.leases.len(), 2);

    let mut stream = client.stream("Lease/LeaseKeepAlive").await;
    for (id, ttl) in [(1234, 5), (9, 0), (1234, 5)] {
        stream.send(&LeaseKeepAliveRequest { id });
        let kept: LeaseKeepAliveResponse = stream.next().await.unwrap().unwrap();
        assert_eq!((kept.id, kept.ttl), (id, ttl));
    }
    stream.finish();
    assert_eq!(stream.next::<LeaseKeepAliveResponse>().await, Ok(None));

    let revoke = LeaseRevokeRequest { id: 1234 };
    let revoked: LeaseRevokeResponse = client.call("Lease/LeaseRevoke", &revoke).await.unwrap();
    assert_eq!(revision(&revoked.header), 3);
    let gone: RangeResponse = client.call("KV/Range", &get("a")).await.unwrap();
    assert!(gone.kvs.is_empty());
    let twice = client.call::<LeaseRevokeResponse>("Lease/LeaseRevoke", &revoke).await;
    let message = "etcdserver: requested lease not found".into();
    assert_eq!(twice, Err(Refused { code: 5, message }));
}

#[tokio::test]
async fn a_lease_that_ends_is_told_to_watches() {
    let served = Served::store(Arc::new(memory()), EtcdServerOptions::default()).await;
    let client = served.client().await;
    let grant = LeaseGrantRequest { ttl: -3, id: 7 };
    let granted: LeaseGrantResponse = client.call("Lease/LeaseGrant", &grant).await.unwrap();
    assert_eq!(granted.ttl, 1, "the shortest there is");
    client.call::<PutResponse>("KV/Put", &PutRequest { lease: 7, ..put("a", "1") }).await.unwrap();
    let mut stream = client.stream("Watch/Watch").await;
    stream.send(&watch(create_watch("a", bytes::Bytes::new())));
    assert!(stream.next::<WatchResponse>().await.unwrap().unwrap().created);
    let ended: WatchResponse = stream.next().await.unwrap().unwrap();
    assert_eq!(ended.events[0].kind, EventKind::Delete as i32);
}
