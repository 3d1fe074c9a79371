//! Where on disk what is.
//!
//! ```text
//! pods/UID/volumes/NAME                       volumes
//! pods/UID/messages/CONTAINER-ATTEMPT         termination messages
//! logs/NAMESPACE_NAME_UID/CONTAINER/N.log     logs, as upstream lays them out
//! ```

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;

/// A directory that nobody else looks into, whoever has made it: volumes hold secrets.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// The agent's directory.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    dir: PathBuf,
}

impl Places {
    pub(crate) fn open(dir: &Path) -> io::Result<Places> {
        fs::create_dir_all(dir)?;
        let places = Places { dir: dir.canonicalize()? };
        for ours in ["pods", "logs"] {
            private_dir(&places.dir.join(ours))?;
        }
        Ok(places)
    }

    pub(crate) fn volumes(&self, pod: &Pod) -> PathBuf {
        self.pod(pod).join("volumes")
    }

    /// The file a container writes its termination message to.
    pub(crate) fn message(&self, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
        let name = format!("{container}-{attempt}");
        self.pod(pod).join("messages").join(name)
    }

    pub(crate) fn logs(&self, pod: &Pod) -> PathBuf {
        let metadata = &pod.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let name = format!("{}_{}_{}", text(&metadata.namespace), text(&metadata.name), text(&metadata.uid));
        self.dir.join("logs").join(name)
    }

    pub(crate) fn log(&self, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
        self.logs(pod).join(container).join(format!("{attempt}.log"))
    }

    /// Removes everything of a pod.
    pub(crate) fn clean_up(&self, pod: &Pod) -> io::Result<()> {
        for dir in [self.pod(pod), self.logs(pod)] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what is left of pods that are not among these uids: their volumes may hold secrets.
    pub(crate) fn keep_only(&self, uids: &BTreeSet<String>) -> io::Result<()> {
        let of_log = |name: &str, uid: &String| name.strip_suffix(uid.as_str()).is_some_and(|rest| rest.ends_with('_'));
        remove_except(&self.dir.join("pods"), |name| uids.contains(name))?;
        remove_except(&self.dir.join("logs"), |name| uids.iter().any(|uid| of_log(name, uid)))
    }

    /// How much of the file system is free, in percent.
    pub(crate) fn free_percent(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.dir).ok()?;
        (disk.f_bavail * 100).checked_div(disk.f_blocks)
    }

    fn pod(&self, pod: &Pod) -> PathBuf {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.dir.join("pods").join(uid)
    }
}

/// One that cannot be removed keeps none of the others.
fn remove_except(dir: &Path, kept: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !kept(&entry.file_name().to_string_lossy())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "what is left of a former pod is not removed");
        }
    }
    Ok(())
}

/// Whether a text is safe as one component of a path.
pub(crate) fn is_path_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.len() <= 253 && !text.starts_with('.') && text.chars().all(plain)
}
