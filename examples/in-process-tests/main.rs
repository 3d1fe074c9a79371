//! A cluster inside a `#[tokio::test]`: the real API server, scheduler, controllers and node agent; pods are async functions, and
//! the clock is paused. Copy the test; run it with `cargo test --bin in-process-tests`.

fn main() {
    println!("run it with: cargo test --bin in-process-tests");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::apps::v1::Deployment;
    use kore_api::auth::User;
    use kore_api::client::Selection;
    use kore_api::server::Server;
    use kore_controller::Controllers;
    use kore_node::{agent::Agent, task::TaskRuntime};
    use kore_sched::Scheduler;
    use kore_store::{Clock, MemoryStore};
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn a_deployment_becomes_available() -> Result<(), Box<dyn std::error::Error>> {
        let store = Arc::new(MemoryStore::new());
        let (server, run) = Server::builder(store).registry(kore_api::kinds::builtin()).open().await?;
        let admin = server.client(User::admin());
        let (_scheduler, schedule) = Scheduler::open(admin.clone(), Default::default());
        let (_controllers, control) = Controllers::new(&admin).open();
        let image = TaskRuntime::builder(Clock::system()).image("mine", async |task| {
            task.stopped().await;
            0
        });
        let (runtime, tasks) = image.open()?;
        let dir = tempfile::tempdir()?;
        let (_agent, work) = Agent::builder(admin.clone(), runtime, "node-1", dir.path()).open().await?;
        let (deployments, follow) = admin.informer::<Deployment>(Selection::all());
        let user = async {
            let containers = json!([{"name": "c", "image": "mine"}]);
            let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}});
            let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": template});
            let wanted = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec}))?;
            admin.namespaced::<Deployment>("default").create(&wanted).await?;
            let mut changes = deployments.subscribe();
            while let Some(change) = changes.next().await {
                let Some(seen) = change.after else { continue };
                let status = seen.view::<Deployment>()?.status.clone().unwrap_or_default();
                if status.available_replicas == Some(3) {
                    return Ok(());
                }
            }
            Err("the cluster has stopped".into())
        };
        tokio::select! {
            outcome = user => outcome,
            _ = async { futures::join!(run, schedule, control, tasks, work, follow) } => Err("stopped".into()),
        }
    }
}
