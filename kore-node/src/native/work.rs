//! The runtime's work itself, blocking: called from where blocking is allowed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Child,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use super::{
    addresses::Addresses,
    images::{Program, Registered},
    processes, records,
};
use crate::{
    runtime::{
        ContainerConfig, ContainerId, ContainerState, Error, Listing, Result, SandboxConfig, SandboxId, SandboxState,
        SandboxStatus,
    },
    shim::{Shim, disk, disk::Launch, tree},
};

/// The environment variable in which every container finds its pod's address.
const POD_ADDRESS: &str = "KORE_POD_IP";

pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) shim: Shim,
    pub(super) images: Registered<Program>,
    pub(super) log_max_bytes: u64,
    pub(super) log_max_files: u32,
    pub(super) boot: String,
    /// Whether mounts can be mounted: asked once, when the first container has any.
    pub(super) can_mount: OnceLock<bool>,
    pub(super) state: Mutex<State>,
    pub(super) _lock: File,
}

pub(super) struct State {
    pub(super) sandboxes: BTreeMap<SandboxId, records::Sandbox>,
    pub(super) containers: BTreeMap<ContainerId, Known>,
    pub(super) addresses: Addresses,
    /// Shims started by this process, to be reaped.
    pub(super) shims: Vec<Child>,
}

pub(super) struct Known {
    pub(super) container: records::Container,
    /// The state that was last read. Once it is over it does not change any more.
    pub(super) last: ContainerState,
}

/// As whom a container runs, if as somebody else than the agent. Only root can become somebody else.
fn identity(config: &ContainerConfig) -> Result<Option<disk::Identity>> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let wanted = disk::Identity {
        user: config.user.unwrap_or(user),
        group: config.group.unwrap_or(group),
        groups: config.supplemental_groups.clone(),
    };
    if (wanted.user, wanted.group) == (user, group) && wanted.groups.is_empty() {
        return Ok(None);
    }
    if user != 0 {
        return Err(Error::Invalid(format!(
            "cannot run as user {}, group {} and groups {:?}: the agent runs as user {user}, and only root can become \
             another one",
            wanted.user, wanted.group, wanted.groups
        )));
    }
    Ok(Some(wanted))
}

impl Inner {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.dir.join(records::CONTAINERS).join(id.as_str())
    }

    pub(super) fn sandbox_file(&self, id: &SandboxId) -> PathBuf {
        self.dir.join(records::SANDBOXES).join(format!("{id}.json"))
    }

    pub(super) fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus> {
        let id = SandboxId::new(format!("{}_{}", path_part("pod uid", &config.pod.uid)?, config.attempt));
        let mut state = self.state();
        if let Some(sandbox) = state.sandboxes.get(&id) {
            return Ok(sandbox.status(&self.boot));
        }
        let address = match config.host_network {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => state.addresses.allocate(&id)?,
        };
        let sandbox = records::Sandbox {
            id: id.clone(),
            pod: config.pod.clone(),
            attempt: config.attempt,
            hostname: config.hostname.clone(),
            address,
            created_at: disk::now(),
            labels: config.labels.clone(),
            boot: self.boot.clone(),
            stopped: false,
        };
        if let Err(error) = disk::write(&self.sandbox_file(&id), &sandbox, false) {
            state.addresses.release(address, &id);
            return Err(Error::Transient(error.to_string()));
        }
        let status = sandbox.status(&self.boot);
        state.sandboxes.insert(id, sandbox);
        Ok(status)
    }

    pub(super) fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        for container in self.containers_of(id) {
            self.kill(&container)?;
        }
        let mut state = self.state();
        let State { sandboxes, addresses, .. } = &mut *state;
        if let Some(sandbox) = sandboxes.get_mut(id)
            && !sandbox.stopped
        {
            let stopped = records::Sandbox { stopped: true, ..sandbox.clone() };
            disk::write(&self.sandbox_file(id), &stopped, false)
                .map_err(|error| Error::Transient(error.to_string()))?;
            addresses.release(sandbox.address, id);
            *sandbox = stopped;
        }
        Ok(())
    }

    pub(super) fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.stop_sandbox(id)?;
        for container in self.containers_of(id) {
            self.remove(&container)?;
        }
        remove(&self.sandbox_file(id), |path| fs::remove_file(path))?;
        self.state().sandboxes.remove(id);
        Ok(())
    }

    pub(super) fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let state = self.state();
        let of = state.containers.iter().filter(|(_, known)| known.container.sandbox == *sandbox);
        of.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn create(&self, sandbox: &SandboxId, config: &ContainerConfig) -> Result<ContainerId> {
        let name = path_part("container name", &config.name)?;
        let (pod, address, ready) = match self.state().sandboxes.get(sandbox) {
            Some(sandbox) => (sandbox.pod.clone(), sandbox.address, sandbox.state(&self.boot) == SandboxState::Ready),
            None => return Err(Error::not_found("sandbox", sandbox)),
        };
        if !ready {
            return Err(Error::Transient(format!("sandbox {sandbox} is stopped")));
        }
        let program = self.images.get(&config.image).ok_or_else(|| Error::not_found("image", &config.image))?;
        let this_binary = self.shim.application_binary().map_err(|error| Error::Transient(error.to_string()))?;
        let (argv, executable) = program.resolve(&config.image, &config.command, &config.args, &this_binary)?;
        let identity = identity(config)?;
        let mut env = config.env.clone();
        if !env.iter().any(|(name, _)| name == POD_ADDRESS) {
            env.push((POD_ADDRESS.to_owned(), address.to_string()));
        }
        let id = ContainerId::new(format!("{}_{name}_{}", pod.uid, config.attempt));
        let dir = self.container_dir(&id);
        let image = self.images.image(&config.image).expect("found above");
        let namespace =
            !config.mounts.is_empty() && *self.can_mount.get_or_init(|| processes::can_mount(&self.shim, &self.dir));
        let container = records::Container {
            launch: Launch {
                version: disk::VERSION,
                id: id.as_str().to_owned(),
                pod_uid: pod.uid.clone(),
                argv,
                executable,
                env,
                working_dir: config.working_dir.clone(),
                mounts: config.mounts.clone(),
                identity,
                namespace,
                log_path: config.log_path.clone(),
                log_max_bytes: self.log_max_bytes,
                log_max_files: self.log_max_files,
                events: self.dir.join(records::EVENTS),
            },
            container_id: id.clone(),
            sandbox: sandbox.clone(),
            pod,
            name: config.name.clone(),
            attempt: config.attempt,
            image: config.image.clone(),
            image_id: image.id,
            labels: config.labels.clone(),
            boot: self.boot.clone(),
        };
        let mut state = self.state();
        if state.containers.contains_key(&id) {
            return Err(Error::already_exists("container", &id));
        }
        fs::create_dir_all(&dir).map_err(|error| Error::io("creating", &dir, error))?;
        disk::write(&dir.join(disk::CONTAINER), &container, false)
            .map_err(|error| Error::Transient(error.to_string()))?;
        state.containers.insert(id.clone(), Known { container, last: ContainerState::Created });
        Ok(id)
    }

    pub(super) fn start(&self, id: &ContainerId) -> Result<()> {
        if !self.state().containers.contains_key(id) {
            return Err(Error::not_found("container", id));
        }
        let (child, result) = processes::start(&self.shim, &self.container_dir(id), id);
        self.state().shims.extend(child);
        result
    }

    /// The container's state: what it was, if that cannot be read.
    pub(super) fn container_state(&self, id: &ContainerId, known: &mut Known) -> ContainerState {
        if known.last.exit().is_none() {
            match known.container.state(&self.container_dir(id), &self.boot) {
                Ok(state) => known.last = state,
                Err(error) => tracing::warn!(container = %id, %error, "the container's state cannot be read"),
            }
        }
        known.last.clone()
    }

    pub(super) fn state_of(&self, id: &ContainerId) -> Option<ContainerState> {
        let mut state = self.state();
        let known = state.containers.get_mut(id)?;
        Some(self.container_state(id, known))
    }

    /// Asks for the end; true if there is nothing to wait for.
    pub(super) fn ask_to_stop(&self, id: &ContainerId, grace: Duration) -> Result<bool> {
        if !self.state_of(id).is_some_and(|state| state.is_running()) {
            return Ok(true);
        }
        let dir = self.container_dir(id);
        processes::stop(&dir, grace).map_err(|error| Error::io("stopping", &dir, error))?;
        Ok(false)
    }

    /// Kills a container and waits for its end, without an async runtime.
    pub(super) fn kill(&self, id: &ContainerId) -> Result<()> {
        for _ in 0..KILL_TRIES {
            if self.ask_to_stop(id, Duration::ZERO)? {
                return Ok(());
            }
            let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let _ = rustix::event::poll(&mut [], Some(&pause));
        }
        Err(Error::Transient(format!("container {id} does not end though it was killed")))
    }

    pub(super) fn remove(&self, id: &ContainerId) -> Result<()> {
        self.kill(id)?;
        // A command that was being executed when the container ended may have come too late to be found then.
        let dir = self.container_dir(id);
        tree::kill_marked(&dir);
        remove(&dir, |path| fs::remove_dir_all(path))?;
        self.state().containers.remove(id);
        Ok(())
    }

    pub(super) fn list(&self, pod_uid: Option<&str>) -> Listing {
        let mut state = self.state();
        // Nobody else waits for shims that ended.
        state.shims.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let mut listing = Listing::default();
        let of = |uid: &str| pod_uid.is_none_or(|wanted| wanted == uid);
        let sandboxes = state.sandboxes.values().filter(|sandbox| of(&sandbox.pod.uid));
        listing.sandboxes.extend(sandboxes.map(|sandbox| sandbox.status(&self.boot)));
        for (id, known) in state.containers.iter_mut().filter(|(_, known)| of(&known.container.pod.uid)) {
            let state = self.container_state(id, known);
            listing.containers.push(known.container.status(state));
        }
        listing
    }
}

/// How often a killed container is looked at, every 5 ms, before giving up.
const KILL_TRIES: u32 = 2_000;

/// Names that become part of a path hold nothing but letters, digits, `-` and `.`, and do not begin with a dot.
fn path_part<'a>(what: &str, text: &'a str) -> Result<&'a str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.is_empty() || text.len() > 100 || text.starts_with('.') || !text.chars().all(plain) {
        return Err(Error::Invalid(format!("{what} {text:?} cannot be part of a path")));
    }
    Ok(text)
}

fn remove(path: &Path, how: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    match how(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", path, error)),
        _ => Ok(()),
    }
}
