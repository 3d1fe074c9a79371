//! What a server is made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kore_store::{Clock, Entropy, Store};

use super::core::Core;
use super::routes::Table;
use super::{Nodes, Server, bootstrap, definitions, history};
use crate::admission::{Admission, CertificateRequester, LimitRanger, NamespaceLifecycle, NodeRestriction, Priority};
use crate::auth::{AccountTokens, Authorizer, ComponentRules};
use crate::cache::{Caches, Stop, Window, follow};
use crate::error::{Error, Status};
use crate::kinds;
use crate::registry::{InvalidPool, NODE_PORTS, Pool, Registry, SERVICE_ADDRESSES};

/// How long the past is kept unless said otherwise.
const HISTORY: Duration = Duration::from_secs(300);
/// The addresses of Services unless said otherwise: loopback addresses, which a proxy in user space can serve on one machine.
const SERVICE_RANGE: &str = "127.96.0.0/16";
/// The ports that Services may take on every node, unless said otherwise: upstream's.
const NODE_PORT_RANGE: (u16, u16) = (30_000, 32_767);

/// What a [`Server`] is made of. What is left out has a default that works.
#[must_use = "a builder does nothing until it is opened"]
pub struct Builder {
    store: Arc<dyn Store>,
    clock: Clock,
    entropy: Entropy,
    registry: Registry,
    authorizers: Vec<Arc<dyn Authorizer>>,
    admission: Vec<Arc<dyn Admission>>,
    nodes: Nodes,
    pools: Result<BTreeMap<&'static str, Pool>, InvalidPool>,
    history: Duration,
    window: Window,
    account_tokens: Option<AccountTokens>,
}

impl Builder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let (first, last) = NODE_PORT_RANGE;
        let pools = Pool::addresses(SERVICE_RANGE).map(|addresses| {
            BTreeMap::from([(SERVICE_ADDRESSES, addresses), (NODE_PORTS, Pool::numbers(first, last))])
        });
        Self {
            store,
            clock: Clock::system(),
            entropy: Entropy::system(),
            registry: kinds::builtin(),
            authorizers: Vec::new(),
            admission: vec![
                Arc::new(NamespaceLifecycle),
                Arc::new(LimitRanger),
                Arc::new(NodeRestriction),
                Arc::new(Priority),
                Arc::new(CertificateRequester),
            ],
            nodes: Nodes::default(),
            pools,
            history: HISTORY,
            window: Window::default(),
            account_tokens: None,
        }
    }

    /// The wall clock, for timestamps. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The source of uids and generated names. Default: the kernel's.
    pub fn entropy(mut self, entropy: Entropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// The resources. Default: [`kinds::builtin`].
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Asks one more authoriser, after those given before; what nobody allows is refused. Default, if none is given:
    /// [`ComponentRules`].
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizers.push(Arc::new(authorizer));
        self
    }

    /// Sends writes through one more stage, after those given before. [`NamespaceLifecycle`], [`LimitRanger`], [`NodeRestriction`],
    /// [`Priority`] and [`CertificateRequester`] are always the first; what they rule on is nothing where their kinds are not registered.
    pub fn admission(mut self, stage: impl Admission) -> Self {
        self.admission.push(Arc::new(stage));
        self
    }

    /// Issues tokens to service accounts (`serviceaccounts/token`). Default: none are issued. Who serves the API then also asks
    /// [`Server::account_authenticator`] who somebody is:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kore_api::error::Error> {
    /// # use std::sync::Arc;
    /// # use kore_store::MemoryStore;
    /// use kore_api::auth::{AccountTokens, Authenticators, TokenAuthenticator, User};
    /// use kore_api::server::Server;
    ///
    /// let builder = Server::builder(Arc::new(MemoryStore::default()));
    /// let (server, run) = builder.account_tokens(AccountTokens::ephemeral()?).open().await?;
    /// let people = TokenAuthenticator::new([("s3cret", User::admin())]);
    /// let everybody = server.account_authenticator().into_iter().fold(
    ///     Authenticators::default().with(people),
    ///     Authenticators::with,
    /// );
    /// # let _ = (run, everybody);
    /// # Ok(())
    /// # }
    /// ```
    pub fn account_tokens(mut self, tokens: AccountTokens) -> Self {
        self.account_tokens = Some(tokens);
        self
    }

    /// The way to the agents of nodes. Default: one of its own, see [`Server::nodes`].
    pub fn nodes(mut self, nodes: Nodes) -> Self {
        self.nodes = nodes;
        self
    }

    /// The range that addresses of Services come from, in CIDR notation. Default: 127.96.0.0/16. An invalid one is an error of
    /// [`Builder::open`].
    pub fn service_addresses(self, cidr: &str) -> Self {
        let pool = Pool::addresses(cidr);
        let pools = self.pools.and_then(|mut pools| {
            pools.insert(SERVICE_ADDRESSES, pool?);
            Ok(pools)
        });
        Self { pools, ..self }
    }

    /// One more pool to claim from, or another one in place of a built-in ([`SERVICE_ADDRESSES`], [`NODE_PORTS`]).
    pub fn pool(mut self, name: &'static str, pool: Pool) -> Self {
        if let Ok(pools) = &mut self.pools {
            pools.insert(name, pool);
        }
        self
    }

    /// For how long the past is kept: a watch or a continued list can go on from a revision that is at most so old. Default:
    /// 5 minutes.
    pub fn history(mut self, history: Duration) -> Self {
        self.history = history;
        self
    }

    /// How many changes of each resource, and how many bytes of what they replaced, are kept in memory at most, whatever
    /// [`Builder::history`] says. Default: 65,536 changes and 32 MiB.
    pub fn window(mut self, changes: usize, bytes: usize) -> Self {
        self.window = Window { events: changes.max(1), bytes };
        self
    }

    /// Opens the server: reads what is in the store, and makes what every server has (the namespaces `default`,
    /// `kube-node-lease`, `kube-public` and `kube-system`, the Service `kubernetes`, and the PriorityClasses `system-cluster-critical` and
    /// `system-node-critical`, as far as their kinds are registered). It answers while the returned future runs.
    ///
    /// It reads and writes: a store with a future of its own must be running by then.
    ///
    /// # Errors
    /// When the store fails, or a setting is invalid.
    pub async fn open(self) -> Result<(Server, impl Future<Output = ()> + Send + use<>), Error> {
        let pools = self
            .pools
            .map_err(|error| Error::Config { path: "service_addresses".into(), problem: error.to_string() })?;
        let caches = Arc::new(Caches::new(self.window));
        let resources = Table::new(self.registry, &caches);
        let authorizers = match self.authorizers.is_empty() {
            true => vec![Arc::new(ComponentRules) as Arc<dyn Authorizer>],
            false => self.authorizers,
        };
        let core = Arc::new(Core {
            store: self.store,
            clock: self.clock,
            entropy: self.entropy,
            resources,
            definitions: Default::default(),
            caches,
            authorizers,
            admission: self.admission,
            nodes: self.nodes,
            pools,
            lifetimes: Default::default(),
            quotas: Default::default(),
            account_tokens: self.account_tokens,
        });
        let definitions = definitions::Driver::open(&core).await?;
        // From here on, dropping what is here stops the server.
        let stop = Stop(core.caches.clone());
        let mut following = Box::pin(follow(core.store.clone(), core.caches.clone()));
        tokio::select! {
            biased;
            made = bootstrap::make(&core) => made?,
            () = &mut following => return Err(Status::internal("the store is no longer followed").into()),
        }
        let history = history::keep(core.clone(), self.history);
        let definitions = definitions.run(core.clone());
        let run = async move {
            let _stop = stop;
            futures::join!(following, history, definitions);
        };
        Ok((Server { core }, run))
    }
}
