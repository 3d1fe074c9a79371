//! Update and patch: attempts on what there is, until one is not overtaken.

use serde_json::Value;

use super::commit::{Outcome, Put};
use super::core::Call;
use super::create::Subject;
use super::managed::Ownership;
use super::{body, metadata};
use crate::error::{FieldError, Status};
use crate::object::{Object, ObjectKey};
use crate::patch::{self, PatchKind};
use crate::request::{Body, Content, Verb};

/// How often a change is tried again because somebody else was faster. Each time somebody was: enough for as many
/// writers of one object at once.
const ATTEMPTS: usize = 256;
/// What a client is told whose object has changed since it read it.
const STALE: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// Which part of an object a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything but its status.
    Whole,
    /// Its status, and nothing else.
    Status,
    /// The number of replicas, by way of a `Scale`.
    Scale,
    /// The conditions in its status, and nothing else: what people decide about it.
    Approval,
    /// What a subresource of a shape of its own changes, which knows what it does: no rules of the kind are checked.
    Inner(&'static str),
}

impl Part {
    /// What a plain write of the object, or of this part of it, is about.
    pub(super) fn of(subresource: Option<&str>) -> Self {
        match subresource {
            None => Self::Whole,
            Some("approval") => Self::Approval,
            Some(_) => Self::Status,
        }
    }

    fn subresource(self) -> &'static str {
        match self {
            Self::Whole | Self::Scale => "",
            Self::Status => "status",
            Self::Approval => "approval",
            Self::Inner(name) => name,
        }
    }

    /// The part as managed fields name it.
    pub(super) fn written_through(self) -> &'static str {
        if self == Self::Scale { "scale" } else { self.subresource() }
    }
}

/// What there is, as far as is known.
pub(super) struct Current {
    pub(super) object: Option<Object>,
    /// Whether it comes from the store itself. What comes from the cache may be behind: no request is refused because of it before the
    /// store has been asked.
    pub(super) certain: bool,
}

enum Attempt {
    Done(Object),
    /// There was nothing to change.
    Same(Object),
    Changed(Option<Object>),
    Overtaken,
}

/// What a request makes of the object there is.
pub(super) enum Made {
    /// This object, with the `resourceVersion` it must have, if any; who writes owns what it changes.
    Changed(Value),
    /// This object, and nobody is any the more its owner: the server itself writes.
    Untracked(Value),
    /// What there is with this configuration applied to it.
    Applied(Value),
}

/// Makes the changed object of what there is.
pub(super) type Make<'m> = &'m mut (dyn FnMut(&mut Vec<String>, &Object) -> Result<Made, Status> + Send);

impl Call<'_> {
    pub(super) async fn update(&mut self, name: &str, part: Part, body: Body) -> Result<Content, Status> {
        let sent = self.object(body)?;
        metadata::check_key(&sent, &self.key(name))?;
        if metadata::text(&sent, "name").is_empty() {
            return Err(Status::bad_request("name must be provided"));
        }
        let unconditional = self.route.info.unconditional_update || part != Part::Whole;
        if metadata::text(&sent, "resourceVersion").is_empty() && !unconditional {
            let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            return Err(Status::invalid(self.resource(), name, &[error]));
        }
        let outcome = self.modify(name, Verb::Update, part, &mut |_, _| Ok(Made::Changed(sent.clone()))).await;
        match outcome {
            Err(status) if status.code == 404 && part == Part::Whole && self.route.info.create_on_update => {
                // Whoever may change objects may not therefore make them.
                self.core.authorize_verb(self.user, Verb::Create, self.resource(), self.namespace, name).await?;
                let mut sent = sent;
                metadata::metadata_mut(&mut sent)?.remove("resourceVersion");
                self.create_object(sent).await.map(Content::Created)
            }
            outcome => outcome.map(Content::Object),
        }
    }

    pub(super) async fn patch(&mut self, name: &str, part: Part, body: Body) -> Result<Content, Status> {
        let (kind, change, duplicates) = body::patch(body)?;
        if kind == PatchKind::Apply {
            return self.apply(name, part, change, duplicates).await;
        }
        self.check_force()?;
        let key = self.key(name);
        let owners = patch::touches_managed_fields(kind, &change);
        let like = self.like();
        let mut make = |warnings: &mut Vec<String>, old: &Object| {
            let mut call = like.like();
            let whole = if owners { old.to_value() } else { old.to_unmanaged_value() };
            let schema = call.route.schema.as_ref();
            let mut patched = patch::apply(kind, schema, &whole, &change).map_err(body::unpatchable)?;
            call.settle(&mut patched, Vec::new())?;
            *warnings = call.warnings;
            metadata::check_key(&patched, &key)?;
            Ok(Made::Changed(patched))
        };
        self.modify(name, Verb::Patch, part, &mut make).await.map(Content::Object)
    }

    /// Changes an object: as often as somebody else is faster, unless what `make` returns is bound to a revision.
    pub(super) async fn modify(
        &mut self,
        name: &str,
        verb: Verb,
        part: Part,
        make: Make<'_>,
    ) -> Result<Object, Status> {
        let key = self.key(name);
        let mut current = self.cached(&key);
        for _ in 0..ATTEMPTS {
            let attempt = match &current.object {
                None => Err(Status::not_found(self.resource(), name)),
                Some(old) => self.attempt(&key, old, verb, part, make).await,
            };
            match attempt {
                Ok(Attempt::Done(object)) => return Ok(object),
                Ok(Attempt::Same(_)) | Err(_) if !current.certain => {
                    let certain = self.read(&key).await?;
                    let same = revision(&certain) == revision(&current.object);
                    current = Current { object: certain, certain: true };
                    match attempt {
                        Ok(Attempt::Same(object)) if same => return Ok(object),
                        Err(status) if same => return Err(status),
                        _ => {}
                    }
                }
                Ok(Attempt::Same(object)) => return Ok(object),
                Ok(Attempt::Changed(object)) => current = Current { object, certain: true },
                Ok(Attempt::Overtaken) => drop(self.core.catch_up().await?),
                Err(status) => return Err(status),
            }
        }
        Err(Status::conflict(self.resource(), name, STALE))
    }

    /// `force` is for server-side apply alone.
    pub(super) fn check_force(&self) -> Result<(), Status> {
        if self.options.force {
            let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
            return Err(Status::invalid_options("PatchOptions", &[error]));
        }
        Ok(())
    }

    /// What the cache has, which may be behind.
    pub(super) fn cached(&self, key: &ObjectKey) -> Current {
        let object = self.route.cache.get(key).map(|entry| entry.object);
        Current { object, certain: false }
    }

    async fn attempt(
        &mut self,
        key: &ObjectKey,
        old: &Object,
        verb: Verb,
        part: Part,
        make: Make<'_>,
    ) -> Result<Attempt, Status> {
        let info = self.route.info.clone();
        let is_current = old.api_version() == info.stored().api_version();
        let old = &self.route.show(old.clone()).await?;
        let made = make(&mut self.warnings, old)?;
        let old_value: Value = serde_json::from_slice(old.body()).map_err(Status::internal)?;
        let (mut object, ownership) = match made {
            Made::Changed(mut object) => {
                let sent = metadata::take(&mut object, "managedFields");
                (object, Ownership::Track(sent))
            }
            Made::Untracked(object) => (object, Ownership::Keep),
            Made::Applied(config) => {
                let (mut object, managed) = self.applied_to(part, (old, &old_value), &config)?;
                self.settle(&mut object, Vec::new())?;
                (object, Ownership::Set(managed))
            }
        };
        self.check_identity(&object, old)?;
        match part {
            Part::Whole | Part::Scale => {
                metadata::carry_over(&mut object, &old_value)?;
                if info.has_status {
                    metadata::keep_field(&mut object, &old_value, "status");
                }
                info.fill(&mut object);
            }
            Part::Status => {
                let sent = object;
                object = old_value.clone();
                metadata::keep_field(&mut object, &sent, "status");
                info.fill(&mut object);
            }
            Part::Approval => {
                let mut conditions = object["status"]["conditions"].take();
                date(&mut conditions, &old_value["status"]["conditions"], &self.core.now());
                object = old_value.clone();
                if !object["status"].is_object() {
                    object["status"] = Value::Object(serde_json::Map::new());
                }
                object["status"]["conditions"] = conditions;
                info.fill(&mut object);
            }
            Part::Inner(_) => metadata::carry_over(&mut object, &old_value)?,
        }
        let managed = self.owned_by_change(part, ownership, (old, &old_value), &object);
        let subject = Subject {
            verb: if verb == Verb::Patch { Verb::Update } else { verb },
            subresource: part.subresource(),
            key,
            old: Some((old, &old_value)),
        };
        let prepare = |object: &mut Value| {
            if let Part::Inner(_) = part {
                return;
            }
            info.strategy.prepare_update(object, &old_value);
            if part != Part::Status {
                metadata::count_generation(object, &old_value, &info);
            }
        };
        let check = !matches!(part, Part::Inner(_));
        let (new, terms) = self.admit(&subject, object, prepare, check).await?;
        if self.is_over(&new) {
            return Ok(match self.remove(key, old, &old_value, terms).await? {
                Outcome::Written(_) => {
                    let gone = Object::with_managed_fields(new, managed, old.revision());
                    Attempt::Done(gone.map_err(|error| Status::bad_request(error.to_string()))?)
                }
                Outcome::Changed(object) => Attempt::Changed(object),
                Outcome::Overtaken => Attempt::Overtaken,
            });
        }
        // One that is stored as an older version is written anew even so.
        if is_current && new == old_value && Self::same_owners(managed.as_ref(), old.managed_fields()) {
            return Ok(Attempt::Same(old.clone()));
        }
        Ok(match self.put(Put { key, old: Some((old, &old_value)), new, managed, terms }).await? {
            Outcome::Written(object) => Attempt::Done(object),
            Outcome::Changed(object) => Attempt::Changed(object),
            Outcome::Overtaken => Attempt::Overtaken,
        })
    }

    /// Whether a deletion that has begun is over with this: nothing holds the object any longer.
    pub(super) fn is_over(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let deleting = metadata["deletionTimestamp"].is_string();
        let graceful = metadata["deletionGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds > 0);
        deleting && !graceful && metadata::finalizers(object).is_empty() && !self.route.info.strategy.is_held(object)
    }

    /// Whether what was sent is about the object there is: this one (uid), and, if the client says so, at this revision.
    fn check_identity(&self, sent: &Value, old: &Object) -> Result<(), Status> {
        let conflict = |problem: String| Err(Status::conflict(self.resource(), old.name(), problem));
        let asked = self.options.precondition_uid.as_deref().unwrap_or_default();
        for uid in [metadata::text(sent, "uid"), asked] {
            if !uid.is_empty() && uid != old.uid() {
                return conflict(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    old.uid()
                ));
            }
        }
        match metadata::text(sent, "resourceVersion") {
            "" => Ok(()),
            revision if revision.parse() == Ok(old.revision()) => Ok(()),
            revision if revision.parse::<u64>().is_err() => {
                let problem = "must be a number";
                let error = FieldError::invalid("metadata.resourceVersion", revision, problem);
                Err(Status::invalid(self.resource(), old.name(), &[error]))
            }
            _ => conflict(STALE.to_owned()),
        }
    }
}

/// Notes when conditions came about that do not say.
fn date(conditions: &mut Value, before: &Value, now: &str) {
    let before = before.as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        let same =
            |old: &&Value| old.get("type") == condition.get("type") && old.get("status") == condition.get("status");
        let since = before.iter().find(same).and_then(|old| old.get("lastTransitionTime"));
        let since = since.cloned().unwrap_or_else(|| now.into());
        for (field, time) in [("lastUpdateTime", now.into()), ("lastTransitionTime", since)] {
            if condition.get(field).is_none_or(Value::is_null) {
                condition.insert(field.to_owned(), time);
            }
        }
    }
}

fn revision(object: &Option<Object>) -> Option<u64> {
    object.as_ref().map(Object::revision)
}
