//! etcd's Lease service.

use std::time::Duration;

use super::call::{Answers, Messages};
use super::connection::Common;
use super::failure::{Failure, TTL_TOO_LARGE};
use crate::Error;
use crate::etcd::wire::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};

/// The longest that a lease may be granted for, in seconds: etcd's own limit.
const TTL_MAX: i64 = 9_000_000_000;

/// Seconds, as etcd states them: a part of one is left out.
fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

pub(super) async fn grant(common: &Common, request: LeaseGrantRequest) -> Result<LeaseGrantResponse, Failure> {
    let shared = &common.shared;
    if request.ttl > TTL_MAX {
        return Err(TTL_TOO_LARGE);
    }
    let ttl = Duration::from_secs(u64::try_from(request.ttl).unwrap_or(0));
    let lease = shared.store.grant(ttl, request.id.cast_unsigned()).await?;
    let (id, ttl) = (lease.id.cast_signed(), seconds(lease.ttl));
    Ok(LeaseGrantResponse { header: shared.header_now().await?, id, ttl, error: String::new() })
}

pub(super) async fn revoke(common: &Common, request: LeaseRevokeRequest) -> Result<LeaseRevokeResponse, Failure> {
    let shared = &common.shared;
    shared.store.revoke(request.id.cast_unsigned()).await?;
    Ok(LeaseRevokeResponse { header: shared.header_now().await? })
}

/// Each request is answered in its turn.
pub(super) async fn keep_alive(common: &Common, requests: &mut Messages, answers: &mut Answers) -> Result<(), Failure> {
    let shared = &common.shared;
    while let Some(LeaseKeepAliveRequest { id }) = requests.next().await? {
        // From before the lease was kept: a lease that ends at a revision was not kept at a later one.
        let header = shared.header_now().await?;
        let ttl = match shared.store.keep_alive(id.cast_unsigned()).await {
            Ok(lease) => seconds(lease.ttl),
            Err(Error::LeaseNotFound { .. }) => 0,
            Err(error) => return Err(error.into()),
        };
        answers.send(&LeaseKeepAliveResponse { header, id, ttl }).await?;
    }
    Ok(())
}

pub(super) async fn time_to_live(
    common: &Common,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Failure> {
    let shared = &common.shared;
    let lease = shared.store.lease(request.id.cast_unsigned()).await;
    let (header, id) = (shared.header_now().await?, request.id);
    match lease {
        Ok(lease) => {
            let keys = if request.keys { lease.keys } else { Vec::new() };
            let (ttl, granted_ttl) = (seconds(lease.remaining), seconds(lease.ttl));
            Ok(LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys })
        }
        Err(Error::LeaseNotFound { .. }) => {
            Ok(LeaseTimeToLiveResponse { header, id, ttl: -1, ..LeaseTimeToLiveResponse::default() })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn leases(common: &Common, _: LeaseLeasesRequest) -> Result<LeaseLeasesResponse, Failure> {
    let shared = &common.shared;
    let leases = shared.store.leases().await?.into_iter();
    let leases = leases.map(|id| LeaseStatus { id: id.cast_signed() }).collect();
    Ok(LeaseLeasesResponse { header: shared.header_now().await?, leases })
}
