//! An API of one's own: one kind, an embedded durable store, and a reconciler. No pods, no nodes.

use std::{error::Error as AnyError, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kore_api::auth::User;
use kore_api::object::{Kind, Scope, View};
use kore_api::registry::{Registry, ResourceInfo};
use kore_api::server::Server;
use kore_controller::{Action, Caches, Context, Controller, Error, Reconciler};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Light {
    metadata: ObjectMeta,
    wanted: bool,
    status: Option<bool>,
}

#[rustfmt::skip]
impl Kind for Light {
    const GROUP: &'static str = "example.com";
    const VERSION: &'static str = "v1";
    const KIND: &'static str = "Light";
    const PLURAL: &'static str = "lights";
    const SCOPE: Scope = Scope::Cluster;
    fn metadata(&self) -> &ObjectMeta { &self.metadata }
    fn metadata_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
}

struct Switch;

#[async_trait::async_trait]
impl Reconciler for Switch {
    type Kind = Light;
    async fn reconcile(&self, light: View<Light>, ctx: &Context) -> Result<Action, Error> {
        let switched = Light {
            status: Some(light.wanted),
            ..light.to_owned()
        };
        ctx.replace_status(&light, &switched).await?;
        Ok(Action::Done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn AnyError>> {
    let dir = std::env::args().nth(1).ok_or("usage: own-api DIR")?;
    let (store, run) = kore_store::DurableStore::open(dir, Default::default()).await?;
    let mut store_run = tokio::spawn(run);
    let lights = Registry::new().with(ResourceInfo::of::<Light>());
    let (server, server_run) = Server::builder(Arc::new(store))
        .registry(lights)
        .open()
        .await?;
    let client = server.client(User::admin());
    let mut caches = Caches::new(&client);
    let (_switch, switch_run) = Controller::new("switch", &client, &mut caches).open(Switch);
    let mut changes = caches.informer::<Light>().subscribe();
    let user = async {
        let metadata = ObjectMeta {
            generate_name: Some("hall-".into()),
            ..Default::default()
        };
        let light = client
            .api()
            .create(&Light {
                metadata,
                wanted: true,
                status: None,
            })
            .await?;
        while let Some(change) = changes.next().await {
            let Some(seen) = change.after else { continue };
            if seen.uid() == light.object().uid() && seen.view::<Light>()?.status == Some(true) {
                println!("{} is on, at revision {}", seen.name(), seen.revision());
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        outcome = user => outcome,
        ended = &mut store_run => Ok(ended??),
        _ = async { futures::join!(server_run, switch_run, caches.run()) } => Ok(()),
    }
}
