//! Bearer tokens.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::{Authenticator, InvalidCredentials, User};
use crate::error::Error;

/// The shortest token that is taken.
const TOKEN_BYTES_MIN: usize = 4;

/// Knows users by a bearer token (`Authorization: Bearer TOKEN`).
///
/// Tokens are compared in constant time, all of them every time: how long an answer takes says nothing about how much of a
/// token was right. For a handful of users (an administrator, nodes), not for thousands.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use kore_api::auth::{Authenticator, TokenAuthenticator, User};
///
/// let tokens = TokenAuthenticator::new([("s3cret", User::admin())]);
/// let request = http::Request::get("/api").header("authorization", "Bearer s3cret").body(()).expect("valid");
/// let user = tokens.authenticate(&request.into_parts().0).await;
/// assert_eq!(user.expect("valid credentials"), Some(User::admin()));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TokenAuthenticator {
    users: Vec<(String, User)>,
}

impl TokenAuthenticator {
    /// These tokens and their users.
    pub fn new<T: Into<String>>(users: impl IntoIterator<Item = (T, User)>) -> Self {
        Self { users: users.into_iter().map(|(token, user)| (token.into(), user)).collect() }
    }

    /// The tokens in a file, one a line: `token,user,uid` and optionally `,"group1,group2"`, as upstream's
    /// `--token-auth-file` has it. Empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`Error::Config`] that names the file and the line.
    pub async fn read(path: &Path) -> Result<Self, Error> {
        let problem = |problem: String| Error::Config { path: path.display().to_string(), problem };
        let text = tokio::fs::read_to_string(path).await.map_err(|error| problem(error.to_string()))?;
        let mut users = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            users.push(parse_line(line).map_err(|what| problem(format!("line {}: {what}", number + 1)))?);
        }
        Ok(Self { users })
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, token: impl Into<String>, user: User) -> Self {
        self.users.push((token.into(), user));
        self
    }

    fn find(&self, token: &str) -> Option<&User> {
        let mut found = None;
        for (known, user) in &self.users {
            if known.as_bytes().ct_eq(token.as_bytes()).into() {
                found = Some(user);
            }
        }
        found
    }
}

#[async_trait]
impl Authenticator for TokenAuthenticator {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, InvalidCredentials> {
        let Some(header) = request.headers.get(AUTHORIZATION) else {
            return Ok(None);
        };
        let header = header.as_bytes();
        let token = match header.split_at_checked("bearer ".len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
            _ => return Ok(None),
        };
        // Another authenticator may know it.
        Ok(std::str::from_utf8(token).ok().and_then(|token| self.find(token)).cloned())
    }
}

/// Tokens are not shown.
impl fmt::Debug for TokenAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.users.iter().map(|(_, user)| &user.name)).finish()
    }
}

fn parse_line(line: &str) -> Result<(String, User), String> {
    let mut fields = fields(line)?;
    if fields.len() < 3 {
        return Err("must have at least three columns: token, user name, user uid".into());
    }
    let groups = fields.get(3).map(String::as_str).unwrap_or_default();
    let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned);
    let mut user = User::new(fields[1].trim());
    user.groups.extend(groups);
    user.uid = fields[2].trim().to_owned();
    let token = std::mem::take(&mut fields[0]);
    match (token.len() < TOKEN_BYTES_MIN, user.name.is_empty()) {
        (true, _) => Err(format!("the token must be at least {TOKEN_BYTES_MIN} bytes long")),
        (_, true) => Err("the user name is empty".into()),
        _ => Ok((token, user)),
    }
}

/// The fields between commas; one in double quotes may hold commas.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.trim_end().chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().expect("there is always one").push(c),
        }
    }
    if quoted { Err("a quote is not closed".into()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn user(tokens: &TokenAuthenticator, header: &[u8]) -> Option<String> {
        let request = http::Request::get("/").header(AUTHORIZATION, header).body(()).unwrap();
        tokens.authenticate(&request.into_parts().0).await.unwrap().map(|user| user.name)
    }

    #[tokio::test]
    async fn only_the_whole_token_counts() {
        let tokens = TokenAuthenticator::new([("secret", User::admin()), ("other", User::node("n"))]);
        for (header, expected) in [
            (&b"Bearer secret"[..], Some("kubernetes-admin")),
            (b"bearer other", Some("system:node:n")),
            (b"Bearer secre", None),
            (b"Bearer secrets", None),
            (b"Bearer ", None),
            (b"Basic secret", None),
            (b"secret", None),
            (b"Bearer \xff", None),
        ] {
            assert_eq!(user(&tokens, header).await.as_deref(), expected);
        }
        assert_eq!(user(&TokenAuthenticator::default(), b"Bearer ").await, None);
    }

    #[tokio::test]
    async fn a_file_of_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.csv");
        std::fs::write(&path, "# who\ntoken-a,alice,1,\"dev,ops\"\n\ntoken-b,bob,2\n").unwrap();
        let tokens = TokenAuthenticator::read(&path).await.unwrap();
        assert_eq!(user(&tokens, b"Bearer token-b").await.as_deref(), Some("bob"));
        let alice = tokens.find("token-a").unwrap();
        assert!(alice.is_in("dev") && alice.is_in("ops") && alice.is_in(super::super::AUTHENTICATED));
        assert!(!format!("{tokens:?}").contains("token-a"));
        for (text, named) in [("token-a,alice", "line 1"), ("ok-token,u,1\nx,y,z", "line 2"), ("a,\"b", "quote")] {
            std::fs::write(&path, text).unwrap();
            let error = TokenAuthenticator::read(&path).await.unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("tokens.csv"), "{error}");
        }
    }
}
