//! etcd's Cluster service: a cluster of one member.

use super::connection::Common;
use super::failure::{Code, Failure};
use crate::etcd::wire::{Member, MemberListRequest, MemberListResponse};

pub(super) async fn member_list(common: &Common, _: MemberListRequest) -> Result<MemberListResponse, Failure> {
    let options = &common.shared.options;
    let member = Member {
        id: options.member_id,
        name: options.name.clone(),
        peer_urls: Vec::new(),
        client_urls: options.client_urls.clone(),
        is_learner: false,
    };
    Ok(MemberListResponse { header: common.shared.header_now().await?, members: vec![member] })
}

pub(super) fn refusal(method: &str) -> Failure {
    let message = match method {
        "MemberAdd" | "MemberRemove" | "MemberUpdate" | "MemberPromote" => {
            "etcdserver: this store has one member, which cannot be changed"
        }
        _ => "unknown method for service etcdserverpb.Cluster",
    };
    Failure::new(Code::Unimplemented, message)
}
