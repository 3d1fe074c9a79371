//! Which objects a reader wants.

use std::sync::Arc;

use super::resource::Entry;
use crate::error::Status;
use crate::object::ObjectKey;
use crate::registry::ResourceInfo;
use crate::request::Options;
use crate::selector::{FieldSelector, LabelSelector};

/// Which objects a reader wants: those of a namespace, with labels and fields that match.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// `None`: of all namespaces.
    namespace: Option<Arc<str>>,
    labels: LabelSelector,
    fields: FieldSelector,
    /// Where an entry has the values of the fields that are selected by.
    places: Vec<(String, usize)>,
    is_namespaced: bool,
}

impl Filter {
    /// The filter that a request asks for, of a resource that is stored as that of `stored`.
    pub(crate) fn new(
        info: &ResourceInfo,
        stored: &ResourceInfo,
        namespace: Option<Arc<str>>,
        options: &Options,
    ) -> Result<Self, Status> {
        let labels = options.label_selector.as_deref().unwrap_or_default();
        let fields = options.field_selector.as_deref().unwrap_or_default();
        let mut filter = Self {
            namespace,
            labels: labels
                .parse()
                .map_err(|error: crate::selector::InvalidSelector| Status::bad_request(error.to_string()))?,
            fields: fields
                .parse()
                .map_err(|error: crate::selector::InvalidSelector| Status::bad_request(error.to_string()))?,
            places: Vec::new(),
            is_namespaced: info.resource.is_namespaced(),
        };
        let known = |field: &str| {
            matches!(field, "metadata.name" | "metadata.namespace")
                || info.selectable_fields.iter().any(|known| known == field)
        };
        if let Some(field) = filter.fields.fields().find(|field| !known(field)) {
            return Err(Status::bad_request(format!("field label not supported: {field}")));
        }
        let place = |field: &str| {
            let name = info.versions.as_ref().map_or_else(|| field.to_owned(), |versions| versions.stored_field(field));
            let at = stored.selectable_fields.iter().position(|other| *other == name)?;
            Some((field.to_owned(), at))
        };
        filter.places = filter.fields.fields().filter_map(place).collect();
        Ok(filter)
    }

    /// Whether it takes everything of its namespace.
    pub(crate) fn is_plain(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it takes everything.
    pub(crate) fn is_all(&self) -> bool {
        self.namespace.is_none() && self.is_plain()
    }

    /// The one namespace it takes objects of.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The one object it can take, if it names one.
    pub(crate) fn only(&self) -> Option<ObjectKey> {
        let name = self.fields.exact("metadata.name")?;
        match (&self.namespace, self.is_namespaced) {
            (Some(namespace), true) => Some(ObjectKey::namespaced(namespace.clone(), name)),
            (None, true) => None,
            (_, false) => Some(ObjectKey::cluster(name)),
        }
    }

    /// Whether it takes this object.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let object = &entry.object;
        let key = object.key();
        self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && (self.labels.is_empty() || self.labels.matches_object(object))
            && (self.fields.is_empty()
                || self.fields.matches(|field| match field {
                    "metadata.name" => Some(&*key.name),
                    "metadata.namespace" => Some(&*key.namespace),
                    field => {
                        let (_, at) = self.places.iter().find(|(name, _)| name == field)?;
                        entry.fields.as_ref()?.get(*at).map(|value| &**value)
                    }
                }))
    }
}
