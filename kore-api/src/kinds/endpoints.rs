//! Endpoints: what was there before EndpointSlice.

use super::entry::{AGE, ANYTHING, Entry, NAME, Rules, Title};
use super::field::Field;
use super::names;
use super::row::{Row, list};
use super::shape::Literal::Text;
use super::shape::{PLAIN, Shape};
use crate::object::ResourceType;
use k8s_openapi::api::core::v1::Endpoints;

/// A cell lists so many, and says how many more there are.
const SHOWN: usize = 3;

pub(super) static ENDPOINTS: Entry = Entry {
    short_names: &["ep"],
    has_status: false,
    create_on_update: true,
    columns: &[NAME, Title("Endpoints", "string", "Its addresses that are ready, with their ports.", 0), AGE],
    defaults: &DEFAULTS,
    rules: Rules { always, ..ANYTHING },
    warnings: |_| vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()],
    cells: |row| vec![row.name(), shown(row).into(), row.age()],
    ..Entry::of(ResourceType::of::<Endpoints>)
};

static DEFAULTS: Shape = Shape { parts: &[("subsets", &SUBSET)], ..PLAIN };
static SUBSET: Shape = Shape { parts: &[("ports", &PORT)], ..PLAIN };
static PORT: Shape = Shape { set: &[("protocol", Text("TCP"))], ..PLAIN };

fn always(endpoints: &Field<'_, '_>) {
    for subset in endpoints.get("subsets").items() {
        let (ready, others) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.len() == 0 && others.len() == 0 {
            subset.missing("must specify `addresses` or `notReadyAddresses`");
        }
        ready.items().for_each(|one| address(&one));
        others.items().for_each(|one| address(&one));
        let ports = subset.get("ports");
        for port in ports.items() {
            let name = port.get("name");
            if ports.len() > 1 && name.text().is_empty() {
                name.missing("");
            }
            name.named(names::dns_label);
            let number = port.get("port");
            match number.int() {
                Some(_) => drop(number.within(1, 65_535)),
                None => number.report(crate::error::FieldError::invalid(
                    number.path(),
                    0,
                    "must be between 1 and 65535, inclusive",
                )),
            }
            port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"]);
            port.get("appProtocol").named(names::qualified_name);
        }
    }
}

/// Unlike upstream's, addresses on the loopback are fine: there, pods of native nodes have theirs.
fn address(address: &Field<'_, '_>) {
    let ip = address.get("ip");
    if ip.text().is_empty() {
        ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
    ip.named(names::ip);
    address.get("hostname").named(names::dns_label);
    address.get("nodeName").named(names::dns_subdomain);
}

fn shown(row: &Row<'_>) -> String {
    let subsets = row.items("/subsets");
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let (mut texts, mut count) = (Vec::new(), 0);
    for subset in subsets {
        let addresses = list(&subset["addresses"]);
        let ports = list(&subset["ports"]);
        let ips = || addresses.iter().map(|address| address["ip"].as_str().unwrap_or_default());
        if ports.is_empty() {
            // A headless service may have none.
            count += addresses.len();
            texts.extend(ips().map(str::to_owned));
        }
        for port in ports {
            let number = port["port"].as_i64().unwrap_or_default();
            count += addresses.len();
            texts.extend(
                ips().map(|ip| if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") }),
            );
        }
    }
    texts.truncate(SHOWN);
    match count.saturating_sub(SHOWN) {
        0 => texts.join(","),
        more => format!("{} + {more} more...", texts.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{cells, errors};
    use serde_json::{Value, json};

    #[test]
    fn what_endpoints_may_not_say() {
        let mut good = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]});
        DEFAULTS.fill(&mut good);
        assert_eq!(good["subsets"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(errors(&ENDPOINTS, &good), [""; 0]);
        let bad = json!({"subsets": [
            {"ports": [{"port": 80, "protocol": "TCP"}]},
            {"notReadyAddresses": [{"ip": "x"}], "ports": [{"name": "a", "port": 0, "protocol": "TCP"}, {"port": 1}]},
        ]});
        assert_eq!(
            errors(&ENDPOINTS, &bad),
            [
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
                "subsets[1].notReadyAddresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)",
                "subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[1].ports[1].name: Required value",
                "subsets[1].ports[1].protocol: Required value",
            ]
        );
    }

    #[test]
    fn as_rows() {
        let shown = |subsets: Value| cells(&ENDPOINTS, &json!({"subsets": subsets}))[1].clone();
        assert_eq!(shown(json!([])), "<none>");
        let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "::1"}]);
        assert_eq!(shown(json!([{"addresses": addresses}])), "10.0.0.1,::1");
        assert_eq!(
            shown(json!([{"addresses": addresses, "ports": [{"port": 80}, {"port": 81}]}])),
            "10.0.0.1:80,[::1]:80,10.0.0.1:81 + 1 more..."
        );
    }
}
