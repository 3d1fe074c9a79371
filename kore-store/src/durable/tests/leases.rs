//! When leases end, and what is heard of it.

use std::iter::repeat_with;

use futures::StreamExt;
use futures::future::{join_all, try_join_all};

use super::*;
use crate::{Compare, Put, Watched};

/// Lets the store do what it can without waiting for the disk.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// A key that is there as long as its lease, and a watch of it.
async fn held(store: &DurableStore, ttl: Duration) -> Watch {
    let lease = store.grant(ttl, 0).await.unwrap().id;
    let put = Put::new("held", "v").lease(lease);
    store.txn(Txn::new().then(Op::Put(put))).await.unwrap();
    store.watch(WatchRequest::key("held")).await.unwrap()
}

/// The revision at which it was deleted; it is to be told of that in a second.
async fn ended(mut watch: Watch) -> Revision {
    let told = tokio::time::timeout(Duration::from_secs(1), watch.next()).await;
    match told.expect("a lease ends on time") {
        Some(Ok(Watched::Batch(batch))) if batch.events[0].is_deletion() => batch.revision,
        told => panic!("{told:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_however_much_there_is_to_write() {
    let disk = SimDisk::default();
    let ttl = Duration::from_secs(10);
    killed(&disk, Options::default(), async |store| {
        let watch = held(&store, ttl).await;
        let full_group =
            || join_all((0..6).map(|key| store.put(format!("key-{key}").into(), vec![b'v'; 1 << 20].into())));
        let gate = disk.gate();
        let mut begun = Box::pin(store.put("begun".into(), "v".into()));
        assert!(futures::poll!(&mut begun).is_pending());
        gate.0.reached.notified().await;
        // One group waits for the flush, and another in the queue.
        let (mut taken, mut queued) = (full_group(), full_group());
        assert!(futures::poll!(&mut taken).is_pending());
        settle().await;
        assert!(futures::poll!(&mut queued).is_pending());
        tokio::time::advance(ttl).await;
        let next = disk.gate();
        drop(gate);
        next.0.reached.notified().await;
        settle().await;
        drop(next);
        let (taken, queued) = tokio::join!(taken, queued);
        let last_taken = taken.into_iter().map(|revision| revision.unwrap()).max();
        let first_queued = queued.into_iter().map(|revision| revision.unwrap()).min();
        let ended = ended(watch).await;
        assert!(last_taken < Some(ended) && Some(ended) < first_queued, "{last_taken:?} {ended} {first_queued:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_on_time_after_any_number_of_requests_that_wrote_nothing() {
    // Just enough for a group, and such that the last group is just full.
    for requests in [4096, 256 + 4096, 2 * 4096] {
        let disk = SimDisk::default();
        let ttl = Duration::from_secs(10);
        killed(&disk, Options::default().queue(2 * 4096), async |store| {
            let watch = held(&store, ttl).await;
            let put = || store.txn(Txn::new().when(Compare::version("none", 1)).then(Op::put("none", "v")));
            // All of them at once.
            let puts = tokio::task::unconstrained(try_join_all(repeat_with(put).take(requests)));
            assert!(puts.await.unwrap().iter().all(|done| !done.succeeded));
            tokio::time::sleep(ttl).await;
            ended(watch).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_does_not_end_when_an_earlier_one_of_its_id_would_have() {
    let disk = SimDisk::default();
    killed(&disk, small(), async |store| {
        let gate = disk.gate();
        let mut granted = Box::pin(store.grant(Duration::from_secs(10), 7));
        assert!(futures::poll!(&mut granted).is_pending());
        gate.0.reached.notified().await;
        let mut revoked = Box::pin(store.revoke(7));
        let mut again = Box::pin(store.grant(Duration::from_secs(600), 7));
        assert!(futures::poll!(&mut revoked).is_pending() && futures::poll!(&mut again).is_pending());
        settle().await;
        // The second group is flushed when the first lease would have ended.
        let next = disk.gate();
        drop(gate);
        next.0.reached.notified().await;
        granted.await.unwrap();
        tokio::time::advance(Duration::from_secs(20)).await;
        settle().await;
        drop(next);
        revoked.await.unwrap();
        again.await.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(store.lease(7).await.unwrap().remaining, Duration::from_secs(500));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_a_lease_that_it_has_ended_before_that_is_durable() {
    let disk = SimDisk::default();
    let (store, run) = open(&disk, small()).await.unwrap();
    let work = async {
        store.grant(Duration::from_secs(60), 7).await.unwrap();
        let gate = disk.gate();
        let mut revoke = Box::pin(store.revoke(7));
        tokio::select! {
            biased;
            _ = &mut revoke => panic!("answered before it was durable"),
            () = gate.0.reached.notified() => {}
        }
        let (mut lease, mut keep_alive) = (Box::pin(store.lease(7)), Box::pin(store.keep_alive(7)));
        for _ in 0..10 {
            assert!(futures::poll!(&mut lease).is_pending() && futures::poll!(&mut keep_alive).is_pending());
            tokio::task::yield_now().await;
        }
        drop(gate);
        revoke.await.unwrap();
        for told in [lease.await, keep_alive.await] {
            assert!(matches!(told, Err(Error::LeaseNotFound { id: 7 })), "{told:?}");
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        stopped = run => panic!("{stopped:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn leases_survive_and_live_their_full_time_again() {
    let disk = SimDisk::default();
    let ttl = Duration::from_secs(10);
    killed(&disk, small(), async |store| {
        let lease = store.grant(ttl, 0).await.unwrap();
        assert_eq!(lease.id, 1);
        let put = Put::new("held", "v").lease(lease.id);
        store.txn(Txn::new().then(Op::Put(put))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(8)).await;
    })
    .await;
    let disk = disk.after(Power::Lost);
    killed(&disk, small(), async |store| {
        assert_eq!(store.lease(1).await.unwrap().remaining, ttl);
        assert_eq!(store.lease(1).await.unwrap().keys, ["held"]);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(store.get("held".into()).await.unwrap().is_some());
        let mut watch = store.watch(WatchRequest::key("held")).await.unwrap();
        let Some(Ok(Watched::Batch(batch))) = watch.next().await else {
            panic!("the watch ended");
        };
        assert!(batch.events[0].is_deletion());
        assert!(store.lease(1).await.is_err());
        // Ids are not used again.
        assert_eq!(store.grant(ttl, 0).await.unwrap().id, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn many_leases_that_end_at_once_hold_up_nobody() {
    let disk = SimDisk::default();
    killed(&disk, small(), async |store| {
        let ttl = Duration::from_secs(10);
        let grants = (0..2000).map(|_| store.grant(ttl, 0));
        let leases = futures::future::try_join_all(grants).await.unwrap();
        let hold = async |lease: &Lease| {
            let put = Put::new(format!("held-{}", lease.id), "v").lease(lease.id);
            store.txn(Txn::new().then(Op::Put(put))).await
        };
        futures::future::try_join_all(leases.iter().map(hold)).await.unwrap();
        // Three times as many as are taken from the queue at a time, and leases ended; they wait when the leases end.
        let turns = 3 * 256;
        let puts = (0..turns).map(|_| store.put("in between".into(), "v".into()));
        let mut puts = Box::pin(tokio::task::unconstrained(try_join_all(puts)));
        assert!(futures::poll!(&mut puts).is_pending());
        tokio::time::advance(ttl).await;
        let last = puts.await.unwrap().into_iter().max();
        while !store.leases().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let (revision, kvs) = everything(&store).await;
        assert_eq!((revision, kvs.len()), (1 + 2000 + turns + 2000, 1));
        assert!(last <= Some(1 + 2000 + turns + turns), "{last:?} of {revision}: they waited for more than their turn");
    })
    .await;
}
