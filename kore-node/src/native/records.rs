//! What the native runtime keeps on disk: one directory a sandbox, one a container, read once when the runtime opens.
//!
//! ```text
//! format                     the format's version: older is opened, newer refused
//! lock                       held by the agent that uses the directory
//! events                     FIFO on which shims say that a container ended
//! sandboxes/ID.json          a sandbox and its address
//! containers/ID/…            see `shim::disk`
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    runtime::{
        ContainerId, ContainerState, ContainerStatus, Exit, PodIdentity, SandboxId, SandboxState, SandboxStatus,
    },
    shim::{
        disk::{self, Launch, Started},
        tree,
    },
};

pub(super) const FORMAT: u32 = 1;
pub(super) const SANDBOXES: &str = "sandboxes";
pub(super) const CONTAINERS: &str = "containers";
pub(super) const EVENTS: &str = "events";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sandbox {
    pub(super) id: SandboxId,
    pub(super) pod: PodIdentity,
    pub(super) attempt: u32,
    pub(super) hostname: String,
    pub(super) address: IpAddr,
    pub(super) created_at: Timestamp,
    pub(super) labels: BTreeMap<String, String>,
    /// The boot of the machine it was made in: it does not outlive it.
    pub(super) boot: String,
    pub(super) stopped: bool,
}

impl Sandbox {
    pub(super) fn state(&self, boot: &str) -> SandboxState {
        if self.stopped || self.boot != boot { SandboxState::NotReady } else { SandboxState::Ready }
    }

    pub(super) fn status(&self, boot: &str) -> SandboxStatus {
        SandboxStatus {
            id: self.id.clone(),
            pod: self.pod.clone(),
            attempt: self.attempt,
            state: self.state(boot),
            addresses: vec![self.address],
            created_at: Some(self.created_at),
            labels: self.labels.clone(),
        }
    }
}

/// `container.json`: the shim reads `launch` (flattened) and ignores the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Container {
    #[serde(flatten)]
    pub(super) launch: Launch,
    pub(super) container_id: ContainerId,
    pub(super) sandbox: SandboxId,
    pub(super) pod: PodIdentity,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) labels: BTreeMap<String, String>,
    /// The boot of the machine it was created in.
    pub(super) boot: String,
}

impl Container {
    pub(super) fn status(&self, state: ContainerState) -> ContainerStatus {
        ContainerStatus {
            id: self.container_id.clone(),
            sandbox: self.sandbox.clone(),
            pod: self.pod.clone(),
            name: self.name.clone(),
            attempt: self.attempt,
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            state,
            log_path: self.launch.log_path.clone(),
            labels: self.labels.clone(),
        }
    }

    /// What the files in its directory say. A container whose shim is gone without an exit status is dead, and what may be
    /// left of it is killed here.
    pub(super) fn state(&self, dir: &Path, boot: &str) -> io::Result<ContainerState> {
        if let Some(exit) = disk::read_opt::<Exit>(&dir.join(disk::EXIT))? {
            return Ok(ContainerState::Exited(exit));
        }
        let started: Option<Started> = disk::read_opt(&dir.join(disk::STARTED))?;
        let lost = match &started {
            Some(started) if started.boot == boot && disk::lock(&dir.join(disk::LOCK))?.is_none() => {
                return Ok(ContainerState::Running { started_at: started.at });
            }
            Some(started) if started.boot == boot => "its shim was killed",
            None if self.boot == boot => return Ok(ContainerState::Created),
            _ => "the machine was restarted",
        };
        // The shim writes its last file before it lets go of the lock.
        if let Some(exit) = disk::read_opt::<Exit>(&dir.join(disk::EXIT))? {
            return Ok(ContainerState::Exited(exit));
        }
        tree::kill_marked(dir);
        let exit = Exit {
            started_at: started.map(|started| started.at),
            finished_at: Some(disk::now()),
            reason: Some("ContainerStatusUnknown".into()),
            message: Some(format!("The container could not be located: {lost}")),
            ..Exit::code(137)
        };
        // The caller remembers it, for as long as it cannot be written.
        if let Err(error) = disk::write(&dir.join(disk::EXIT), &exit, true) {
            tracing::warn!(%error, "how a container ended is not written");
        }
        Ok(ContainerState::Exited(exit))
    }
}

/// Everything on disk.
pub(super) struct Found {
    pub(super) sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
}

/// Reads the directory. A record torn by the end of the machine is removed: nothing of it can run.
pub(super) fn read_all(dir: &Path) -> io::Result<Found> {
    let mut found = Found { sandboxes: BTreeMap::new(), containers: BTreeMap::new() };
    for path in entries(&dir.join(SANDBOXES))? {
        match disk::read::<Sandbox>(&path) {
            Ok(sandbox) => drop(found.sandboxes.insert(sandbox.id.clone(), sandbox)),
            Err(error) => {
                tracing::warn!(%error, "removing a sandbox's record that cannot be read");
                fs::remove_file(&path)?;
            }
        }
    }
    for path in entries(&dir.join(CONTAINERS))? {
        match disk::read::<Container>(&path.join(disk::CONTAINER)) {
            Ok(container) if found.sandboxes.contains_key(&container.sandbox) => {
                found.containers.insert(container.container_id.clone(), container);
            }
            Ok(_) => remove_container(&path)?,
            Err(error) => {
                tracing::warn!(%error, "removing a container's record that cannot be read");
                remove_container(&path)?;
            }
        }
    }
    Ok(found)
}

/// Kills what is left of a container nobody can name any more, and removes its files.
fn remove_container(dir: &Path) -> io::Result<()> {
    tree::kill_marked(dir);
    fs::remove_dir_all(dir)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter(|path| path.extension().is_none_or(|extension| extension != "tmp")).collect())
}
