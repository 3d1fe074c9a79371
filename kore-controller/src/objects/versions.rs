//! Fields that one version of `k8s-openapi` has as `T` and another as `Option<T>`, read and written alike.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};

/// A kind whose `spec` is such a field.
pub(crate) trait Spec {
    type Spec;
    /// The spec, if there is one.
    fn spec(&self) -> Option<&Self::Spec>;
    /// The spec to change; an absent one becomes the default first.
    fn spec_mut(&mut self) -> &mut Self::Spec;
}

impl Spec for Deployment {
    type Spec = DeploymentSpec;
    fn spec(&self) -> Option<&DeploymentSpec> {
        self.spec.value()
    }
    fn spec_mut(&mut self) -> &mut DeploymentSpec {
        self.spec.value_mut()
    }
}

impl Spec for ReplicaSet {
    type Spec = ReplicaSetSpec;
    fn spec(&self) -> Option<&ReplicaSetSpec> {
        self.spec.value()
    }
    fn spec_mut(&mut self) -> &mut ReplicaSetSpec {
        self.spec.value_mut()
    }
}

/// A field of type `T` or `Option<T>`.
pub(crate) trait Field<T> {
    /// The value, if there is one.
    fn value(&self) -> Option<&T>;
    /// The value to change; an absent one becomes the default first.
    fn value_mut(&mut self) -> &mut T
    where
        T: Default;
}

impl<T> Field<T> for T {
    fn value(&self) -> Option<&T> {
        Some(self)
    }
    fn value_mut(&mut self) -> &mut T
    where
        T: Default,
    {
        self
    }
}

impl<T> Field<T> for Option<T> {
    fn value(&self) -> Option<&T> {
        self.as_ref()
    }
    fn value_mut(&mut self) -> &mut T
    where
        T: Default,
    {
        self.get_or_insert_with(T::default)
    }
}
