//! One reconcile: from the look at the informer until the informers have seen what it wrote.

use super::context::{Context, Surroundings};
use super::driver::End;
use super::reconciler::{Action, Reconciler};
use crate::Error;
use futures::FutureExt;
use futures::future::BoxFuture;
use kore_api::client::Informer;
use kore_api::object::ObjectKey;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::Instrument;

/// How long a reconcile waits for the informers to see its writes; after that its key is tried again.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Worker<R: Reconciler> {
    pub(crate) reconciler: Arc<R>,
    pub(crate) primary: Informer<R::Kind>,
    pub(crate) surroundings: Arc<Surroundings>,
}

impl<R: Reconciler> Worker<R> {
    pub(crate) fn run(&self, key: ObjectKey) -> BoxFuture<'static, End> {
        let (reconciler, primary) = (self.reconciler.clone(), self.primary.clone());
        let context = Context::new(self.surroundings.clone());
        let span = tracing::info_span!("reconcile", %key);
        let run = async move {
            let reconcile = AssertUnwindSafe(reconcile(&*reconciler, &primary, &key, &context));
            let end = match reconcile.catch_unwind().await {
                Ok(result) => End::from(result),
                Err(panic) => {
                    tracing::error!(panic = message(&*panic), "panicked; trying again");
                    End::Panicked
                }
            };
            // The key stays taken meanwhile: its next reconcile reads what this one wrote.
            if timeout(SETTLE_LIMIT, context.settle()).await.is_err() {
                tracing::warn!("the informers have not seen what was written; trying again");
                return End::Failed;
            }
            end
        };
        run.instrument(span).boxed()
    }
}

async fn reconcile<R: Reconciler>(
    reconciler: &R,
    primary: &Informer<R::Kind>,
    key: &ObjectKey,
    context: &Context,
) -> Result<Action, Error> {
    match primary.view(key)? {
        Some(object) => reconciler.reconcile(object, context).await,
        None => reconciler.gone(key, context).await,
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("not a message")
}
