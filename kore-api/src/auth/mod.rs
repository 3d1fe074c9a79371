//! Who asks, and whether they may.
//!
//! - [`User`]: an identity. Every request has one; in the server's own process too.
//! - [`Authenticator`]: finds out who sent an HTTP request; [`TokenAuthenticator`] (`token.rs`) by a bearer token,
//!   [`Authenticators`] (`union.rs`) by asking several.
//! - [`AccountTokens`] (`account.rs`): signs and knows the tokens of service accounts.
//! - [`Authorizer`]: decides whether a user may do something.
//! - [`ComponentRules`] (`rules.rs`): what the components of a cluster may do.

mod account;
mod rules;

pub use account::AccountTokens;
pub(crate) use account::{Claims, Named, Private, Unknown};
pub use rules::ComponentRules;

mod token;
mod union;

pub use token::TokenAuthenticator;
pub use union::Authenticators;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::request::Verb;

/// The group of users who may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of all users that have been authenticated.
pub const AUTHENTICATED: &str = "system:authenticated";

/// An identity: what authenticators find out and authorisers decide on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The name, unique among users, for example `system:kube-scheduler`.
    pub name: String,
    /// Tells users of one name at different times apart; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Whatever else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user in the group of all authenticated users.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), groups: vec![AUTHENTICATED.into()], ..Self::default() }
    }

    /// The same user in one more group.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Somebody who has shown no credentials.
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".into()];
        Self { name: "system:anonymous".into(), groups, ..Self::default() }
    }

    /// An administrator, who may do everything.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin").in_group(MASTERS)
    }

    /// The agent of a node, by upstream's convention: `system:node:NAME` in the group `system:nodes`.
    pub fn node(name: &str) -> Self {
        Self::new(format!("system:node:{name}")).in_group("system:nodes")
    }

    /// A service account, by upstream's convention.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::new(format!("system:serviceaccount:{namespace}:{name}"))
            .in_group("system:serviceaccounts")
            .in_group(format!("system:serviceaccounts:{namespace}"))
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|other| other == group)
    }
}

/// Finds out who sent an HTTP request.
///
/// `Ok(None)` means: this request carries no credentials of my sort; with no other authenticator to ask the request is
/// refused (401). An `Err` refuses it at once: the credentials are of my sort and wrong.
///
/// ```
/// use kore_api::auth::{Authenticator, InvalidCredentials, User};
///
/// /// Trusts a header that a proxy in front has set.
/// struct ProxyHeader;
///
/// #[async_trait::async_trait]
/// impl Authenticator for ProxyHeader {
///     async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, InvalidCredentials> {
///         let name = request.headers.get("x-remote-user").and_then(|name| name.to_str().ok());
///         Ok(name.map(User::new))
///     }
/// }
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The user who sent `request`.
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, InvalidCredentials>;
}

/// Credentials that are of the authenticator's sort and wrong. What is wrong with them is logged, not told.
#[derive(Debug, thiserror::Error)]
#[error("invalid credentials: {0}")]
pub struct InvalidCredentials(pub String);

/// What somebody asks to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a User,
    /// What to do on a resource; `None` for a path outside the resources (`/metrics`).
    pub resource: Option<ResourceAttributes<'a>>,
    /// The HTTP path; empty for requests from the server's own process.
    pub path: &'a str,
    /// The HTTP method in lower case for a path outside the resources, else the verb.
    pub verb: &'a str,
}

impl<'a> Attributes<'a> {
    /// Something done to a resource.
    pub fn on_resource(user: &'a User, resource: ResourceAttributes<'a>) -> Self {
        let verb = resource.verb.as_str();
        Self { user, resource: Some(resource), path: "", verb }
    }

    /// A method, in lower case, on a path outside the resources.
    pub fn on_path(user: &'a User, verb: &'a str, path: &'a str) -> Self {
        Self { user, resource: None, path, verb }
    }
}

impl<'a> ResourceAttributes<'a> {
    /// A verb on a collection of a group (empty: the core group), in all namespaces. Which part of it, where and of which name can
    /// be set.
    pub fn new(verb: Verb, group: &'a str, version: &'a str, resource: &'a str) -> Self {
        Self { verb, group, version, resource, subresource: "", namespace: "", name: "" }
    }
}

/// The part of [`Attributes`] about a resource.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResourceAttributes<'a> {
    /// What to do.
    pub verb: Verb,
    /// The API group.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The resource, plural.
    pub resource: &'a str,
    /// Which part of it; empty: the object itself.
    pub subresource: &'a str,
    /// The namespace; empty: all, or cluster-scoped.
    pub namespace: &'a str,
    /// The name; empty for verbs on collections.
    pub name: &'a str,
}

/// What an authoriser says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// No, whatever others say.
    Deny(String),
    /// Not for me to say: ask the next one. If nobody allows, the answer is no.
    NoOpinion(String),
}

/// Decides whether a user may do something.
///
/// ```
/// use kore_api::auth::{Attributes, Authorizer, Decision};
///
/// /// Everybody may read, and nothing else.
/// struct ReadOnly;
///
/// #[async_trait::async_trait]
/// impl Authorizer for ReadOnly {
///     async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
///         match &attributes.resource {
///             Some(resource) if resource.verb.is_read() => Decision::Allow,
///             _ => Decision::NoOpinion("only reads are allowed".into()),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `attributes` is allowed.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

#[async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Arc<A> {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        (**self).authorize(attributes).await
    }
}

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, InvalidCredentials> {
        (**self).authenticate(request).await
    }
}
