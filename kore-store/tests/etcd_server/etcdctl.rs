//! etcdctl against a store: the same commands as against a real etcd, with the same answers.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use kore_store::{DurableStore, Error, EtcdServerOptions, KeyRange, Range, Store};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::real::{Etcd, Said, command, etcdctl, read};
use crate::support::{PATIENCE, Served};

/// A server on a store in a directory.
async fn durable() -> (Served, DurableStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (store, run) = DurableStore::open(dir.path(), Default::default()).await.unwrap();
    tokio::spawn(run);
    let served = Served::store(Arc::new(store.clone()), EtcdServerOptions::default()).await;
    (served, store, dir)
}

/// What is the same for every server: without addresses, ids, times and what is left of them.
fn normal(text: &str, address: SocketAddr) -> String {
    let (text, mut normal) = (text.replace(&address.to_string(), "<address>"), String::new());
    for word in text.split_inclusive(|c: char| c.is_whitespace() || ",\":()/[]{}=".contains(c)) {
        let (body, end) = match word.char_indices().last() {
            Some((at, c)) if !c.is_alphanumeric() && c != '-' && c != '.' => word.split_at(at),
            _ => (word, ""),
        };
        let is_hex = |length| body.len() >= length && body.chars().all(|c| c.is_ascii_hexdigit());
        let is_time = body.ends_with('s') && body.starts_with(|c: char| c.is_ascii_digit());
        match body {
            _ if is_hex(12) => normal.push_str("<id>"),
            _ if is_time => normal.push_str("<time>"),
            body => normal.push_str(body),
        }
        normal.push_str(end);
    }
    normal
}

/// Commands, one a line, with what is typed into them behind a `<`. `$LEASE` is the lease granted last.
const COMMANDS: &str = r#"
get none
put a 1
get a
get a --print-value-only
put a 2 --prev-kv
put a 3
put b 1
put c/1 one
put c/2 two
put c/3 three
get --prefix c/
get --prefix c/ --limit 2
get --prefix c/ --keys-only
get --prefix c/ --count-only --write-out fields
get --prefix c/ --order DESCEND
get --prefix c/ --order ASCEND --sort-by VALUE
get --prefix c/ --sort-by MODIFY --order DESCEND --limit 1
get --from-key b
get a c
get a --rev 2
get a --rev 3
get a --rev 1
get a --rev 99
get a --write-out fields
get a --write-out json
get --prefix c/ --write-out json
get a --consistency s
put a --ignore-value
put none --ignore-value
put a 4 --ignore-lease
put a x --lease 77
txn --interactive <value("a") = "4"\n\nput t success\nget a\n\nput t failure\n\n
txn --interactive <mod("none") > "0"\n\nput t success\n\nget t\ndel b --prev-kv\n\n
txn --interactive <ver("a") < "1"\ncreate("a") = "2"\n\nput t success\n\nput t failure\nput t2 failure\n\n
txn --interactive --write-out json <value("t") = "success"\n\nget t\nput u 1\nget u\n\n\n
txn --interactive <value("u") = "1"\n\nput u 2\nput u 3\n\n\n
get --prefix "" --from-key
watch a --rev 1 --timeout
del none
del b
del --prefix c/ --prev-kv
del t u
lease grant 500
lease timetolive $LEASE
put leased 1 --lease $LEASE
put leased2 1
lease timetolive $LEASE --keys
get leased
lease keep-alive $LEASE --once
lease list
put leased --ignore-lease 2
lease revoke $LEASE
lease revoke $LEASE
lease timetolive $LEASE
lease timetolive $LEASE --keys
lease keep-alive $LEASE --once
get --prefix leased
lease list
put compacted 1
put compacted 2
compaction 5
compaction 5
compaction 3
compaction 999 --physical
compaction 10 --physical
get a --rev 4
alarm list
alarm disarm
defrag
endpoint health
user list
auth enable
del --prefix ""
get --prefix ""
"#;

async fn run(address: SocketAddr, line: &str, lease: &mut String) -> Said {
    let (line, input) = line.split_once('<').unwrap_or((line, ""));
    let (line, input) = (line.replace("$LEASE", lease), input.replace("\\n", "\n"));
    let args: Vec<&str> = line.split_whitespace().map(|word| if word == "\"\"" { "" } else { word }).collect();
    let said = etcdctl(address, &args, &input).await;
    if let Some(granted) = said.out.strip_prefix("lease ").filter(|_| line.starts_with("lease grant")) {
        *lease = granted.split(' ').next().unwrap().into();
    }
    said
}

/// Where a store is not an etcd, and says so.
const DIFFERENT: [&str; 2] = ["user list", "auth enable"];

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn commands_are_answered_as_by_a_real_etcd() {
    let real = Etcd::start().await;
    let (served, _store, _dir) = durable().await;
    let (mut ours_lease, mut real_lease) = (String::new(), String::new());
    let (mut differences, mut compared) = (Vec::new(), 0);
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let ours = run(served.address, line, &mut ours_lease).await;
        if DIFFERENT.contains(&line) {
            assert!(!ours.success && ours.error.contains("not supported"), "{line}: {ours:?}");
            continue;
        }
        let expected = run(real.address, line, &mut real_lease).await;
        // What clients log about an error has its time; the last line is the error itself.
        let plain = |said: &Said, address| {
            let error = said.error.lines().last().unwrap_or_default();
            (said.success, normal(&said.out, address), normal(error.trim_start_matches("Error: "), address))
        };
        compared += 1;
        let (ours, expected) = (plain(&ours, served.address), plain(&expected, real.address));
        if ours != expected {
            differences.push(format!("{line}\n  ours: {ours:?}\n  etcd: {expected:?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
}

/// The first lines that a command says.
async fn lines(child: &mut Child, count: usize) -> Vec<String> {
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    let read = async {
        while lines.len() < count {
            lines.push(out.next_line().await.unwrap().expect("there is more to come"));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("not {count} lines"));
    child.stdout = Some(out.into_inner().into_inner());
    lines
}

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn watches_tell_what_a_real_etcd_tells() {
    let real = Etcd::start().await;
    let (served, _store, _dir) = durable().await;
    let watches: &[(&[&str], usize)] = &[
        (&["watch", "--prefix", "w/", "--rev", "1", "--prev-kv"], 17),
        (&["watch", "w/a", "--rev", "3"], 8),
        (&["watch", "w/a", "w/c", "--rev", "2", "--progress-notify"], 12),
        (&["watch", "w/", "--from-key", "--rev", "2", "--write-out", "json"], 5),
    ];
    let mut told = Vec::new();
    for address in [served.address, real.address] {
        let mut running: Vec<Child> = watches.iter().map(|(args, _)| command(address, args).spawn().unwrap()).collect();
        for line in ["put w/a 1", "put w/b 1", "put w/a 2", "del w/a", "put w/a 3"] {
            assert!(run(address, line, &mut String::new()).await.success, "{line}");
        }
        for ((args, count), child) in watches.iter().zip(&mut running) {
            // How events are grouped into messages is up to the server.
            let lines = lines(child, if args.contains(&"json") { 1 } else { *count }).await;
            let lines = if args.contains(&"json") { Vec::new() } else { lines };
            told.push((args, lines));
            child.kill().await.unwrap();
        }
    }
    let real = told.split_off(watches.len());
    assert_eq!(told, real);
}

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn a_watch_goes_on_when_the_server_is_there_again() {
    let (served, store, _dir) = durable().await;
    let address = served.address;
    let mut watch = command(address, &["watch", "w", "--rev", "2"]).spawn().unwrap();
    let put = async |value: &str| assert!(etcdctl(address, &["put", "w", value], "").await.success);
    put("1").await;
    assert_eq!(lines(&mut watch, 3).await, ["PUT", "w", "1"]);
    served.stop().await;
    store.put("w".into(), "2".into()).await.unwrap();
    let _again = Served::at(address, Arc::new(store)).await;
    put("3").await;
    assert_eq!(lines(&mut watch, 6).await, ["PUT", "w", "2", "PUT", "w", "3"]);
}

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn the_server_is_looked_at_and_cared_for() {
    let (served, _store, _dir) = durable().await;
    let say = async |args: &[&str]| {
        let said = etcdctl(served.address, args, "").await;
        assert!(said.success, "{args:?}: {said:?}");
        said.out + &said.error
    };
    say(&["put", "a", "1"]).await;
    let url = format!("http://{}", served.address);
    let members = say(&["member", "list"]).await;
    assert!(members.contains(", started, default, ") && members.contains(&url), "{members}");
    let status = say(&["endpoint", "status", "--write-out", "table"]).await;
    assert!(status.contains(kore_store::EtcdServer::VERSION) && status.contains("true"), "{status}");
    let status = say(&["endpoint", "status", "--cluster", "--write-out", "json"]).await;
    assert!(status.contains("\"revision\":2"), "{status}");
    assert!(say(&["endpoint", "health", "--cluster"]).await.contains("is healthy"));
    let hash = say(&["endpoint", "hashkv"]).await;
    assert!(hash.trim_end().rsplit(", ").next().unwrap().parse::<u32>().is_ok(), "{hash}");
    let refused = etcdctl(served.address, &["member", "add", "b", "--peer-urls", "http://b:1"], "").await;
    assert!(!refused.success && refused.error.contains("has one member"), "{refused:?}");
    let moved = etcdctl(served.address, &["move-leader", "1"], "").await;
    assert!(!moved.success, "{moved:?}");
}

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn the_recipes_for_locks_and_elections_work() {
    let (served, _store, _dir) = durable().await;
    let locked = etcdctl(served.address, &["lock", "l", "echo", "mine"], "").await;
    assert_eq!((locked.success, &locked.out[..]), (true, "mine\n"), "{locked:?}");
    // One holds the lock, and another one waits until it is let go.
    let mut holder = command(served.address, &["lock", "l"]).spawn().unwrap();
    let key = lines(&mut holder, 1).await;
    assert!(key[0].starts_with("l/"), "{key:?}");
    let mut waiting = command(served.address, &["lock", "l", "echo", "next"]).spawn().unwrap();
    let keys = async || etcdctl(served.address, &["get", "--prefix", "l/", "--keys-only"], "").await.out;
    while keys().await.matches("l/").count() < 2 {}
    assert!(waiting.try_wait().unwrap().is_none());
    interrupt(&holder);
    assert_eq!(lines(&mut waiting, 1).await, ["next"]);
    holder.wait().await.unwrap();
    assert!(waiting.wait().await.unwrap().success());

    let mut leader = command(served.address, &["elect", "e", "ada"]).spawn().unwrap();
    let elected = lines(&mut leader, 2).await;
    assert!(elected[0].starts_with("e/") && elected[1] == "ada", "{elected:?}");
    let mut observer = command(served.address, &["elect", "-l", "e"]).stdin(Stdio::null()).spawn().unwrap();
    assert_eq!(lines(&mut observer, 2).await, elected);
    interrupt(&leader);
    assert!(leader.wait().await.unwrap().success());
    observer.kill().await.unwrap();
    assert_eq!(etcdctl(served.address, &["get", "--prefix", "e/"], "").await.out, "");
}

fn interrupt(child: &Child) {
    let pid = child.id().unwrap().cast_signed();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn a_snapshot_is_saved_and_restored() {
    let (served, store, dir) = durable().await;
    for key in 0..100 {
        store.put(format!("k{key}").into(), vec![b'x'; 1000].into()).await.unwrap();
    }
    let file = dir.path().join("snapshot.db");
    let saved = etcdctl(served.address, &["snapshot", "save", file.to_str().unwrap()], "").await;
    assert!(saved.success && saved.out.contains("Snapshot saved"), "{saved:?}");
    let file = read(&file);
    assert_eq!(file.len() % 512, 32);
    let chunks = file.chunks(10_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>();
    let again = dir.path().join("again");
    assert_eq!(DurableStore::restore(&again, futures::stream::iter(chunks)).await.unwrap(), 101);
    let (again, run) = loop {
        match DurableStore::open(&again, Default::default()).await {
            // A process that another test is starting holds this one's files, and with them the lock, for a moment.
            Err(Error::InUse { .. }) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    tokio::spawn(run);
    let all = Range::new(KeyRange::all());
    assert_eq!(again.range(all.clone()).await.unwrap(), store.range(all).await.unwrap());
}

#[tokio::test]
#[ignore = "needs etcdctl"]
async fn etcdctl_finds_the_server_fast_enough() {
    let (served, _store, _dir) = durable().await;
    let checked = etcdctl(served.address, &["check", "perf", "--load", "s"], "").await;
    assert!(checked.success && checked.out.contains("PASS: Throughput"), "{checked:?}");
}
