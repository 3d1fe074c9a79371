//! How fast a store is as an etcd, and how fast an etcd is: `cargo bench -p kore-store --features etcd-server --bench etcd`.
//!
//! The same client program (HTTP/2 by hand, one stream a request) writes to both over gRPC, each in a process of its own,
//! on the same disk. Without an etcd on the path, only the store is measured. `KORE_BENCH_SECONDS` is how long each
//! round takes (default 3), `KORE_BENCH_CONNECTIONS` how many connections the writers share (default 8).

#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, unreachable_pub, reason = "the messages, as the library has them")]
#[path = "../../src/etcd/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use kore_store::{DurableStore, EtcdServer, EtcdServerOptions, Limits, Options};
use prost::Message;
use support::*;
use tokio::net::{TcpListener, TcpStream};
use wire::{PutRequest, PutResponse, RangeRequest, RangeResponse};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [serve, dir, address] = &args[..]
        && serve == "serve"
    {
        return self::serve(Path::new(dir), address.parse().expect("an address")).await;
    }
    println!("etcd: 48 B keys of {KEYS}, 512 B values, each unique; {} connections", connections());
    measure("kore", |dir, address| {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.arg("serve").arg(dir).arg(address.to_string());
        command
    })
    .await;
    if Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok() {
        measure("etcd", |dir, address| {
            let (url, peer_url) = (format!("http://{address}"), format!("http://{}", free_port()));
            let mut command = Command::new("etcd");
            command.arg("--data-dir").arg(dir).args(["--log-level", "error", "--quota-backend-bytes", "8589934592"]);
            command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
            command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
            command.args(["--initial-cluster", &format!("default={peer_url}")]).stderr(Stdio::null());
            command
        })
        .await;
    }
}

async fn serve(dir: &Path, address: SocketAddr) {
    let options = Options::default().limits(Limits::default().quota_bytes(64 << 30));
    let (store, run) = DurableStore::open(dir, options).await.expect("the store opens");
    let run = tokio::spawn(run);
    let listener = TcpListener::bind(address).await.expect("the address is free");
    let server = EtcdServer::new(Arc::new(store), EtcdServerOptions::default());
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    run.await.expect("no panic").expect("the store runs");
}

fn free_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address")
}

fn number(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn connections() -> usize {
    number("KORE_BENCH_CONNECTIONS", 8.0) as usize
}

/// A server in a process of its own, which ends with this.
struct Served(Child);

impl Served {
    /// How long its threads have run, in all.
    fn busy(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(10 * ticks)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn measure(name: &str, command: impl Fn(&Path, SocketAddr) -> Command) {
    let time = Duration::from_secs_f64(number("KORE_BENCH_SECONDS", 3.0));
    for writers in [1, 64, 1000] {
        let dir = tempfile::tempdir_in(".").expect("a directory");
        let address = free_port();
        let served = Served(command(&dir.path().join("data"), address).spawn().expect("it starts"));
        let clients = Arc::new(connect(address, connections().min(writers as usize)).await);
        let writing = clients.clone();
        let put = move |writer: u64, number: u64| {
            let client = writing[writer as usize % writing.len()].clone();
            let key = key(scatter(writer << 32 | number) % KEYS);
            let put = PutRequest { key, value: value(writer, number, 512), ..Default::default() };
            async move { drop(call::<PutResponse>(client, "/etcdserverpb.KV/Put", &put).await) }
        };
        let busy = served.busy();
        let puts = load(writers, time, put).await;
        let busy = served.busy() - busy;
        let get = move |writer: u64, number: u64| {
            let client = clients[writer as usize % clients.len()].clone();
            let get = RangeRequest { key: key(scatter(writer << 32 | number) % KEYS), ..Default::default() };
            async move { drop(call::<RangeResponse>(client, "/etcdserverpb.KV/Range", &get).await) }
        };
        let gets = load(writers, time, get).await;
        println!(
            "  {name}  {writers:>4} writers  {:>7.0} puts/s  p50 {} µs  p99 {} µs  {:.1} µs of CPU and {:.4} device \
             flushes a put  {:>7.0} gets/s",
            puts.per_second(),
            puts.percentile(50.0),
            puts.percentile(99.0),
            busy.as_micros() as f64 / puts.writes as f64,
            puts.flushes.unwrap_or(0) as f64 / puts.writes as f64,
            gets.per_second(),
        );
    }
}

/// Connections to a server that is starting.
async fn connect(address: SocketAddr, count: usize) -> Vec<SendRequest<Bytes>> {
    let mut clients = Vec::new();
    while clients.len() < count {
        let Ok(socket) = TcpStream::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        socket.set_nodelay(true).expect("a socket");
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(5 << 20).initial_window_size(2 << 20);
        let (client, connection) = builder.handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        clients.push(client);
    }
    // It answers.
    let get = RangeRequest { key: "a".into(), ..Default::default() };
    call::<RangeResponse>(clients[0].clone(), "/etcdserverpb.KV/Range", &get).await;
    clients
}

async fn call<A: Message + Default>(client: SendRequest<Bytes>, path: &str, request: &impl Message) -> A {
    let mut message = BytesMut::with_capacity(5 + request.encoded_len());
    message.put_u8(0);
    message.put_u32(request.encoded_len() as u32);
    request.encode(&mut message).expect("there is room");
    let head = Request::post(format!("http://etcd{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut client = client.ready().await.expect("a connection");
    let (answer, mut body) = client.send_request(head, false).expect("a stream");
    body.send_data(message.freeze(), true).expect("a window");
    let mut answer = answer.await.expect("an answer").into_body();
    let mut bytes = BytesMut::new();
    while let Some(data) = answer.data().await {
        let data = data.expect("all of it");
        drop(answer.flow_control().release_capacity(data.len()));
        bytes.extend_from_slice(&data);
    }
    let trailers = answer.trailers().await.expect("an end").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
    A::decode(&bytes[5..]).expect("a message")
}
