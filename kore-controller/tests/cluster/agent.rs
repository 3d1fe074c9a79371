//! What scheduler and node agent do, in a few lines: pods are bound to `n1`, are ready at once, and end when told to.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kore_api::client::Client;
use kore_api::object::View;
use kore_api::request::Options;
use kore_controller::{Action, Caches, Context, Controller, Error, Handle, Reconciler};

pub(crate) fn open(client: &Client, caches: &mut Caches) -> (Handle, impl Future<Output = ()> + use<>) {
    Controller::new("agent", client, caches).open(Agent)
}

struct Agent;

#[async_trait]
impl Reconciler for Agent {
    type Kind = Pod;

    async fn reconcile(&self, pod: View<Pod>, ctx: &Context) -> Result<Action, Error> {
        let object = pod.object();
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let status = pod.status.clone().unwrap_or_default();
        let broken = crate::world::image(&pod) == "broken";
        if object.is_deleting() {
            ctx.delete(&pod, &Options::default().grace_period_seconds(0)).await?;
        } else if !bound {
            let pods = ctx.client().namespaced::<Pod>(object.namespace().unwrap_or_default());
            pods.bind(object.name(), object.uid(), "n1").await?;
        } else if status.phase.as_deref() != Some("Running") && !broken {
            let ready = PodCondition {
                type_: "Ready".into(),
                status: "True".into(),
                last_transition_time: Some(Time(ctx.now())),
                ..PodCondition::default()
            };
            let last = u8::from_str_radix(&object.uid()[..2], 16).expect("a uuid");
            let status = PodStatus {
                phase: Some("Running".into()),
                pod_ip: Some(format!("127.1.0.{last}")),
                conditions: Some(vec![ready]),
                ..status
            };
            ctx.replace_status(&pod, &Pod { status: Some(status), ..pod.to_owned() }).await?;
        }
        Ok(Action::Done)
    }
}
