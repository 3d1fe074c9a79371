//! How the standalone cluster ends: in order when it is told to, whenever that is, and not because a workload is not well.
#![allow(missing_docs)]

mod support;

use support::{PATIENCE, Standalone, line_with, pause};

/// Two pods: one that runs, and one whose image nobody has.
const PODS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers: \
    [{name: c, image: kore.dev/host, command: [sleep, \"1000\"]}]\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: \
    {containers: [{name: c, image: nginx}]}\n";

/// A cluster that applies the two pods.
fn applying(arguments: &[&str]) -> (Standalone, std::sync::mpsc::Receiver<String>) {
    let mut cluster = Standalone::start(&["--nodes", "1"]);
    assert!(cluster.interrupt().success());
    let manifest = cluster.data_dir().join("pods.yaml");
    std::fs::write(&manifest, PODS).expect("written");
    let manifest = manifest.to_string_lossy().into_owned();
    let lines = cluster.start_again_with(&[&["--apply", &manifest], arguments].concat());
    (cluster, lines)
}

fn until_it_runs(cluster: &Standalone) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if cluster.workloads().len() == 1 {
            return;
        }
        pause(std::time::Duration::from_millis(20));
    }
    panic!("{:?}", cluster.workloads());
}

#[test]
fn told_to_end_while_it_waits_it_stops_workloads_first() {
    for (signal, once, succeeds) in [("-INT", false, true), ("-TERM", false, true), ("-TERM", true, false)] {
        let (mut cluster, lines) = applying(if once { &["--once"] } else { &[] });
        line_with(&lines, "pod default/bad");
        until_it_runs(&cluster);
        let status = cluster.end(signal);
        assert_eq!(status.code(), Some(i32::from(!succeeds)), "{signal}, --once: {once}");
        assert_eq!(cluster.workloads(), [], "{signal}, --once: {once}");
        line_with(&lines, "stopping");
    }
}

#[test]
fn what_does_not_become_available_does_not_end_the_cluster() {
    let (mut cluster, lines) = applying(&["--timeout", "1s"]);
    line_with(&lines, "next, with that KUBECONFIG");
    until_it_runs(&cluster);
    assert!(cluster.end("-TERM").success());
    assert_eq!(cluster.workloads(), []);
}
