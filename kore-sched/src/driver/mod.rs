//! The thin driver: tells the engine what informers see, and does what the engine says.
//!
//! - here: [`Scheduler`], [`Config`], and the loop
//! - `bind`: the asynchronous points of one pod's binding
//! - `reports`: what users are told, as conditions and events

mod bind;
mod reports;

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Node, Pod};
use kore_api::client::{Change, Changes, Client, Informer, Selection};
use kore_api::object::{Kind, Object, ObjectKey};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::{Command, Engine, Event, Explanation, Limits, PodKey, Profile, ProfileError, Time};

use bind::Done;
use reports::Reports;

/// Cycles in a row before bindings and news get their turn.
const CYCLES_IN_A_ROW: usize = 64;
/// Questions to a scheduler that wait for their turn; further ones wait outside.
const QUESTIONS: usize = 64;

/// How a [`Scheduler`] works.
///
/// ```
/// use kore_sched::{Config, Profile};
///
/// # fn main() -> Result<(), kore_sched::ProfileError> {
/// let config = Config::new([Profile::default(), Profile::default().named("second")])?
///     .bindings(64)
///     .seed(42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Config {
    profiles: Vec<Profile>,
    limits: Limits,
    bindings: usize,
    seed: Option<u64>,
}

impl Default for Config {
    /// The default plugins for pods of the default scheduler.
    fn default() -> Config {
        Config::new([Profile::default()]).expect("the default profile is one a scheduler can have")
    }
}

impl Config {
    /// A scheduler of these profiles.
    ///
    /// # Errors
    /// When there is none, two are for one scheduler name, or one does not order its queue or does not bind.
    pub fn new(profiles: impl IntoIterator<Item = Profile>) -> Result<Config, ProfileError> {
        let profiles: Vec<Profile> = profiles.into_iter().collect();
        profiles.iter().try_for_each(Profile::check_bind)?;
        Engine::new(profiles.clone(), Limits::default(), 0)?;
        Ok(Config { profiles, limits: Limits::default(), bindings: 256, seed: None })
    }

    /// The engine's limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// How many pods are bound at once; 256. While there are so many, no further pod is tried.
    #[must_use]
    pub fn bindings(mut self, bindings: usize) -> Config {
        self.bindings = bindings.max(1);
        self
    }

    /// Breaks ties by this seed; by one drawn from the client's entropy otherwise.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Config {
        self.seed = Some(seed);
        self
    }
}

/// A running scheduler, for those who have questions.
#[derive(Clone)]
pub struct Scheduler {
    questions: mpsc::Sender<Question>,
}

enum Question {
    Explain(PodKey, oneshot::Sender<Option<Explanation>>),
    Tell(Event),
}

impl Scheduler {
    /// A scheduler that works while the returned future runs. It binds pods whose `schedulerName` one of its profiles has, as
    /// whoever `client` is. Everything it knows comes from the API: a new one takes over where another stopped.
    pub fn open(client: Client, config: Config) -> (Scheduler, impl Future<Output = ()> + Send + use<>) {
        let client = client.with_user_agent("kube-scheduler");
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let seed = config.seed.unwrap_or_else(|| client.entropy().next_u64());
        let engine = Engine::new(config.profiles.clone(), config.limits.clone(), seed);
        let engine = engine.expect("the profiles were checked when the configuration was made");
        (Scheduler { questions }, run(client, config, engine, asked))
    }

    /// Explains a pod: every plugin's answer about every node, as things are now. `None` when the pod is not known, no profile
    /// is for it, or the scheduler does not run.
    pub async fn explain(&self, pod: &PodKey) -> Option<Explanation> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question::Explain(pod.clone(), answer)).await.ok()?;
        answered.await.ok()?
    }

    /// Gives a pod that waits for it that plugin's permission.
    pub async fn allow(&self, pod: &PodKey, plugin: &str) {
        self.tell(Event::Allowed { pod: pod.clone(), plugin: plugin.to_owned() }).await;
    }

    /// Refuses a pod that waits for it that plugin's permission.
    pub async fn deny(&self, pod: &PodKey, plugin: &str, reason: &str) {
        let (pod, plugin, reason) = (pod.clone(), plugin.to_owned(), reason.to_owned());
        self.tell(Event::Denied { pod, plugin, reason }).await;
    }

    /// Tells that something happened to another resource that pods may wait for, such as `persistentvolumeclaims`.
    pub async fn announce(&self, resource: &str) {
        self.tell(Event::Other { resource: resource.into() }).await;
    }

    async fn tell(&self, event: Event) {
        // A scheduler that does not run has nobody waiting.
        let _ = self.questions.send(Question::Tell(event)).await;
    }
}

async fn run(client: Client, config: Config, engine: Engine, asked: mpsc::Receiver<Question>) {
    let (nodes, follow_nodes) = client.informer::<Node>(Selection::all());
    let (pods, follow_pods) = client.informer::<Pod>(Selection::all());
    let recorder = |profile: &Profile| {
        let (recorder, run) = client.recorder(profile.name());
        ((profile.name().to_owned(), recorder), run)
    };
    let (recorders, recording): (Vec<_>, Vec<_>) = config.profiles.iter().map(recorder).unzip();
    let driver = Driver {
        reports: Reports::new(client.clone(), pods.clone(), recorders),
        started: Instant::now(),
        client,
        bindings: config.bindings,
        engine,
        profiles: config.profiles.into(),
    };
    tokio::select! {
        biased;
        () = driver.drive(nodes, pods, asked) => {}
        _ = async { tokio::join!(follow_nodes, follow_pods, futures::future::join_all(recording)) } => {}
    }
}

struct Driver {
    client: Client,
    engine: Engine,
    profiles: Arc<[Profile]>,
    reports: Reports,
    bindings: usize,
    started: Instant,
}

impl Driver {
    async fn drive(mut self, nodes: Informer<Node>, pods: Informer<Pod>, mut asked: mpsc::Receiver<Question>) {
        // A node whose pods are not known looks empty: nothing is decided before both are here.
        nodes.synced().await;
        pods.synced().await;
        let (mut nodes, mut pods) = (nodes.subscribe(), pods.subscribe());
        let mut binding = FuturesUnordered::new();
        let mut may_ask = true;
        loop {
            self.take_all(&mut nodes, Driver::node);
            self.take_all(&mut pods, Driver::pod);
            let mut cycles = 0;
            while cycles < CYCLES_IN_A_ROW && binding.len() < self.bindings && self.engine.step(self.now()) {
                cycles += 1;
                let commands: Vec<Command> = self.engine.commands().collect();
                for command in commands {
                    match command {
                        Command::Bind(assignment) => {
                            binding.push(bind::bind(self.client.clone(), self.profiles.clone(), assignment));
                        }
                        Command::Report(report) => self.reports.add(report),
                        Command::Evict { pod, node, victims } => self.reports.evict(&pod, &node, victims),
                    }
                }
            }
            let more = cycles == CYCLES_IN_A_ROW;
            let due = self.engine.due().map(|due| self.started + due);
            tokio::select! {
                biased;
                Some(done) = binding.next() => self.done(done),
                change = nodes.next() => match change {
                    Some(change) => self.node(change),
                    None => return,
                },
                change = pods.next() => match change {
                    Some(change) => self.pod(change),
                    None => return,
                },
                question = asked.recv(), if may_ask => match question {
                    Some(question) => self.answer(question),
                    None => may_ask = false,
                },
                () = self.reports.work() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = tokio::task::yield_now(), if more => {}
            }
        }
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    fn take_all(&mut self, changes: &mut Changes, take: fn(&mut Driver, Change)) {
        while let Some(change) = changes.try_next() {
            take(self, change);
        }
    }

    fn node(&mut self, change: Change) {
        let event = match change.after {
            Some(object) => typed(&object).map(Event::Node),
            None => Some(Event::NodeGone(change.key.name.to_string())),
        };
        self.tell(event);
    }

    fn pod(&mut self, change: Change) {
        let event = match change.after {
            Some(object) => typed(&object).map(Event::Pod),
            None => Some(Event::PodGone(PodKey { namespace: change.key.namespace, name: change.key.name })),
        };
        self.tell(event);
    }

    fn tell(&mut self, event: Option<Event>) {
        let now = self.now();
        if let Some(event) = event {
            self.engine.handle(event, now);
        }
    }

    fn done(&mut self, done: Done) {
        let event = match done.failure {
            None => {
                self.reports.scheduled(&done.assignment);
                Event::Bound(done.assignment)
            }
            Some(failure) => Event::BindFailed(done.assignment, failure),
        };
        self.tell(Some(event));
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Tell(event) => self.tell(Some(event)),
            Question::Explain(pod, answer) => {
                let now = self.now();
                // Who asked may have gone.
                let _ = answer.send(self.engine.explain(&pod, now));
            }
        }
    }
}

/// An object as its type; one that does not decode is as good as not there, and is named in the log.
fn typed<K: Kind>(object: &Object) -> Option<Arc<K>> {
    match object.view::<K>() {
        Ok(view) => Some(view.into_typed()),
        Err(error) => {
            tracing::warn!(key = %object.key(), revision = object.revision(), %error, "left out");
            None
        }
    }
}

fn object_key(pod: &PodKey) -> ObjectKey {
    ObjectKey::namespaced(pod.namespace.clone(), pod.name.clone())
}
