//! The user-space backend keeps the contract of backends, and what it cannot serve it says.
#![allow(missing_docs)]

use std::sync::Arc;

use kore_api::object::ObjectKey;
use kore_proxy::conformance;
use kore_proxy::plan::{Delta, Frontend, Operation, Protocol, ServiceMap, Topology};
use kore_proxy::{Backend, BackendError, UserSpace};

async fn while_running<T>(run: impl Future<Output = ()>, test: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        outcome = test => outcome,
        () = run => panic!("the backend stopped by itself"),
    }
}

#[tokio::test]
async fn conformance() {
    let (backend, run) = UserSpace::new();
    while_running(run, async {
        conformance::run(&backend).await.unwrap();
        conformance::traffic(&backend).await.unwrap();
    })
    .await;
}

fn upsert(frontend: Frontend) -> Operation {
    upsert_to(frontend, 1)
}

fn upsert_to(frontend: Frontend, target: u16) -> Operation {
    let mut map = ServiceMap::new(Topology::default());
    let (address, port, protocol) = (frontend.address, frontend.port, frontend.protocol);
    let ports = serde_json::json!([{"port": port, "protocol": protocol.to_string()}]);
    let service = serde_json::json!({
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"clusterIP": address, "ports": ports},
    });
    let slice = serde_json::json!({
        "metadata": {"name": "web-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"port": target, "protocol": protocol.to_string()}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    });
    let (service, slice) = (serde_json::from_value(service).unwrap(), serde_json::from_value(slice).unwrap());
    map.set_service(&ObjectKey::namespaced("ns", "web"), Some(Arc::new(service)));
    map.set_slice(&ObjectKey::namespaced("ns", "web-1"), Some(Arc::new(slice)));
    map.take_delta().unwrap().operations.remove(0)
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_the_others_are_served() {
    let (backend, run) = UserSpace::new();
    while_running(run, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken = listener.local_addr().unwrap();
        let taken = Frontend { address: taken.ip(), protocol: Protocol::Tcp, port: taken.port() };
        let free = conformance::loopback_frontends()[0];
        let free = Frontend { port: free.port + 100, ..free };
        let udp = Frontend { protocol: Protocol::Udp, ..free };
        let operations = vec![upsert(taken), upsert(free), upsert(udp)];
        let outcome = backend.apply(&Delta { revision: 1, operations, stale_udp: Vec::new() }).await;
        let Err(BackendError::Frontends(failures)) = outcome else { panic!("{outcome:?}") };
        let failed: Vec<Frontend> = failures.iter().map(|failure| failure.frontend).collect();
        assert_eq!(failed, [taken, udp]);
        assert!(failures[0].to_string().contains("in use"), "{}", failures[0]);
        assert!(failures[1].to_string().contains("UDP"), "{}", failures[1]);
        let served = backend.observe().await.unwrap().entries;
        assert_eq!(served.keys().copied().collect::<Vec<_>>(), [free]);
    })
    .await;
}

/// As many connections at once as the limit says, through any number of frontends.
#[tokio::test]
async fn frontends_without_clients_take_no_room() {
    let (backend, run) = UserSpace::with_limit(1);
    while_running(run, async {
        let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let frontends = [300, 301, 302].map(|offset| {
            let frontend = conformance::loopback_frontends()[0];
            Frontend { port: frontend.port + offset, ..frontend }
        });
        let operations =
            frontends.iter().map(|frontend| upsert_to(*frontend, target.local_addr().unwrap().port())).collect();
        backend.apply(&Delta { revision: 1, operations, stale_udp: Vec::new() }).await.unwrap();
        for frontend in frontends {
            let client = tokio::net::TcpStream::connect((frontend.address, frontend.port)).await.unwrap();
            let (carried, _) = target.accept().await.unwrap();
            // The next one has to wait for this one to end.
            drop((client, carried));
        }
    })
    .await;
}

#[tokio::test]
async fn a_backend_whose_future_is_gone_says_so() {
    let (backend, run) = UserSpace::new();
    drop(run);
    let frontend = conformance::loopback_frontends()[0];
    let frontend = Frontend { port: frontend.port + 200, ..frontend };
    let delta = Delta { revision: 1, operations: vec![upsert(frontend)], stale_udp: vec![] };
    assert!(matches!(backend.apply(&delta).await, Err(BackendError::Stopped)));
}
