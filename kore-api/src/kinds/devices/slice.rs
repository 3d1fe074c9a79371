//! ResourceSlice: some of the devices of a driver.

use k8s_openapi::api::resource::v1::ResourceSlice;

use super::{device, driver, label, pool, unique};
use crate::error::FieldError;
use crate::kinds::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use crate::kinds::field::Field;
use crate::kinds::names;
use crate::kinds::pod::node_selector;
use crate::kinds::row::list;
use crate::object::ResourceType;

const MAX_DEVICES: usize = 128;
/// Where devices say more of themselves.
const MAX_ELABORATE_DEVICES: usize = 64;
const MAX_COUNTER_SETS: usize = 8;
const MAX_COUNTERS: usize = 32;

pub(crate) static RESOURCE_SLICE: Entry = Entry {
    has_generation: true,
    has_status: false,
    selectable_fields: &["spec.nodeName", "spec.driver"],
    columns: &[
        NAME,
        Title("Node", "string", "Where the devices are.", 0),
        Title("Driver", "string", "Whose devices they are.", 0),
        Title("Pool", "string", "To which devices they belong.", 0),
        AGE,
    ],
    rules: Rules { always, change, ..ANYTHING },
    cells: |row| {
        let [node, driver, pool] = ["nodeName", "driver", "pool/name"].map(|field| row.text(&format!("/spec/{field}")));
        vec![row.name(), node.into(), driver.into(), pool.into(), row.age()]
    },
    ..Entry::of(ResourceType::of::<ResourceSlice>)
};

fn always(slice: &Field<'_, '_>) {
    let spec = slice.get("spec");
    driver(&spec.get("driver"));
    let of_pool = spec.get("pool");
    pool(&of_pool.get("name"));
    let (count, generation) = (of_pool.get("resourceSliceCount"), of_pool.get("generation"));
    if count.int().unwrap_or_default() <= 0 {
        let shown = count.int().unwrap_or_default();
        count.report(FieldError::invalid(count.path(), shown, "must be greater than zero"));
    }
    if generation.int().is_some_and(|generation| generation < 0) {
        generation.invalid("must be greater than or equal to zero");
    }
    place(&spec, true);
    let (devices, counters) = (spec.get("devices"), spec.get("sharedCounters"));
    if devices.is_set() && counters.is_set() {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        spec.report(FieldError::invalid(spec.path(), "", detail));
    }
    let elaborate = list(devices.value())
        .iter()
        .any(|device| ["taints", "consumesCounters"].iter().any(|field| !list(&device[*field]).is_empty()));
    if devices.at_most(if elaborate { MAX_ELABORATE_DEVICES } else { MAX_DEVICES }) {
        let each_says_where = spec.get("perDeviceNodeSelection").flag();
        for one in devices.items() {
            device::rules(&one, each_says_where);
        }
        unique(&devices, |device| device.get("name").text().to_owned());
    }
    if counters.at_most(MAX_COUNTER_SETS) {
        for set in counters.items() {
            if set.get("name").required() {
                label(&set.get("name"));
            }
            self::counters(&set.get("counters"));
        }
        unique(&counters, |set| set.get("name").text().to_owned());
    }
}

/// Counters by name.
pub(super) fn counters(counters: &Field<'_, '_>) {
    if counters.len() == 0 {
        counters.missing("");
    } else if counters.at_most(MAX_COUNTERS) {
        for (name, counter) in counters.entries() {
            for problem in names::dns_label(name) {
                counter.report(FieldError::invalid(counter.path(), name, problem));
            }
        }
    }
}

/// Where devices are: said in one way. A slice may leave it to each device.
pub(super) fn place(place: &Field<'_, '_>, slice: bool) {
    let (node, selector) = (place.get("nodeName"), place.get("nodeSelector"));
    let mut said = Vec::new();
    if node.is_set() {
        if node.text().is_empty() {
            node.invalid(if slice { "must be either unset or set to a non-empty string" } else { "must not be empty" });
        } else {
            said.push("`nodeName`");
            node.named(names::dns_subdomain);
        }
    }
    if selector.is_set() {
        said.push("`nodeSelector`");
        node_selector(&selector);
        let terms = selector.get("nodeSelectorTerms");
        if slice && terms.len() != 1 {
            terms.invalid("must have exactly one node selector term");
        }
    }
    for (field, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        let flag = place.get(field);
        if flag.flag() {
            said.push(shown);
        } else if flag.is_set() {
            flag.invalid("must be either unset or set to true");
        }
    }
    let one = match slice {
        true => "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        false => {
            "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true \
             in the ResourceSlice spec"
        }
    };
    match said.len() {
        0 => place.missing(one),
        1 => {}
        _ => {
            let more = if slice { ", but multiple fields are set" } else { "" };
            let shown = format!("{{{}}}", said.join(", "));
            place.report(FieldError::invalid(place.path(), shown, format!("{one}{more}")));
        }
    }
}

fn change(new: &Field<'_, '_>, old: &Field<'_, '_>) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    spec.get("pool").get("name").immutable(&before.get("pool").get("name"));
    for field in ["driver", "nodeName"] {
        spec.get(field).immutable(&before.get(field));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors, errors_of_change, with};
    use serde_json::{Value, json};

    /// A slice with changes in its spec.
    pub(in crate::kinds::devices) fn slice(changes: &Value) -> Value {
        let spec = json!({
            "driver": "gpu.example.com", "nodeName": "n1", "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0"}],
        });
        json!({"metadata": {"name": "s"}, "spec": with(&spec, changes)})
    }

    #[test]
    fn what_a_slice_may_not_say() {
        for (changes, expected) in [
            (json!({}), vec![]),
            (json!({"nodeName": null, "allNodes": true}), vec![]),
            (
                json!({"nodeName": null, "pool": {"resourceSliceCount": 0, "generation": -1}}),
                vec![
                    "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                    "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
                    "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is \
                     required",
                ],
            ),
            (
                json!({"allNodes": true, "devices": [{"name": "a"}, {"name": "a"}]}),
                vec![
                    "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, \
                     `perDeviceNodeSelection` is required, but multiple fields are set",
                    "spec.devices[1]: Duplicate value: \"a\"",
                ],
            ),
            (
                json!({"devices": null, "sharedCounters": [{"name": "c"}]}),
                vec!["spec.sharedCounters[0].counters: Required value"],
            ),
        ] {
            assert_eq!(errors(&RESOURCE_SLICE, &slice(&changes)), expected, "{changes}");
        }
        let old = slice(&json!({}));
        let moved = slice(&json!({"nodeName": "n2", "pool": {"name": "n2"}}));
        assert_eq!(
            errors_of_change(&RESOURCE_SLICE, &moved, &old),
            [
                "spec.pool.name: Invalid value: \"n2\": field is immutable",
                "spec.nodeName: Invalid value: \"n2\": field is immutable",
            ]
        );
        assert_eq!(cells(&RESOURCE_SLICE, &old)[1..4], ["n1", "gpu.example.com", "n1"].map(Value::from));
    }
}
