//! The rules of probes and lifecycle hooks.

use crate::kinds::field::Field;
use crate::kinds::names;

const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];

/// Liveness and startup: one success is enough.
pub(super) fn liveness(probe: &Field<'_, '_>) {
    if !probe.is_set() {
        return;
    }
    one(probe);
    let successes = probe.get("successThreshold");
    if successes.int().is_some_and(|successes| successes != 1) {
        successes.invalid("must be 1");
    }
    probe.get("terminationGracePeriodSeconds").positive();
}

/// Readiness: ends nothing.
pub(super) fn readiness(probe: &Field<'_, '_>) {
    if !probe.is_set() {
        return;
    }
    one(probe);
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.is_set() {
        grace.invalid("must not be set for readinessProbes");
    }
}

/// What runs after a container's start and before its end.
pub(super) fn lifecycle(lifecycle: &Field<'_, '_>) {
    for hook in ["postStart", "preStop"] {
        let hook = lifecycle.get(hook);
        if hook.is_set() {
            handler(&hook, &HOOK_HANDLERS);
        }
    }
}

fn one(probe: &Field<'_, '_>) {
    handler(probe, &PROBE_HANDLERS);
    for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        probe.get(number).not_negative();
    }
}

/// Exactly one way to ask.
fn handler(of: &Field<'_, '_>, handlers: &[&str]) {
    let mut count = 0;
    for kind in handlers {
        let handler = of.get(kind);
        if !handler.is_set() {
            continue;
        }
        count += 1;
        if count > 1 {
            handler.forbidden("may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" => {
                handler.get("command").required();
            }
            "httpGet" => http_get(&handler),
            "tcpSocket" => port(&handler.get("port")),
            "grpc" => port(&handler.get("port")),
            _ => {
                handler.get("seconds").not_negative();
            }
        }
    }
    if count == 0 {
        of.missing("must specify a handler type");
    }
}

fn http_get(get: &Field<'_, '_>) {
    get.get("path").required();
    port(&get.get("port"));
    get.get("scheme").one_of(&["HTTP", "HTTPS"]);
    for header in get.get("httpHeaders").items() {
        let name = header.get("name");
        if name.required() {
            name.named(names::http_header);
        }
    }
}

/// A port, by number or by name.
fn port(port: &Field<'_, '_>) {
    if port.value().is_string() {
        for problem in names::port_name(port.text()) {
            port.invalid(problem);
        }
    } else if port.is_set() {
        port.within(1, 65_535);
    } else {
        port.missing("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::field::check;
    use serde_json::{Value, json};

    #[test]
    fn what_probes_and_hooks_may_not_say() {
        type Rule = fn(&Field<'_, '_>);
        let exec = json!({"command": ["true"]});
        let rows: [(Rule, Value, Vec<&str>); 11] = [
            (liveness, json!({"exec": exec, "successThreshold": 1}), vec![]),
            (liveness, json!({"tcpSocket": {"port": "web"}}), vec![]),
            (liveness, json!({}), vec!["probe: Required value: must specify a handler type"]),
            (
                liveness,
                json!({"exec": exec, "tcpSocket": {"port": 80}}),
                vec!["probe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            ),
            (
                liveness,
                json!({"exec": exec, "successThreshold": 2}),
                vec!["probe.successThreshold: Invalid value: 2: must be 1"],
            ),
            (readiness, json!({"exec": exec, "successThreshold": 2}), vec![]),
            (
                readiness,
                json!({"exec": {"command": []}, "periodSeconds": -1, "terminationGracePeriodSeconds": 1}),
                vec![
                    "probe.exec.command: Required value",
                    "probe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                    "probe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
                ],
            ),
            (
                liveness,
                json!({"httpGet": {"port": 0, "scheme": "FTP", "httpHeaders": [{"name": "a b"}]}}),
                vec![
                    "probe.httpGet.path: Required value",
                    "probe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "probe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
                    "probe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric \
                     characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
                ],
            ),
            (liveness, json!({"grpc": {}}), vec!["probe.grpc.port: Required value"]),
            (lifecycle, json!({"preStop": {}}), vec!["probe.preStop: Required value: must specify a handler type"]),
            (lifecycle, json!({"preStop": {"sleep": {"seconds": 1}}, "postStart": {"exec": exec}}), vec![]),
        ];
        for (rule, probe, expected) in rows {
            let object = json!({"probe": probe});
            let found = check(&object, &Value::Null, |root, _| rule(&root.get("probe")));
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{object}");
        }
    }
}
