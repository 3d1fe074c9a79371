//! The `finalize` subresource of namespaces: replaces `spec.finalizers`, and nothing else.

use serde_json::Value;

use super::core::Call;
use super::update::{Made, Part};
use super::{body, metadata};
use crate::error::Status;
use crate::object::Object;
use crate::request::{Body, Content, Verb};

impl Call<'_> {
    /// A namespace on its way out from which the last finalizer is taken is gone.
    pub(super) async fn finalize(&mut self, name: &str, body: Body) -> Result<Content, Status> {
        let sent = body::other(body, "v1", "Namespace")?;
        metadata::check_key(&sent, &self.key(name))?;
        let mut make = |_: &mut Vec<String>, old: &Object| {
            let mut object = old.to_unmanaged_value();
            object["spec"]["finalizers"] = match &sent["spec"]["finalizers"] {
                Value::Array(finalizers) => Value::Array(finalizers.clone()),
                _ => Value::Array(Vec::new()),
            };
            let metadata = metadata::metadata_mut(&mut object)?;
            for field in ["resourceVersion", "uid"] {
                match sent["metadata"][field].as_str().filter(|value| !value.is_empty()) {
                    Some(value) => drop(metadata.insert(field.into(), value.into())),
                    None => drop(metadata.remove(field)),
                }
            }
            Ok(Made::Changed(object))
        };
        self.modify(name, Verb::Update, Part::Inner("finalize"), &mut make).await.map(Content::Object)
    }
}
