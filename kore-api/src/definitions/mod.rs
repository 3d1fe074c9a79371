//! CustomResourceDefinitions: what one defines, as entries of a registry.
//!
//! - `mod.rs`: [`Definition`], one that has been read.
//! - `resources.rs`: the entries of its versions.
//! - `columns.rs`: the columns that tables of its objects show.
//! - `names.rs`: which names it is granted, and what its status says.
//!
//! Everything here is pure. The server's driver (`server/definitions.rs`) serves what is defined, and cleans up behind it.

mod columns;
mod names;
mod resources;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::object::{ResourceType, Scope};

pub(crate) use columns::path as json_path;
pub(crate) use names::{condition, status};
pub(crate) use resources::Resources;

/// Holds a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The resource whose objects are definitions.
pub(crate) const DEFINITIONS: ResourceType = ResourceType::of::<CustomResourceDefinition>();

/// A definition as an object of the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition<'a>(pub(crate) &'a Value);

impl<'a> Definition<'a> {
    pub(crate) fn name(self) -> &'a str {
        text(&self.0["metadata"]["name"])
    }

    pub(crate) fn group(self) -> &'a str {
        text(&self.0["spec"]["group"])
    }

    fn versions(self) -> impl Iterator<Item = &'a Value> {
        list(&self.0["spec"]["versions"])
    }

    /// The names it has been granted.
    fn accepted(self) -> &'a Value {
        &self.0["status"]["acceptedNames"]
    }

    fn condition(self, kind: &str) -> Option<&'a Value> {
        list(&self.0["status"]["conditions"]).find(|condition| condition["type"] == kind)
    }

    /// Whether its resource is served.
    pub(crate) fn is_established(self) -> bool {
        self.condition("Established").is_some_and(|condition| condition["status"] == "True")
    }

    /// Whether its deletion has begun.
    pub(crate) fn is_terminating(self) -> bool {
        !self.0["metadata"]["deletionTimestamp"].is_null()
    }

    /// Whether it is only held until its objects are gone.
    pub(crate) fn awaits_cleanup(self) -> bool {
        self.is_terminating() && list(&self.0["metadata"]["finalizers"]).any(|finalizer| finalizer == FINALIZER)
    }

    /// The resource at the version as which its objects are stored.
    pub(crate) fn storage(self) -> Option<ResourceType> {
        let version = self.versions().find(|version| version["storage"] == true)?;
        Some(self.resource(text(&version["name"])))
    }

    fn resource(self, version: &str) -> ResourceType {
        let spec = &self.0["spec"];
        ResourceType {
            group: self.group().to_owned().into(),
            version: version.to_owned().into(),
            plural: text(&spec["names"]["plural"]).to_owned().into(),
            kind: text(&spec["names"]["kind"]).to_owned().into(),
            scope: if spec["scope"] == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).filter_map(Value::as_str).collect()
}
