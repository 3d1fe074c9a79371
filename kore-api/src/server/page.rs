//! Where a list in pages goes on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kore_store::Revision;
use serde::{Deserialize, Serialize};

use crate::error::Status;
use crate::object::ObjectKey;

/// The longest token that is looked at, in bytes: the longest names, with room for the rest.
const TOKEN_MAX: usize = 2048;
const VERSION: &str = "kore/v1";

/// Where a list in pages goes on: what a `continue` token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    /// All pages are of this revision.
    pub(super) revision: Revision,
    /// The last object of the page before.
    pub(super) after: ObjectKey,
    /// How many objects the pages before held.
    pub(super) listed: u64,
}

#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: Revision,
    namespace: String,
    name: String,
    listed: u64,
}

impl Continuation {
    pub(super) fn token(&self) -> String {
        let token = Token {
            v: VERSION.into(),
            rv: self.revision,
            namespace: self.after.namespace.to_string(),
            name: self.after.name.to_string(),
            listed: self.listed,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("strings and numbers always encode"))
    }

    pub(super) fn parse(token: &str) -> Result<Self, Status> {
        let invalid = |problem: String| Status::bad_request(format!("continue key is not valid: {problem}"));
        if token.len() > TOKEN_MAX {
            return Err(invalid(format!("longer than {TOKEN_MAX} bytes")));
        }
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(error.to_string()))?;
        let token: Token = serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        if token.v != VERSION {
            return Err(invalid(format!("not a token of this server: version {:?}", token.v)));
        }
        Ok(Self { revision: token.rv, after: ObjectKey::namespaced(token.namespace, token.name), listed: token.listed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let page = Continuation { revision: 42, after: ObjectKey::namespaced("a", "b"), listed: 500 };
        assert_eq!(Continuation::parse(&page.token()).unwrap(), page);
        for token in ["", "x", "e30", &"a".repeat(5000)] {
            assert_eq!(Continuation::parse(token).unwrap_err().code, 400, "{token}");
        }
    }
}
