//! The stages a request passes through, each a `tower` layer. From the outside in:
//!
//! - [`CatchPanic`] (`catch_panic.rs`): a panic is a 500, and the connection lives on.
//! - [`Describe`] (`describe.rs`): reads path and query into a [`RequestInfo`].
//! - [`Authenticate`] (`authenticate.rs`): finds out who asks; refuses the rest.
//! - [`AuthorizePaths`] (`authorize.rs`): whether they may use a path that is no resource.
//! - [`InFlight`] (`in_flight.rs`): so many short requests at a time.
//! - [`ReadBody`] (`read_body.rs`): reads the body under a limit.
//!
//! In front of all of them, for clients in the same process: [`ActAs`] (`act_as.rs`).
//!
//! What they find out travels in the request's extensions. All of them are ready whenever they are asked.

mod act_as;
mod authenticate;
mod authorize;
mod catch_panic;
mod describe;
mod in_flight;
mod read_body;

pub use act_as::{ActAs, ActAsLayer};
pub use authenticate::{Authenticate, AuthenticateLayer};
pub use authorize::{AuthorizePaths, AuthorizePathsLayer};
pub use catch_panic::{CatchPanic, CatchPanicLayer};
pub use describe::{Describe, DescribeLayer, RequestInfo};
pub use in_flight::{InFlight, InFlightLayer};
pub use read_body::{ReadBody, ReadBodyLayer};

use std::convert::Infallible;

use futures::future::BoxFuture;
use http::{Request, Response};
use tower::Service;

use super::Body;

/// A service that a layer can stand in front of: it answers every request, and a clone is as good as itself.
///
/// Every service of this form is a `Stage`; there is nothing to implement.
pub trait Stage<B>:
    Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Stage<B> for S where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// What every layer's service returns.
pub type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;
