//! ConfigMaps, Secrets and Services as pods see them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kore_api::{
    client::{Changes, Client, Informer, Selection},
    object::{Kind, ObjectKey, View},
};

use crate::{env::Data, volumes};

/// Copies that follow the server's; in the server's own process they are the server's.
pub(crate) struct Sources {
    client: Client,
    config_maps: Informer<ConfigMap>,
    secrets: Informer<Secret>,
    services: Informer<Service>,
}

impl Sources {
    pub(crate) fn open(client: &Client) -> (Sources, impl Future<Output = ()> + Send + use<>) {
        let (config_maps, first) = client.informer::<ConfigMap>(Selection::all());
        let (secrets, second) = client.informer::<Secret>(Selection::all());
        let (services, third) = client.informer::<Service>(Selection::all());
        let sources = Sources { client: client.clone(), config_maps, secrets, services };
        let run = async move {
            futures::join!(first, second, third);
        };
        (sources, run)
    }

    pub(crate) async fn synced(&self) {
        self.config_maps.synced().await;
        self.secrets.synced().await;
        self.services.synced().await;
    }

    pub(crate) fn config_map_changes(&self) -> Changes {
        self.config_maps.subscribe()
    }

    pub(crate) fn secret_changes(&self) -> Changes {
        self.secrets.subscribe()
    }

    /// The Services whose variables a pod may see.
    pub(crate) fn services(&self, namespace: &str) -> Vec<Service> {
        let mut objects = self.services.list_namespace(namespace);
        if namespace != "default" {
            let api = ObjectKey::namespaced("default", "kubernetes");
            objects.extend(self.services.get(&api));
        }
        let views = objects.iter().filter_map(|object| object.view::<Service>().ok());
        views.map(|view| view.to_owned()).collect()
    }

    /// What a pod names. `fresh` asks the server even for what is here: a copy may be a moment behind the pod that needs it.
    pub(crate) async fn data(&self, pod: &Pod, fresh: bool) -> Result<Data, String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let (maps, secrets) = volumes::named_data(pod);
        let config_maps = self
            .find(&self.config_maps, namespace, maps, fresh, |map: &ConfigMap| {
                let texts = map.data.iter().flatten();
                let texts = texts.map(|(key, text)| (key.clone(), text.clone().into_bytes()));
                let bytes = map.binary_data.iter().flatten();
                let bytes = bytes.map(|(key, bytes)| (key.clone(), bytes.0.clone()));
                texts.chain(bytes).collect()
            })
            .await?;
        let secrets = self
            .find(&self.secrets, namespace, secrets, fresh, |secret: &Secret| {
                let bytes = secret.data.iter().flatten();
                bytes.map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect()
            })
            .await?;
        Ok(Data { config_maps, secrets })
    }

    async fn find<K: Kind>(
        &self,
        informer: &Informer<K>,
        namespace: &str,
        names: BTreeSet<String>,
        fresh: bool,
        data: impl Fn(&K) -> BTreeMap<String, Vec<u8>>,
    ) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>, String> {
        let mut found = BTreeMap::new();
        for name in names {
            let key = ObjectKey::namespaced(namespace, name.as_str());
            let known = match fresh {
                true => None,
                false => informer.view(&key).map_err(|error| error.to_string())?,
            };
            let view: Option<View<K>> = match known {
                Some(view) => Some(view),
                None => {
                    let api = self.client.namespaced::<K>(namespace);
                    let got = api.get_opt(&name).await;
                    got.map_err(|error| error.to_string())?
                }
            };
            if let Some(view) = view {
                found.insert(name, data(&view));
            }
        }
        Ok(found)
    }
}
