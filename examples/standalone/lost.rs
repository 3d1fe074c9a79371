//! Nodes of an earlier start that are not part of this one.

use std::error::Error;
use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::{Node, Pod};
use kore_api::client::Client;
use kore_api::request::Options;
use kore_node::native::NativeRuntime;
use kore_node::runtime::Runtime;
use kore_node::shim::Shim;

use crate::progress::say;
use crate::settle::{NODES_MAX, node};

/// Ends what a crash has left running on nodes beyond `nodes`, and removes them and their pods from the cluster: whoever looks after
/// those pods makes others elsewhere. To be done before the scheduler sees those nodes.
///
/// # Errors
/// Names the node that cannot be removed.
pub(crate) async fn remove(dir: &Path, nodes: u16, admin: &Client) -> Result<(), String> {
    for name in (nodes + 1..=NODES_MAX).map(node) {
        let home = dir.join(&name);
        if home.exists() {
            remove_one(&name, &home, admin).await.map_err(|error| format!("{name} cannot be removed: {error}"))?;
            say(format_args!("{name} is no longer part of the cluster"));
        }
    }
    Ok(())
}

async fn remove_one(name: &str, home: &Path, admin: &Client) -> Result<(), Box<dyn Error + Send + Sync>> {
    let runtime = NativeRuntime::builder(home.join("runtime"), Shim::this_binary()?).open().await?;
    for sandbox in runtime.list(None).await?.sandboxes {
        runtime.remove_sandbox(&sandbox.id).await?;
    }
    let theirs = Options::default().fields(format!("spec.nodeName={name}"));
    for pod in admin.api::<Pod>().list(&theirs).await?.items {
        let at_once = Options::default().grace_period_seconds(0).precondition_uid(pod.object().uid());
        let pods = admin.namespaced::<Pod>(&pod.key().namespace);
        gone(pods.delete(&pod.key().name, &at_once).await)?;
    }
    gone(admin.api::<Node>().delete(name, &Options::default()).await)?;
    // Last: it is what says that there is something to remove.
    Ok(fs::remove_dir_all(home)?)
}

/// That it has gone already is as good.
fn gone<T>(outcome: Result<T, kore_api::error::Error>) -> Result<(), kore_api::error::Error> {
    match outcome {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
