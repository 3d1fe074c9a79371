//! Binding through the API.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

use crate::{Bind, BindAnswer, BindFailure, Binding, Depends, Plugin};

/// Posts the pod's `binding` subresource, for this pod and no later one of its name.
pub struct DefaultBinder;

impl Plugin for DefaultBinder {
    type State = ();

    fn name(&self) -> &'static str {
        "DefaultBinder"
    }

    fn depends(&self) -> Depends {
        Depends::Pod
    }
}

#[async_trait]
impl Bind for DefaultBinder {
    async fn bind(&self, binding: &Binding<'_>, _: &mut ()) -> Result<BindAnswer, BindFailure> {
        let pod = binding.pod();
        let pods = binding.client().namespaced::<Pod>(&pod.key().namespace);
        pods.bind(&pod.key().name, pod.uid(), binding.node()).await?;
        Ok(BindAnswer::Bound)
    }
}
