//! Several authenticators as one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticator, InvalidCredentials, User};

/// Asks one authenticator after the other until one knows the user or refuses.
///
/// ```
/// use kore_api::auth::{Authenticators, TokenAuthenticator, User};
/// let nodes = TokenAuthenticator::new([("node-token", User::node("n1"))]);
/// let people = TokenAuthenticator::new([("admin-token", User::admin())]);
/// let both = Authenticators::default().with(nodes).with(people);
/// # let _ = both;
/// ```
#[derive(Clone, Default)]
pub struct Authenticators {
    all: Vec<Arc<dyn Authenticator>>,
}

impl Authenticators {
    /// With one more, asked last.
    #[must_use]
    pub fn with(mut self, authenticator: impl Authenticator) -> Self {
        self.all.push(Arc::new(authenticator));
        self
    }
}

#[async_trait]
impl Authenticator for Authenticators {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, InvalidCredentials> {
        for authenticator in &self.all {
            if let Some(user) = authenticator.authenticate(request).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Authenticators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticators({})", self.all.len())
    }
}
