//! Delete, and delete many.

use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::commit::{Outcome, Put};
use super::core::{Call, timestamp};
use super::create::Subject;
use super::metadata;
use super::terms::Terms;
use super::update::Current;
use crate::error::{Reason, Status, StatusDetails};
use crate::object::Object;
use crate::request::{Content, ObjectList, Options, Propagation, Verb};

/// How often a deletion is tried again because somebody else was faster.
const ATTEMPTS: usize = 256;
/// How many objects of a collection are deleted at a time.
const AT_ONCE: usize = 16;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

enum Attempt {
    /// It is gone.
    Gone(Object),
    /// It is on its way out.
    Leaving(Object),
    Changed(Option<Object>),
    Overtaken,
}

/// On which terms an object may be deleted, as it is.
pub(super) type TermsOf<'t> = &'t (dyn Fn(&Object) -> Result<Terms, Status> + Send + Sync);

impl Call<'_> {
    pub(super) async fn delete(&mut self, name: &str) -> Result<Content, Status> {
        Ok(match self.delete_one(name, &|_| Ok(Terms::default())).await? {
            (object, true) => Content::Status(self.gone(&object)),
            (object, false) => Content::Object(object),
        })
    }

    /// Deletes everything that is selected; what has gone meanwhile is no error.
    pub(super) async fn delete_collection(&mut self) -> Result<Content, Status> {
        let selected = Options {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            limit: self.options.limit,
            continue_token: self.options.continue_token.clone(),
            resource_version: self.options.resource_version.clone(),
            resource_version_match: self.options.resource_version_match.clone(),
            ..Options::default()
        };
        let listing = Call { options: &selected, warnings: Vec::new(), ..*self };
        let ObjectList { items, revision, continue_token, remaining } = listing.list().await?;
        // Each by its uid: a new object of the same name was not selected.
        let deletions = items.into_iter().map(|object| {
            let options = Options { precondition_uid: Some(object.uid().into()), ..self.options.clone() };
            let like = self.like();
            async move {
                let mut call = Call { options: &options, warnings: Vec::new(), ..like };
                match call.delete_one(object.name(), &|_| Ok(Terms::default())).await {
                    Ok((object, _)) => Ok(Some(object)),
                    Err(status) if matches!(status.reason, Reason::NotFound | Reason::Conflict) => Ok(None),
                    Err(status) => Err(status),
                }
            }
        });
        let deleted: Vec<Option<Object>> = futures::stream::iter(deletions).buffered(AT_ONCE).try_collect().await?;
        let items = deleted.into_iter().flatten().collect();
        Ok(Content::List(ObjectList { items, revision, continue_token, remaining }))
    }

    /// Deletes one object on terms of the caller's; whether it is gone now.
    pub(super) async fn delete_one(&mut self, name: &str, terms: TermsOf<'_>) -> Result<(Object, bool), Status> {
        let key = self.key(name);
        let mut current = self.cached(&key);
        for _ in 0..ATTEMPTS {
            let attempt = match &current.object {
                None => Err(Status::not_found(self.resource(), name)),
                Some(old) => self.attempt_deletion(old, terms).await,
            };
            match attempt {
                Ok(Attempt::Gone(object)) => return Ok((object, true)),
                Ok(Attempt::Leaving(object)) => return Ok((object, false)),
                Ok(Attempt::Changed(object)) => current = Current { object, certain: true },
                Ok(Attempt::Overtaken) => drop(self.core.catch_up().await?),
                Err(status) if current.certain => return Err(status),
                Err(status) => {
                    // What the cache has may be behind.
                    let certain = self.read(&key).await?;
                    if certain.as_ref().map(Object::revision) == current.object.as_ref().map(Object::revision) {
                        return Err(status);
                    }
                    current = Current { object: certain, certain: true };
                }
            }
        }
        Err(Status::conflict(self.resource(), name, "the object keeps changing; please try again"))
    }

    async fn attempt_deletion(&mut self, old: &Object, terms_of: TermsOf<'_>) -> Result<Attempt, Status> {
        self.check_preconditions(old)?;
        let info = self.route.info.clone();
        let old = &self.route.show(old.clone()).await?;
        let old_value: Value = serde_json::from_slice(old.body()).map_err(Status::internal)?;
        let key = old.key().clone();
        let subject = Subject { verb: Verb::Delete, subresource: "", key: &key, old: Some((old, &old_value)) };
        let (_, mut terms) = self.admit(&subject, Value::Null, |_| {}, false).await?;
        terms.extend(terms_of(old)?);

        let mut new = old_value.clone();
        set_finalizers(&mut new, self.options.propagation)?;
        let by_kind = info.strategy.grace_period_seconds(&old_value);
        let grace = by_kind.map_or(0, |by_kind| {
            match self.options.grace_period_seconds.unwrap_or(by_kind) {
                // Upstream's reading of what makes no sense.
                ..0 => 1,
                seconds => seconds,
            }
        });
        let begun = old.is_deleting();
        let pending = old_value["metadata"]["deletionGracePeriodSeconds"].as_i64().filter(|_| begun);
        if grace == 0 && metadata::finalizers(&new).is_empty() && !info.strategy.is_held(&new) {
            return Ok(match self.remove(&key, old, &old_value, terms).await? {
                Outcome::Written(object) => Attempt::Gone(object),
                Outcome::Changed(object) => Attempt::Changed(object),
                Outcome::Overtaken => Attempt::Overtaken,
            });
        }
        // A period that has begun can be made shorter, and never longer.
        if !begun || pending.is_some_and(|pending| grace < pending) {
            let since = pending.and_then(|pending| began(&old_value, pending)).unwrap_or_else(|| self.core.clock.now());
            let end = since.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
            let metadata = metadata::metadata_mut(&mut new)?;
            metadata.insert("deletionTimestamp".into(), timestamp(end).into());
            metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
            if info.has_generation {
                metadata::add_generation(&mut new);
            }
            if !begun {
                info.strategy.begin_deletion(&mut new);
            }
        }
        if new == old_value {
            return Ok(Attempt::Leaving(old.clone()));
        }
        // A deletion is no edit: nobody owns what it sets.
        let managed = old.managed_fields().cloned();
        Ok(match self.put(Put { key: &key, old: Some((old, &old_value)), new, managed, terms }).await? {
            Outcome::Written(object) => Attempt::Leaving(object),
            Outcome::Changed(object) => Attempt::Changed(object),
            Outcome::Overtaken => Attempt::Overtaken,
        })
    }

    fn check_preconditions(&self, old: &Object) -> Result<(), Status> {
        let conflict = |problem: String| Err(Status::conflict(self.resource(), old.name(), problem));
        if let Some(uid) = self.options.precondition_uid.as_deref().filter(|uid| *uid != old.uid()) {
            return conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid()
            ));
        }
        let revision = old.revision().to_string();
        match self.options.precondition_revision.as_deref().filter(|wanted| *wanted != revision) {
            Some(wanted) => conflict(format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {revision}"
            )),
            None => Ok(()),
        }
    }

    /// The answer to a deletion that is done.
    fn gone(&self, object: &Object) -> Status {
        let resource = self.resource();
        let details = StatusDetails {
            name: object.name().to_owned(),
            group: resource.group.to_string(),
            kind: resource.plural.to_string(),
            uid: object.uid().to_owned(),
            ..StatusDetails::default()
        };
        Status { code: 200, reason: Reason::Unknown, message: String::new(), details: Some(details) }
    }
}

/// When a graceful deletion began that has so many seconds.
fn began(object: &Value, grace_seconds: i64) -> Option<Timestamp> {
    let end: Timestamp = metadata::text(object, "deletionTimestamp").parse().ok()?;
    end.checked_sub(SignedDuration::from_secs(grace_seconds)).ok()
}

/// The finalizers by which the garbage collector knows what to do with dependants.
fn set_finalizers(object: &mut Value, propagation: Option<Propagation>) -> Result<(), Status> {
    let Some(propagation) = propagation else {
        return Ok(());
    };
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let before = metadata::finalizers(object);
    let mut after: Vec<Value> = before
        .iter()
        .filter(|finalizer| ![FOREGROUND, ORPHAN].contains(finalizer) || Some(**finalizer) == wanted)
        .map(|finalizer| (*finalizer).into())
        .collect();
    if let Some(wanted) = wanted.filter(|wanted| !before.contains(wanted)) {
        after.push(wanted.into());
    }
    let metadata = metadata::metadata_mut(object)?;
    if after.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), after.into());
    }
    Ok(())
}
