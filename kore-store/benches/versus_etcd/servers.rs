//! The servers that are measured, each in a process of its own that ends with this one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use kore_store::{DurableStore, EtcdServer, EtcdServerOptions};
use tokio::net::TcpListener;

/// A server in a process of its own.
pub(crate) struct Served {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// A `DurableStore` behind `EtcdServer`: this program, started again.
    pub(crate) fn kore(dir: &Path) -> Served {
        let address = free_port();
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.arg("serve").arg(dir).arg(address.to_string());
        Served { process: command.spawn().expect("it starts"), address }
    }

    /// The etcd on the path.
    pub(crate) fn etcd(dir: &Path) -> Served {
        let address = free_port();
        let (url, peer_url) = (format!("http://{address}"), format!("http://{}", free_port()));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(dir).args(["--log-level", "error", "--quota-backend-bytes", "8589934592"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        command.args(["--initial-cluster", &format!("default={peer_url}"), "--logger", "zap"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Served { process: command.spawn().expect("etcd is installed (Debian: etcd-server)"), address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn free_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address")
}

/// Serves a store, until this process is ended.
pub(crate) async fn serve(dir: &Path, address: &str) {
    let (store, run) = DurableStore::open(dir, crate::options()).await.expect("the store opens");
    let run = tokio::spawn(run);
    let listener = TcpListener::bind(address).await.expect("the address is free");
    let server = EtcdServer::new(Arc::new(store), EtcdServerOptions::default());
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    run.await.expect("no panic").expect("the store runs");
}
