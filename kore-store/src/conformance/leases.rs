//! Leases: ending, kept alive, revoked.

use std::time::Duration;

use super::probe::{Probe, plain};
use super::{Outcome, ensure, same};
use crate::{Error, Watched};

pub(super) async fn expiry(probe: &Probe<'_>) -> Outcome {
    let lease = probe.grant(2, 0).await?;
    ensure(lease.id != 0, || "a lease with the id 0".into())?;
    ensure(lease.ttl >= Duration::from_secs(2), || format!("granted for 2 s: {lease:?}"))?;
    probe.put("free", "v").await?;
    for name in ["held/1", "held/2"] {
        probe.put_leased(name, lease.id).await?;
    }
    let described = probe.lease(lease.id).await?;
    same("its keys", described.keys, vec![probe.key("held/1"), probe.key("held/2")])?;
    same("the key's lease", probe.get("held/1").await?.map(|kv| kv.lease), Some(lease.id))?;
    let mut watch = probe.watch(probe.request()).await?;
    let Some(Watched::Batch(batch)) = probe.next(&mut watch).await? else {
        return ensure(false, || "nothing was told when the lease ended".into());
    };
    let gone = |key| probe.change(key, None, Some("leased"));
    same("told", plain(std::slice::from_ref(&batch)), vec![(batch.revision, vec![gone("held/1"), gone("held/2")])])?;
    same("a key of the lease", probe.get("held/1").await?, None)?;
    ensure(probe.get("free").await?.is_some(), || "a key without a lease is gone".into())?;
    let after = probe.lease(lease.id).await;
    ensure(matches!(after, Err(Error::LeaseNotFound { .. })), || format!("a lease that ended: {after:?}"))
}

pub(super) async fn kept(probe: &Probe<'_>) -> Outcome {
    let lease = probe.grant(5, 0).await?;
    probe.put_leased("held", lease.id).await?;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let kept = probe.keep_alive(lease.id).await?;
        same("its full time", kept.ttl, lease.ttl)?;
        ensure(probe.get("held").await?.is_some(), || "the key is gone although its lease was kept alive".into())?;
    }
    probe.revoke(lease.id).await?;
    Ok(())
}

pub(super) async fn revoked(probe: &Probe<'_>) -> Outcome {
    let id = 77_001;
    same("the id", probe.grant(600, id).await?.id, id)?;
    let taken = probe.grant(600, id).await;
    ensure(matches!(taken, Err(Error::LeaseExists { .. })), || format!("granted twice: {taken:?}"))?;
    ensure(probe.leases().await?.contains(&id), || "the lease is not listed".into())?;
    probe.put_leased("a", id).await?;
    let before = probe.put_leased("b", id).await?;
    probe.revoke(id).await?;
    same("both keys at one revision", probe.revision().await?, before + 1)?;
    for name in ["a", "b"] {
        same("a key of the lease", probe.get(name).await?, None)?;
    }
    for gone in [probe.revoke(id).await.err(), probe.keep_alive(id).await.err(), probe.put_leased("c", id).await.err()]
    {
        ensure(matches!(gone, Some(Error::LeaseNotFound { .. })), || format!("of a lease that is gone: {gone:?}"))?;
    }
    same("a key for a lease that is gone", probe.get("c").await?, None)?;
    ensure(!probe.leases().await?.contains(&id), || "the lease is still listed".into())
}

pub(super) async fn detached(probe: &Probe<'_>) -> Outcome {
    let lease = probe.grant(600, 0).await?;
    let other = probe.grant(600, 0).await?;
    ensure(lease.id != other.id, || "two leases with one id".into())?;
    probe.put_leased("freed", lease.id).await?;
    probe.put("freed", "stays").await?;
    probe.put_leased("moved", lease.id).await?;
    probe.put_leased("moved", other.id).await?;
    probe.put_leased("again", lease.id).await?;
    probe.delete("again").await?;
    probe.put("again", "stays").await?;
    same("its keys", probe.lease(lease.id).await?.keys.len(), 0)?;
    let before = probe.revision().await?;
    probe.revoke(lease.id).await?;
    same("a lease without keys takes no revision", probe.revision().await?, before)?;
    for name in ["freed", "moved", "again"] {
        ensure(probe.get(name).await?.is_some(), || format!("{name} is gone with a lease it left"))?;
    }
    probe.revoke(other.id).await?;
    same("moved to the other lease", probe.get("moved").await?, None)
}
