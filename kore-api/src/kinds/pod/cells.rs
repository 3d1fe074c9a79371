//! A pod as a row of a table: how many containers are ready, and the one word that says how it is.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::entry::{AGE, NAME, Title};
use crate::kinds::row::{Row, or_none, timestamp};

pub(super) static COLUMNS: [Title; 9] = [
    NAME,
    Title("Ready", "string", "Containers that are ready, of all that should run.", 0),
    Title("Status", "string", "The state of the pod as a whole, or what keeps it from running.", 0),
    Title("Restarts", "string", "How often its containers were started again, and how long ago the last one was.", 0),
    AGE,
    Title("IP", "string", "The pod's address.", 1),
    Title("Node", "string", "The node it runs on.", 1),
    Title("Nominated Node", "string", "The node on which lower-priority pods make room for it.", 1),
    Title("Readiness Gates", "string", "Conditions that hold, of those it waits for before it counts as ready.", 1),
];

pub(super) fn cells(row: &Row<'_>) -> Vec<Value> {
    let state = State::of(row);
    let restarts = match state.last_restart.filter(|_| state.restarts > 0) {
        Some(last) => format!("{} ({} ago)", state.restarts, crate::kinds::duration::between(last, row.now)),
        None => state.restarts.to_string(),
    };
    let first_ip = row.items("/status/podIPs").first().and_then(|ip| ip["ip"].as_str());
    vec![
        row.name(),
        format!("{}/{}", state.ready, state.total).into(),
        state.word.into(),
        restarts.into(),
        row.age(),
        or_none(first_ip.unwrap_or(row.text("/status/podIP"))),
        or_none(row.text("/spec/nodeName")),
        or_none(row.text("/status/nominatedNodeName")),
        readiness_gates(row),
    ]
}

fn readiness_gates(row: &Row<'_>) -> Value {
    let gates = row.items("/spec/readinessGates");
    let holds = |gate: &&Value| condition(row, gate["conditionType"].as_str().unwrap_or_default()) == "True";
    match gates.len() {
        0 => or_none(""),
        all => format!("{}/{all}", gates.iter().filter(holds).count()).into(),
    }
}

fn condition<'a>(row: &Row<'a>, kind: &str) -> &'a str {
    let found = row.items("/status/conditions").iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

/// What a pod's containers add up to.
struct State {
    ready: usize,
    total: usize,
    word: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Restarts counted over several containers.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += status["restartCount"].as_i64().unwrap_or_default();
        self.last = self.last.max(timestamp(&status["lastState"]["terminated"]["finishedAt"]));
    }
}

impl State {
    fn of(row: &Row<'_>) -> Self {
        let init_specs = row.items("/spec/initContainers");
        let mut state = Self {
            ready: 0,
            total: row.count("/spec/containers") + init_specs.iter().filter(|container| is_sidecar(container)).count(),
            word: row.text("/status/phase").to_owned(),
            restarts: 0,
            last_restart: None,
        };
        let reason = row.text("/status/reason");
        if !reason.is_empty() {
            reason.clone_into(&mut state.word);
        }
        let gated =
            |condition: &&Value| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated";
        if row.items("/status/conditions").iter().any(|condition| gated(&condition)) {
            "SchedulingGated".clone_into(&mut state.word);
        }
        let initializing = state.count_init_containers(row, init_specs);
        if !initializing || condition(row, "Initialized") == "True" {
            state.count_containers(row);
        }
        if row.at("/metadata/deletionTimestamp").is_string() {
            if reason == "NodeLost" {
                "Unknown".clone_into(&mut state.word);
            } else if !matches!(row.text("/status/phase"), "Succeeded" | "Failed") {
                "Terminating".clone_into(&mut state.word);
            }
        }
        state
    }

    /// Walks the init containers in order, up to the first that is not done; whether there is one. Afterwards the restarts
    /// are those of all walked; once all are done, only those that go on running count.
    fn count_init_containers(&mut self, row: &Row<'_>, specs: &[Value]) -> bool {
        let (mut all, mut sidecars) = (Restarts::default(), Restarts::default());
        let mut initializing = false;
        for (index, status) in row.items("/status/initContainerStatuses").iter().enumerate() {
            let spec = specs.iter().find(|spec| spec["name"] == status["name"]);
            let sidecar = spec.is_some_and(is_sidecar);
            all.add(status);
            if sidecar {
                sidecars.add(status);
            }
            let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
            if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or_default() == 0 {
                continue;
            }
            if sidecar && status["started"] == true {
                self.ready += usize::from(status["ready"] == true);
                continue;
            }
            let waits = waiting["reason"].as_str().unwrap_or_default();
            self.word = if terminated.is_object() {
                format!("Init:{}", ended(terminated))
            } else if !waits.is_empty() && waits != "PodInitializing" {
                format!("Init:{waits}")
            } else {
                format!("Init:{index}/{}", specs.len())
            };
            initializing = true;
            break;
        }
        let counted = if initializing && condition(row, "Initialized") != "True" { all } else { sidecars };
        (self.restarts, self.last_restart) = (counted.count, counted.last);
        initializing
    }

    fn count_containers(&mut self, row: &Row<'_>) {
        let mut restarts = Restarts { count: self.restarts, last: self.last_restart };
        let mut running = false;
        // The first container's state is the one that shows, so it comes last.
        for status in row.items("/status/containerStatuses").iter().rev() {
            restarts.add(status);
            let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
            let waits = waiting["reason"].as_str().unwrap_or_default();
            if !waits.is_empty() {
                waits.clone_into(&mut self.word);
            } else if terminated.is_object() {
                self.word = ended(terminated);
            } else if status["ready"] == true && status["state"]["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.word == "Completed" && running {
            let word = if condition(row, "Ready") == "True" { "Running" } else { "NotReady" };
            word.clone_into(&mut self.word);
        }
        (self.restarts, self.last_restart) = (restarts.count, restarts.last);
    }
}

/// How a container ended.
fn ended(terminated: &Value) -> String {
    let number = |field: &str| terminated[field].as_i64().unwrap_or_default();
    match (terminated["reason"].as_str().unwrap_or_default(), number("signal")) {
        ("", 0) => format!("ExitCode:{}", number("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Whether an init container is one that goes on running beside the others.
fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(pod: &Value) -> [String; 3] {
        let cells = cells(&Row { object: pod, now: "2026-01-01T00:10:00Z".parse().unwrap() });
        assert_eq!(cells.len(), COLUMNS.len());
        [1, 2, 3].map(|index| cells[index].as_str().unwrap().to_owned())
    }

    #[test]
    fn ready_status_and_restarts() {
        let two = json!([{"name": "a"}, {"name": "b"}]);
        let run = |name: &str| json!({"name": name, "ready": true, "restartCount": 0, "state": {"running": {}}});
        let done = json!({"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let wait = |reason: &str| {
            json!({"name": "a", "restartCount": 2, "state": {"waiting": {"reason": reason}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}})
        };
        let end = |ended: Value| json!({"name": "a", "state": {"terminated": ended}});
        let inits = json!([{"name": "i"}, {"name": "j"}]);
        let sidecar = json!([{"name": "i", "restartPolicy": "Always"}]);
        let rows = [
            (json!({"containers": two}), json!({"phase": "Pending"}), ["0/2", "Pending", "0"]),
            (json!({"containers": two}), json!({"phase": "Failed", "reason": "Evicted"}), ["0/2", "Evicted", "0"]),
            (
                json!({"containers": two}),
                json!({"phase": "Running", "containerStatuses": [run("a"), run("b")]}),
                ["2/2", "Running", "0"],
            ),
            (
                json!({"containers": two}),
                json!({"phase": "Running", "containerStatuses": [wait("CrashLoopBackOff"), run("b")]}),
                ["1/2", "CrashLoopBackOff", "2 (5m ago)"],
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"phase": "Pending", "containerStatuses": [wait("ImagePullBackOff")]}),
                ["0/1", "ImagePullBackOff", "2 (5m ago)"],
            ),
            (
                json!({"containers": two}),
                json!({"phase": "Running", "containerStatuses": [done, run("b")], "conditions": [{"type": "Ready", "status": "False"}]}),
                ["1/2", "NotReady", "0"],
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"phase": "Succeeded", "containerStatuses": [done]}),
                ["0/1", "Completed", "0"],
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"phase": "Failed", "containerStatuses": [end(json!({"exitCode": 3}))]}),
                ["0/1", "ExitCode:3", "0"],
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"phase": "Failed", "containerStatuses": [end(json!({"exitCode": 137, "signal": 9}))]}),
                ["0/1", "Signal:9", "0"],
            ),
            (
                json!({"containers": [{"name": "a"}], "initContainers": inits}),
                json!({"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
                ["0/1", "Init:1/2", "1"],
            ),
            (
                json!({"containers": [{"name": "a"}], "initContainers": inits}),
                json!({"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                ["0/1", "Init:CrashLoopBackOff", "4"],
            ),
            (
                json!({"containers": [{"name": "a"}], "initContainers": inits}),
                json!({"phase": "Failed", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 2}}}]}),
                ["0/1", "Init:ExitCode:2", "0"],
            ),
            (
                json!({"containers": [{"name": "a"}], "initContainers": inits}),
                json!({"phase": "Running", "containerStatuses": [run("a")], "initContainerStatuses": [
                    {"name": "i", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}},
                    {"name": "j", "state": {"terminated": {"exitCode": 0}}}]}),
                ["1/1", "Running", "0"],
            ),
            (
                json!({"containers": [{"name": "a"}], "initContainers": sidecar}),
                json!({"phase": "Running", "containerStatuses": [run("a")], "initContainerStatuses": [
                    {"name": "i", "restartCount": 3, "started": true, "ready": true, "state": {"running": {}}}]}),
                ["2/2", "Running", "3"],
            ),
            (
                json!({"containers": [{"name": "a"}]}),
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                ["0/1", "SchedulingGated", "0"],
            ),
        ];
        for (spec, status, expected) in rows {
            let mut pod = json!({"spec": spec, "status": status});
            assert_eq!(shown(&pod), expected, "{pod}");
            // On its way out it says so, unless it has already ended.
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            let ended = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
            assert_eq!(shown(&pod)[1], if ended { expected[1] } else { "Terminating" }, "{pod}");
        }
        let lost = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"reason": "NodeLost"}});
        assert_eq!(shown(&lost)[1], "Unknown");
    }

    #[test]
    fn the_wide_columns() {
        let pod = json!({
            "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.2"}], "conditions": [{"type": "a", "status": "True"}]},
        });
        let row = cells(&Row { object: &pod, now: Timestamp::UNIX_EPOCH });
        assert_eq!(row[5..], [json!("10.0.0.2"), json!("n1"), json!("<none>"), json!("1/2")]);
    }
}
