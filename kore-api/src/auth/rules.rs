//! What the components of a cluster may do.

use async_trait::async_trait;

use super::{AUTHENTICATED, Attributes, Authorizer, Decision, MASTERS, ResourceAttributes, User};
use crate::request::Verb;

use Verb::{Create, Delete, Get, List, Patch, Update, Watch};

/// Lets administrators (the group `system:masters`) do everything, and the components of a cluster what they need, by their usual names:
/// `system:kube-scheduler`, `system:kube-controller-manager` (and the service accounts of `kube-system`), the nodes'
/// agents (the group `system:nodes`), `system:kube-proxy`. Everybody who is known may find out what there is
/// (discovery, version, health). About all else it has no opinion.
///
/// A node's agent may write its own Node and its own Lease, and no other's.
///
/// ```
/// use kore_api::auth::{Attributes, Authorizer, ComponentRules, Decision, User};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let user = User::admin();
/// let attributes = Attributes::on_path(&user, "get", "/metrics");
/// assert_eq!(ComponentRules.authorize(&attributes).await, Decision::Allow);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ComponentRules;

/// Verbs on resources, as `resource.group`, `resource/subresource`, or `*` for all.
struct Rule {
    verbs: &'static [Verb],
    resources: &'static [&'static str],
}

const READ: &[Verb] = &[Get, List, Watch];
const WRITE_STATUS: &[Verb] = &[Update, Patch];
const EVENTS: Rule = Rule { verbs: &[Create, Update, Patch], resources: &["events", "events.events.k8s.io"] };

const SCHEDULER: &[Rule] = &[
    Rule {
        verbs: READ,
        resources: &[
            "nodes",
            "pods",
            "namespaces",
            "services",
            "replicationcontrollers",
            "persistentvolumes",
            "persistentvolumeclaims",
            "replicasets.apps",
            "statefulsets.apps",
            "poddisruptionbudgets.policy",
            "priorityclasses.scheduling.k8s.io",
            "storageclasses.storage.k8s.io",
            "csinodes.storage.k8s.io",
            "csidrivers.storage.k8s.io",
            "csistoragecapacities.storage.k8s.io",
            "resourceclaims.resource.k8s.io",
            "resourceslices.resource.k8s.io",
            "deviceclasses.resource.k8s.io",
        ],
    },
    Rule { verbs: &[Create], resources: &["pods/binding"] },
    Rule { verbs: WRITE_STATUS, resources: &["pods/status", "resourceclaims/status.resource.k8s.io"] },
    Rule { verbs: &[Delete], resources: &["pods"] },
    Rule { verbs: &[Get, List, Watch, Create, Update, Patch], resources: &["leases.coordination.k8s.io"] },
    EVENTS,
];

const PROXY: &[Rule] =
    &[Rule { verbs: READ, resources: &["services", "nodes", "namespaces", "endpointslices.discovery.k8s.io"] }, EVENTS];

const NODES: &[Rule] = &[
    Rule {
        verbs: READ,
        resources: &[
            "nodes",
            "pods",
            "namespaces",
            "services",
            "configmaps",
            "secrets",
            "serviceaccounts",
            "persistentvolumes",
            "persistentvolumeclaims",
            "csidrivers.storage.k8s.io",
            "runtimeclasses.node.k8s.io",
        ],
    },
    Rule { verbs: WRITE_STATUS, resources: &["pods/status"] },
    Rule { verbs: &[Delete], resources: &["pods"] },
    Rule { verbs: &[Create], resources: &["serviceaccounts/token"] },
    EVENTS,
];

/// What a node's agent may do with what bears its own node's name.
const OWN_NODE: &[Rule] = &[
    Rule { verbs: &[Create, Update, Patch], resources: &["nodes", "nodes/status"] },
    Rule { verbs: &[Get, Create, Update, Patch, Delete], resources: &["leases.coordination.k8s.io"] },
];

/// Paths outside the resources that everybody who is known may read, and those that everybody may.
const DISCOVERY: &[&str] = &["/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz"];
const HEALTH: &[&str] = &["/version", "/healthz", "/livez", "/readyz"];

#[async_trait]
impl Authorizer for ComponentRules {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let user = attributes.user;
        let allowed = user.is_in(MASTERS)
            || match &attributes.resource {
                Some(resource) => may(user, resource),
                None => {
                    let paths = if user.is_in(AUTHENTICATED) { DISCOVERY } else { HEALTH };
                    attributes.verb == "get" && paths.iter().any(|path| is_under(attributes.path, path))
                }
            };
        if allowed { Decision::Allow } else { Decision::NoOpinion(String::new()) }
    }
}

fn is_under(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn may(user: &User, resource: &ResourceAttributes<'_>) -> bool {
    let any = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(resource));
    let reviews_itself = resource.verb == Create
        && matches!(resource.group, "authorization.k8s.io" | "authentication.k8s.io")
        && resource.resource.starts_with("selfsubject");
    if reviews_itself && user.is_in(AUTHENTICATED) {
        return true;
    }
    match user.name.as_str() {
        "system:kube-scheduler" => any(SCHEDULER),
        // It creates and collects objects of any kind.
        "system:kube-controller-manager" => true,
        "system:kube-proxy" => any(PROXY),
        name if name.starts_with("system:serviceaccount:kube-system:") => true,
        name if user.is_in("system:nodes") => {
            let node = name.strip_prefix("system:node:").filter(|node| !node.is_empty());
            // The name of what is created is not known yet from the request.
            let own =
                node.is_some_and(|node| resource.name == node || resource.verb == Create && resource.name.is_empty());
            node.is_some() && (any(NODES) || own && any(OWN_NODE))
        }
        _ => false,
    }
}

impl Rule {
    fn allows(&self, asked: &ResourceAttributes<'_>) -> bool {
        let is = |resource: &&&str| {
            let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            (resource, part, group) == (asked.resource, asked.subresource, asked.group)
        };
        self.verbs.contains(&asked.verb) && self.resources.iter().find(is).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(user: &User, verb: Verb, resource: &str, name: &str) -> bool {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let namespace = "default";
        may(user, &ResourceAttributes { verb, group, version: "v1", resource, subresource, namespace, name })
    }

    #[test]
    fn each_component_may_do_what_it_needs_and_no_more() {
        let scheduler = User::new("system:kube-scheduler");
        let controllers = User::service_account("kube-system", "deployment-controller");
        let workload = User::service_account("default", "app");
        let node = User::node("n1");
        let proxy = User::new("system:kube-proxy");
        for (user, verb, resource, name, expected) in [
            (&scheduler, Create, "pods/binding", "web", true),
            (&scheduler, Update, "pods", "web", false),
            (&scheduler, Patch, "pods/status", "web", true),
            (&scheduler, Get, "secrets", "web", false),
            (&scheduler, Create, "events.events.k8s.io", "", true),
            (&controllers, Verb::DeleteCollection, "anything.example.com", "", true),
            (&workload, Get, "pods", "web", false),
            (&node, Update, "nodes/status", "n1", true),
            (&node, Update, "nodes/status", "n2", false),
            (&node, Update, "leases.coordination.k8s.io", "n2", false),
            (&node, Create, "pods", "", false),
            (&node, Patch, "pods", "web", false),
            (&proxy, Watch, "endpointslices.discovery.k8s.io", "", true),
            (&proxy, Watch, "secrets", "", false),
            (&User::new("somebody"), List, "pods", "", false),
            (&User::new("impostor").in_group("system:nodes"), Get, "pods", "web", false),
        ] {
            assert_eq!(allowed(user, verb, resource, name), expected, "{} {verb} {resource} {name}", user.name);
        }
    }

    #[tokio::test]
    async fn paths() {
        let nobody = User::default();
        let somebody = User::new("somebody");
        for (user, path, verb, expected) in [
            (&nobody, "/readyz", "get", true),
            (&nobody, "/apis", "get", false),
            (&somebody, "/apis/apps/v1", "get", true),
            (&somebody, "/apisx", "get", false),
            (&somebody, "/metrics", "get", false),
            (&somebody, "/version", "post", false),
            (&User::admin(), "/metrics", "get", true),
        ] {
            let decision = ComponentRules.authorize(&Attributes { user, resource: None, path, verb }).await;
            assert_eq!(decision == Decision::Allow, expected, "{path}");
        }
    }
}
