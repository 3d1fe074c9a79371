//! Who applies deltas, and what it promises.

use async_trait::async_trait;

use crate::plan::{Delta, Frontend, Protocol, Snapshot};

/// Makes connections to frontends reach targets: in user space, by rules in the kernel, by a table of one's own.
///
/// The contract, which [`crate::conformance`] checks:
///
/// 1. [`Backend::replace`] leads to the given state from any other; any sequence of [`Backend::apply`] that leads from one
///    state to another ends where `replace` with the last one would.
/// 2. An operation is done completely or not at all. On [`BackendError::Frontends`] all operations are done but those listed; on
///    any other error nothing is known, and the driver calls `replace`.
/// 3. A change of targets, and a removal, leave open TCP connections alone.
/// 4. What a backend cannot do it says: [`Backend::supports`] is false, or the frontend is listed as failed. It never
///    pretends.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, PoisonError};
///
/// use kore_proxy::plan::{Delta, Protocol, Snapshot};
/// use kore_proxy::{Backend, BackendError};
///
/// /// Only remembers what it was told: a table for a data path of one's own to look targets up in.
/// #[derive(Default)]
/// struct Table(Mutex<Snapshot>);
///
/// #[async_trait::async_trait]
/// impl Backend for Table {
///     fn supports(&self, _: Protocol) -> bool {
///         true
///     }
///     async fn apply(&self, delta: &Delta) -> Result<(), BackendError> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).apply(delta);
///         Ok(())
///     }
///     async fn replace(&self, snapshot: &Snapshot) -> Result<(), BackendError> {
///         *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
///         Ok(())
///     }
///     async fn observe(&self) -> Result<Snapshot, BackendError> {
///         Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// kore_proxy::conformance::run(&Table::default()).await.expect("it keeps the contract");
/// # });
/// ```
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Whether frontends of this protocol can be served.
    fn supports(&self, protocol: Protocol) -> bool;

    /// Goes one step further.
    ///
    /// # Errors
    /// See the contract.
    async fn apply(&self, delta: &Delta) -> Result<(), BackendError>;

    /// Goes to this state from whatever there is: at the start, and after an error.
    ///
    /// # Errors
    /// See the contract.
    async fn replace(&self, snapshot: &Snapshot) -> Result<(), BackendError>;

    /// What is served, read back from where it takes effect. Not for hot paths.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn observe(&self) -> Result<Snapshot, BackendError>;
}

/// Why a backend did not do all it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// All is done but for these frontends.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Frontends(Vec<FrontendFailure>),
    /// The future that carries connections no longer runs.
    #[error("the backend has been stopped")]
    Stopped,
    /// The data path refuses.
    #[error("{0}")]
    DataPath(String),
}

/// A frontend that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{frontend} of service {service}: {problem}")]
pub struct FrontendFailure {
    /// The frontend.
    pub frontend: Frontend,
    /// The service it belongs to.
    pub service: kore_api::object::ObjectKey,
    /// Why it cannot be served, for example that the port is taken.
    pub problem: String,
}
