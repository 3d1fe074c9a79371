//! One request to the API, however it travels.
//!
//! A [`Request`] is what the HTTP front end makes of an `http::Request`, what [`crate::client::Client`] makes of a method
//! call, and what the server's core answers. In the server's own process a client's request reaches the core as it is; over
//! the network the client's [`crate::client::Transport`] writes it as HTTP. Nothing else differs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use kore_store::Revision;
use serde_json::Value;

use crate::codec::Format;
use crate::error::{Error, Status};
use crate::object::{Object, ResourceType};
use crate::patch::PatchKind;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verb {
    /// Read one object, or one of its subresources.
    Get,
    /// Read many.
    List,
    /// Follow changes.
    Watch,
    /// Make a new object, or post to a subresource (`binding`).
    Create,
    /// Replace an object, or its `status` or `scale`.
    Update,
    /// Change part of an object.
    Patch,
    /// Delete one.
    Delete,
    /// Delete many.
    DeleteCollection,
}

impl Verb {
    /// As authorisers and discovery write it: `deletecollection`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes nothing.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a client that has none of its own.
pub(crate) const DEFAULT_USER_AGENT: &str = "kore";

/// One request: a verb on a resource, with options and a body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// What to do.
    pub verb: Verb,
    /// On which resource.
    pub resource: Arc<ResourceType>,
    /// In which namespace; `None`: in all of them, or the resource is cluster-scoped.
    pub namespace: Option<Arc<str>>,
    /// Which object; `None` for verbs on collections.
    pub name: Option<Arc<str>>,
    /// Which part of it, for example `status`.
    pub subresource: Option<Arc<str>>,
    /// How.
    pub options: Options,
    /// With what.
    pub body: Body,
    /// The program that sends, without its version: who owns the fields of a write that names no `field_manager`. At most 128
    /// characters count.
    pub user_agent: Arc<str>,
}

impl Request {
    /// A verb on a resource: on its collection in all namespaces, with no options and no body. All of that can be set.
    pub fn new(verb: Verb, resource: impl Into<Arc<ResourceType>>) -> Self {
        Self {
            verb,
            resource: resource.into(),
            namespace: None,
            name: None,
            subresource: None,
            options: Options::default(),
            body: Body::Empty,
            user_agent: Arc::from(DEFAULT_USER_AGENT),
        }
    }
}

/// The body of a request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// An object as a tree: what clients in the server's own process send.
    Value(Value),
    /// An object as it came over the wire.
    Encoded(Format, Bytes),
    /// A patch in the kind's own syntax, as a tree.
    Patch(PatchKind, Value),
    /// A patch as it came over the wire; JSON or YAML.
    EncodedPatch(PatchKind, Bytes),
}

/// The options of a request: the query parameters of the API, and for deletions the `DeleteOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Only objects whose labels match (`a=b,c!=d,e in (f,g),!h`).
    pub label_selector: Option<String>,
    /// Only objects whose fields match (`spec.nodeName=n,status.phase!=Running`).
    pub field_selector: Option<String>,
    /// At most so many objects a page; 0: all.
    pub limit: u64,
    /// Where the last page ended: its `continue` token.
    pub continue_token: Option<String>,
    /// From which revision; its meaning depends on the verb and on `resource_version_match`.
    pub resource_version: Option<String>,
    /// `Exact` or `NotOlderThan`.
    pub resource_version_match: Option<String>,
    /// A watch ends after so long.
    pub timeout_seconds: Option<u64>,
    /// A watch tells how far it is, from time to time.
    pub allow_watch_bookmarks: bool,
    /// A watch starts with the objects there are, then a bookmark that says so.
    pub send_initial_events: bool,
    /// All but the storing: admission and validation happen, nothing is kept.
    pub dry_run: bool,
    /// Who writes, for `managedFields`: at most 128 printable characters. Server-side apply demands it; of other writes that do not say
    /// it is the request's `user_agent`.
    pub field_manager: Option<String>,
    /// What to do about unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Server-side apply takes fields over from other managers, instead of failing with a conflict.
    pub force: bool,
    /// A deletion lets the object live on for so long; `None`: as its kind says.
    pub grace_period_seconds: Option<i64>,
    /// What a deletion does with dependants.
    pub propagation: Option<Propagation>,
    /// A write or deletion happens only if the object still has this uid.
    pub precondition_uid: Option<String>,
    /// A deletion happens only if the object still is at this revision.
    pub precondition_revision: Option<String>,
    /// Parameters of a subresource that the API itself does not know (`follow`, `tailLines`), as they came.
    pub extra: Vec<(String, String)>,
}

impl Options {
    /// Only objects whose labels match, in selector syntax.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.label_selector = Some(selector.into());
        self
    }

    /// Only objects whose fields match, in selector syntax.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.field_selector = Some(selector.into());
        self
    }

    /// At most so many objects a page.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// From this revision on.
    #[must_use]
    pub fn from_revision(mut self, revision: Revision) -> Self {
        self.resource_version = Some(revision.to_string());
        self
    }

    /// Where the last page ended: its `continue` token.
    #[must_use]
    pub fn continue_token(mut self, token: impl Into<String>) -> Self {
        self.continue_token = Some(token.into());
        self
    }

    /// A revision as the wire has it: `0` is any that the server has at hand.
    #[must_use]
    pub fn resource_version(mut self, version: impl Into<String>) -> Self {
        self.resource_version = Some(version.into());
        self
    }

    /// How the revision is meant: `Exact` or `NotOlderThan`.
    #[must_use]
    pub fn resource_version_match(mut self, matching: impl Into<String>) -> Self {
        self.resource_version_match = Some(matching.into());
        self
    }

    /// A watch ends after so many seconds.
    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u64) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }

    /// Whether a watch tells how far it is, from time to time.
    #[must_use]
    pub fn allow_watch_bookmarks(mut self, allow: bool) -> Self {
        self.allow_watch_bookmarks = allow;
        self
    }

    /// Whether a watch starts with the objects there are, then a bookmark that says so.
    #[must_use]
    pub fn send_initial_events(mut self, send: bool) -> Self {
        self.send_initial_events = send;
        self
    }

    /// Whether nothing is kept of what is written.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Who writes, for `managedFields`.
    #[must_use]
    pub fn field_manager(mut self, manager: impl Into<String>) -> Self {
        self.field_manager = Some(manager.into());
        self
    }

    /// What to do about unknown and duplicate fields.
    #[must_use]
    pub fn field_validation(mut self, validation: FieldValidation) -> Self {
        self.field_validation = validation;
        self
    }

    /// Whether server-side apply takes fields over from other managers.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// One more parameter of a subresource that the API itself does not know, for example `tailLines`.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.push((name.into(), value.into()));
        self
    }

    /// A deletion lets the object live on for so many seconds.
    #[must_use]
    pub fn grace_period_seconds(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }

    /// What a deletion does with dependants.
    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = Some(propagation);
        self
    }

    /// Only if the object still has this uid.
    #[must_use]
    pub fn precondition_uid(mut self, uid: impl Into<String>) -> Self {
        self.precondition_uid = Some(uid.into());
        self
    }

    /// Only if the object still is at this revision.
    #[must_use]
    pub fn precondition_revision(mut self, revision: Revision) -> Self {
        self.precondition_revision = Some(revision.to_string());
        self
    }
}

/// What to do about unknown and duplicate fields in a body (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn. The default of the API.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// What a deletion does with the objects that the deleted one owns (`propagationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Propagation {
    /// Delete the object now, its dependants afterwards.
    Background,
    /// Delete the dependants first.
    Foreground,
    /// Leave the dependants, without an owner.
    Orphan,
}

/// The answer to a request that succeeded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Response {
    /// What the client should be told besides (`Warning` headers).
    pub warnings: Vec<String>,
    /// The answer.
    pub content: Content,
}

/// What an answer holds.
#[non_exhaustive]
pub enum Content {
    /// One object.
    Object(Object),
    /// One object that has just been created (201).
    Created(Object),
    /// A page of objects.
    List(ObjectList),
    /// A value that is no stored object: a `Scale`, a `Table`.
    Value(Value),
    /// Success without an object: a deletion that is done, a binding.
    Status(Status),
    /// Changes, as they happen.
    Watch(WatchStream),
    /// Raw bytes, as they come: a log.
    Bytes(BoxStream<'static, Result<Bytes, Error>>),
}

impl From<Content> for Response {
    fn from(content: Content) -> Self {
        Self { warnings: Vec::new(), content }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(f, "Object({object:?})"),
            Self::Created(object) => write!(f, "Created({object:?})"),
            Self::List(list) => write!(f, "List({} at {})", list.items.len(), list.revision),
            Self::Value(value) => write!(f, "Value({value})"),
            Self::Status(status) => write!(f, "Status({status})"),
            Self::Watch(_) => f.write_str("Watch"),
            Self::Bytes(_) => f.write_str("Bytes"),
        }
    }
}

/// A page of objects, consistent at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectList {
    /// The objects, ordered by namespace and name.
    pub items: Vec<Object>,
    /// The revision at which this is what there was; a watch continues from it.
    pub revision: Revision,
    /// Where the next page begins, if there is one.
    pub continue_token: Option<String>,
    /// How many objects are behind this page, where it is known.
    pub remaining: Option<u64>,
}

/// Changes of a collection, in the order of their revisions.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, Error>>;

/// One change of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The object is new, or has come to match the selector.
    Added(Object),
    /// The object has changed.
    Modified(Object),
    /// The object is gone, or has ceased to match. It is shown as it last was, at the revision of the change.
    Deleted(Object),
    /// Everything up to this revision has been sent.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether this ends the objects that a watch with `send_initial_events` starts with.
        initial_events_end: bool,
    },
}
