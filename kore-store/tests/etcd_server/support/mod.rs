//! What the tests share.

pub(crate) mod client;
pub(crate) mod real;
pub(crate) mod short;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kore_store::{EtcdServer, EtcdServerOptions, MemoryStore, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use client::{Client, Refused, Stream};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server of this process. Dropped, it ends at once.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn store(store: Arc<dyn Store>, options: EtcdServerOptions) -> Served {
        Served::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), store, options)
    }

    /// At an address at which another one was served before.
    pub(crate) async fn at(address: SocketAddr, store: Arc<dyn Store>) -> Served {
        Served::on(TcpListener::bind(address).await.unwrap(), store, EtcdServerOptions::default())
    }

    fn on(listener: TcpListener, store: Arc<dyn Store>, options: EtcdServerOptions) -> Served {
        let address = listener.local_addr().unwrap();
        let server = EtcdServer::new(store, options.client_urls([format!("http://{address}")]));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await });
        Served { address, stop: Some(stop), task }
    }

    pub(crate) async fn memory() -> Served {
        Served::store(Arc::new(memory()), EtcdServerOptions::default()).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Stops in order, and says that it did.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the server stops").unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn memory() -> MemoryStore {
    MemoryStore::new()
}
