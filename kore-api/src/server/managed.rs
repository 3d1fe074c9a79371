//! Whose fields are which: what a write does to `metadata.managedFields`, and server-side apply.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::core::Call;
use super::metadata;
use super::routes::{Route, Routes};
use super::update::{Made, Part};
use crate::error::{FieldError, Reason, Status};
use crate::managed::{
    Element, Filter, Pattern, Place, Problem, Refusal, Tracker, Versions, check_config, conflict_status, same_owners,
};
use crate::object::Object;
use crate::request::{Content, Verb};
use crate::schema;

/// What a write does to the managed fields.
pub(super) enum Ownership {
    /// Whoever writes owns what it changes. What the client itself says about managed fields, if anything.
    Track(Option<Value>),
    /// They stay as they are.
    Keep,
    /// They are these.
    Set(Option<Bytes>),
}

/// The types of a resource's objects: at the version of the request, and at the others that managers wrote.
struct Types<'c> {
    version: Cow<'c, str>,
    route: &'c Route,
    others: Arc<Routes>,
    filter: Filter,
}

impl Versions for Types<'_> {
    fn place(&self, version: &str) -> Option<Place<'_>> {
        if *version == *self.version {
            return Some(self.route.place());
        }
        self.route.info.versions.as_ref()?;
        let resource = self.route.resource();
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        self.others.get(group, version, &resource.plural).map(|route| route.place())
    }

    fn convert<'v>(&self, value: &'v Value, from: &str, to: &str) -> Result<Cow<'v, Value>, Problem> {
        match &self.route.info.versions {
            Some(_) if from == to => Ok(Cow::Borrowed(value)),
            Some(versions) => {
                let converted = versions.convert_one(value.clone(), to);
                converted.map(Cow::Owned).map_err(|status| Problem::here(status.message))
            }
            None => Err(Problem::here(format!("there is no way from {from} to {to}"))),
        }
    }

    fn filter(&self, _: &str) -> &Filter {
        &self.filter
    }
}

impl Call<'_> {
    fn types(&self, part: Part, is_new: bool) -> Types<'_> {
        let info = &self.route.info;
        let filter = match part {
            Part::Status | Part::Approval => {
                let status = Element::Field(Cow::Borrowed("status"));
                Filter::Only(Pattern::Only(vec![(Some(status), Pattern::All)]))
            }
            Part::Whole if info.has_status && !(is_new && info.status_on_create) => Filter::Field("status"),
            Part::Whole | Part::Scale | Part::Inner(_) => Filter::All,
        };
        let others = self.core.resources.now();
        Types { version: self.resource().api_version(), route: self.route, others, filter }
    }

    fn tracker<'t>(&'t self, types: &'t Types<'t>, subresource: &'t str, now: &'t str) -> Tracker<'t> {
        let manager = self.options.field_manager.as_deref().unwrap_or(self.user_agent);
        Tracker { versions: types, version: &types.version, manager, subresource, now }
    }

    /// The managed fields of a new object.
    pub(super) fn owned_by_creation(&self, sent: Option<&Value>, object: &Value) -> Option<Bytes> {
        let (types, now) = (self.types(Part::Whole, true), self.core.now());
        self.tracker(&types, "", &now).created(sent, object)
    }

    /// The managed fields of a changed object.
    pub(super) fn owned_by_change(
        &self,
        part: Part,
        ownership: Ownership,
        (old, old_value): (&Object, &Value),
        object: &Value,
    ) -> Option<Bytes> {
        match ownership {
            Ownership::Set(managed) => managed,
            Ownership::Keep => old.managed_fields().cloned(),
            Ownership::Track(sent) => {
                let (types, now) = (self.types(part, false), self.core.now());
                let tracker = self.tracker(&types, part.written_through(), &now);
                tracker.updated(old_value, old.managed_fields(), sent.as_ref(), object)
            }
        }
    }

    /// Server-side apply: the object is made where there is none.
    pub(super) async fn apply(
        &mut self,
        name: &str,
        part: Part,
        config: Value,
        duplicates: Vec<String>,
    ) -> Result<Content, Status> {
        if self.options.field_manager.is_none() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(Status::invalid_options("PatchOptions", &[error]));
        }
        let config = self.config(name, config, &duplicates)?;
        let uid = metadata::text(&config, "uid").to_owned();
        let applied = config.clone();
        let mut make = |_: &mut Vec<String>, _: &Object| Ok(Made::Applied(applied.clone()));
        match self.modify(name, Verb::Patch, part, &mut make).await {
            Err(status) if status.reason == Reason::NotFound && part == Part::Whole => {
                if !uid.is_empty() {
                    let problem = format!(
                        "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                    );
                    return Err(Status::conflict(self.resource(), name, problem));
                }
                // Whoever may change objects may not therefore make them.
                self.core.authorize_verb(self.user, Verb::Create, self.resource(), self.namespace, name).await?;
                let (mut object, managed) = self.applied_to_nothing(name, &config)?;
                self.settle(&mut object, Vec::new())?;
                match self.create_owned(object, Ownership::Set(managed)).await {
                    // Somebody was faster: it is there now.
                    Err(status) if status.reason == Reason::AlreadyExists => {
                        self.modify(name, Verb::Patch, part, &mut make).await.map(Content::Object)
                    }
                    outcome => outcome.map(Content::Created),
                }
            }
            outcome => outcome.map(Content::Object),
        }
    }

    /// Checks what is applied, and brings its values into the form in which they are compared.
    fn config(&mut self, name: &str, mut config: Value, duplicates: &[String]) -> Result<Value, Status> {
        let resource = self.resource();
        check_config(&config, &resource.api_version(), &resource.kind).map_err(Status::bad_request)?;
        metadata::check_key(&config, &self.key(name))?;
        self.tell_duplicates(duplicates)?;
        if let Some(schema) = &self.route.schema {
            schema::canonicalize(schema, &mut config);
        }
        Ok(config)
    }

    /// What there is with the configuration applied to it: not yet in the form in which objects are stored.
    pub(super) fn applied_to(
        &self,
        part: Part,
        (old, old_value): (&Object, &Value),
        config: &Value,
    ) -> Result<(Value, Option<Bytes>), Status> {
        let (types, now) = (self.types(part, false), self.core.now());
        let tracker = self.tracker(&types, part.written_through(), &now);
        let applied = tracker.applied(old_value, old.managed_fields(), config, self.options.force);
        let applied = applied.map_err(|refusal| self.refused(old.name(), refusal))?;
        let mut object = applied.object.unwrap_or_else(|| old_value.clone());
        // What the configuration says of the revision is a precondition, and no field.
        let revision = config["metadata"].get("resourceVersion");
        if let Some(revision) = revision {
            metadata::metadata_mut(&mut object)?.insert("resourceVersion".to_owned(), revision.clone());
        }
        Ok((object, applied.managed))
    }

    fn applied_to_nothing(&self, name: &str, config: &Value) -> Result<(Value, Option<Bytes>), Status> {
        let (types, now) = (self.types(Part::Whole, true), self.core.now());
        let applied = self.tracker(&types, "", &now).applied(&Value::Object(Map::new()), None, config, false);
        let applied = applied.map_err(|refusal| self.refused(name, refusal))?;
        let mut object = applied.object.unwrap_or_else(|| config.clone());
        let metadata = metadata::metadata_mut(&mut object)?;
        metadata.insert("name".to_owned(), name.into());
        Ok((object, applied.managed))
    }

    /// Whether two lists of managed fields say the same but for the time.
    pub(super) fn same_owners(left: Option<&Bytes>, right: Option<&Bytes>) -> bool {
        left == right || matches!((left, right), (Some(left), Some(right)) if same_owners(left, right))
    }

    fn refused(&self, name: &str, refusal: Refusal) -> Status {
        match refusal {
            Refusal::Conflicts(conflicts) => conflict_status(&conflicts),
            Refusal::Malformed(problems) => {
                let listed: Vec<String> = problems.iter().map(Problem::to_string).collect();
                let resource = self.resource();
                let (kind, version) = (&resource.kind, resource.api_version());
                let key = self.key(name);
                let what = format!("failed to create typed patch object ({key}; {version}, Kind={kind})");
                Status::bad_request(format!("{what}: {}", listed.join(", ")))
            }
            Refusal::Unreadable(problem) => {
                Status::internal(format!("{} {name:?} cannot be applied to: {problem}", self.resource()))
            }
        }
    }
}
