//! How a server is set up.

use std::time::Duration;

/// How an [`EtcdServer`](crate::EtcdServer) is set up: what it says of itself, and how much it takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EtcdServerOptions {
    /// Stated in every answer, for clients to tell clusters apart. Give each store its own. Default: a constant.
    pub cluster_id: u64,
    /// The id of the cluster's one member. Default: a constant.
    pub member_id: u64,
    /// The name of the cluster's one member. Default: `default`.
    pub name: String,
    /// Where clients reach this server, as `http://host:port`: what a client is told that asks for the members. Default:
    /// none.
    pub client_urls: Vec<String>,
    /// Bytes of a request; more is refused with `ResourceExhausted`. The store has a limit of its own, which is refused as
    /// etcd does. Default: 2 MiB, which is etcd's 1.5 MiB and its overhead.
    pub request_bytes: usize,
    /// Comparisons or operations in one transaction; more is refused as etcd does. Default: 128, as etcd.
    pub txn_ops: usize,
    /// Connections that are served at a time; further ones wait to be accepted. Default: 4096.
    pub connections: usize,
    /// Calls that a connection may have under way at a time, watch streams included; further ones wait in the client.
    /// Default: 4096.
    pub concurrent_calls: u32,
    /// Watches that a stream may have; a further one is answered as cancelled. Default: 10,000.
    pub watches_per_stream: usize,
    /// Watches of all streams together; a further one is answered as cancelled. Default: 200,000.
    pub watches: usize,
    /// MiB of requests that may be underway in pieces, over all connections; what is beyond is refused with
    /// `ResourceExhausted`. Default: 256.
    pub receive_mib: usize,
    /// How often a watch that asked for progress and has nothing to tell is told how far it is; at least 100 ms. Default:
    /// 10 minutes, as etcd.
    pub progress_interval: Duration,
    /// How often a connection is asked for a sign of life; without one for 20 s more it is closed. Default: 2 minutes.
    pub keep_alive_interval: Duration,
    /// How long calls may take to end when the server is stopped. Default: 5 s.
    pub shutdown_grace: Duration,
}

impl Default for EtcdServerOptions {
    fn default() -> EtcdServerOptions {
        EtcdServerOptions {
            cluster_id: 0x6b6f_7265_0000_0001,
            member_id: 0x6b6f_7265_0000_0002,
            name: "default".into(),
            client_urls: Vec::new(),
            request_bytes: 2 << 20,
            txn_ops: 128,
            connections: 4096,
            concurrent_calls: 4096,
            watches_per_stream: 10_000,
            watches: 200_000,
            receive_mib: 256,
            progress_interval: Duration::from_secs(600),
            keep_alive_interval: Duration::from_secs(120),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

impl EtcdServerOptions {
    /// Set [`cluster_id`](EtcdServerOptions::cluster_id).
    #[must_use]
    pub fn cluster_id(mut self, id: u64) -> EtcdServerOptions {
        self.cluster_id = id;
        self
    }

    /// Set [`member_id`](EtcdServerOptions::member_id).
    #[must_use]
    pub fn member_id(mut self, id: u64) -> EtcdServerOptions {
        self.member_id = id;
        self
    }

    /// Set [`name`](EtcdServerOptions::name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> EtcdServerOptions {
        self.name = name.into();
        self
    }

    /// Set [`client_urls`](EtcdServerOptions::client_urls).
    #[must_use]
    pub fn client_urls(mut self, urls: impl IntoIterator<Item = impl Into<String>>) -> EtcdServerOptions {
        self.client_urls = urls.into_iter().map(Into::into).collect();
        self
    }

    /// Set [`request_bytes`](EtcdServerOptions::request_bytes).
    #[must_use]
    pub fn request_bytes(mut self, bytes: usize) -> EtcdServerOptions {
        self.request_bytes = bytes;
        self
    }

    /// Set [`txn_ops`](EtcdServerOptions::txn_ops).
    #[must_use]
    pub fn txn_ops(mut self, ops: usize) -> EtcdServerOptions {
        self.txn_ops = ops;
        self
    }

    /// Set [`connections`](EtcdServerOptions::connections).
    #[must_use]
    pub fn connections(mut self, connections: usize) -> EtcdServerOptions {
        self.connections = connections;
        self
    }

    /// Set [`concurrent_calls`](EtcdServerOptions::concurrent_calls).
    #[must_use]
    pub fn concurrent_calls(mut self, calls: u32) -> EtcdServerOptions {
        self.concurrent_calls = calls;
        self
    }

    /// Set [`watches_per_stream`](EtcdServerOptions::watches_per_stream).
    #[must_use]
    pub fn watches_per_stream(mut self, watches: usize) -> EtcdServerOptions {
        self.watches_per_stream = watches;
        self
    }

    /// Set [`watches`](EtcdServerOptions::watches).
    #[must_use]
    pub fn watches(mut self, watches: usize) -> EtcdServerOptions {
        self.watches = watches;
        self
    }

    /// Set [`receive_mib`](EtcdServerOptions::receive_mib).
    #[must_use]
    pub fn receive_mib(mut self, mib: usize) -> EtcdServerOptions {
        self.receive_mib = mib;
        self
    }

    /// Set [`progress_interval`](EtcdServerOptions::progress_interval).
    #[must_use]
    pub fn progress_interval(mut self, interval: Duration) -> EtcdServerOptions {
        self.progress_interval = interval;
        self
    }

    /// Set [`keep_alive_interval`](EtcdServerOptions::keep_alive_interval).
    #[must_use]
    pub fn keep_alive_interval(mut self, interval: Duration) -> EtcdServerOptions {
        self.keep_alive_interval = interval;
        self
    }

    /// Set [`shutdown_grace`](EtcdServerOptions::shutdown_grace).
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> EtcdServerOptions {
        self.shutdown_grace = grace;
        self
    }
}
