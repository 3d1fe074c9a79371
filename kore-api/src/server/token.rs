//! The `token` subresource of service accounts: issues tokens, and knows who shows one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use serde_json::{Value, json};

use super::body;
use super::core::no_such_resource;
use super::core::{Call, Core, timestamp};
use super::create::Subject;
use crate::admission::Lookup;
use crate::auth::{AccountTokens, Authenticator, Claims, InvalidCredentials, Named, Private, Unknown, User};
use crate::error::{FieldError, Status};
use crate::object::{Object, ObjectKey, ResourceType};
use crate::request::{Body, Content, Verb};

/// For how long a token is good that asks for no time of its own.
const SECONDS: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

const ACCOUNTS: ResourceType = ResourceType::of::<ServiceAccount>();
const PODS: ResourceType = ResourceType::of::<Pod>();
const SECRETS: ResourceType = ResourceType::of::<Secret>();
const NODES: ResourceType = ResourceType::of::<Node>();

impl Call<'_> {
    /// Issues a token for the account, which ends with its time, the account, and the object that it is bound to, if any. (KEP-1205,
    /// KEP-4193.)
    pub(super) async fn issue_token(&mut self, name: &str, body: Body) -> Result<Content, Status> {
        let Some(tokens) = self.core.account_tokens.as_ref() else {
            return Err(no_such_resource());
        };
        let mut request = body::other(body, "authentication.k8s.io/v1", "TokenRequest")?;
        let key = self.key(name);
        let lookup = Lookup::new(self.core);
        let account = existing(lookup, &ACCOUNTS, &key).await?;
        let spec = &request["spec"];
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(SECONDS);
        check_seconds(seconds)?;
        let private = self.bound(lookup, &account, &spec["boundObjectRef"]).await?;
        let mut audiences = texts(&spec["audiences"]);
        if audiences.is_empty() {
            audiences.push(tokens.issued_by().to_owned());
        }
        // What stages make of the request is nothing: they may refuse it.
        let value = account.to_unmanaged_value();
        let subject = Subject { verb: Verb::Create, subresource: "token", key: &key, old: Some((&account, &value)) };
        self.admit(&subject, request.clone(), |_| {}, false).await?;

        let now = self.core.clock.now();
        let end = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
        let claims = Claims {
            aud: audiences.clone(),
            exp: end.as_second(),
            iat: now.as_second(),
            iss: tokens.issued_by().to_owned(),
            jti: self.core.entropy.uuid_v4(),
            nbf: now.as_second(),
            sub: User::service_account(&key.namespace, name).name,
            private,
        };
        request["apiVersion"] = "authentication.k8s.io/v1".into();
        request["kind"] = "TokenRequest".into();
        request["metadata"] = json!({"name": name, "namespace": &*key.namespace, "creationTimestamp": timestamp(now)});
        request["spec"]["expirationSeconds"] = seconds.into();
        request["spec"]["audiences"] = json!(audiences);
        if !self.options.dry_run {
            let token = tokens.sign(&claims).map_err(Status::internal)?;
            request["status"] = json!({"token": token, "expirationTimestamp": timestamp(end)});
        }
        Ok(Content::Value(request))
    }

    /// Whose the token is, and what it is bound to.
    async fn bound(&self, lookup: Lookup<'_>, account: &Object, wanted: &Value) -> Result<Private, Status> {
        let namespace = account.namespace().unwrap_or_default();
        let mut private =
            Private { namespace: namespace.to_owned(), serviceaccount: named(account), ..Private::default() };
        if wanted.is_null() {
            return Ok(private);
        }
        let text = |field: &str| wanted[field].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let resource = match (text("apiVersion"), kind) {
            ("v1", "Pod") => PODS,
            ("v1", "Secret") => SECRETS,
            ("v1", "Node") => NODES,
            (version, kind) => {
                let problem = format!("cannot bind token to object of type {version}, Kind={kind}");
                return Err(Status::bad_request(problem));
            }
        };
        let key = match resource.is_namespaced() {
            true => ObjectKey::namespaced(namespace, name),
            false => ObjectKey::cluster(name),
        };
        let object = existing(lookup, &resource, &key).await?;
        if !text("uid").is_empty() && text("uid") != object.uid() {
            let problem = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted \
                 and then recreated",
                text("uid")
            );
            return Err(Status::conflict(&resource, name, problem));
        }
        match kind {
            "Pod" => {
                let pod = object.to_unmanaged_value();
                let runs_as = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
                if runs_as != account.name() {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {:?} to pod running with serviceaccount {runs_as:?}",
                        account.name()
                    )));
                }
                let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
                private.node = node.map(|node| {
                    let uid = lookup.cached(&NODES, &ObjectKey::cluster(node));
                    Named { name: node.to_owned(), uid: uid.map(|node| node.uid().to_owned()).unwrap_or_default() }
                });
                private.pod = Some(named(&object));
            }
            "Secret" => private.secret = Some(named(&object)),
            _ => private.node = Some(named(&object)),
        }
        Ok(private)
    }
}

fn check_seconds(seconds: i64) -> Result<(), Status> {
    let problem = match seconds {
        ..SECONDS_MIN => "may not specify a duration less than 10 minutes",
        SECONDS_MIN..=SECONDS_MAX => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let requests = ResourceType {
        group: "authentication.k8s.io".into(),
        plural: "tokenrequests".into(),
        kind: "TokenRequest".into(),
        ..ACCOUNTS
    };
    Err(Status::invalid(&requests, "", &[FieldError::invalid("spec.expirationSeconds", seconds, problem)]))
}

fn named(object: &Object) -> Named {
    Named { name: object.name().to_owned(), uid: object.uid().to_owned() }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn existing(lookup: Lookup<'_>, resource: &ResourceType, key: &ObjectKey) -> Result<Object, Status> {
    if let Some(object) = lookup.cached(resource, key) {
        return Ok(object);
    }
    lookup.get(resource, key).await?.ok_or_else(|| Status::not_found(resource, &key.name))
}

/// Knows service accounts by the tokens that the server has issued: those that are not over, are for the server itself, and whose
/// account, and pod, secret or node that they are bound to, are still there. Users bear the account's name and groups, and in `extra`,
/// as upstream, the token's id and the pod and node it is for.
#[derive(Clone)]
pub struct AccountAuthenticator {
    core: Arc<Core>,
    tokens: AccountTokens,
}

impl AccountAuthenticator {
    pub(super) fn new(core: Arc<Core>, tokens: AccountTokens) -> Self {
        Self { core, tokens }
    }

    async fn check(&self, claims: &Claims) -> Result<(), String> {
        let now = self.core.clock.now().as_second();
        if now >= claims.exp {
            return Err("service account token has expired".into());
        }
        if now < claims.nbf {
            return Err("service account token is not valid yet".into());
        }
        if !claims.aud.iter().any(|audience| audience == self.tokens.issued_by()) {
            return Err(format!("token audiences {:?} is invalid for the target audiences", claims.aud));
        }
        let (lookup, private) = (Lookup::new(&self.core), &claims.private);
        let all = [
            (ACCOUNTS, Some(&private.serviceaccount)),
            (PODS, private.pod.as_ref()),
            (SECRETS, private.secret.as_ref()),
            // Of a pod's node the token only tells.
            (NODES, private.node.as_ref().filter(|_| private.pod.is_none())),
        ];
        for (resource, bound) in all {
            let Some(bound) = bound else { continue };
            let key = match resource.is_namespaced() {
                true => ObjectKey::namespaced(&*private.namespace, &*bound.name),
                false => ObjectKey::cluster(&*bound.name),
            };
            let found = existing(lookup, &resource, &key).await.map_err(|status| status.to_string())?;
            let gone = found.deletion_timestamp().and_then(|time| time.parse::<Timestamp>().ok());
            if found.uid() != bound.uid || gone.is_some_and(|gone| gone.as_second() <= now) {
                return Err(format!("{resource} {key} of the token is no longer there"));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Authenticator for AccountAuthenticator {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, InvalidCredentials> {
        let header = request.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let token = match header.split_at_checked("bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => return Ok(None),
        };
        let claims = match std::str::from_utf8(token).map(|token| self.tokens.read(token)) {
            Ok(Ok(claims)) => claims,
            Ok(Err(Unknown::Forged)) => return Err(InvalidCredentials("a forged service account token".into())),
            Ok(Err(Unknown::Foreign)) | Err(_) => return Ok(None),
        };
        self.check(&claims).await.map_err(InvalidCredentials)?;
        Ok(Some(user(claims)))
    }
}

fn user(claims: Claims) -> User {
    let Private { namespace, node, pod, serviceaccount, .. } = claims.private;
    let mut user = User::service_account(&namespace, &serviceaccount.name);
    user.uid = serviceaccount.uid;
    let mut note = |what: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{what}"), vec![value]);
    };
    note("credential-id", format!("JTI={}", claims.jti));
    for (what, object) in [("pod", pod), ("node", node)] {
        if let Some(object) = object {
            note(&format!("{what}-name"), object.name);
            note(&format!("{what}-uid"), object.uid);
        }
    }
    user
}

impl fmt::Debug for AccountAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountAuthenticator({:?})", self.tokens)
    }
}
