//! The extension points that no default plugin uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use kore_sched::testing::{Cluster, node, pod};
use kore_sched::{
    Candidates, Command, Ctx, Depends, Engine, Event, Filter, NodeRef, Permission, Permit, Plugin, PodKey, PostFilter,
    PreFilter, PreScore, Profile, ProfileError, Recourse, Refusal, Rejection, Reserve, Score, Scoring, Time, Verdict,
};

fn key(name: &str) -> PodKey {
    PodKey::new("default", name)
}

/// Licences: reserved while a pod is promised to a node; pods labelled `wait` or `deny` meet a permit that does so.
struct Licences {
    left: Arc<AtomicI64>,
    depends: Depends,
}

impl Plugin for Licences {
    type State = Option<String>;

    fn name(&self) -> &'static str {
        "Licences"
    }

    fn depends(&self) -> Depends {
        self.depends
    }
}

impl PreFilter for Licences {
    fn pre_filter(&self, ctx: &Ctx<'_>, state: &mut Option<String>) -> Result<Candidates, Rejection> {
        *state = Some(ctx.pod().class().namespace.clone());
        Ok(Candidates::All)
    }
}

impl Reserve for Licences {
    fn reserve(&self, ctx: &Ctx<'_>, state: &mut Option<String>, node: NodeRef<'_>) -> Verdict {
        assert_eq!(state.as_deref(), Some("default"), "what PreFilter left");
        assert!(node.pods().any(|pod| pod.key() == ctx.pod().key()), "the node counts the pod");
        self.left.fetch_sub(1, Relaxed);
        match self.left.load(Relaxed) {
            0.. => Ok(()),
            _ => Err(Rejection::unschedulable("no licence left")),
        }
    }

    fn unreserve(&self, _: &mut Option<String>, _: &str) {
        self.left.fetch_add(1, Relaxed);
    }
}

impl Permit for Licences {
    fn permit(&self, ctx: &Ctx<'_>, _: &mut Option<String>, _: NodeRef<'_>) -> Permission {
        match ctx.pod().class().labels.get("permit").map(String::as_str) {
            Some("wait") => Permission::Wait { at_most: Duration::from_secs(30) },
            Some("deny") => Permission::Deny(Rejection::unschedulable("denied")),
            _ => Permission::Allow,
        }
    }
}

fn licensed(count: i64, depends: Depends) -> (Cluster, Arc<AtomicI64>) {
    let left = Arc::new(AtomicI64::new(count));
    let plugin = Licences { left: left.clone(), depends };
    let profile = Profile::default().plugin(plugin, |at| at.pre_filter().reserve().permit());
    (Cluster::with(profile.unwrap()).node(node("n")), left)
}

fn run(engine: &mut Engine, now: u64) -> Vec<String> {
    let mut done = Vec::new();
    while engine.step(Duration::from_secs(now)) {}
    for command in engine.commands() {
        done.push(match command {
            Command::Bind(bind) => format!("bind {}", bind.pod().key().name),
            Command::Report(report) => format!("{} {}", report.reason, report.message),
            other => format!("{other:?}"),
        });
    }
    done
}

#[test]
fn what_is_reserved_is_given_back() {
    // With remembered answers and without.
    for depends in [Depends::Node, Depends::Everything] {
        let (cluster, left) = licensed(1, depends);
        let mut engine = cluster.pod(pod("a")).pod(pod("b")).engine();
        assert_eq!(run(&mut engine, 0), ["bind a", "Unschedulable no licence left"]);
        assert_eq!(left.load(Relaxed), 0, "a has it");
        engine.handle(Event::PodGone(key("a")), Time::ZERO);
        assert_eq!(left.load(Relaxed), 0, "a is still being bound");
        assert_eq!(engine.nodes().column("pods").unwrap().used(), [0]);
    }
}

#[test]
fn a_permit_may_deny() {
    let (cluster, left) = licensed(5, Depends::Node);
    let mut engine = cluster.pod(pod("p").label("permit", "deny")).engine();
    assert_eq!(run(&mut engine, 0), ["Unschedulable denied"]);
    assert_eq!(left.load(Relaxed), 5);
    assert_eq!(engine.node_of(&key("p")), None);
}

#[test]
fn a_permit_may_wait_for_allowance_refusal_or_its_time() {
    let waiting = || {
        let (cluster, left) = licensed(5, Depends::Node);
        let mut engine = cluster.pod(pod("p").label("permit", "wait")).engine();
        assert!(run(&mut engine, 0).is_empty());
        assert_eq!(engine.node_of(&key("p")).map(|node| &**node), Some("n"), "it keeps its place");
        assert_eq!(engine.due(), Some(Duration::from_secs(30)));
        (engine, left)
    };

    let (mut engine, left) = waiting();
    engine.handle(Event::Allowed { pod: key("p"), plugin: "Other".into() }, Time::ZERO);
    assert!(run(&mut engine, 1).is_empty(), "not that plugin's to allow");
    engine.handle(Event::Allowed { pod: key("p"), plugin: "Licences".into() }, Time::ZERO);
    assert_eq!(run(&mut engine, 1), ["bind p"]);
    assert_eq!((left.load(Relaxed), engine.due()), (4, None));

    let (mut engine, left) = waiting();
    let plugin = "Licences".to_owned();
    engine.handle(Event::Denied { pod: key("p"), plugin, reason: "not today".into() }, Time::ZERO);
    assert_eq!(run(&mut engine, 0), ["Unschedulable not today"]);
    assert_eq!((left.load(Relaxed), engine.node_of(&key("p"))), (5, None));

    let (mut engine, left) = waiting();
    assert!(run(&mut engine, 29).is_empty());
    assert_eq!(run(&mut engine, 30), ["Unschedulable timed out while waiting for a permit"]);
    assert_eq!(left.load(Relaxed), 5);

    let (mut engine, left) = waiting();
    engine.handle(Event::PodGone(key("p")), Time::ZERO);
    assert_eq!((left.load(Relaxed), engine.due()), (5, None));
    assert!(run(&mut engine, 60).is_empty());
}

/// Evicts everything from the first node.
struct Bully;

impl Plugin for Bully {
    type State = ();

    fn name(&self) -> &'static str {
        "Bully"
    }
}

impl PostFilter for Bully {
    fn post_filter(&self, ctx: &Ctx<'_>, _: &mut (), refusals: &[Refusal]) -> Recourse {
        match refusals.first() {
            Some(refusal) if ctx.pod().priority() > 0 => Recourse::Evict {
                node: refusal.node,
                victims: ctx.node(refusal.node).pods().map(|pod| pod.key().clone()).collect(),
            },
            _ => Recourse::None { message: "preemption: not for the unimportant.".into() },
        }
    }
}

#[test]
fn post_filter_evicts_or_says_why_not() {
    let profile = Profile::default().plugin(Bully, |at| at.post_filter()).unwrap();
    let cluster = Cluster::with(profile).node(node("n")).pod(pod("there").cpu("4").on("n"));
    let mut engine = cluster.pod(pod("meek").cpu("1")).pod(pod("mighty").cpu("1").priority(1)).engine();
    let done = run(&mut engine, 0);
    assert_eq!(done[0], "Unschedulable 0/1 nodes are available: 1 Insufficient cpu.");
    assert!(done[1].contains("victims: [default/there]"), "{}", done[1]);
    let told = "Unschedulable 0/1 nodes are available: 1 Insufficient cpu. preemption: not for the unimportant.";
    assert_eq!(done[2], told);
    engine.handle(Event::PodGone(key("there")), Time::ZERO);
    assert_eq!(run(&mut engine, 0), ["bind mighty", "bind meek"]);
}

/// Panics, or answers badly, as the pod's label says.
struct Broken;

impl Plugin for Broken {
    type State = ();

    fn name(&self) -> &'static str {
        "Broken"
    }

    fn depends(&self) -> Depends {
        Depends::Node
    }
}

impl Broken {
    fn is(ctx: &Ctx<'_>, at: &str) -> bool {
        ctx.pod().class().labels.get("broken").is_some_and(|label| label == at)
    }
}

impl Filter for Broken {
    fn filter(&self, ctx: &Ctx<'_>, _: &(), node: NodeRef<'_>) -> Verdict {
        assert!(!Broken::is(ctx, "filter"), "oops at {}", node.name());
        match Broken::is(ctx, "error") {
            true => Err(Rejection::error("cannot tell")),
            false => Ok(()),
        }
    }
}

impl PreScore for Broken {
    fn pre_score(&self, ctx: &Ctx<'_>, _: &mut (), _: &[kore_sched::NodeIndex]) -> Scoring {
        if Broken::is(ctx, "score") { Scoring::Score } else { Scoring::Skip }
    }
}

impl Score for Broken {
    fn score(&self, _: &Ctx<'_>, _: &(), _: NodeRef<'_>) -> i64 {
        101
    }
}

impl Permit for Broken {
    fn permit(&self, ctx: &Ctx<'_>, _: &mut (), _: NodeRef<'_>) -> Permission {
        assert!(!Broken::is(ctx, "permit"), "no permit");
        Permission::Allow
    }
}

#[test]
fn a_broken_plugin_fails_its_pod_and_nobody_else() {
    let profile = || Profile::default().plugin(Broken, |at| at.filter().pre_score().score(1).permit()).unwrap();
    for (broken, message) in [
        ("filter", "plugin \"Broken\" panicked: oops at n"),
        ("permit", "plugin \"Broken\" panicked: no permit"),
        ("error", "running Filter plugin \"Broken\": cannot tell"),
        ("score", "plugin \"Broken\" returned the score 101, which is not in 0 to 100"),
    ] {
        let cluster = Cluster::with(profile()).node(node("n")).node(node("m"));
        let mut engine = cluster.pod(pod("p").label("broken", broken)).pod(pod("fine")).engine();
        let done = run(&mut engine, 0);
        assert_eq!(done, [format!("SchedulerError {message}"), "bind fine".to_owned()], "{broken}");
        let used: i64 = engine.nodes().column("pods").unwrap().used().iter().sum();
        assert_eq!(used, 1, "{broken}");
        assert_eq!(run(&mut engine, 1), [format!("SchedulerError {message}")], "tried again after its back-off");
    }
}

#[test]
fn profiles_are_checked() {
    let at_scores = |plugin| Profile::default().plugin(plugin, |at| at.score(1));
    assert!(matches!(at_scores(Broken).unwrap().plugin(Broken, |at| at), Err(ProfileError::Twice { .. })));
    assert!(matches!(Profile::default().without("Nothing"), Err(ProfileError::Unknown { .. })));
    assert!(matches!(Profile::default().weight("NodeName", 1), Err(ProfileError::Weight { .. })));
    assert!(matches!(Profile::default().weight("TaintToleration", 0), Err(ProfileError::Weight { .. })));
    let engine = |profiles| Engine::new(profiles, kore_sched::Limits::default(), 0).err();
    assert_eq!(engine(vec![]), Some(ProfileError::None));
    assert!(matches!(engine(vec![Profile::empty("x")]), Some(ProfileError::NotOne { .. })));
    assert!(matches!(engine(vec![Profile::default(), Profile::default()]), Some(ProfileError::SameName { .. })));
    assert_eq!(engine(vec![Profile::default(), Profile::default().named("x")]), None);
}

#[test]
fn weights_decide() {
    let schedule = |weight| {
        let profile = Profile::default().weight("TaintToleration", weight).unwrap();
        Cluster::with(profile)
            .node(node("tainted").taint("k", "v", "PreferNoSchedule"))
            .node(node("busy"))
            .pod(pod("there").cpu("3").memory("16Gi").on("busy"))
            .pod(pod("p").cpu("100m").memory("100Mi"))
            .schedule()
            .node_of("p")
    };
    assert_eq!(schedule(1).as_deref(), Some("busy"));
    assert_eq!(schedule(3).as_deref(), Some("busy"));
    let explain =
        Cluster::new().node(node("a")).node(node("b").cpu("8")).pod(pod("p").cpu("1")).schedule().explain("p");
    let sum = |node: &str| -> i64 {
        let names = ["TaintToleration", "NodeResourcesFit", "NodeResourcesBalancedAllocation"];
        let scores = names.iter().filter_map(|name| explain.score(node, name));
        scores.map(|score| score.weight * score.normalized).sum()
    };
    assert_eq!((explain.total("a"), explain.total("b")), (Some(sum("a")), Some(sum("b"))));
    assert_eq!(explain.best(), ["b"]);
    assert_eq!(explain.margin, Some(sum("b") - sum("a")));
}
