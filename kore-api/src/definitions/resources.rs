//! The resources that a definition defines.

use std::sync::Arc;

use serde_json::Value;

use super::columns::Columns;
use super::{Definition, list, text, texts};
use crate::cache::layout;
use crate::object::ObjectKey;
use crate::registry::conversion::{Conversion, Versions};
use crate::registry::{DefinedBy, ResourceInfo, ScalePaths};
use crate::schema::SchemaProblem;

/// What a definition defines.
#[derive(Debug)]
pub(crate) struct Resources {
    /// The version as which objects are stored, whether it is served or not.
    pub(crate) stored: Arc<ResourceInfo>,
    /// The versions that are served.
    pub(crate) served: Vec<Arc<ResourceInfo>>,
}

impl Resources {
    /// Reads an established definition; what it does not say is as upstream has it for custom resources.
    ///
    /// # Errors
    /// When a schema cannot be read, or no version is the one that is stored.
    pub(crate) fn read(definition: Definition<'_>) -> Result<Self, SchemaProblem> {
        let missing = || SchemaProblem::new("spec.versions", "one version must be the one that is stored");
        let storage = definition.storage().ok_or_else(missing)?;
        let mut selectable: Vec<String> = definition.versions().flat_map(selectable).collect();
        selectable.sort();
        selectable.dedup();
        let (mut stored, mut served) = (None, Vec::new());
        for version in definition.versions() {
            let mut info = read(definition, version)?;
            info.versions = Some(Versions::new(storage.clone(), Conversion::Rename));
            if version["storage"] == true {
                // The one cache serves the selectors of all versions.
                let mut info = info.clone();
                info.selectable_fields = selectable.iter().cloned().map(Into::into).collect();
                stored = Some(Arc::new(info));
            }
            if version["served"] == true {
                served.push(Arc::new(info));
            }
        }
        Ok(Self { stored: stored.ok_or_else(missing)?, served })
    }
}

fn selectable(version: &Value) -> impl Iterator<Item = String> {
    list(&version["selectableFields"]).map(|field| text(&field["jsonPath"]).trim_start_matches('.').to_owned())
}

fn read(definition: Definition<'_>, version: &Value) -> Result<ResourceInfo, SchemaProblem> {
    let resource = definition.resource(text(&version["name"]));
    let names = definition.accepted();
    let columns = Columns::read(version);
    let parts = &version["subresources"];
    let mut info = ResourceInfo::new(resource)
        .short_names(&texts(&names["shortNames"]))
        .categories(&texts(&names["categories"]))
        .schema(&version["schema"]["openAPIV3Schema"])?;
    info.singular = text(&names["singular"]).to_owned();
    info.unconditional_update = false;
    info.has_status = parts["status"].is_object();
    info.scale = parts["scale"].as_object().map(|scale| {
        let path = |name: &str| scale.get(name).map(text).unwrap_or_default().to_owned().into();
        ScalePaths {
            spec_replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            selector: path("labelSelectorPath"),
        }
    });
    info.selectable_fields = selectable(version).map(Into::into).collect();
    info.columns = columns.headers();
    info.strategy = Arc::new(columns);
    if version["deprecated"] == true {
        let (resource, stated) = (&info.resource, text(&version["deprecationWarning"]));
        info.deprecation = Some(match stated {
            "" => format!("{} {} is deprecated", resource.api_version(), resource.kind),
            stated => stated.to_owned(),
        });
    }
    let key = ObjectKey::cluster(definition.name());
    info.defined_by = Some(DefinedBy {
        key: layout::object_key(&layout::resource_prefix(&super::DEFINITIONS), &key),
        is_terminating: definition.is_terminating(),
    });
    Ok(info)
}
