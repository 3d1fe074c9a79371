//! How objects of one version of a resource become those of another.

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::Value;

use crate::error::Status;
use crate::object::ResourceType;

/// Makes objects of one version of a resource into those of another, as a pure function. What one version has no field for should be
/// kept somewhere in it (an annotation), so that nothing is lost on the way there and back.
pub trait Convert: Debug + Send + Sync + 'static {
    /// The object as one of the version `to`, for example `example.com/v1beta1`; it is one of another version of the same resource.
    /// `apiVersion` is set by the caller.
    ///
    /// # Errors
    /// Why it cannot be: the client is told.
    fn convert(&self, object: Value, to: &str) -> Result<Value, String>;

    /// What a selectable field of a version is called in the stored one; `None`: the same.
    fn stored_field(&self, field: &str) -> Option<String> {
        let _ = field;
        None
    }
}

/// That a resource has several versions, and how one becomes another.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    /// As what its objects are stored.
    pub(crate) storage: Arc<ResourceType>,
    pub(crate) conversion: Conversion,
}

/// How one version becomes another.
#[derive(Clone, Debug)]
pub(crate) enum Conversion {
    /// They differ by name alone.
    Rename,
    /// By a function.
    Function(Arc<dyn Convert>),
}

impl Versions {
    pub(crate) fn new(storage: ResourceType, conversion: Conversion) -> Self {
        Self { storage: Arc::new(storage), conversion }
    }

    /// Objects as those of the version `to`, in the same order.
    ///
    /// # Errors
    /// Why one cannot be.
    pub(crate) async fn convert(&self, objects: Vec<Value>, to: &str) -> Result<Vec<Value>, Status> {
        objects.into_iter().map(|object| self.convert_one(object, to)).collect()
    }

    /// What a selectable field is called in the stored version.
    pub(crate) fn stored_field(&self, field: &str) -> String {
        let renamed = match &self.conversion {
            Conversion::Function(convert) => convert.stored_field(field),
            Conversion::Rename => None,
        };
        renamed.unwrap_or_else(|| field.to_owned())
    }

    /// One object, at once.
    ///
    /// # Errors
    /// As [`Versions::convert`].
    pub(crate) fn convert_one(&self, object: Value, to: &str) -> Result<Value, Status> {
        let mut object = match &self.conversion {
            _ if object["apiVersion"] == to => return Ok(object),
            Conversion::Rename => object,
            Conversion::Function(convert) => convert.convert(object, to).map_err(|problem| failed(to, &problem))?,
        };
        match object.as_object_mut() {
            Some(fields) => drop(fields.insert("apiVersion".to_owned(), to.into())),
            None => return Err(failed(to, "the result is no object")),
        }
        Ok(object)
    }
}

fn failed(to: &str, problem: &str) -> Status {
    Status::internal(format!("conversion to {to} failed: {problem}"))
}
