//! What a claim has been given, and to whom it is given on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::claim::{Requests, reference, references};
use super::{MAX_CONFIGURATIONS, configuration, driver, label, pool, unique};
use crate::error::FieldError;
use crate::kinds::field::Field;
use crate::kinds::meta;
use crate::kinds::pod::node_selector;
use crate::kinds::row::list;

const MAX_CONSUMERS: usize = 256;
const MAX_RESULTS: usize = 32;

/// A claim's status.
pub(super) fn status(claim: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (status, before, spec) = (claim.get("status"), old.get("status"), claim.get("spec"));
    let known = Requests(&spec.value()["devices"]);
    let (consumers, allocation) = (status.get("reservedFor"), status.get("allocation"));
    if consumers.at_most(MAX_CONSUMERS) {
        for consumer in consumers.items() {
            for field in ["resource", "name", "uid"] {
                consumer.get(field).required();
            }
        }
        unique(&consumers, |consumer| consumer.get("uid").text().to_owned());
    }
    devices(&status);
    if consumers.len() > 0 {
        if !allocation.is_set() {
            consumers.forbidden("may not be specified when `allocated` is not set");
        } else if claim.get("metadata").get("deletionTimestamp").is_set() {
            let had = before.get("reservedFor");
            if !list(consumers.value()).iter().all(|consumer| list(had.value()).contains(consumer)) {
                consumers.forbidden(
                    "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
                );
            }
        }
    }
    let was = before.get("allocation");
    if was.is_set() && allocation.is_set() {
        allocation.immutable(&was);
    } else if allocation.is_set() {
        given(&allocation, &known);
    }
}

fn given(allocation: &Field<'_, '_>, known: &Requests<'_>) {
    let devices = allocation.get("devices");
    let (results, configurations) = (devices.get("results"), devices.get("config"));
    if results.at_most(MAX_RESULTS) {
        for result in results.items() {
            reference(&result.get("request"), known);
            driver(&result.get("driver"));
            pool(&result.get("pool"));
            label(&result.get("device"));
        }
    }
    // Those of the class and those of the claim.
    if configurations.at_most(2 * MAX_CONFIGURATIONS) {
        for one in configurations.items() {
            one.get("source").required_one_of(&["FromClaim", "FromClass"]);
            references(&one.get("requests"), known);
            configuration(&one);
        }
    }
    let selector = allocation.get("nodeSelector");
    if selector.is_set() {
        node_selector(&selector);
    }
}

/// What makes a device: driver, pool, name, and which share of it.
fn identity(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| device[field].as_str().unwrap_or_default())
}

/// What drivers report of the devices that have been given.
fn devices(status: &Field<'_, '_>) {
    let results = &status.value()["allocation"]["devices"]["results"];
    let allocated: BTreeSet<[&str; 4]> = list(results).iter().map(identity).collect();
    let reported = status.get("devices");
    for device in reported.items() {
        driver(&device.get("driver"));
        pool(&device.get("pool"));
        label(&device.get("device"));
        let id = identity(device.value());
        if !allocated.contains(&id) {
            let shown = json!({"driver": id[0], "pool": id[1], "device": id[2]});
            device.report(FieldError::invalid(device.path(), shown, "must be an allocated device in the claim"));
        }
        meta::conditions(&device.get("conditions"));
    }
    unique(&reported, |device| identity(device.value()).join("/"));
}

#[cfg(test)]
mod tests {
    use super::super::RESOURCE_CLAIM;
    use super::super::claim::tests::claim;
    use crate::kinds::testing::errors_of_status;
    use serde_json::{Value, json};

    #[test]
    fn what_a_status_may_not_say() {
        let result = json!({"request": "gpu", "driver": "gpu.example.com", "pool": "n1", "device": "gpu-0"});
        let allocation = json!({"devices": {"results": [result]}});
        let consumer = json!({"resource": "pods", "name": "a", "uid": "u"});
        let check = |new: Value, old: Value| {
            errors_of_status(&RESOURCE_CLAIM, &claim(&json!({"status": new})), &claim(&json!({"status": old})))
        };
        assert_eq!(check(json!({"allocation": allocation, "reservedFor": [consumer]}), json!({})), [""; 0]);
        assert_eq!(
            check(json!({"reservedFor": [consumer]}), json!({})),
            ["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]
        );
        let other =
            json!({"devices": {"results": [{"request": "gpu", "driver": "x.y", "pool": "n1", "device": "gpu-1"}]}});
        let found = check(json!({"allocation": other}), json!({"allocation": allocation}));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("status.allocation: Invalid value: "), "{found:?}");
        let device = json!({"driver": "gpu.example.com", "pool": "n1", "device": "gpu-9"});
        let found = check(json!({"allocation": allocation, "devices": [device]}), json!({}));
        assert_eq!(
            found,
            [
                "status.devices[0]: Invalid value: {\"device\":\"gpu-9\",\"driver\":\"gpu.example.com\",\"pool\":\"n1\"}: must be an \
                 allocated device in the claim",
            ]
        );
    }
}
