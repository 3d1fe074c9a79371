//! A real etcd, and its command line.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::PATIENCE;

/// An etcd in a process of its own, which ends with it.
pub(crate) struct Etcd {
    pub(crate) address: SocketAddr,
    _process: Child,
    _dir: tempfile::TempDir,
}

impl Etcd {
    pub(crate) async fn start() -> Etcd {
        let dir = tempfile::tempdir().unwrap();
        let (address, peers) = (free_port(), free_port());
        let (url, peer_url) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(dir.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        command.args(["--initial-cluster", &format!("default={peer_url}"), "--log-level", "error"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().expect("etcd is installed");
        // It listens before it serves: ready is who answers.
        let healthy = async {
            while !etcdctl(address, &["endpoint", "health"], "").await.success {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, healthy).await.expect("etcd comes up");
        drop(TcpStream::connect(address).await.unwrap());
        Etcd { address, _process: process, _dir: dir }
    }
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) out: String,
    pub(crate) error: String,
}

/// etcdctl's environment, for a server here.
pub(crate) fn command(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--command-timeout", "30s", "--dial-timeout", "20s"]);
    command.arg("--endpoints").arg(address.to_string()).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs etcdctl to its end.
pub(crate) async fn etcdctl(address: SocketAddr, args: &[&str], input: &str) -> Said {
    let mut child = command(address, args).spawn().expect("etcdctl is installed");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { success: output.status.success(), out: text(output.stdout), error: text(output.stderr) }
}

/// A file's bytes.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
