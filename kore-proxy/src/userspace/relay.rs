//! Bytes from one side to the other.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// How long a target has to accept a connection; each further try gets twice as long, up to [`CONNECT_MAX`].
const CONNECT_MIN: Duration = Duration::from_millis(250);
/// The longest a target has to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How large a buffer is at first.
const BUFFER_MIN_BYTES: usize = 4 * 1024;
/// How large a buffer grows while reads fill it: where splicing in the kernel is no faster.
const BUFFER_MAX_BYTES: usize = 256 * 1024;

/// Carries one connection to the first of `targets` that accepts it, until both sides have closed or one has failed.
pub(super) async fn carry(client: TcpStream, targets: Vec<SocketAddr>, permit: OwnedSemaphorePermit) {
    if let Some(target) = connect(&targets).await
        && let Err(error) = relay(client, target).await
    {
        tracing::debug!(%error, "connection ended");
    }
    drop(permit);
}

async fn connect(targets: &[SocketAddr]) -> Option<TcpStream> {
    let mut patience = CONNECT_MIN;
    for target in targets {
        match timeout(patience, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%target, %error, "target does not accept"),
            Err(_) => tracing::debug!(%target, "target does not answer"),
        }
        patience = (patience * 2).min(CONNECT_MAX);
    }
    tracing::warn!(?targets, "no target accepts a connection");
    None
}

async fn relay(mut client: TcpStream, mut target: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_target, mut to_target) = target.split();
    tokio::try_join!(pump(&mut from_client, &mut to_target), pump(&mut from_target, &mut to_client))?;
    Ok(())
}

/// Copies until the reader ends, then says so to the writer. The buffer grows while reads fill it.
async fn pump(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_MIN_BYTES];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return writer.shutdown().await;
        }
        writer.write_all(&buffer[..read]).await?;
        if read == buffer.len() && read < BUFFER_MAX_BYTES {
            buffer.resize(read * 2, 0);
        }
    }
}
