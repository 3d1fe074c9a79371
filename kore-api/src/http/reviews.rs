//! What a user may ask about themselves: `kubectl auth whoami` and `kubectl auth can-i`.
//!
//! These are resources that are only ever created and never stored, so they are no entries of the server's registry.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::accept::negotiate;
use super::path::ResourcePath;
use super::resource::{body_format, subresource_verbs};
use super::respond::json as write_json;
use super::routes::method_not_allowed;
use super::{Body, Core, discovery};
use crate::auth::{Attributes, Decision, ResourceAttributes, User};
use crate::codec;
use crate::error::Status;
use crate::object::{ResourceType, Scope};
use crate::registry::{Registry, ResourceInfo};
use crate::request::Verb;

const ACCESS: &str = "selfsubjectaccessreviews";
const RULES: &str = "selfsubjectrulesreviews";
const SELF: &str = "selfsubjectreviews";

const VERBS: [Verb; 8] =
    [Verb::Create, Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];

/// The reviews, as discovery shows them.
pub(super) fn registry() -> Registry {
    let review = |group: &'static str, plural: &'static str, kind: &'static str| {
        let (group, version) = (group.into(), "v1".into());
        let resource = ResourceType { group, version, plural: plural.into(), kind: kind.into(), scope: Scope::Cluster };
        let mut info = ResourceInfo::new(resource);
        info.has_status = false;
        info
    };
    Registry::new()
        .with(review("authorization.k8s.io", ACCESS, "SelfSubjectAccessReview"))
        .with(review("authorization.k8s.io", RULES, "SelfSubjectRulesReview"))
        .with(review("authentication.k8s.io", SELF, "SelfSubjectReview"))
}

/// Whether a resource is a review: it can be created, and nothing else.
pub(super) fn is_review(resource: &ResourceType) -> bool {
    matches!(
        (&*resource.group, &*resource.plural),
        ("authorization.k8s.io", ACCESS | RULES) | ("authentication.k8s.io", SELF)
    )
}

/// Answers a review.
pub(super) async fn answer(
    core: &dyn Core,
    user: &User,
    head: &Parts,
    path: &ResourcePath,
    body: &Bytes,
) -> Result<Response<Body>, Status> {
    if head.method != Method::POST || path.name.is_some() || path.namespace.is_some() {
        return Err(method_not_allowed());
    }
    negotiate(&head.headers, false)?;
    let decoded = codec::decode(body_format(&head.headers)?, body, &codec::Limits::default());
    let mut review = decoded.map_err(|error| Status::bad_request(error.to_string()))?.value;
    if !review.is_object() {
        return Err(Status::bad_request("the body of the request must be an object"));
    }
    let status = match &*path.plural {
        ACCESS => access(core, user, &review["spec"]).await?,
        RULES => rules(core, user, review["spec"]["namespace"].as_str().unwrap_or_default()).await,
        _ => {
            json!({"userInfo": {"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra}})
        }
    };
    review["status"] = status;
    let mut response = write_json(&review);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

async fn access(core: &dyn Core, user: &User, spec: &Value) -> Result<Value, Status> {
    let text = |attributes: &Value, field: &str| attributes[field].as_str().unwrap_or_default().to_owned();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match (resource.is_object(), path.is_object()) {
        (true, false) => {
            let verb = text(resource, "verb");
            let asked: Vec<Verb> = VERBS.into_iter().filter(|known| verb == "*" || verb == known.as_str()).collect();
            if asked.is_empty() {
                let problem = format!("the verb {verb:?} means nothing to this server");
                return Ok(json!({"allowed": false, "reason": problem}));
            }
            let field = |name| text(resource, name);
            let (group, version, plural) = (field("group"), field("version"), field("resource"));
            let (subresource, namespace, name) = (field("subresource"), field("namespace"), field("name"));
            let mut decision = Decision::Allow;
            for verb in asked {
                let resource = ResourceAttributes {
                    verb,
                    group: &group,
                    version: &version,
                    resource: &plural,
                    subresource: &subresource,
                    namespace: &namespace,
                    name: &name,
                };
                decision = decide(core, user, resource).await;
                if decision != Decision::Allow {
                    break;
                }
            }
            Ok(shown(decision))
        }
        (false, true) => {
            let (path, verb) = (text(path, "path"), text(path, "verb"));
            let attributes = Attributes { user, resource: None, path: &path, verb: &verb };
            Ok(shown(core.authorize(&attributes).await))
        }
        _ => Err(Status::bad_request("spec: exactly one of resourceAttributes and nonResourceAttributes must be set")),
    }
}

fn shown(decision: Decision) -> Value {
    match decision {
        Decision::Allow => json!({"allowed": true}),
        Decision::Deny(reason) => json!({"allowed": false, "denied": true, "reason": reason}),
        Decision::NoOpinion(reason) => json!({"allowed": false, "reason": reason}),
    }
}

async fn decide(core: &dyn Core, user: &User, resource: ResourceAttributes<'_>) -> Decision {
    let verb = resource.verb.as_str();
    core.authorize(&Attributes { user, resource: Some(resource), path: "", verb }).await
}

/// What the user may do in a namespace, found out by asking about everything there is.
async fn rules(core: &dyn Core, user: &User, namespace: &str) -> Value {
    let registry = core.registry();
    let mut rules: Vec<Value> = Vec::new();
    let mut everything = true;
    for info in registry.iter() {
        let resource = &info.resource;
        let parts = discovery::subresources(info);
        for part in std::iter::once("").chain(parts) {
            let possible = if part.is_empty() { &VERBS[..] } else { subresource_verbs(info, part).unwrap_or_default() };
            let mut allowed: Vec<&str> = Vec::new();
            for verb in possible {
                let attributes = ResourceAttributes {
                    verb: *verb,
                    group: &resource.group,
                    version: &resource.version,
                    resource: &resource.plural,
                    subresource: part,
                    namespace: if resource.is_namespaced() { namespace } else { "" },
                    name: "",
                };
                if decide(core, user, attributes).await == Decision::Allow {
                    allowed.push(verb.as_str());
                }
            }
            everything &= allowed.len() == possible.len();
            let name =
                if part.is_empty() { resource.plural.to_string() } else { format!("{}/{part}", resource.plural) };
            if !allowed.is_empty() {
                rules.push(json!({"verbs": allowed, "apiGroups": [resource.group], "resources": [name]}));
            }
        }
    }
    if everything {
        rules = vec![json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})];
    }
    let paths =
        ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"];
    json!({
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": paths}],
        "incomplete": false,
    })
}
