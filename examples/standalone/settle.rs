//! What a data directory remembers from its first start on: the administrator's token, which loopback addresses are the
//! cluster's, and how many nodes it has.

use std::fs::{File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kore_api::Entropy;
use kore_api::auth::{Authenticators, TokenAuthenticator, User};
use kore_api::http::{BindError, Listener};
use kore_api::server::Server;

use crate::args::Args;

/// Where a cluster holds its claim on its addresses: the last of them, at this port.
const CLAIM_PORT: u16 = 20_127;
/// How many ranges of addresses are tried for one that no other cluster on this machine has.
const TRIES: usize = 64;

/// Longer tokens do not fit into the headers that servers take.
const TOKEN_MAX: usize = 4096;

/// How often, and after what wait, what somebody else holds is tried again: a second, all in all.
const AGAIN: u32 = 50;
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// There are ranges of addresses for so many nodes.
pub(crate) const NODES_MAX: u16 = 62;

/// The name of a node, from 1 on.
pub(crate) fn node(number: u16) -> String {
    format!("node-{number}")
}

/// What is settled.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The administrator's token.
    pub(crate) admin_token: String,
    /// How many nodes there are.
    pub(crate) nodes: u16,
    /// The second and third byte of the pods' addresses, of which the cluster has 64 times 256.
    range: [u8; 2],
    /// Held for as long as the cluster runs, so that no other one takes its directory or its addresses.
    _lock: File,
    _claim: UdpSocket,
}

impl Settled {
    /// Who is let in: the administrator by the token, and service accounts by what the server has issued.
    pub(crate) fn users(&self, server: &Server) -> Authenticators {
        let tokens = TokenAuthenticator::new([(self.admin_token.clone(), User::admin())]);
        server.account_authenticator().into_iter().fold(Authenticators::default().with(tokens), Authenticators::with)
    }

    /// Reads what is there, and settles what is not or what the user wants otherwise.
    ///
    /// # Errors
    /// Names the file that cannot be read or written.
    pub(crate) async fn open(dir: &Path, args: &Args) -> Result<Self, String> {
        let admin_token_file = args.admin_token_file.as_deref();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| format!("{}: {error}", dir.display()))?;
        let lock = patiently(|| lock(dir)).await?;
        let entropy = Entropy::system();
        let token_path = admin_token_file.map_or_else(|| dir.join("admin.token"), PathBuf::from);
        let admin_token = match read(&token_path)? {
            Some(token) => check_token(token).map_err(|problem| format!("{}: {problem}", token_path.display()))?,
            None if admin_token_file.is_none() => {
                let token = (0..4).map(|_| format!("{:016x}", entropy.next_u64())).collect::<String>();
                write(&token_path, &token)?;
                token
            }
            None => return Err(format!("{}: there is no such file", token_path.display())),
        };
        let range_path = dir.join("addresses");
        let (range, claim) = match read(&range_path)? {
            Some(text) => {
                let range = parse(&text).ok_or_else(|| format!("{}: not a range", range_path.display()))?;
                let taken = |error: io::Error| {
                    format!("{}: {text} is in use by another cluster: {error}", range_path.display())
                };
                (range, patiently(|| claim(range).map_err(taken)).await?)
            }
            None => {
                let found = (0..TRIES).find_map(|_| {
                    let [first, second, ..] = entropy.next_u64().to_le_bytes();
                    let range = [64 | (first & 0x1f), second & 0xc0];
                    Some((range, claim(range).ok()?))
                });
                let (range, claim) = found.ok_or("no range of loopback addresses is free")?;
                write(&range_path, &format!("127.{}.{}.0/18", range[0], range[1]))?;
                (range, claim)
            }
        };
        let nodes_path = dir.join("nodes");
        let known = read(&nodes_path)?.map(|text| text.parse());
        let known = known.transpose().map_err(|error| format!("{}: {error}", nodes_path.display()))?;
        let nodes = args.nodes.or(known).unwrap_or(1);
        if known != Some(nodes) {
            write(&nodes_path, &nodes.to_string())?;
        }
        Ok(Self { admin_token, nodes, range, _lock: lock, _claim: claim })
    }

    /// The range that Services get addresses from.
    pub(crate) fn service_addresses(&self) -> String {
        format!("127.{}.{}.0/18", self.range[0] + 32, self.range[1])
    }

    /// The first of them, which is the API's own.
    pub(crate) fn api_address(&self) -> String {
        format!("127.{}.{}.1", self.range[0] + 32, self.range[1])
    }

    /// The range that the pods of a node get addresses from.
    ///
    /// # Errors
    /// There are more nodes than ranges.
    pub(crate) fn pod_addresses(&self, node: u16) -> Result<String, String> {
        let third = u8::try_from(node).ok().filter(|node| u16::from(*node) <= NODES_MAX);
        let third = third.ok_or_else(|| format!("at most {NODES_MAX} nodes in one process"))?;
        Ok(format!("127.{}.{}.0/24", self.range[0], self.range[1] + third))
    }
}

/// A token that a client can send.
fn check_token(token: String) -> Result<String, String> {
    match token.len() {
        0 => Err("there is no token in it".into()),
        TOKEN_MAX.. => Err(format!("a token has less than {TOKEN_MAX} characters")),
        _ if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("a token is one word of printable ASCII characters".into())
        }
        _ => Ok(token),
    }
}

/// Listens on the first of these addresses that nobody else listens on.
///
/// # Errors
/// That of the last one.
pub(crate) async fn listen(addresses: &[SocketAddr]) -> Result<Listener, BindError> {
    let (last, others) = addresses.split_last().expect("there is at least one");
    for address in others {
        match Listener::bind(*address).await {
            Err(error) if error.is_in_use() => {}
            other => return other,
        }
    }
    Listener::bind(*last).await
}

/// Tries again for a while: a process that was killed a moment ago may still hold what it had.
async fn patiently<T>(mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    for _ in 0..AGAIN {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    attempt()
}

fn lock(dir: &Path) -> Result<File, String> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("the data directory {} is in use by another process", dir.display()))
        }
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}

fn claim([second, third]: [u8; 2]) -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::new(127, second, third | 0x3f, 254), CLAIM_PORT))
}

fn parse(text: &str) -> Option<[u8; 2]> {
    let address: Ipv4Addr = text.strip_suffix("/18")?.parse().ok()?;
    let [127, second @ 64..96, third, 0] = address.octets() else {
        return None;
    };
    (third & 0x3f == 0).then_some([second, third])
}

fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Writes a file that only its owner may read, as a whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    })();
    written.map_err(|error: io::Error| format!("{}: {error}", path.display()))
}
