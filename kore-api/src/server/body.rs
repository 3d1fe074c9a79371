//! What clients send, as trees of the right shape.

use serde_json::Value;

use super::core::Call;
use crate::codec::{self, CodecError, Limits};
use crate::error::{Reason, Status};
use crate::patch::{PatchError, PatchKind};
use crate::request::{Body, FieldValidation};
use crate::schema::{self, Schema, SchemaError};

/// What all objects have in common.
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A body as a tree, and the fields that stood twice in it.
fn decode(body: Body) -> Result<(Value, Vec<String>), Status> {
    match body {
        Body::Empty => Err(Status::bad_request("the request has no body")),
        Body::Value(value) => Ok((value, Vec::new())),
        Body::Encoded(format, bytes) => {
            let decoded = codec::decode(format, &bytes, &Limits::default()).map_err(undecodable)?;
            Ok((decoded.value, decoded.duplicates))
        }
        Body::Patch(..) | Body::EncodedPatch(..) => Err(Status::bad_request("the body is a patch, and no object")),
    }
}

fn undecodable(error: CodecError) -> Status {
    let reason = match &error {
        CodecError::TooLarge { .. } => Reason::RequestEntityTooLarge,
        CodecError::NoProtobuf { .. } => Reason::UnsupportedMediaType,
        _ => Reason::BadRequest,
    };
    Status::new(reason, error.to_string())
}

/// A body that is of a kind of its own, and no object of the resource: a Binding, a Scale. Its fields have the types that this kind
/// says.
pub(super) fn other(body: Body, api_version: &str, kind: &str) -> Result<Value, Status> {
    let value = decode(body)?.0;
    if !value.is_object() {
        return Err(Status::bad_request("the body is not an object"));
    }
    let schema = Schema::of(api_version, kind);
    let wrong = schema.map(|schema| schema::check(&schema, &value)).unwrap_or_default();
    let fatal: Vec<_> = wrong.into_iter().filter(SchemaError::is_fatal).collect();
    match schema::bad_request(api_version, kind, &fatal) {
        Some(message) => Err(Status::bad_request(message)),
        None => Ok(value),
    }
}

/// The patch that a body holds, and the fields that stood twice in it.
pub(super) fn patch(body: Body) -> Result<(PatchKind, Value, Vec<String>), Status> {
    match body {
        Body::Patch(kind, patch) => Ok((kind, patch, Vec::new())),
        Body::EncodedPatch(kind, bytes) => {
            // JSON is YAML; only applied configurations are read as such.
            let format = if kind == PatchKind::Apply { codec::Format::Yaml } else { codec::Format::Json };
            let decoded = codec::decode(format, &bytes, &Limits::default()).map_err(undecodable)?;
            Ok((kind, decoded.value, decoded.duplicates))
        }
        _ => Err(Status::bad_request("the body is no patch")),
    }
}

/// The answer to a patch that cannot be made.
pub(super) fn unpatchable(error: PatchError) -> Status {
    let reason = match error.status() {
        413 => Reason::RequestEntityTooLarge,
        415 => Reason::UnsupportedMediaType,
        422 => Reason::Invalid,
        _ => Reason::BadRequest,
    };
    Status::new(reason, error.to_string())
}

impl Call<'_> {
    /// The object of the resource's kind that a body holds, in the form in which objects are stored.
    pub(super) fn object(&mut self, body: Body) -> Result<Value, Status> {
        let (mut value, duplicates) = decode(body)?;
        self.check_kind(&mut value)?;
        self.settle(&mut value, duplicates)?;
        Ok(value)
    }

    /// `apiVersion` and `kind` may be left out, and may not be others.
    fn check_kind(&self, value: &mut Value) -> Result<(), Status> {
        let resource = self.resource();
        let Some(fields) = value.as_object_mut() else {
            return Err(Status::bad_request(format!("the body is not a {}", resource.kind)));
        };
        let expected = resource.api_version();
        let version = fields.entry("apiVersion").or_insert_with(|| (&*expected).into());
        if *version != *expected {
            return Err(Status::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({expected})",
                text(version)
            )));
        }
        let kind = fields.entry("kind").or_insert_with(|| (&*resource.kind).into());
        if *kind != *resource.kind {
            return Err(Status::bad_request(format!(
                "the kind in the data ({}) does not match the expected kind ({})",
                text(kind),
                resource.kind
            )));
        }
        Ok(())
    }

    /// Checks the types of an object's fields, drops what its kind does not know, and brings the rest into the form in which objects are
    /// stored. What the client is told of unknown and duplicate fields is up to its `fieldValidation`.
    pub(super) fn settle(&mut self, value: &mut Value, duplicates: Vec<String>) -> Result<(), Status> {
        let mut found = match &self.route.schema {
            Some(schema) => schema::check(schema, value),
            None => self.settle_custom(value)?,
        };
        found.extend(duplicates.into_iter().map(SchemaError::duplicate));
        let level = self.options.field_validation;
        let (refused, told): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|error| error.is_fatal() || level == FieldValidation::Strict);
        let resource = self.resource();
        if let Some(message) = schema::bad_request(&resource.api_version(), &resource.kind, &refused) {
            return Err(Status::bad_request(message));
        }
        if level == FieldValidation::Warn {
            self.warnings.extend(told.iter().map(ToString::to_string));
        }
        if let Some(schema) = &self.route.schema {
            schema::normalize(schema, value);
        }
        Ok(())
    }

    /// Fields that stand twice in a body: what becomes of that is up to the request's `fieldValidation`.
    pub(super) fn tell_duplicates(&mut self, duplicates: &[String]) -> Result<(), Status> {
        let found: Vec<SchemaError> = duplicates.iter().cloned().map(SchemaError::duplicate).collect();
        match self.options.field_validation {
            FieldValidation::Strict => {
                let resource = self.resource();
                let refused = schema::bad_request(&resource.api_version(), &resource.kind, &found);
                refused.map_or(Ok(()), |message| Err(Status::bad_request(message)))
            }
            FieldValidation::Warn => {
                self.warnings.extend(found.iter().map(ToString::to_string));
                Ok(())
            }
            FieldValidation::Ignore => Ok(()),
        }
    }

    /// Of a kind that is not built in: what its schema does not know is dropped, and what all objects have in common is checked, since
    /// everybody reads that. What was dropped.
    fn settle_custom(&mut self, value: &mut Value) -> Result<Vec<SchemaError>, Status> {
        let pruned = self.route.info.schema.as_ref().map(|schema| schema.prune(value)).unwrap_or_default();
        let mut unknown: Vec<SchemaError> = pruned.into_iter().map(SchemaError::unknown).collect();
        let schema = Schema::definition(METADATA).expect("the table has it");
        let Some(metadata) = value.get_mut("metadata") else {
            return Ok(unknown);
        };
        let (fatal, told): (Vec<_>, Vec<_>) =
            schema::check(&schema, metadata).into_iter().partition(SchemaError::is_fatal);
        unknown.extend(told.into_iter().map(|error| SchemaError { path: format!("metadata.{}", error.path), ..error }));
        let resource = self.resource();
        if let Some(message) = schema::bad_request(&resource.api_version(), &resource.kind, &fatal) {
            return Err(Status::bad_request(message));
        }
        schema::normalize(&schema, metadata);
        Ok(unknown)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
