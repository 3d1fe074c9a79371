//! A pod's volumes as directories of the node.
//!
//! - this file: which volume is what, and what a container mounts of it
//! - `payload`: the files of ConfigMaps, Secrets, the downward API and their projections
//! - `atomic`: replacing a directory's files all at once

mod atomic;
mod payload;

use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, HostPathVolumeSource, Pod, Volume};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2},
    io::Errno,
};

use crate::{
    env::{self, Context},
    runtime::Mount,
};

/// What the files in a volume are made from.
pub(crate) use self::payload::names as named_data;

/// Makes or refreshes all volumes of a pod below `dir`. A failure names the volume.
pub(crate) fn prepare(dir: &Path, context: &Context<'_>) -> Result<(), String> {
    for volume in volumes(context.pod) {
        prepare_one(dir, volume, context)
            .map_err(|problem| format!("MountVolume.SetUp failed for volume \"{}\" : {problem}", volume.name))?;
    }
    Ok(())
}

/// What a container mounts, outer paths first. `value` gives the container's environment, for `subPathExpr`.
pub(crate) fn mounts(
    dir: &Path,
    pod: &Pod,
    container: &Container,
    value: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, String> {
    let mut mounts = vec![];
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes(pod)
            .iter()
            .find(|volume| volume.name == mount.name)
            .ok_or_else(|| format!("volume mount \"{}\" names no volume of the pod", mount.name))?;
        let mut source = source(dir, volume);
        let sub_path = match &mount.sub_path_expr {
            Some(expression) => Some(env::expand(expression, &value)),
            None => mount.sub_path.clone(),
        };
        if let Some(sub_path) = sub_path.filter(|path| !path.is_empty()) {
            source = inside(&source, &sub_path)
                .map_err(|error| format!("subPath {sub_path:?} of volume \"{}\": {error}", mount.name))?;
        }
        let read_only = mount.read_only == Some(true) || payload::is_payload(volume);
        let target = Path::new("/").join(&mount.mount_path);
        mounts.push(Mount::new(source, target).read_only(read_only));
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

fn volumes(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

/// Where a volume is on the node.
fn source(dir: &Path, volume: &Volume) -> PathBuf {
    match &volume.host_path {
        Some(host) => host.path.clone().into(),
        None => dir.join(&volume.name),
    }
}

fn prepare_one(dir: &Path, volume: &Volume, context: &Context<'_>) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    if !is_plain(&volume.name) {
        return Err("its name cannot be part of a path".into());
    }
    if let Some(host) = &volume.host_path {
        return host_path(host);
    }
    let path = dir.join(&volume.name);
    if volume.empty_dir.is_some() {
        if !path.exists() {
            fs::create_dir_all(&path).map_err(text)?;
            let everybody = fs::Permissions::from_mode(0o777);
            fs::set_permissions(&path, everybody).map_err(text)?;
        }
        return Ok(());
    }
    if payload::is_payload(volume) {
        let files = payload::files(volume, context)?;
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(text)?;
        return atomic::replace(&path, &files).map_err(text);
    }
    let value = serde_json::to_value(volume).unwrap_or_default();
    let mut kinds = value.as_object().into_iter().flat_map(|fields| fields.keys());
    let kind = kinds.find(|key| *key != "name");
    Err(format!("volumes of type {} are not supported by this node", kind.map_or("(none)", String::as_str)))
}

fn host_path(host: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&host.path);
    let kind = host.type_.as_deref().unwrap_or_default();
    let text = |error: io::Error| format!("{}: {error}", host.path);
    match kind {
        "DirectoryOrCreate" if !path.exists() => fs::create_dir_all(path).map_err(text)?,
        "FileOrCreate" if !path.exists() => drop(fs::File::create(path).map_err(text)?),
        _ => {}
    }
    let metadata = fs::metadata(path).map_err(text)?;
    let file_type = metadata.file_type();
    let fits = match kind {
        "" => true,
        "Directory" | "DirectoryOrCreate" => metadata.is_dir(),
        "File" | "FileOrCreate" => metadata.is_file(),
        "Socket" => file_type.is_socket(),
        "CharDevice" => file_type.is_char_device(),
        "BlockDevice" => file_type.is_block_device(),
        _ => return Err(format!("hostPath type {kind:?} is not known")),
    };
    match fits {
        true => Ok(()),
        false => Err(format!(
            "hostPath type check failed: {} is not a {}",
            host.path,
            kind.trim_end_matches("OrCreate").to_lowercase()
        )),
    }
}

/// A path inside a volume, which it cannot leave, through `..` or a symbolic link. Made if there is nothing there.
///
/// The kernel (Linux 5.6) resolves and makes it, so that nobody changes it in between. What is handed on is where it really is, without any
/// symbolic link: a runtime mounts by path, from another process. What remains is that somebody who may write to the volume
/// replaces a part of that path until then. With the native runtime they gain nothing: its containers are no more confined than
/// the agent is.
fn inside(volume: &Path, sub_path: &str) -> Result<PathBuf, String> {
    let sub_path = Path::new(sub_path);
    if !sub_path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("must be a relative path without '..'".into());
    }
    let text = |error: Errno| match error {
        Errno::XDEV | Errno::LOOP => "leads out of the volume".to_owned(),
        error => io::Error::from(error).to_string(),
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(volume, flags | OFlags::DIRECTORY, Mode::empty()).map_err(text)?;
    let beneath =
        |path: &Path| openat2(&root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS);
    let mut found = beneath(Path::new(".")).map_err(text)?;
    let mut path = PathBuf::new();
    for part in sub_path.components().filter(|part| matches!(part, Component::Normal(_))) {
        path.push(part);
        let next = match beneath(&path) {
            Err(Errno::NOENT) => match mkdirat(&found, part.as_os_str(), Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => beneath(&path),
                Err(error) => Err(error),
            },
            next => next,
        };
        found = next.map_err(text)?;
    }
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(|error| error.to_string())
}

/// Whether a name is one path component that is neither `.` nor `..`.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::env::Data;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        let pair = |(key, value): &(&str, &str)| (key.to_string(), value.as_bytes().to_vec());
        pairs.iter().map(pair).collect()
    }

    fn prepare(dir: &Path, volume: Value, greeting: &str) -> Result<Pod, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "labels": {"a": "b\"c"}},
            "spec": {"containers": [], "volumes": [volume]},
        }))
        .unwrap();
        let context = Context {
            pod: &pod,
            pod_ips: &[],
            host_ips: &[],
            allocatable: &BTreeMap::new(),
            services: &[],
            data: &Data {
                config_maps: [("c".to_owned(), data(&[("greeting", greeting), ("two", "2")]))].into(),
                secrets: [("s".to_owned(), data(&[("token", "t")]))].into(),
            },
        };
        super::prepare(dir, &context).map(|()| pod)
    }

    #[test]
    fn files_come_from_config_maps_secrets_and_the_pod_itself() {
        let dir = tempfile::tempdir().unwrap();
        let volume = json!({"name": "v", "projected": {"defaultMode": 0o440, "sources": [
            {"configMap": {"name": "c", "items": [{"key": "greeting", "path": "sub/hello", "mode": 0o600}]}},
            {"secret": {"name": "s"}},
            {"secret": {"name": "none", "optional": true}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}});
        prepare(dir.path(), volume, "hi").unwrap();
        let at = |path: &str| dir.path().join("v").join(path);
        for (path, content, mode) in
            [("sub/hello", "hi", 0o600), ("token", "t", 0o440), ("labels", "a=\"b\\\"c\"", 0o440)]
        {
            assert_eq!(fs::read_to_string(at(path)).unwrap(), content);
            assert_eq!(fs::metadata(at(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
        }
    }

    #[test]
    fn an_update_is_seen_as_a_whole_and_removes_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join("v").join(path);
        prepare(dir.path(), json!({"name": "v", "configMap": {"name": "c"}}), "one").unwrap();
        let open = fs::read_link(at("..data")).unwrap();
        prepare(dir.path(), json!({"name": "v", "configMap": {"name": "c"}}), "one").unwrap();
        assert_eq!(fs::read_link(at("..data")).unwrap(), open, "nothing changed, nothing is written");
        let only = json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "greeting", "path": "greeting"}]}});
        prepare(dir.path(), only, "two").unwrap();
        assert_eq!(fs::read_to_string(at("greeting")).unwrap(), "two");
        assert!(!at("two").exists() && !at("two").is_symlink());
        let hidden = fs::read_dir(dir.path().join("v")).unwrap().flatten();
        let old = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with("..20")).count();
        assert!(old <= 1, "old versions are removed");
    }

    #[test]
    fn a_crash_between_the_swap_and_the_links_is_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join("v").join(path);
        prepare(dir.path(), json!({"name": "v", "configMap": {"name": "c"}}), "one").unwrap();
        fs::remove_file(at("greeting")).unwrap();
        fs::create_dir(at("..2026_01_01_00_00_00.000000000")).unwrap();
        prepare(dir.path(), json!({"name": "v", "configMap": {"name": "c"}}), "one").unwrap();
        assert_eq!(fs::read_to_string(at("greeting")).unwrap(), "one");
        assert!(!at("..2026_01_01_00_00_00.000000000").exists(), "what nothing points to is removed");
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let cases = [
            (json!({"name": "v", "configMap": {"name": "none"}}), "configmap \"none\" not found"),
            (json!({"name": "v", "secret": {"secretName": "none"}}), "secret \"none\" not found"),
            (
                json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}}),
                "configmap references non-existent config key: x",
            ),
            (json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "two", "path": "../x"}]}}), "../x"),
            (json!({"name": "v", "persistentVolumeClaim": {"claimName": "p"}}), "persistentVolumeClaim"),
            (
                json!({"name": "v", "hostPath": {"path": "/dev/null", "type": "Directory"}}),
                "hostPath type check failed",
            ),
            (json!({"name": "..", "emptyDir": {}}), "part of a path"),
        ];
        for (volume, message) in cases {
            let error = prepare(dir.path(), volume, "").unwrap_err();
            assert!(error.contains(message) && error.starts_with("MountVolume.SetUp failed"), "{error}");
        }
    }

    #[test]
    fn a_sub_path_cannot_leave_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let pod = prepare(dir.path(), json!({"name": "v", "emptyDir": {}}), "").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("v/out")).unwrap();
        let mount = |sub_path: &str| {
            let container =
                json!({"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/m", "subPathExpr": sub_path}]});
            let container = serde_json::from_value(container).unwrap();
            mounts(dir.path(), &pod, &container, |_| Some("web".into()))
        };
        for bad in ["../x", "/etc", "out", "out/passwd", "a/../../x"] {
            assert!(mount(bad).is_err(), "{bad}");
        }
        let good = mount("logs/$(POD)").unwrap();
        assert!(good[0].source.ends_with("v/logs/web") && good[0].source.is_dir());
        std::os::unix::fs::symlink("logs/web", dir.path().join("v/in")).unwrap();
        assert_eq!(mount("in").unwrap(), good, "a link inside is followed");
        std::os::unix::fs::symlink("/none", dir.path().join("v/nowhere")).unwrap();
        assert!(mount("nowhere").is_err() && !Path::new("/none").exists());
    }

    #[test]
    fn a_sub_path_cannot_be_swapped_while_it_is_made() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("x")).unwrap();
        std::os::unix::fs::symlink(outside.path(), at("y")).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    rustix::fs::renameat_with(rustix::fs::CWD, at("x"), rustix::fs::CWD, at("y"), exchange).unwrap();
                }
            });
            for number in 0..2_000 {
                let _ = inside(dir.path(), &format!("x/{number}"));
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is made outside");
    }
}
