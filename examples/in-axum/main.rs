//! The API inside an existing axum application, which knows its users itself: they log in to the application, and the same
//! sessions are good for `kubectl --token=SESSION`.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use axum::{Router, routing::get};
use http::{header::AUTHORIZATION, request::Parts};
use kore_api::auth::{Authenticator, InvalidCredentials, User};
use kore_api::http::ApiService;
use kore_api::server::Server;
use kore_store::MemoryStore;

/// The application's own sessions.
struct Sessions(BTreeMap<String, String>);

#[async_trait::async_trait]
impl Authenticator for Sessions {
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, InvalidCredentials> {
        let Some(header) = request.headers.get(AUTHORIZATION) else {
            return Ok(None);
        };
        let session = header.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        match session.and_then(|session| self.0.get(session)) {
            Some(name) => Ok(Some(User::new(name).in_group(kore_api::auth::MASTERS))),
            None => Err(InvalidCredentials("no such session".into())),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions(BTreeMap::from([("s3ss10n".into(), "ada".into())]));
    let store = Arc::new(MemoryStore::default());
    let (server, run) = Server::builder(store).registry(kore_api::kinds::builtin()).open().await?;
    let app = Router::new()
        .route("/", get(|| async { "the application's own page\n" }))
        .fallback_service(ApiService::new(server, sessions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        () = run => Ok(()),
    }
}
