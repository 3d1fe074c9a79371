//! What users are told: the condition `PodScheduled`, and events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kore_api::client::{Client, EventRecorder, EventType, Informer};
use kore_api::error::Error;
use kore_api::object::Object;
use kore_api::patch::PatchKind;
use kore_api::request::Options;
use serde_json::json;

use super::object_key;
use crate::{Assignment, PodInfo, PodKey, Report};

/// Writes under way at once.
const WRITES: usize = 16;
/// The longest message of an event, in bytes: what the API takes.
const EVENT_MESSAGE_BYTES: usize = 1024;

/// Reports on their way. For each pod there is at most one that waits, the latest: there are never more than pods.
pub(super) struct Reports {
    client: Client,
    pods: Informer<Pod>,
    recorders: BTreeMap<String, EventRecorder>,
    conditions: BTreeMap<PodKey, Report>,
    evictions: VecDeque<Object>,
    /// Writes under way, and the pods they are about: two about one pod must not overtake each other.
    writing: FuturesUnordered<BoxFuture<'static, PodKey>>,
    busy: BTreeSet<PodKey>,
}

impl Reports {
    /// Reports by `recorders`, one for each `schedulerName`.
    pub(super) fn new(
        client: Client,
        pods: Informer<Pod>,
        recorders: impl IntoIterator<Item = (String, EventRecorder)>,
    ) -> Reports {
        Reports {
            client,
            pods,
            recorders: recorders.into_iter().collect(),
            conditions: BTreeMap::new(),
            evictions: VecDeque::new(),
            writing: FuturesUnordered::new(),
            busy: BTreeSet::new(),
        }
    }

    /// A pod could not be placed.
    pub(super) fn add(&mut self, report: Report) {
        self.event(&report.pod, EventType::Warning, "FailedScheduling", &report.message);
        self.conditions.insert(report.pod.key().clone(), report);
    }

    /// A pod was bound.
    pub(super) fn scheduled(&mut self, assignment: &Assignment) {
        let (pod, node) = (assignment.pod(), assignment.node());
        self.conditions.remove(pod.key());
        let message = format!("Successfully assigned {} to {node}", pod.key());
        self.event(pod, EventType::Normal, "Scheduled", &message);
    }

    /// Pods have to leave a node for another one's sake.
    pub(super) fn evict(&mut self, pod: &PodInfo, node: &str, victims: Vec<PodKey>) {
        let message = format!("Preempted by pod {} on node {node}", pod.uid());
        for victim in victims {
            let Some(object) = self.pods.get(&object_key(&victim)) else {
                continue;
            };
            if let Some(recorder) = self.recorders.get(pod.scheduler_name()) {
                recorder.event(&object, EventType::Normal, "Preempted", &*message);
            }
            self.evictions.push_back(object);
        }
    }

    /// Writes. Ends when one write did; never when there is nothing to write.
    pub(super) async fn work(&mut self) {
        while self.writing.len() < WRITES
            && let Some((key, write)) = self.next()
        {
            self.busy.insert(key);
            self.writing.push(write);
        }
        match self.writing.next().await {
            Some(key) => {
                self.busy.remove(&key);
            }
            None => std::future::pending().await,
        }
    }

    fn next(&mut self) -> Option<(PodKey, BoxFuture<'static, PodKey>)> {
        if let Some(victim) = self.evictions.pop_front() {
            let key = PodKey::new(victim.namespace().unwrap_or_default(), victim.name());
            return Some((key.clone(), Box::pin(delete(self.client.clone(), victim, key))));
        }
        let key = self.conditions.keys().find(|key| !self.busy.contains(*key))?.clone();
        let report = self.conditions.remove(&key)?;
        let write = set_condition(self.client.clone(), self.pods.clone(), report, key.clone());
        Some((key, Box::pin(write)))
    }

    fn event(&self, pod: &Arc<PodInfo>, event_type: EventType, reason: &str, message: &str) {
        let object = self.pods.get(&object_key(pod.key()));
        let object = object.filter(|object| *object.uid() == **pod.uid());
        if let (Some(object), Some(recorder)) = (object, self.recorders.get(pod.scheduler_name())) {
            recorder.event(&object, event_type, reason, shorten(message));
        }
    }
}

async fn delete(client: Client, pod: Object, key: PodKey) -> PodKey {
    let options = Options::default().precondition_uid(pod.uid());
    let deleted = client.namespaced::<Pod>(&key.namespace).delete(&key.name, &options).await;
    log(&key, "evict", deleted.err());
    key
}

/// Says `PodScheduled=False` with the reason, unless the pod says so already or was bound meanwhile.
async fn set_condition(client: Client, pods: Informer<Pod>, report: Report, key: PodKey) -> PodKey {
    let Ok(Some(pod)) = pods.view(&object_key(&key)) else {
        return key;
    };
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if bound || *pod.object().uid() != **report.pod.uid() {
        return key;
    }
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let known = conditions.find(|condition| condition.type_ == "PodScheduled");
    let known = known.filter(|condition| condition.status == "False");
    if known.is_some_and(|known| {
        known.reason.as_deref() == Some(report.reason) && known.message.as_deref() == Some(&report.message)
    }) {
        return key;
    }
    let since = known.and_then(|known| known.last_transition_time.as_ref());
    let since = since.map_or_else(|| client.clock().now(), |time| time.0);
    let patch = json!({
        "metadata": { "uid": pod.object().uid() },
        "status": { "conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": report.reason,
            "message": report.message,
            "lastProbeTime": null,
            "lastTransitionTime": format!("{since:.0}"),
        }]},
    });
    let pods = client.namespaced::<Pod>(&key.namespace);
    let written = pods.patch_status(&key.name, PatchKind::Strategic, patch).await;
    log(&key, "set the condition PodScheduled", written.err());
    key
}

/// Reports are repeated with the pod's next attempt: a failure is for the log.
fn log(pod: &PodKey, what: &str, error: Option<Error>) {
    if let Some(error) = error.filter(|error| !error.is_not_found() && !error.is_conflict()) {
        tracing::warn!(%pod, %error, "could not {what}");
    }
}

/// Cuts a message to what an event holds.
fn shorten(message: &str) -> String {
    const MORE: &str = " ...";
    if message.len() <= EVENT_MESSAGE_BYTES {
        return message.to_owned();
    }
    let mut end = EVENT_MESSAGE_BYTES - MORE.len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MORE}", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(shorten("short"), "short");
        let cut = shorten(&"ä".repeat(1000));
        assert!(cut.len() <= EVENT_MESSAGE_BYTES && cut.ends_with("ä ..."), "{}", cut.len());
    }
}
