//! Create.

use kore_store::{Compare, Relation};
use serde_json::Value;

use super::commit::{Outcome, Put};
use super::core::{Call, Core};
use super::managed::Ownership;
use super::metadata;
use super::terms::Terms;
use crate::admission::{Lookup, Write};
use crate::error::{Reason, Status};
use crate::object::{Object, ObjectKey};
use crate::registry::Transition;
use crate::request::{Body, Content, Verb};

/// How often a generated name may turn out to be taken, as upstream has it.
const NAMES_MAX: usize = 8;
/// How often a write may be overtaken by others that it depends on.
const ATTEMPTS: usize = 256;
/// Generated names keep so much of their beginning, and get so many characters after it.
const PREFIX_MAX_BYTES: usize = 58;
const SUFFIX_CHARACTERS: usize = 5;
/// What generated names end in: letters and digits that do not make words.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// What a write is about, for its stages.
pub(super) struct Subject<'a> {
    pub(super) verb: Verb,
    pub(super) subresource: &'a str,
    pub(super) key: &'a ObjectKey,
    pub(super) old: Option<(&'a Object, &'a Value)>,
}

impl Call<'_> {
    pub(super) async fn create(&mut self, body: Body) -> Result<Content, Status> {
        let object = self.object(body)?;
        if !metadata::text(&object, "resourceVersion").is_empty() {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        self.create_object(object).await.map(Content::Created)
    }

    /// Makes an object; who makes it owns its fields, unless it says otherwise.
    pub(super) async fn create_object(&mut self, mut sent: Value) -> Result<Object, Status> {
        let said = metadata::take(&mut sent, "managedFields");
        self.create_owned(sent, Ownership::Track(said)).await
    }

    pub(super) async fn create_owned(&mut self, sent: Value, ownership: Ownership) -> Result<Object, Status> {
        let info = self.route.info.clone();
        if info.defined_by.as_ref().is_some_and(|definition| definition.is_terminating) {
            let problem = "create not allowed while custom resource definition is terminating";
            return Err(Status::new(Reason::MethodNotAllowed, problem));
        }
        let generated = metadata::text(&sent, "name").is_empty() && !metadata::text(&sent, "generateName").is_empty();
        let mut name = metadata::text(&sent, "name").to_owned();
        let mut names = 0;
        for _ in 0..ATTEMPTS {
            if generated {
                if names == NAMES_MAX {
                    break;
                }
                name = self.generate_name(metadata::text(&sent, "generateName"));
            }
            let key = self.key(&name);
            metadata::check_key(&sent, &key)?;
            let mut object = sent.clone();
            let uid = self.core.entropy.uuid_v4();
            metadata::prepare_create(&mut object, &info, &key, uid, self.core.now())?;
            info.fill(&mut object);
            let managed = match &ownership {
                Ownership::Track(said) => self.owned_by_creation(said.as_ref(), &object),
                Ownership::Set(managed) => managed.clone(),
                Ownership::Keep => None,
            };
            let subject = Subject { verb: Verb::Create, subresource: "", key: &key, old: None };
            let prepare = |object: &mut Value| {
                info.strategy.prepare_create(object);
                add_finalizers(object, info.strategy.finalizers());
            };
            let (new, mut terms) = self.admit(&subject, object, prepare, true).await?;
            if let Some(definition) = &info.defined_by {
                terms.guards.push(Compare::create_revision(definition.key.clone(), 0).is(Relation::Greater));
            }
            match self.put(Put { key: &key, old: None, new, managed, terms }).await? {
                Outcome::Written(object) => return Ok(object),
                Outcome::Changed(_) if generated => names += 1,
                Outcome::Changed(_) => return Err(Status::already_exists(self.resource(), &name)),
                Outcome::Overtaken => drop(self.core.catch_up().await?),
            }
        }
        Err(match generated {
            true => Status::already_exists(self.resource(), &name),
            false => Status::conflict(self.resource(), &name, "what it depends on keeps changing; please try again"),
        })
    }

    fn generate_name(&self, prefix: &str) -> String {
        let mut name = prefix.to_owned();
        let keep = (0..=PREFIX_MAX_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
        name.truncate(keep.unwrap_or_default());
        name + &self.core.suffix(SUFFIX_CHARACTERS)
    }

    /// Sends a write through all stages: changed by admission, prepared, validated, approved. Returns the object as it is to
    /// become, and what must hold when it is written. `check`: whether `object` is of the resource's kind, and has its rules.
    pub(super) async fn admit(
        &mut self,
        subject: &Subject<'_>,
        object: Value,
        prepare: impl FnOnce(&mut Value),
        check: bool,
    ) -> Result<(Value, Terms), Status> {
        let info = &self.route.info;
        let mut write = Write {
            user: self.user,
            verb: subject.verb,
            resource: &info.resource,
            subresource: subject.subresource,
            namespace: &subject.key.namespace,
            name: &subject.key.name,
            options: self.options,
            old: subject.old.map(|(object, _)| object),
            object,
            lookup: Lookup::new(self.core),
            guards: Vec::new(),
        };
        for stage in &self.core.admission {
            stage.mutate(&mut write).await?;
        }
        prepare(&mut write.object);
        if check {
            let old = subject.old.map(|(_, value)| value);
            let transition = Transition { new: &write.object, old, subresource: subject.subresource };
            if self.route.schema.is_none() {
                let resource = &info.resource;
                (info.decodes)(&write.object).map_err(|problem| {
                    let (kind, version) = (&resource.kind, resource.api_version());
                    Status::bad_request(format!(
                        "{kind} in version {version:?} cannot be handled as a {kind}: {problem}"
                    ))
                })?;
            }
            let mut errors = metadata::validate(&write.object, write.old, info);
            if let Some(schema) = &info.schema {
                errors.extend(schema.validate(&write.object, old));
            }
            errors.extend(info.strategy.validate(&transition));
            if !errors.is_empty() {
                return Err(Status::invalid(&info.resource, write.name, &errors));
            }
            for warning in info.strategy.warnings(&transition) {
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
        }
        for stage in &self.core.admission {
            stage.validate(&write).await?;
        }
        Ok((write.object, Terms { guards: write.guards, ..Terms::default() }))
    }
}

impl Core {
    /// Characters that generated names end in.
    pub(crate) fn suffix(&self, characters: usize) -> String {
        let character = |_| {
            let at = self.entropy.below(SUFFIX_ALPHABET.len() as u64) as usize;
            char::from(SUFFIX_ALPHABET[at])
        };
        (0..characters).map(character).collect()
    }
}

fn add_finalizers(object: &mut Value, finalizers: &[&str]) {
    for finalizer in finalizers {
        if !metadata::finalizers(object).contains(finalizer) {
            let listed = &mut object["metadata"]["finalizers"];
            if !listed.is_array() {
                *listed = Value::Array(Vec::new());
            }
            listed.as_array_mut().expect("made above").push((*finalizer).into());
        }
    }
}
