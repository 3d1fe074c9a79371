//! A store served as an etcd: what a client sees, call by call.
//!
//! - `support`: a server, a raw client, a real etcd
//! - `kv`, `watch`, `lease`, `maintenance`: etcd's services; `kubernetes`: what its API server asks
//! - `conforms`: the conformance suite, through the server and a client (features `etcd` and `conformance`)
//! - `attack`: clients and stores that misbehave
//! - `etcdctl`, `differential`: etcdctl, and a real etcd as the oracle; run with `-- --ignored`

mod attack;
#[cfg(all(feature = "etcd", feature = "conformance"))]
mod conforms;
mod differential;
mod etcdctl;
mod kubernetes;
mod kv;
mod lease;
mod maintenance;
mod support;
mod watch;
#[allow(dead_code, unreachable_pub, reason = "the messages, as the library has them; each test uses some")]
#[path = "../../src/etcd/wire.rs"]
mod wire;
