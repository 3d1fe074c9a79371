//! What drivers of volumes say of themselves: CSIDriver, CSINode, CSIStorageCapacity.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity};
use serde_json::{Value, json};

use super::driver_name;
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::quantity::Quantity;
use crate::kinds::row::Row;
use crate::kinds::shape::Literal::{Flag, Text};
use crate::kinds::shape::{PLAIN, Shape, or_insert};
use crate::kinds::{meta, names};
use crate::object::ResourceType;

const MAX_NODE_ID_BYTES: usize = 256;
const MIN_TOKEN_SECONDS: i64 = 600;
const MAX_TOKEN_SECONDS: i64 = 1 << 32;
const MIN_PERIOD_SECONDS: i64 = 10;

pub(crate) static CSI_DRIVER: Entry = Entry {
    has_generation: true,
    has_status: false,
    unconditional_update: false,
    columns: &[
        NAME,
        Title("AttachRequired", "boolean", "Whether its volumes are attached to nodes first.", 0),
        Title("PodInfoOnMount", "boolean", "Whether it is told of the pod it mounts for.", 0),
        Title("StorageCapacity", "boolean", "Whether it tells how much it has left.", 0),
        Title("TokenRequests", "string", "For whom it gets tokens of pods.", 0),
        Title("RequiresRepublish", "boolean", "Whether it wants to be asked to mount again and again.", 0),
        Title("Modes", "string", "Which volumes it makes.", 0),
        AGE,
    ],
    defaults: &DEFAULTS,
    rules: Rules { always: driver, change: driver_stays, ..ANYTHING },
    cells: driver_cells,
    ..Entry::of(ResourceType::of::<CSIDriver>)
};

static DEFAULTS: Shape = Shape { parts: &[("spec", &SPEC)], ..PLAIN };
static SPEC: Shape = Shape {
    set: &[
        ("attachRequired", Flag(true)),
        ("podInfoOnMount", Flag(false)),
        ("storageCapacity", Flag(false)),
        ("fsGroupPolicy", Text("ReadWriteOnceWithFSType")),
        ("requiresRepublish", Flag(false)),
        ("seLinuxMount", Flag(false)),
    ],
    rule: Some(|spec| or_insert(spec, "volumeLifecycleModes", json!(["Persistent"]))),
    ..PLAIN
};

fn driver(driver: &Field<'_, '_>) {
    let spec = driver.get("spec");
    spec.get("fsGroupPolicy").one_of(&["File", "None", "ReadWriteOnceWithFSType"]);
    let mut audiences = BTreeSet::new();
    for request in spec.get("tokenRequests").items() {
        let (audience, lasts) = (request.get("audience"), request.get("expirationSeconds"));
        if !audiences.insert(audience.text()) {
            audience.report(FieldError::duplicate(audience.path(), audience.text()));
            continue;
        }
        match lasts.int() {
            Some(..MIN_TOKEN_SECONDS) => lasts.invalid("may not specify a duration less than 10 minutes"),
            Some(seconds) if seconds > MAX_TOKEN_SECONDS => {
                lasts.invalid("may not specify a duration larger than 2^32 seconds");
            }
            _ => {}
        }
    }
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.items() {
        let known = ["Persistent", "Ephemeral"];
        if !known.contains(&mode.text()) {
            modes.report(FieldError::not_supported(modes.path(), mode.text(), &known));
        }
    }
    let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|period| period < MIN_PERIOD_SECONDS) {
        period.invalid("must be greater than or equal to 10 seconds");
    }
}

fn driver_stays(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    // Upstream's path has a letter more than the field.
    let attach = spec.get("attachedRequired");
    attach.showing(&spec.get("attachRequired")).immutable(&before.get("attachRequired"));
    spec.get("volumeLifecycleModes").immutable(&before.get("volumeLifecycleModes"));
}

fn driver_cells(row: &Row<'_>) -> Vec<Value> {
    let flag = |field: &str, other: bool| Value::from(row.at(&format!("/spec/{field}")).as_bool().unwrap_or(other));
    let modes: Vec<&str> = row.items("/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
    let tokens = match row.at("/spec/tokenRequests") {
        Value::Array(requests) => {
            let audiences: Vec<&str> =
                requests.iter().map(|one| one["audience"].as_str().unwrap_or_default()).collect();
            audiences.join(",")
        }
        _ => "<unset>".to_owned(),
    };
    vec![
        row.name(),
        flag("attachRequired", true),
        flag("podInfoOnMount", false),
        flag("storageCapacity", false),
        tokens.into(),
        flag("requiresRepublish", false),
        crate::kinds::row::or_none(modes.join(",")),
        row.age(),
    ]
}

pub(crate) static CSI_NODE: Entry = Entry {
    has_status: false,
    unconditional_update: false,
    columns: &[NAME, Title("Drivers", "integer", "How many drivers are on the node.", 0), AGE],
    rules: Rules { always: node, change: node_change, ..ANYTHING },
    cells: |row| vec![row.name(), row.count("/spec/drivers").into(), row.age()],
    ..Entry::of(ResourceType::of::<CSINode>)
};

fn node(node: &Field<'_, '_>) {
    let spec = node.get("spec");
    let mut seen = BTreeSet::new();
    for driver in spec.get("drivers").items() {
        let (name, id) = (driver.get("name"), driver.get("nodeID"));
        driver_name(&name);
        if id.required() && id.len() > MAX_NODE_ID_BYTES {
            id.invalid(format!("must be {MAX_NODE_ID_BYTES} characters or less"));
        }
        let allocatable = driver.get("allocatable");
        allocatable.get("count").not_negative();
        if !seen.insert(name.value().as_str()) {
            name.duplicate();
        }
        let mut keys = BTreeSet::new();
        for key in driver.get("topologyKeys").items() {
            if !keys.insert(key.value().as_str()) {
                driver.report(FieldError::duplicate(driver.path(), key.text()));
            }
            for problem in names::qualified_name(key.text()) {
                driver.report(FieldError::invalid(driver.path(), key.text(), problem));
            }
        }
    }
}

/// Of a driver that stays, only how many volumes it can take changes.
fn node_change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let without_count = |driver: &Value| {
        let mut driver = driver.clone();
        if let Some(fields) = driver.as_object_mut() {
            fields.remove("allocatable");
        }
        driver
    };
    let drivers = spec.get("drivers");
    for was in before.get("drivers").items() {
        for is in drivers.items().filter(|is| is.get("name").value() == was.get("name").value()) {
            if without_count(is.value()) != without_count(was.value()) {
                drivers.report(FieldError::invalid(drivers.path(), is.value().clone(), "field is immutable"));
            }
        }
    }
}

pub(crate) static CSI_STORAGE_CAPACITY: Entry = Entry {
    has_status: false,
    unconditional_update: false,
    columns: &[
        NAME,
        Title("StorageClassName", "string", "The class of the volumes it is about.", 0),
        Title("Capacity", "string", "How much is left.", 0),
    ],
    rules: Rules {
        always: capacity,
        change: |new, old| {
            for field in ["nodeTopology", "storageClassName"] {
                new.get(field).immutable(&old.get(field));
            }
        },
        ..ANYTHING
    },
    cells: |row| {
        let left = row.at("/capacity").as_str().unwrap_or("<unset>");
        vec![row.name(), row.text("/storageClassName").into(), left.into()]
    },
    ..Entry::of(ResourceType::of::<CSIStorageCapacity>)
};

fn capacity(capacity: &Field<'_, '_>) {
    meta::selector(&capacity.get("nodeTopology"));
    let class = capacity.get("storageClassName");
    class.named_as(class.text(), names::dns_subdomain);
    let left = capacity.get("capacity");
    if Quantity::of(left.value()).is_some_and(Quantity::is_negative) {
        left.invalid("must be greater than or equal to 0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};

    #[test]
    fn drivers() {
        let mut driver = json!({"metadata": {"name": "disk.example.com"}, "spec": {}});
        DEFAULTS.fill(&mut driver);
        assert_eq!(
            driver["spec"],
            json!({
                "attachRequired": true, "podInfoOnMount": false, "storageCapacity": false, "seLinuxMount": false,
                "fsGroupPolicy": "ReadWriteOnceWithFSType", "requiresRepublish": false, "volumeLifecycleModes": ["Persistent"],
            })
        );
        assert_eq!(errors(&CSI_DRIVER, &driver), [""; 0]);
        assert_eq!(
            cells(&CSI_DRIVER, &driver)[1..7],
            [json!(true), json!(false), json!(false), json!("<unset>"), json!(false), json!("Persistent")]
        );
        let bad = json!({"spec": {
            "fsGroupPolicy": "Some", "volumeLifecycleModes": ["Short"], "nodeAllocatableUpdatePeriodSeconds": 5,
            "tokenRequests": [{"audience": "a", "expirationSeconds": 5}, {"audience": "a"}],
        }});
        assert_eq!(
            errors(&CSI_DRIVER, &with(&driver, &bad)),
            [
                "spec.fsGroupPolicy: Unsupported value: \"Some\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
                "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
                "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                "spec.volumeLifecycleModes: Unsupported value: \"Short\": supported values: \"Persistent\", \"Ephemeral\"",
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 5: must be greater than or equal to 10 seconds",
            ]
        );
        let changed = with(&driver, &json!({"spec": {"attachRequired": false, "podInfoOnMount": true}}));
        assert_eq!(
            errors_of_change(&CSI_DRIVER, &changed, &driver),
            ["spec.attachedRequired: Invalid value: false: field is immutable"]
        );
    }

    #[test]
    fn nodes_and_capacities() {
        let one = json!({"name": "disk.example.com", "nodeID": "n", "topologyKeys": ["zone"]});
        let node = json!({"spec": {"drivers": [one]}});
        assert_eq!(errors(&CSI_NODE, &node), [""; 0]);
        assert_eq!(cells(&CSI_NODE, &node)[1], 1);
        let bad = json!({"spec": {"drivers": [one, one, {"nodeID": "", "allocatable": {"count": -1}, "topologyKeys": ["a", "a"]}]}});
        assert_eq!(
            errors(&CSI_NODE, &bad),
            [
                "spec.drivers[1].name: Duplicate value: \"disk.example.com\"",
                "spec.drivers[2].name: Required value",
                "spec.drivers[2].nodeID: Required value",
                "spec.drivers[2].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
                "spec.drivers[2]: Duplicate value: \"a\"",
            ]
        );
        let more = json!({"spec": {"drivers": [with(&one, &json!({"allocatable": {"count": 5}}))]}});
        assert_eq!(errors_of_change(&CSI_NODE, &more, &node), [""; 0]);
        let other = json!({"spec": {"drivers": [with(&one, &json!({"nodeID": "m"}))]}});
        assert_eq!(errors_of_change(&CSI_NODE, &other, &node).len(), 1);

        let capacity = json!({"storageClassName": "fast", "capacity": "5Gi"});
        assert_eq!(errors(&CSI_STORAGE_CAPACITY, &capacity), [""; 0]);
        assert_eq!(cells(&CSI_STORAGE_CAPACITY, &capacity)[1..], ["fast", "5Gi"].map(Value::from));
        assert_eq!(errors_of_change(&CSI_STORAGE_CAPACITY, &json!({"storageClassName": "slow"}), &capacity).len(), 1);
    }
}
