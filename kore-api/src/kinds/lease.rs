//! Lease.

use k8s_openapi::api::coordination::v1::Lease;

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use crate::object::ResourceType;

pub(super) static LEASE: Entry = Entry {
    has_status: false,
    unconditional_update: false,
    create_on_update: true,
    columns: &[NAME, Title("Holder", "string", "Who holds the lease now.", 0), AGE],
    rules: Rules { always, ..ANYTHING },
    cells: |row| vec![row.name(), row.text("/spec/holderIdentity").into(), row.age()],
    ..Entry::of(ResourceType::of::<Lease>)
};

fn always(lease: &Field<'_, '_>) {
    let spec = lease.get("spec");
    spec.get("leaseDurationSeconds").positive();
    spec.get("leaseTransitions").not_negative();
    let preferred = spec.get("preferredHolder");
    if !preferred.text().is_empty() && spec.get("strategy").text().is_empty() {
        preferred.forbidden("strategy must be specified if preferredHolder is set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::errors;
    use serde_json::json;

    #[test]
    fn numbers_of_a_lease() {
        assert_eq!(errors(&LEASE, &json!({"spec": {"leaseDurationSeconds": 15, "leaseTransitions": 0}})), [""; 0]);
        assert_eq!(
            errors(&LEASE, &json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}})),
            [
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
    }
}
