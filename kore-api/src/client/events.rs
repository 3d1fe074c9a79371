//! Tells users what happened to an object.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Client, DynamicApi};
use crate::error::Error;
use crate::object::{Object, ResourceType, Scope};
use crate::patch::PatchKind;
use crate::request::Options;

/// How many events wait to be sent; one more is dropped, counted, and logged when there is room again.
const QUEUE_EVENTS: usize = 1024;
/// How many different events are remembered so that a repetition counts up instead of making a new one.
const REMEMBERED_EVENTS: usize = 4096;

/// Whether users need to look at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventType {
    /// All is as it should be.
    Normal,
    /// Something needs attention.
    Warning,
}

/// Records events about objects, for users to read (`kubectl describe`, `kubectl events`).
///
/// Recording never waits: events are sent in order while the recorder's future runs. The same event again (same object, reason
/// and message) counts up the one that is there. Events are best effort by contract: at most 1,024 wait, further ones are dropped
/// and their number is logged.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Recorded>,
    dropped: Arc<AtomicU64>,
}

/// What makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    event_type: EventType,
    reason: String,
    message: String,
}

struct Recorded {
    identity: Identity,
    revision: u64,
}

impl EventRecorder {
    pub(super) fn new(client: Client, component: &str) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS);
        let dropped = Arc::new(AtomicU64::new(0));
        let recorder = Self { queue: sender, dropped: dropped.clone() };
        (recorder, send_all(client, component.to_owned(), receiver, dropped))
    }

    /// Records that something happened to `object`. `reason` is one word in `CamelCase`, `message` a sentence.
    pub fn event(&self, object: &Object, event_type: EventType, reason: &str, message: impl Into<String>) {
        let identity = Identity {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: object.namespace().unwrap_or_default().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            event_type,
            reason: reason.to_owned(),
            message: message.into(),
        };
        if self.queue.try_send(Recorded { identity, revision: object.revision() }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for EventRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventRecorder")
    }
}

/// An event that has been sent.
struct Sent {
    name: String,
    count: u64,
    /// When it was last sent, as a counter: the one longest ago is forgotten first.
    used: u64,
}

async fn send_all(client: Client, component: String, mut receiver: mpsc::Receiver<Recorded>, dropped: Arc<AtomicU64>) {
    let events = client.dynamic(ResourceType {
        group: "".into(),
        version: "v1".into(),
        plural: "events".into(),
        kind: "Event".into(),
        scope: Scope::Namespaced,
    });
    let mut sent: BTreeMap<Identity, Sent> = BTreeMap::new();
    let mut used = 0;
    while let Some(recorded) = receiver.recv().await {
        used += 1;
        if let Err(error) = send(&events, &component, &recorded, &mut sent, used).await {
            let Identity { kind, namespace, name, reason, .. } = &recorded.identity;
            tracing::debug!(%kind, %namespace, %name, %reason, %error, "event not sent");
        }
        if sent.len() > REMEMBERED_EVENTS {
            let oldest = sent.iter().min_by_key(|(_, sent)| sent.used).map(|(identity, _)| identity.clone());
            oldest.map(|identity| sent.remove(&identity));
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(%component, lost, "events were dropped: more than {QUEUE_EVENTS} were waiting");
        }
    }
}

async fn send(
    events: &DynamicApi,
    component: &str,
    recorded: &Recorded,
    sent: &mut BTreeMap<Identity, Sent>,
    used: u64,
) -> Result<(), Error> {
    let identity = &recorded.identity;
    let client = events.client();
    let now = client.clock().now();
    let seconds = json!(format!("{:.0}", now));
    // Events about cluster-scoped objects live in the default namespace, as upstream has it.
    let namespace = if identity.namespace.is_empty() { "default" } else { &identity.namespace };
    let events = events.in_namespace(namespace);
    if let Some(known) = sent.get_mut(identity) {
        known.count += 1;
        known.used = used;
        let patch = json!({"count": known.count, "lastTimestamp": seconds});
        match events.patch(&known.name, None, PatchKind::Merge, patch, &Options::default()).await {
            Err(error) if error.is_not_found() => sent.remove(identity),
            other => return other.map(drop),
        };
    }
    let name = event_name(&identity.name, client.entropy().next_u64());
    events.create(event(component, recorded, &name, namespace, &seconds), &Options::default()).await?;
    sent.insert(identity.clone(), Sent { name, count: 1, used });
    Ok(())
}

/// A name that no other event has; at most 253 bytes, as all names.
fn event_name(object: &str, unique: u64) -> String {
    let longest = 253 - 17;
    let stem = object.get(..longest.min(object.len())).unwrap_or_default();
    format!("{stem}.{unique:016x}")
}

fn event(component: &str, recorded: &Recorded, name: &str, namespace: &str, now: &Value) -> Value {
    let identity = &recorded.identity;
    let mut involved = json!({
        "apiVersion": identity.api_version,
        "kind": identity.kind,
        "name": identity.name,
        "uid": identity.uid,
        "resourceVersion": recorded.revision.to_string(),
    });
    if !identity.namespace.is_empty() {
        involved["namespace"] = identity.namespace.as_str().into();
    }
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved,
        "type": format!("{:?}", identity.event_type),
        "reason": identity.reason,
        "message": identity.message,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}
