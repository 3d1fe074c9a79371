//! A whole cluster in one process: the page to copy from. Every part is a line or two; to have another one, replace them.
//!
//! `args.rs` is the command line, `settle.rs` what a data directory remembers, `apply.rs`, `follow.rs` and `progress.rs` what `--apply`
//! does and shows, `hello.rs` the workload that comes with the binary; `lost.rs` is for when there are fewer nodes than before.

mod apply;
mod args;
mod follow;
mod hello;
mod lost;
mod progress;
mod settle;
mod signals;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::future::{FutureExt, join_all};
use kore_api::admission::{DefaultTolerationSeconds, ServiceAccounts};
use kore_api::auth::{AccountTokens, User};
use kore_api::http::ApiService;
use kore_api::kubeconfig::{Access, Credentials, Kubeconfig};
use kore_api::server::Server;
use kore_api::tls::Authority;
use kore_controller::{Controllers, Resources};
use kore_node::agent::Agent;
use kore_node::native::{NativeRuntime, Program};
use kore_node::shim::Shim;
use kore_proxy::{Proxy, UserSpace};
use kore_sched::Scheduler;
use kore_store::{Clock, DurableStore};
use tokio::task::JoinSet;

use args::{Args, Command};
use progress::say;
use settle::Settled;
use signals::Signals;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a container has to end when the cluster is stopped.
const STOP_WITHIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // In a process that was started to watch over a container, this is all there is.
    kore_node::shim::init();
    progress::log();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    match args.command {
        Some(Command::ServeHello) => Ok(hello::serve().await?),
        None => cluster(args).await,
    }
}

async fn cluster(args: &Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (dir, mut signals) = (args.data_dir()?, Signals::listen()?);
    let settled = Settled::open(&dir, args).await?;
    let mut parts = JoinSet::new();

    // The store, and the API server on it.
    let (store, run) = DurableStore::open(dir.join("store"), Default::default()).await?;
    parts.spawn(run);
    let (server, run) = Server::builder(Arc::new(store.clone()))
        .history(args.history)
        .admission(ServiceAccounts::default())
        .admission(DefaultTolerationSeconds::default())
        .account_tokens(AccountTokens::open(&dir.join("pki").join("service-accounts.key")).await?)
        .service_addresses(&settled.service_addresses())
        .open()
        .await?;
    parts.spawn(run.map(Ok));
    lost::remove(&dir, settled.nodes, &server.client(User::admin())).await?;

    // The API over HTTPS, and how the administrator gets in.
    let authority = Authority::open(&dir.join("pki"), Clock::system()).await?;
    let listener = settle::listen(&args.listen()).await?;
    server.advertise(listener.address()).await?;
    let tls = authority.server([listener.address().ip().to_string(), settled.api_address()])?;
    let listener = listener.tls(tls);
    let access = Access::new(listener.url(), Credentials::Token(settled.admin_token.clone()));
    let access = access.trust(authority.certificate_pem());
    Kubeconfig::new("kore", &access).write(&dir.join("kubeconfig")).await?;
    parts.spawn(listener.serve(ApiService::new(server.clone(), settled.users(&server))).map(Ok));

    // The scheduler, the controllers and the service proxy, each as itself.
    let user = |name: &str| server.client(User::new(name));
    let (_scheduler, run) = Scheduler::open(user("system:kube-scheduler"), Default::default());
    parts.spawn(run.map(Ok));

    let account = server.clone();
    let account = move |name: &str| account.client(User::service_account("kube-system", name));
    let controllers = Controllers::new(&user("system:kube-controller-manager"));
    let controllers = controllers.select(&args.controllers)?.resources(Resources::served_by(&server));
    let (_controllers, run) = controllers.identities(account).open();
    parts.spawn(run.map(Ok));

    let (backend, forward) = UserSpace::new();
    let served = kore_proxy::Config::default().node_addresses([[127, 0, 0, 1].into()]);
    let served = (1..=settled.nodes).fold(served, |served, number| served.node(settle::node(number)));
    let (_proxy, run) = Proxy::open(user("system:kube-proxy"), backend, served);
    parts.spawn(forward.map(Ok));
    parts.spawn(run.map(Ok));

    // The nodes, whose pods are processes of this machine.
    let mut agents = Vec::new();
    for number in 1..=settled.nodes {
        let (name, addresses) = (settle::node(number), settled.pod_addresses(number)?);
        let home = dir.join(&name);
        let runtime = NativeRuntime::builder(home.join("runtime"), Shim::this_binary()?)
            .addresses(&addresses)
            .image(hello::IMAGE, Program::this_binary([hello::SUBCOMMAND]))
            .image("kore.dev/host", Program::host())
            .open()
            .await?;
        let client = server.client(User::node(&name));
        let agent = Agent::builder(client, runtime, &name, home).pod_cidr(addresses);
        let (agent, run) = agent.open().await?;
        server.nodes().attach(&name, agent.service());
        agents.push(agent);
        parts.spawn(run.map(Ok));
    }

    // All of it runs until the user has had enough.
    say(format_args!("serving {} (kubectl, Helm, any Kubernetes client):", access.server));
    say(format_args!("  export KUBECONFIG={}", progress::quoted(&dir.join("kubeconfig"))));
    let outcome = tokio::select! {
        Some(ended) = parts.join_next() => return Ok(ended??),
        outcome = apply::run(&server, args) => outcome,
        () = signals.told_to_end() => args.interrupted(),
    };
    say("stopping: workloads first, then the store");
    signals.unless_told_again(join_all(agents.iter().map(|agent| agent.shutdown(STOP_WITHIN)))).await?;
    store.close().await?;
    Ok(outcome?)
}
