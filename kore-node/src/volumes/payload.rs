//! The files of ConfigMaps, Secrets, the downward API and their projections.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use super::atomic::File;
use crate::env::{self, Context};

/// The files of a volume, by relative path.
pub(super) type Files = BTreeMap<String, File>;

const DEFAULT_MODE: i32 = 0o644;

/// Whether the volume's files are the agent's: a container only reads them.
pub(super) fn is_payload(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The ConfigMaps and Secrets that a pod's volumes and environments name.
pub(crate) fn names(pod: &Pod) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for volume in super::volumes(pod) {
        maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
        let names = volume.secret.iter();
        secrets.extend(names.filter_map(|secret| secret.secret_name.clone()));
        let projected = volume.projected.iter().flat_map(|all| &all.sources);
        for source in projected.flatten() {
            maps.extend(source.config_map.iter().map(|map| map.name.clone()));
            secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
        }
    }
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    let main = spec.map(|spec| &spec.containers);
    let containers = init.into_iter().chain(main).flatten();
    for Container { env, env_from, .. } in containers {
        for source in env_from.iter().flatten() {
            maps.extend(source.config_map_ref.iter().map(|map| map.name.clone()));
            secrets.extend(source.secret_ref.iter().map(|secret| secret.name.clone()));
        }
        for from in env.iter().flatten().filter_map(|one| one.value_from.as_ref()) {
            maps.extend(from.config_map_key_ref.iter().map(|map| map.name.clone()));
            secrets.extend(from.secret_key_ref.iter().map(|secret| secret.name.clone()));
        }
    }
    (maps, secrets)
}

/// The files of one volume.
pub(super) fn files(volume: &Volume, context: &Context<'_>) -> Result<Files, String> {
    let mut files = Files::new();
    if let Some(map) = &volume.config_map {
        let source = Source {
            kind: "configmap",
            name: &map.name,
            items: map.items.as_deref(),
            optional: map.optional,
            mode: map.default_mode,
        };
        source.add(&mut files, &context.data.config_maps)?;
    } else if let Some(secret) = &volume.secret {
        let source = Source {
            kind: "secret",
            name: secret.secret_name.as_deref().unwrap_or_default(),
            items: secret.items.as_deref(),
            optional: secret.optional,
            mode: secret.default_mode,
        };
        source.add(&mut files, &context.data.secrets)?;
    } else if let Some(downward) = &volume.downward_api {
        let items = downward.items.as_deref().unwrap_or_default();
        downward_api(&mut files, items, downward.default_mode, context)?;
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            project(&mut files, source, projected.default_mode, context)?;
        }
    }
    Ok(files)
}

fn project(
    files: &mut Files,
    source: &VolumeProjection,
    mode: Option<i32>,
    context: &Context<'_>,
) -> Result<(), String> {
    if let Some(map) = &source.config_map {
        let source =
            Source { kind: "configmap", name: &map.name, items: map.items.as_deref(), optional: map.optional, mode };
        source.add(files, &context.data.config_maps)
    } else if let Some(secret) = &source.secret {
        let source = Source {
            kind: "secret",
            name: &secret.name,
            items: secret.items.as_deref(),
            optional: secret.optional,
            mode,
        };
        source.add(files, &context.data.secrets)
    } else if let Some(downward) = &source.downward_api {
        let items = downward.items.as_deref().unwrap_or_default();
        downward_api(files, items, mode, context)
    } else {
        Err("a projected source of a kind that this node does not support".into())
    }
}

struct Source<'a> {
    kind: &'static str,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    optional: Option<bool>,
    mode: Option<i32>,
}

impl Source<'_> {
    fn add(&self, files: &mut Files, all: &BTreeMap<String, BTreeMap<String, Vec<u8>>>) -> Result<(), String> {
        let optional = self.optional == Some(true);
        let Some(data) = all.get(self.name) else {
            return match optional {
                true => Ok(()),
                false => Err(format!("{} \"{}\" not found", self.kind, self.name)),
            };
        };
        let mode = self.mode.unwrap_or(DEFAULT_MODE);
        let Some(items) = self.items else {
            for (key, value) in data {
                add(files, key, value.clone(), mode)?;
            }
            return Ok(());
        };
        for item in items {
            match data.get(&item.key) {
                Some(value) => {
                    add(files, &item.path, value.clone(), item.mode.unwrap_or(mode))?;
                }
                None if optional => {}
                None => {
                    let what = if self.kind == "secret" { "secret" } else { "config" };
                    return Err(format!("{} references non-existent {what} key: {}", self.kind, item.key));
                }
            }
        }
        Ok(())
    }
}

fn downward_api(
    files: &mut Files,
    items: &[DownwardAPIVolumeFile],
    mode: Option<i32>,
    context: &Context<'_>,
) -> Result<(), String> {
    for item in items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => env::field(context, field)?,
            (None, Some(field)) => env::resource(context, &Container::default(), field)?,
            (None, None) => continue,
        };
        let mode = item.mode.or(mode).unwrap_or(DEFAULT_MODE);
        add(files, &item.path, value.into_bytes(), mode)?;
    }
    Ok(())
}

fn add(files: &mut Files, path: &str, bytes: Vec<u8>, mode: i32) -> Result<(), String> {
    let plain = |part: Component<'_>| match part {
        Component::Normal(part) => !part.to_string_lossy().starts_with(".."),
        _ => false,
    };
    if path.is_empty() || !Path::new(path).components().all(plain) {
        return Err(format!("path {path:?} must be relative and must not contain '..'"));
    }
    let mode = (mode & 0o777) as u32;
    files.insert(path.to_owned(), File { bytes, mode });
    Ok(())
}
