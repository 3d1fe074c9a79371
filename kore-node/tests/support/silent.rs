//! A way to the server on which there is no answer when a test says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use kore_api::{
    client::{Client, Transport},
    error::Error,
    request::{Request, Response},
};

/// Once it is silent, no status of a pod is answered any more.
#[derive(Clone)]
pub(crate) struct Silent {
    inner: Client,
    silent: Arc<AtomicBool>,
}

impl Silent {
    pub(crate) fn new(inner: Client) -> Silent {
        Silent { inner, silent: Arc::default() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone(), *self.inner.clock(), self.inner.entropy().clone())
    }

    pub(crate) fn begin(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Transport for Silent {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        let status = request.subresource.as_deref() == Some("status") && request.resource.plural == "pods";
        if status && self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Transport::call(&self.inner, request).await
    }
}
