//! The `scale` subresource: a number of replicas, whatever the kind calls it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::core::Call;
use super::update::{Made, Part};
use super::{body, metadata};
use crate::error::{FieldError, Status};
use crate::object::{Object, ResourceType, Scope};
use crate::patch::{self, PatchKind};
use crate::registry::ScalePaths;
use crate::request::{Body, Content, Verb};
use crate::schema::Schema;
use crate::selector::LabelSelector;

const SCALE: ResourceType = ResourceType {
    group: std::borrow::Cow::Borrowed("autoscaling"),
    version: std::borrow::Cow::Borrowed("v1"),
    plural: std::borrow::Cow::Borrowed("scales"),
    kind: std::borrow::Cow::Borrowed("Scale"),
    scope: Scope::Namespaced,
};

impl Call<'_> {
    pub(super) async fn get_scale(&self, name: &str) -> Result<Content, Status> {
        let object = self.get(name).await?;
        Ok(Content::Value(scale_of(&object, self.paths()?)))
    }

    pub(super) async fn update_scale(&mut self, name: &str, body: Body) -> Result<Content, Status> {
        let scale = body::other(body, "autoscaling/v1", "Scale")?;
        metadata::check_key(&scale, &self.key(name))?;
        self.set_scale(name, Verb::Update, &mut |_| Ok(scale.clone())).await
    }

    pub(super) async fn patch_scale(&mut self, name: &str, body: Body) -> Result<Content, Status> {
        let (kind, change, duplicates) = body::patch(body)?;
        let paths = self.paths()?.clone();
        if kind == PatchKind::Apply {
            self.tell_duplicates(&duplicates)?;
            return self.apply_scale(name, &change, &paths).await;
        }
        self.check_force()?;
        let schema = Schema::of("autoscaling/v1", "Scale");
        let mut make = |old: &Object| {
            patch::apply(kind, schema.as_ref(), &scale_of(old, &paths), &change).map_err(body::unpatchable)
        };
        self.set_scale(name, Verb::Patch, &mut make).await
    }

    async fn set_scale(
        &mut self,
        name: &str,
        verb: Verb,
        make: &mut (dyn FnMut(&Object) -> Result<Value, Status> + Send),
    ) -> Result<Content, Status> {
        let paths = self.paths()?.clone();
        let mut change = |_: &mut Vec<String>, old: &Object| {
            let scale = make(old)?;
            let replicas = replicas_of(&scale, name)?;
            let mut object = old.to_unmanaged_value();
            set(&mut object, &paths.spec_replicas, replicas.into());
            let metadata = metadata::metadata_mut(&mut object)?;
            for field in ["resourceVersion", "uid"] {
                match scale["metadata"].get(field).filter(|value| !value.is_null()) {
                    Some(value) => drop(metadata.insert(field.into(), value.clone())),
                    None => drop(metadata.remove(field)),
                }
            }
            Ok(Made::Changed(object))
        };
        let changed = self.modify(name, verb, Part::Scale, &mut change).await?;
        Ok(Content::Value(scale_of(&changed, &paths)))
    }

    /// An applied `Scale` is the number of replicas, applied to the object itself.
    async fn apply_scale(&mut self, name: &str, scale: &Value, paths: &ScalePaths) -> Result<Content, Status> {
        let scale = body::other(Body::Value(scale.clone()), "autoscaling/v1", "Scale")?;
        if scale["apiVersion"] != "autoscaling/v1" || scale["kind"] != "Scale" {
            return Err(Status::bad_request("what is applied to a scale must be a Scale of autoscaling/v1"));
        }
        let resource = self.resource();
        let mut config = json!({
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {"name": name},
        });
        for field in ["resourceVersion", "uid"] {
            if let Some(value) = scale["metadata"].get(field).filter(|value| !value.is_null()) {
                config["metadata"][field] = value.clone();
            }
        }
        if !scale["spec"]["replicas"].is_null() {
            set(&mut config, &paths.spec_replicas, replicas_of(&scale, name)?.into());
        }
        match self.apply(name, Part::Scale, config, Vec::new()).await? {
            Content::Object(object) | Content::Created(object) => Ok(Content::Value(scale_of(&object, paths))),
            other => Ok(other),
        }
    }

    fn paths(&self) -> Result<&ScalePaths, Status> {
        self.route.info.scale.as_ref().ok_or_else(|| Status::internal("the resource has no scale"))
    }
}

fn replicas_of(scale: &Value, name: &str) -> Result<i64, Status> {
    let replicas = &scale["spec"]["replicas"];
    let invalid = |error| Err(Status::invalid(&SCALE, name, &[error]));
    match (replicas, replicas.as_i64().filter(|number| i32::try_from(*number).is_ok())) {
        (Value::Null, _) => Ok(0),
        (_, Some(negative @ ..0)) => {
            invalid(FieldError::invalid("spec.replicas", negative, "must be greater than or equal to 0"))
        }
        (_, Some(number)) => Ok(number),
        (other, None) => invalid(FieldError::wrong_type("spec.replicas", other.clone(), "must be a 32-bit integer")),
    }
}

/// The `Scale` of an object.
fn scale_of(object: &Object, paths: &ScalePaths) -> Value {
    let whole = object.to_value();
    let mut about = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = whole["metadata"].get(field) {
            about[field] = value.clone();
        }
    }
    let number = |path: &str| at(&whole, path).as_i64().unwrap_or_default();
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": about,
        "spec": {"replicas": number(&paths.spec_replicas)},
        "status": {"replicas": number(&paths.status_replicas), "selector": selector(at(&whole, &paths.selector))},
    })
}

/// A selector in the syntax of the `Scale`'s status.
fn selector(found: &Value) -> String {
    match found {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            // A ReplicationController selects by labels alone.
            let labels = fields.values().all(Value::is_string).then(|| json!({"matchLabels": found}));
            let typed = meta::LabelSelector::deserialize(labels.as_ref().unwrap_or(found)).ok();
            let selector = typed.and_then(|typed| LabelSelector::from_api(&typed).ok());
            selector.map(|selector| selector.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.trim_start_matches('.').split('.').fold(object, |value, field| &value[field])
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for field in path.trim_start_matches('.').split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[field];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_in_their_syntax() {
        for (found, shown) in [
            (json!("a=b"), "a=b"),
            (json!({"matchLabels": {"a": "b"}}), "a=b"),
            (json!({"a": "b", "c": "d"}), "a=b,c=d"),
            (json!({}), ""),
            (json!(null), ""),
        ] {
            assert_eq!(selector(&found), shown, "{found}");
        }
    }
}
