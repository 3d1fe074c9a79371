//! Fields that one version of `k8s-openapi` has as `T` and another as `Option<T>`, read and written alike.

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
