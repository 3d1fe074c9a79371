use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use kore_store::{Clock, Entropy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;
use crate::client::Client;
use crate::http::tests::Fake;
use crate::kubeconfig::{Access, Credentials};
use crate::object::ResourceType;
use crate::remote::Remote;
use crate::request::{Content, Options, WatchEvent};
use crate::tls::Authority;

const LOOPBACK: &str = "127.0.0.1:0";

/// A listener for `core` over TLS, and how to get in.
async fn listening(directory: &std::path::Path) -> (Listener, Access) {
    let authority = Authority::open(directory, Clock::system()).await.unwrap();
    let listener = Listener::bind(LOOPBACK.parse().unwrap()).await.unwrap();
    let listener = listener.tls(authority.server(Vec::<String>::new()).unwrap());
    let access = Access::new(listener.url(), Credentials::Token("secret".into()));
    (listener, access.trust(authority.certificate_pem()))
}

fn client(access: &Access) -> (Client, impl Future<Output = ()> + use<>) {
    let (remote, run) = Remote::open(access, Clock::system()).unwrap();
    (Client::new(remote, Clock::system(), Entropy::system()), run)
}

fn pods() -> ResourceType {
    let scope = crate::object::Scope::Namespaced;
    ResourceType { group: "".into(), version: "v1".into(), plural: "pods".into(), kind: "Pod".into(), scope }
}

/// A core whose watches go on for ever.
fn watched() -> Fake {
    Fake::new(|_| {
        let first = futures::stream::iter([Ok(WatchEvent::Bookmark { revision: 1, initial_events_end: false })]);
        Ok(Content::Watch(first.chain(futures::stream::pending()).boxed()).into())
    })
}

#[tokio::test]
async fn shutting_down_ends_watches_and_then_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, access) = listening(directory.path()).await;
    let address = listener.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap() };
    let serving = listener.serve_until(watched().service(), shutdown);
    let (client, run) = client(&access);
    let using = async {
        let mut events = client.dynamic(pods()).watch(&Options::default()).await.unwrap();
        assert!(events.next().await.unwrap().is_ok());
        stop.send(()).unwrap();
        assert!(events.next().await.is_none(), "a watch ends like one that timed out");
    };
    tokio::select! {
        biased;
        () = run => unreachable!("it runs until it is dropped"),
        ((), ()) = futures::future::join(serving, using) => {}
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_the_future_closes_all_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, access) = listening(directory.path()).await;
    let mut serving = Box::pin(listener.serve(watched().service()));
    let (client, run) = client(&access);
    let mut run = Box::pin(run);
    let api = client.dynamic(pods());
    let everything = Options::default();
    let mut events = tokio::select! {
        biased;
        () = &mut serving => unreachable!("it serves until it is dropped"),
        () = &mut run => unreachable!("it runs until it is dropped"),
        events = api.watch(&everything) => events.unwrap(),
    };
    assert!(events.next().await.unwrap().is_ok());
    drop(serving);
    assert!(events.next().await.unwrap().is_err(), "a watch that broke off is not one that ended");
    let error = api.get("a").await.unwrap_err();
    assert!(error.to_string().contains("/api/v1/pods/a"), "{error}");
}

#[tokio::test]
async fn dropping_the_clients_future_closes_its_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, access) = listening(directory.path()).await;
    let (client, run) = client(&access);
    let mut run = Box::pin(run);
    let using = async {
        let api = client.dynamic(pods());
        let everything = Options::default();
        let mut events = tokio::select! {
            biased;
            () = &mut run => unreachable!("it runs until it is dropped"),
            events = api.watch(&everything) => events.unwrap(),
        };
        assert!(events.next().await.unwrap().is_ok());
        drop(run);
        assert!(events.next().await.unwrap().is_err());
        assert!(api.get("a").await.is_err());
    };
    tokio::select! {
        biased;
        () = listener.serve(watched().service()) => unreachable!("it serves until it is dropped"),
        () = using => {}
    }
}

#[tokio::test]
async fn an_address_in_use_is_said_to_be() {
    let first = Listener::bind(LOOPBACK.parse().unwrap()).await.unwrap();
    let error = Listener::bind(first.address()).await.unwrap_err();
    assert!(error.is_in_use());
    assert!(error.to_string().contains(&first.address().to_string()));
    let elsewhere: SocketAddr = "192.0.2.1:0".parse().unwrap();
    assert!(!Listener::bind(elsewhere).await.unwrap_err().is_in_use());
    assert_eq!(first.url(), format!("http://{}", first.address()));
}

/// Who connects and says nothing is not waited for: before TLS, after TLS, or without TLS.
#[tokio::test(start_paused = true)]
async fn a_silent_client_is_disconnected() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, access) = listening(directory.path()).await;
    let plain = Listener::bind(LOOPBACK.parse().unwrap()).await.unwrap();
    let silent = async |address| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap()
    };
    let after_tls = async |address| {
        let tls = crate::tls::client_config(&access, Clock::system()).unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        // What matters is that it ends, however it does: time passes by itself, perhaps before the handshake is done.
        if let Ok(mut stream) = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    };
    let (address, plain_address) = (listener.address(), plain.address());
    let all = futures::future::join3(silent(address), silent(plain_address), after_tls(address));
    tokio::select! {
        biased;
        () = listener.serve(watched().service()) => unreachable!(),
        () = plain.serve(watched().service()) => unreachable!(),
        _ = all => {}
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait() {
    let listener = Listener::bind(LOOPBACK.parse().unwrap()).await.unwrap();
    let address = listener.address();
    let limits = ConnectionLimits { connections: 1, ..ConnectionLimits::default() };
    let ask = |mut stream: TcpStream| async move {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let using = async {
        let first = TcpStream::connect(address).await.unwrap();
        let second = TcpStream::connect(address).await.unwrap();
        let mut second = Box::pin(ask(second));
        // The second has been accepted by the system; the server answers the first one alone.
        let first = tokio::select! {
            biased;
            _ = &mut second => panic!("more than one connection was served"),
            answer = ask(first) => answer,
        };
        assert!(first.ends_with("ok"), "{first}");
        assert!(second.await.ends_with("ok"));
    };
    tokio::select! {
        biased;
        () = listener.limits(limits).serve(watched().service()) => unreachable!(),
        () = using => {}
    }
}

#[tokio::test]
async fn only_who_trusts_the_authority_connects() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, access) = listening(directory.path()).await;
    let other = Authority::open(&directory.path().join("other"), Clock::system()).await.unwrap();
    let core = Fake::obliging();
    let using = async {
        let of_other = Access { authority: other.certificate_pem().into(), ..access.clone() };
        let insecure = Access { insecure: true, authority: Vec::new(), ..access.clone() };
        let misnamed = Access { tls_server_name: Some("example.com".into()), ..access.clone() };
        let named = Access { tls_server_name: Some("kubernetes.default.svc".into()), ..access.clone() };
        for (access, works) in [(access, true), (of_other, false), (insecure, true), (misnamed, false), (named, true)] {
            let (client, run) = client(&access);
            let (api, everything) = (client.dynamic(pods()), Options::default());
            let listed = tokio::select! {
                biased;
                () = run => unreachable!(),
                listed = api.list(&everything) => listed,
            };
            assert_eq!(listed.is_ok(), works, "{access:?}: {listed:?}");
        }
        let nothing = Remote::open(&Access::new("https://localhost", Credentials::None), Clock::system());
        assert!(nothing.err().unwrap().to_string().contains("no certificate to trust"));
    };
    tokio::select! {
        biased;
        () = listener.serve(core.service()) => unreachable!(),
        () = using => {}
    }
}

#[tokio::test]
async fn any_service_can_be_served() {
    let listener = Listener::bind(LOOPBACK.parse().unwrap()).await.unwrap();
    let address = listener.address();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let service = tower::service_fn(move |_: Request<Incoming>| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { Ok(Response::new(http_body_util::Full::new(Bytes::from(count.to_string())))) }
    });
    let using = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('0'), "{answer}");
    };
    tokio::select! {
        biased;
        () = listener.serve(service) => unreachable!(),
        () = using => {}
    }
}
