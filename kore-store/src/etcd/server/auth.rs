//! etcd's Auth service: there is no authentication here, and clients are told so.

use super::connection::Common;
use super::failure::{AUTH_NOT_ENABLED, Code, Failure};
use crate::etcd::wire::{AuthStatusRequest, AuthStatusResponse};

pub(super) async fn status(common: &Common, _: AuthStatusRequest) -> Result<AuthStatusResponse, Failure> {
    let header = common.shared.header_now().await?;
    Ok(AuthStatusResponse { header, enabled: false, auth_revision: 1 })
}

pub(super) fn refusal(method: &str) -> Failure {
    match method {
        // A client that has a password goes on without it.
        "Authenticate" => AUTH_NOT_ENABLED,
        _ => Failure::new(Code::Unimplemented, "etcdserver: authentication is not supported by this store"),
    }
}
