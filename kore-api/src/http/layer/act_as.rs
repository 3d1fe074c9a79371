//! Every request as one user.

use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use crate::auth::User;

/// Makes [`ActAs`]s.
#[derive(Clone, Debug)]
pub struct ActAsLayer {
    user: User,
}

impl ActAsLayer {
    /// Every request is `user`'s.
    pub fn new(user: User) -> Self {
        Self { user }
    }
}

/// Says of every request that it is one user's: for clients in the same process that bring no credentials, such as a
/// `kube::Client`. Whatever stands behind [`super::Authenticate`] sees that user; authorisation and admission are the same as ever.
///
/// ```
/// # use kore_api::http::ApiService;
/// # fn example(service: ApiService) {
/// use kore_api::auth::User;
/// use kore_api::http::layer::ActAsLayer;
/// use tower::Layer;
///
/// let service = ActAsLayer::new(User::service_account("default", "reporter")).layer(service);
/// // let client = kube::Client::new(service, "default");
/// # let _ = service;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ActAs<S> {
    user: User,
    inner: S,
}

impl<S> Layer<S> for ActAsLayer {
    type Service = ActAs<S>;
    fn layer(&self, inner: S) -> ActAs<S> {
        ActAs { user: self.user.clone(), inner }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ActAs<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.user.clone());
        self.inner.call(request)
    }
}
