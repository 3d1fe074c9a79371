//! The transport of clients in the server's own process.

use async_trait::async_trait;

use super::Server;
use crate::auth::User;
use crate::client::Transport;
use crate::error::Error;
use crate::request::{Request, Response};

/// Hands requests to the server as they are, as one user.
pub(super) struct Local {
    server: Server,
    user: User,
}

impl Local {
    pub(super) fn new(server: Server, user: User) -> Self {
        Self { server, user }
    }
}

#[async_trait]
impl Transport for Local {
    async fn call(&self, request: Request) -> Result<Response, Error> {
        Ok(self.server.handle(&self.user, request).await?)
    }
}
