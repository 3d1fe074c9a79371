//! What to do about one namespace on its way out: pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// The finalizer, in `spec.finalizers`, that this controller answers for.
pub(crate) const FINALIZER: &str = "kubernetes";
/// How soon to look again at content that has only finalizers to wait for, at least.
const SOON: Duration = Duration::from_secs(1);
/// And at most.
const LATE: Duration = Duration::from_secs(15);

/// What a round of deleting left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// By resource (`deployments.apps`): how many objects there still are.
    pub(crate) remaining: BTreeMap<String, usize>,
    /// By finalizer: how many of them wait for it.
    pub(crate) finalizers: BTreeMap<String, usize>,
    /// By resource: why it could not be emptied.
    pub(crate) failures: BTreeMap<String, String>,
    /// The longest grace period of what is being stopped, in seconds.
    pub(crate) grace_seconds: u64,
}

/// What comes after a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another round, after this long.
    Wait(Duration),
    /// The namespace is empty: take the finalizer away.
    Finalize,
}

/// Whether there is anything to do at all.
pub(crate) fn is_ours(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some() && finalizers.is_some_and(|all| all.iter().any(|f| f == FINALIZER))
}

/// The status after a round, and what comes next.
pub(crate) fn plan(namespace: &Namespace, content: &Content, now: Timestamp) -> (NamespaceStatus, Next) {
    let mut status = namespace.status.clone().unwrap_or_default();
    status.phase = Some("Terminating".into());
    let failed = (!content.failures.is_empty()).then(|| listed(&content.failures, "; "));
    let remaining = (!content.remaining.is_empty()).then(|| listed(&content.remaining, ", "));
    let held = (!content.finalizers.is_empty()).then(|| listed(&content.finalizers, ", "));
    // (type, reason when it is so, reason when it is not, what is wrong)
    let conditions = [
        ("NamespaceDeletionDiscoveryFailure", "DiscoveryFailed", "ResourcesDiscovered", None),
        ("NamespaceDeletionGroupVersionParsingFailure", "GroupVersionParsingFailed", "ParsedGroupVersions", None),
        ("NamespaceDeletionContentFailure", "ContentDeletionFailed", "ContentDeleted", failed),
        ("NamespaceContentRemaining", "SomeResourcesRemain", "ContentRemoved", remaining),
        ("NamespaceFinalizersRemaining", "SomeFinalizersRemain", "ContentHasNoFinalizers", held),
    ];
    for (type_, bad, good, problem) in conditions {
        let (value, reason) = if problem.is_some() { ("True", bad) } else { ("False", good) };
        set(&mut status, type_, value, reason, problem.unwrap_or_else(|| "nothing left to do".into()), now);
    }
    let next = match (content.remaining.is_empty(), content.failures.is_empty()) {
        (true, true) => Next::Finalize,
        _ => Next::Wait(Duration::from_secs(content.grace_seconds / 2).clamp(SOON, LATE)),
    };
    (status, next)
}

fn listed<V: std::fmt::Display>(entries: &BTreeMap<String, V>, separator: &str) -> String {
    let entries: Vec<String> = entries.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    entries.join(separator)
}

fn set(status: &mut NamespaceStatus, type_: &str, value: &str, reason: &str, message: String, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().position(|condition| condition.type_ == type_);
    let since = known.map(|index| conditions.remove(index)).filter(|was| was.status == value);
    let since = since.and_then(|was| was.last_transition_time).unwrap_or(Time(now));
    let condition = NamespaceCondition {
        type_: type_.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(since),
    };
    conditions.insert(known.unwrap_or(conditions.len()), condition);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::{at, meta, time};
    use k8s_openapi::api::core::v1::NamespaceSpec;

    fn namespace(finalizers: &[&str]) -> Namespace {
        let mut namespace = Namespace { metadata: meta("shop"), ..Namespace::default() };
        namespace.metadata.deletion_timestamp = Some(time(0));
        let finalizers = finalizers.iter().map(|finalizer| finalizer.to_string()).collect();
        namespace.spec = Some(NamespaceSpec { finalizers: Some(finalizers) });
        namespace
    }

    fn content(remaining: usize, finalizers: usize, failure: &str, grace_seconds: u64) -> Content {
        let entry = |name: &str, count| (count > 0).then(|| (name.to_string(), count)).into_iter().collect();
        let failures =
            (!failure.is_empty()).then(|| ("secrets".to_string(), failure.to_string())).into_iter().collect();
        Content {
            remaining: entry("pods", remaining),
            finalizers: entry("example.com/wait", finalizers),
            failures,
            grace_seconds,
        }
    }

    #[test]
    fn what_comes_next() {
        let wait = |seconds| Next::Wait(Duration::from_secs(seconds));
        // content -> next, and the conditions that are True
        let rows: [(&str, Content, Next, &[&str]); 5] = [
            ("empty", content(0, 0, "", 0), Next::Finalize, &[]),
            ("pods stop", content(2, 0, "", 20), wait(10), &["NamespaceContentRemaining"]),
            ("pods stop for long", content(2, 0, "", 600), wait(15), &["NamespaceContentRemaining"]),
            (
                "a finalizer holds",
                content(1, 1, "", 0),
                wait(1),
                &["NamespaceContentRemaining", "NamespaceFinalizersRemaining"],
            ),
            ("something failed", content(0, 0, "forbidden", 0), wait(1), &["NamespaceDeletionContentFailure"]),
        ];
        for (what, content, next, conditions) in rows {
            let (status, got) = plan(&namespace(&[FINALIZER]), &content, at(5));
            assert_eq!(got, next, "{what}");
            let all = status.conditions.expect("conditions");
            let holding: Vec<&str> = all.iter().filter(|c| c.status == "True").map(|c| c.type_.as_str()).collect();
            assert_eq!((holding.as_slice(), all.len()), (conditions, 5), "{what}");
        }
    }

    #[test]
    fn the_time_of_a_transition_stays() {
        let mut shop = namespace(&[FINALIZER]);
        let (status, _) = plan(&shop, &content(1, 0, "", 0), at(5));
        shop.status = Some(status.clone());
        assert_eq!(plan(&shop, &content(1, 0, "", 0), at(9)).0, status, "nothing new, nothing to write");
    }

    #[test]
    fn only_namespaces_on_their_way_out_that_wait_for_us() {
        assert!(is_ours(&namespace(&["example.com/other", FINALIZER])));
        assert!(!is_ours(&namespace(&["example.com/other"])));
        let mut alive = namespace(&[FINALIZER]);
        alive.metadata.deletion_timestamp = None;
        assert!(!is_ours(&alive));
    }
}
