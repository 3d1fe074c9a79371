//! ServiceAccounts: every namespace that lives has one named `default`.

use crate::{Action, Caches, Context, Controller, Error, Handle, Reconciler};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kore_api::client::{Client, Informer};
use kore_api::object::{ObjectKey, View};

/// The name of the account.
const DEFAULT: &str = "default";

/// The controller of default ServiceAccounts: a handle, and the future that runs it.
pub fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    let mut controller = Controller::<Namespace>::new("serviceaccount-controller", client, caches);
    let accounts = controller.relates::<ServiceAccount>(|account| {
        let namespace = account.namespace().filter(|_| account.name() == DEFAULT);
        namespace.map(ObjectKey::cluster).into_iter().collect()
    });
    controller.open(ServiceAccounts { accounts })
}

struct ServiceAccounts {
    accounts: Informer<ServiceAccount>,
}

#[async_trait]
impl Reconciler for ServiceAccounts {
    type Kind = Namespace;

    async fn reconcile(&self, namespace: View<Namespace>, ctx: &Context) -> Result<Action, Error> {
        let name = namespace.object().name();
        let exists = self.accounts.get(&ObjectKey::namespaced(name, DEFAULT)).is_some();
        let Some(account) = plan(&namespace, exists) else {
            return Ok(Action::Done);
        };
        match ctx.create(&account).await {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.api().is_some_and(|e| e.is_already_exists() || e.is_namespace_terminating()) => {
                Ok(Action::Done)
            }
            Err(error) => Err(error),
        }
    }
}

/// The account to create, if one is missing.
fn plan(namespace: &Namespace, exists: bool) -> Option<ServiceAccount> {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    let going = namespace.metadata.deletion_timestamp.is_some() || phase == Some("Terminating");
    if exists || going {
        return None;
    }
    let metadata =
        ObjectMeta { name: Some(DEFAULT.into()), namespace: namespace.metadata.name.clone(), ..ObjectMeta::default() };
    Some(ServiceAccount { metadata, ..ServiceAccount::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::testing::{meta, time};
    use k8s_openapi::api::core::v1::NamespaceStatus;

    #[test]
    fn one_in_every_namespace_that_lives() {
        let namespace = |phase: &str, deleting: bool| {
            let mut namespace = Namespace { metadata: meta("shop"), ..Namespace::default() };
            namespace.status = Some(NamespaceStatus { phase: Some(phase.into()), ..NamespaceStatus::default() });
            namespace.metadata.deletion_timestamp = deleting.then(|| time(1));
            namespace
        };
        let rows = [
            ("missing", namespace("Active", false), false, true),
            ("there", namespace("Active", false), true, false),
            ("on its way out", namespace("Active", true), false, false),
            ("terminating", namespace("Terminating", false), false, false),
        ];
        for (what, namespace, exists, created) in rows {
            let account = plan(&namespace, exists);
            assert_eq!(account.is_some(), created, "{what}");
            assert!(account.is_none_or(|account| account.metadata.namespace.as_deref() == Some("shop")));
        }
    }
}
