//! Starting a container: image, environment, mounts, create, start, postStart hook.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod};
use kore_api::{object::Object, schema::quantity};

use super::{Shared, ending::Ends, hook, stop, worker};
use crate::{
    env::{self, Context},
    identity::identity,
    machine::{Outcome, spec},
    runtime::{ContainerConfig, ContainerId, ContainerState, ContainerStatus, Error, Mount, SandboxId},
    volumes,
};

/// One start.
pub(super) struct Start<'a> {
    pub(super) shared: &'a Shared,
    pub(super) pod: &'a Pod,
    pub(super) object: Option<&'a Object>,
    pub(super) sandbox: &'a SandboxId,
    pub(super) attempt: u32,
    pub(super) ends: &'a Ends,
}

/// A status reason and its message.
type Failure = (&'static str, String);

impl Start<'_> {
    pub(super) async fn run(&self, name: &str) -> Outcome {
        let Some(container) = spec::container(self.pod, name) else {
            return worker::failed("CreateContainerConfigError", format!("no container {name}"));
        };
        match self.start(container).await {
            Ok(()) => Outcome::Done,
            Err((reason, message)) => {
                let text = match reason {
                    "ErrImagePull" => "Error: ErrImagePull".to_owned(),
                    _ => format!("Error: {message}"),
                };
                self.tell(true, "Failed", text);
                worker::failed(reason, message)
            }
        }
    }

    fn tell(&self, warning: bool, reason: &str, message: String) {
        if let Some(object) = self.object {
            worker::tell(self.shared, object, warning, reason, message);
        }
    }

    async fn start(&self, container: &Container) -> Result<(), Failure> {
        let runtime = &self.shared.runtime;
        self.image(container).await?;
        let config = self.config(container).await?;
        let id = match runtime.create(self.sandbox, &config).await {
            Ok(id) => {
                let text = format!("Created container: {}", container.name);
                self.tell(false, "Created", text);
                id
            }
            Err(error) if error.is_already_exists() => self.existing(container).await?,
            Err(error @ Error::Invalid(_)) => return Err(("CreateContainerConfigError", error.to_string())),
            Err(error) => return Err(("CreateContainerError", error.to_string())),
        };
        match runtime.start(&id).await {
            Ok(()) => {}
            Err(error) if error.is_already_exists() => return self.was_started(container).await,
            Err(error) => return Err(("RunContainerError", error.to_string())),
        }
        let text = format!("Started container {}", container.name);
        self.tell(false, "Started", text);
        let hook = container.lifecycle.as_ref();
        let Some(hook) = hook.and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return Ok(());
        };
        let mut ending = self.ends.ending();
        let result = tokio::select! {
            biased;
            result = hook::run(self.shared, self.pod, container, &id, hook) => result,
            // A container that is about to be stopped needs no hook after its start any more.
            () = ending.comes() => Ok(()),
        };
        if let Err(message) = result {
            self.tell(true, "FailedPostStartHook", format!("PostStartHook failed: {message}"));
            let grace = spec::grace(self.pod).min(Duration::from_secs(30));
            let name = &container.name;
            let stopped = stop::stop(self.shared, self.pod, &id, name, grace, false, self.ends.ending()).await;
            stopped.map_err(|error| ("PostStartHookError", error.to_string()))?;
            return Err(("PostStartHookError", message));
        }
        Ok(())
    }

    /// A container that another life of the agent created.
    async fn existing(&self, container: &Container) -> Result<ContainerId, Failure> {
        let fail = |message: String| ("CreateContainerError", message);
        let found = self.find(container).await.map_err(|error| fail(error.to_string()))?;
        let id = found.map(|one| one.id);
        id.ok_or_else(|| fail(format!("container {} exists and does not", container.name)))
    }

    /// A container that another life of the agent started. One that has come to nothing is not asked for again and again.
    async fn was_started(&self, container: &Container) -> Result<(), Failure> {
        let fail = |message: String| ("RunContainerError", message);
        let found = self.find(container).await.map_err(|error| fail(error.to_string()))?;
        match found.map(|one| one.state) {
            Some(ContainerState::Created) => {
                Err(fail(format!("container {} was started and does not run", container.name)))
            }
            _ => Ok(()),
        }
    }

    /// What the runtime has of this attempt.
    async fn find(&self, container: &Container) -> Result<Option<ContainerStatus>, Error> {
        let listing = self.shared.runtime.list(self.pod.metadata.uid.as_deref()).await?;
        let mut containers = listing.containers.into_iter();
        Ok(containers.find(|one| one.name == container.name && one.attempt == self.attempt))
    }

    /// Makes sure that the image is there, as the pull policy has it.
    async fn image(&self, container: &Container) -> Result<(), Failure> {
        let image = container.image.as_deref().unwrap_or_default();
        let images = self.shared.runtime.images();
        let invalid = |error: Error| match error {
            Error::Invalid(message) => ("InvalidImageName", message),
            error => ("ErrImagePull", error.to_string()),
        };
        let present = images.status(image).await.map_err(invalid)?.is_some();
        let policy = match container.image_pull_policy.as_deref() {
            Some(policy) => policy,
            None if image.ends_with(":latest") || !image.contains(':') => "Always",
            None => "IfNotPresent",
        };
        match policy {
            "Never" if !present => {
                let text = format!("Container image \"{image}\" is not present with pull policy of Never");
                return Err(("ErrImageNeverPull", text));
            }
            "Never" | "IfNotPresent" if present => {
                let text = format!("Container image \"{image}\" already present on machine");
                self.tell(false, "Pulled", text);
                return Ok(());
            }
            _ => {}
        }
        self.tell(false, "Pulling", format!("Pulling image \"{image}\""));
        match images.pull(image, None).await {
            Ok(_) => {
                let text = format!("Successfully pulled image \"{image}\"");
                self.tell(false, "Pulled", text);
                Ok(())
            }
            Err(error) => {
                let text = format!("Failed to pull image \"{image}\": {error}");
                self.tell(true, "Failed", text);
                Err(invalid(error))
            }
        }
    }

    async fn config(&self, container: &Container) -> Result<ContainerConfig, Failure> {
        let fail = |message: String| ("CreateContainerConfigError", message);
        let (shared, pod) = (self.shared, self.pod);
        let env = self.environment(container).await.map_err(fail)?;
        let value = |name: &str| {
            let found = env.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        let expand = |texts: &Option<Vec<String>>| -> Vec<String> {
            let texts = texts.iter().flatten();
            texts.map(|text| env::expand(text, value)).collect()
        };
        let dir = shared.places.volumes(pod);
        let mut mounts = volumes::mounts(&dir, pod, container, value).map_err(fail)?;
        mounts.push(self.message(container).map_err(fail)?);
        let log = shared.places.log(pod, &container.name, self.attempt);
        let parent = log.parent().expect("a log in its directory");
        fs::create_dir_all(parent).map_err(|error| fail(format!("{}: {error}", parent.display())))?;
        let mut config = ContainerConfig::new(&container.name, container.image.as_deref().unwrap_or_default());
        config.attempt = self.attempt;
        config.command = expand(&container.command);
        config.args = expand(&container.args);
        config.working_dir = container.working_dir.as_ref().map(PathBuf::from);
        config.mounts = mounts;
        config.log_path = log;
        let limits = container.resources.as_ref();
        let limits = limits.and_then(|resources| resources.limits.as_ref());
        let limit = |name: &str| Some(&*limits?.get(name)?.0);
        let whole = |value: i64| u64::try_from(value).ok();
        config.memory_limit_bytes = limit("memory").and_then(|limit| whole(quantity::value(limit).ok()?));
        config.cpu_limit_millis = limit("cpu").and_then(|limit| whole(quantity::milli_value(limit).ok()?));
        config.env = env;
        let image = shared.runtime.images().status(&config.image).await.map_err(|error| fail(error.to_string()))?;
        let identity = identity(pod, container, image.and_then(|image| image.user)).map_err(fail)?;
        (config.user, config.group) = (identity.user, identity.group);
        config.supplemental_groups = identity.groups;
        Ok(config)
    }

    /// What the environment names is asked for once more if it is not there.
    async fn environment(&self, container: &Container) -> Result<Vec<(String, String)>, String> {
        let (shared, pod) = (self.shared, self.pod);
        let uid = pod.metadata.uid.as_deref();
        let listing = shared.runtime.list(uid).await;
        let listing = listing.map_err(|error| error.to_string())?;
        let sandbox = listing.sandboxes.iter().find(|one| one.id == *self.sandbox);
        let pod_ips = sandbox.map(|sandbox| sandbox.addresses.as_slice());
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let services = shared.sources.services(namespace);
        let mut fresh = false;
        loop {
            let data = shared.sources.data(pod, fresh).await?;
            let context = Context {
                pod,
                pod_ips: pod_ips.unwrap_or_default(),
                host_ips: &shared.settings.host_addresses,
                allocatable: &shared.capacity,
                services: &services,
                data: &data,
            };
            match env::environment(&context, container) {
                Err(_) if !fresh => fresh = true,
                result => return result,
            }
        }
    }

    /// The file the container may leave a last word in.
    fn message(&self, container: &Container) -> Result<Mount, String> {
        let places = &self.shared.places;
        let path = places.message(self.pod, &container.name, self.attempt);
        let parent = path.parent().expect("a file in its directory");
        // Whoever the container runs as may write to it.
        let everybody = fs::Permissions::from_mode(0o666);
        fs::create_dir_all(parent)
            .and_then(|()| fs::File::create(&path)?.set_permissions(everybody))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let target = container.termination_message_path.as_deref();
        let target = target.unwrap_or("/dev/termination-log");
        Ok(Mount::new(path, target))
    }
}
