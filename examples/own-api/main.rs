//! An API of one's own: one kind, the embedded durable store, and a reconciler. No pods, no nodes.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kore_api::object::{Kind, Scope, View};
use kore_api::{auth::User, registry::Registry, registry::ResourceInfo, server::Server};
use kore_controller::{Action, Caches, Context, Controller, Error, Reconciler};

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Light {
    metadata: ObjectMeta,
    wanted: bool,
    status: Option<bool>,
}

#[rustfmt::skip]
impl Kind for Light {
    const GROUP: &'static str = "example.com"; const VERSION: &'static str = "v1";
    const KIND: &'static str = "Light"; const PLURAL: &'static str = "lights";
    const SCOPE: Scope = Scope::Cluster;
    fn metadata(&self) -> &ObjectMeta { &self.metadata }
    fn metadata_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
}

struct Switch;
#[async_trait::async_trait]
impl Reconciler for Switch {
    type Kind = Light;
    async fn reconcile(&self, light: View<Light>, ctx: &Context) -> Result<Action, Error> {
        ctx.replace_status(&light, &Light { status: Some(light.wanted), ..light.to_owned() }).await?;
        Ok(Action::Done)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: own-api DIR")?;
    let (store, run) = kore_store::DurableStore::open(dir, Default::default()).await?;
    let storing = tokio::spawn(run);
    let lights = Registry::new().with(ResourceInfo::of::<Light>());
    let (server, serve) = Server::builder(Arc::new(store)).registry(lights).open().await?;
    let client = server.client(User::admin());
    let mut caches = Caches::new(&client);
    let (_switch, run) = Controller::new("switch", &client, &mut caches).open(Switch);
    let mut changes = caches.informer::<Light>().subscribe();
    tokio::spawn(async { futures::join!(serve, run, caches.run()) });
    let metadata = ObjectMeta { generate_name: Some("hall-".into()), ..Default::default() };
    let light = client.api().create(&Light { metadata, wanted: true, status: None }).await?;
    let turned_on = async {
        while let Some(seen) = changes.next().await.and_then(|change| change.after) {
            if seen.uid() == light.object().uid() && seen.view::<Light>()?.status == Some(true) {
                println!("{} is on, at revision {}", seen.name(), seen.revision());
                return Ok(());
            }
        }
        Err("the cluster has stopped".into())
    };
    tokio::select! { ended = storing => Ok(ended??), outcome = turned_on => outcome }
}
