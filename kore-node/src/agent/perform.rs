//! Doing what the pod machine says.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kore_api::{object::Object, request::Options};
use tokio::time::sleep;

use super::{
    Shared,
    ending::Ends,
    probe, start, stop,
    worker::{GRACE, RETRY, failed, tell},
};
use crate::{
    env::Context,
    machine::{Action, Key, Outcome, spec},
    runtime::{ContainerId, Error, PodIdentity, SandboxConfig},
    volumes,
};

/// Does an action and says what came of it.
pub(super) async fn perform(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    object: Option<Object>,
    ends: Arc<Ends>,
    action: Action,
) -> (Key, Outcome) {
    let key = action.key();
    let warn = |reason: &str, message: String| {
        if let Some(object) = &object {
            tell(&shared, object, true, reason, message);
        }
    };
    let result: Result<(), Error> = match action {
        Action::PrepareVolumes => {
            let outcome = match prepare_volumes(&shared, &pod).await {
                Ok(()) => Outcome::Done,
                Err(message) => {
                    warn("FailedMount", message.clone());
                    failed("FailedMount", message)
                }
            };
            return (key, outcome);
        }
        Action::RunSandbox { attempt } => {
            let outcome = match run_sandbox(&shared, &pod, attempt).await {
                Ok(()) => Outcome::Done,
                Err(error) => {
                    let message = format!("Failed to create pod sandbox: {error}");
                    warn("FailedCreatePodSandBox", message.clone());
                    failed("FailedCreatePodSandBox", message)
                }
            };
            return (key, outcome);
        }
        Action::Start { container, attempt, sandbox } => {
            let object = object.as_ref();
            let start = start::Start { shared: &shared, pod: &pod, object, sandbox: &sandbox, attempt, ends: &ends };
            return (key, start.run(&container).await);
        }
        Action::Probe { id, container, kind } => {
            let outcome = probe::probe(&shared, &pod, &id, &container, kind).await;
            return (key, outcome);
        }
        Action::Stop { id, container, grace, pre_stop } => {
            stop::stop(&shared, &pod, &id, &container, grace, pre_stop, ends.ending()).await
        }
        Action::Remove { id } => remove(&shared, &pod, &id).await,
        Action::StopSandbox { id } => shared.runtime.stop_sandbox(&id).await,
        Action::RemoveSandbox { id } => shared.runtime.remove_sandbox(&id).await,
        Action::CleanUp => {
            let places = shared.places.clone();
            let removed = shared.on_files(move || places.clean_up(&pod)).await;
            match removed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Error::Transient(error.to_string())),
                Err(error) => Err(Error::Transient(error.to_string())),
            }
        }
        Action::Delete => delete(&shared, &pod).await,
    };
    match result {
        Ok(()) => (key, Outcome::Done),
        Err(error) => {
            tracing::warn!(?key, %error, "failed, and will be tried again");
            sleep(RETRY).await;
            (key, failed("Failed", error.to_string()))
        }
    }
}

/// Makes a pod's volumes. What it names is asked for once more if it is not there.
async fn prepare_volumes(shared: &Shared, pod: &Arc<Pod>) -> Result<(), String> {
    let mut fresh = false;
    loop {
        let data = shared.sources.data(pod, fresh).await?;
        let (pod, dir) = (pod.clone(), shared.places.volumes(pod));
        let settings = shared.settings.clone();
        let capacity = shared.capacity.clone();
        let prepared = shared.on_files(move || {
            std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            let context = Context {
                pod: &pod,
                pod_ips: &[],
                host_ips: &settings.host_addresses,
                allocatable: &capacity,
                services: &[],
                data: &data,
            };
            volumes::prepare(&dir, &context)
        });
        match prepared.await.map_err(|error| error.to_string())? {
            Err(_) if !fresh => fresh = true,
            result => return result,
        }
    }
}

async fn run_sandbox(shared: &Shared, pod: &Pod, attempt: u32) -> Result<(), Error> {
    let metadata = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let identity = PodIdentity::new(text(&metadata.namespace), text(&metadata.name), text(&metadata.uid));
    let spec = pod.spec.as_ref();
    let mut config = SandboxConfig::new(identity, attempt);
    config.host_network = spec.and_then(|spec| spec.host_network) == Some(true);
    if let Some(hostname) = spec.and_then(|spec| spec.hostname.clone()) {
        config.hostname = hostname;
    }
    let grace = spec::grace(pod).as_secs().to_string();
    config.labels.insert(GRACE.into(), grace);
    shared.runtime.run_sandbox(&config).await.map(drop)
}

async fn remove(shared: &Shared, pod: &Pod, id: &ContainerId) -> Result<(), Error> {
    let listing = shared.runtime.list(pod.metadata.uid.as_deref()).await?;
    let old = listing.containers.into_iter().find(|one| one.id == *id);
    shared.runtime.remove(id).await?;
    if let Some(old) = old {
        let message = shared.places.message(pod, &old.name, old.attempt);
        for path in [&old.log_path, &message] {
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

async fn delete(shared: &Shared, pod: &Pod) -> Result<(), Error> {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let options = Options::default().grace_period_seconds(0).precondition_uid(uid);
    let api = shared.client.namespaced::<Pod>(namespace);
    match api.delete(name, &options).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(Error::Transient(error.to_string())),
        _ => Ok(()),
    }
}
