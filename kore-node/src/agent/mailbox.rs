//! What a worker has yet to learn: only the newest of each sort counts, so it takes no room.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kore_api::object::View;
use tokio::sync::Notify;

use crate::volumes;

#[derive(Default)]
pub(crate) struct Mailbox {
    inbox: Mutex<Inbox>,
    notify: Notify,
    pub(crate) namespace: String,
    config_maps: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// News for a worker.
#[derive(Default)]
pub(crate) struct Inbox {
    /// The pod object is now this, or gone.
    pub(crate) pod: Option<Option<View<Pod>>>,
    /// The runtime has something new.
    pub(crate) runtime: bool,
    /// A ConfigMap or Secret the pod names has changed.
    pub(crate) data: bool,
}

impl Mailbox {
    pub(crate) fn of(pod: &Pod) -> Mailbox {
        let (config_maps, secrets) = volumes::named_data(pod);
        Mailbox {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            config_maps,
            secrets,
            ..Mailbox::default()
        }
    }

    pub(crate) fn names_config_map(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.config_maps.contains(name)
    }

    pub(crate) fn names_secret(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.secrets.contains(name)
    }

    pub(crate) fn put(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }

    pub(crate) fn take(&self) -> Inbox {
        std::mem::take(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there may be something to take.
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }
}
