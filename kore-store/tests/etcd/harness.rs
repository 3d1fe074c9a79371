//! Starts real etcds, each in a directory and on ports of its own, and kills them in the end.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kore_store::{EtcdOptions, EtcdStore};
use tempfile::TempDir;

/// How long an etcd may take to answer after its start.
const START: Duration = Duration::from_secs(30);

/// A port that nobody uses.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One member. Killed when it is dropped.
pub(crate) struct Member {
    pub(crate) endpoint: String,
    command: Command,
    child: Option<Child>,
}

impl Member {
    /// A member that is started by this command, and reached there.
    pub(crate) fn start(mut command: Command, endpoint: String) -> Member {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCD_")) {
            command.env_remove(name);
        }
        let mut member = Member { endpoint, command, child: None };
        member.restart();
        member
    }

    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let child = self.command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("these tests need an `etcd` in the PATH: {error}")));
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One etcd or several as one cluster, each in a directory.
pub(crate) struct Etcd {
    pub(crate) members: Vec<Member>,
    /// Goes when the members are gone.
    _directory: TempDir,
}

impl Etcd {
    /// A cluster of one.
    pub(crate) async fn single() -> Etcd {
        Etcd::start(1, &[]).await
    }

    /// A cluster of so many, with these arguments besides.
    pub(crate) async fn start(count: usize, arguments: &[&str]) -> Etcd {
        let etcd = Etcd::launch(count, "http", arguments);
        for member in &etcd.members {
            connect(EtcdOptions::new([&member.endpoint])).await;
        }
        etcd
    }

    /// As `start`, and as soon as the processes run.
    pub(crate) fn launch(count: usize, scheme: &str, arguments: &[&str]) -> Etcd {
        let directory = tempfile::tempdir().unwrap();
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let peers: Vec<String> =
            ports.iter().enumerate().map(|(number, (_, peer))| format!("m{number}=http://127.0.0.1:{peer}")).collect();
        let peers = peers.join(",");
        let members = ports.iter().enumerate().map(|(number, (client, peer))| {
            let client = format!("{scheme}://127.0.0.1:{client}");
            let command =
                command(directory.path(), number, &client, &format!("http://127.0.0.1:{peer}"), &peers, arguments);
            Member::start(command, client)
        });
        Etcd { members: members.collect(), _directory: directory }
    }

    pub(crate) fn options(&self) -> EtcdOptions {
        EtcdOptions::new(self.members.iter().map(|member| member.endpoint.clone()))
    }

    pub(crate) async fn store(&self) -> EtcdStore {
        connect(self.options()).await
    }
}

/// How member `number` is started.
pub(crate) fn command(
    directory: &std::path::Path,
    number: usize,
    client: &str,
    peer: &str,
    peers: &str,
    arguments: &[&str],
) -> Command {
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(directory.join(format!("m{number}")))
        .args(["--name", &format!("m{number}")])
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", peers, "--initial-cluster-state", "new", "--logger", "zap"])
        .args(arguments);
    command
}

/// Connects as soon as that works.
pub(crate) async fn connect(options: EtcdOptions) -> EtcdStore {
    let deadline = tokio::time::Instant::now() + START;
    loop {
        match EtcdStore::connect(options.clone().request_timeout(Duration::from_secs(1))).await {
            Ok(_) => return EtcdStore::connect(options).await.unwrap(),
            Err(error) if tokio::time::Instant::now() > deadline => panic!("etcd does not answer: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Has etcd's own client do something.
pub(crate) fn etcdctl(endpoint: &str, arguments: &[&str]) -> String {
    let output =
        Command::new("etcdctl").env("ETCDCTL_API", "3").args(["--endpoints", endpoint]).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need an `etcdctl` in the PATH: {error}"));
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
