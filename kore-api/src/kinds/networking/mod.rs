//! How traffic finds its way: Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR.
//!
//! - `ingress.rs`, `ingress_class.rs`, `network_policy.rs`: the first three.
//! - `addresses.rs`: IPAddress and ServiceCIDR. In upstream the server keeps addresses of Services in them; this one claims addresses in
//!   its store, so they are what people write, and nothing else.
//! - `cidr.rs`: ranges of addresses.

mod addresses;
mod cidr;
mod ingress;
mod ingress_class;
mod network_policy;

pub(super) use addresses::{IP_ADDRESS, SERVICE_CIDR};
pub(super) use ingress::INGRESS;
pub(super) use ingress_class::INGRESS_CLASS;
pub(super) use network_policy::NETWORK_POLICY;

use super::field::Field;
use super::names;

/// A reference to an object of any kind.
fn typed_reference(reference: &Field<'_, '_>) {
    let group = reference.get("apiGroup");
    if group.is_set() {
        group.named_as(group.text(), names::dns_subdomain);
    }
    for (field, missing) in [("kind", "kind is required"), ("name", "name is required")] {
        let field = reference.get(field);
        if field.text().is_empty() {
            field.missing(missing);
        }
        field.named(names::path_segment);
    }
}
