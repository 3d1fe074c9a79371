//! The small examples, run as they are.
#![allow(missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn own_api() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for _ in 0..2 {
        let output = Command::new(env!("CARGO_BIN_EXE_own-api")).arg(dir.path()).output().expect("it starts");
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{out}{}", String::from_utf8_lossy(&output.stderr));
        assert!(out.starts_with("hall-") && out.contains(" is on, at revision "), "{out}");
    }
}

#[test]
fn in_axum() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_in-axum")).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = support::lines_of(child.stdout.take().expect("piped"));
    let line = support::line_with(&lines, "http://");
    let address = line.trim_start_matches("http://").to_owned();
    let get = |path: &str, session: &str| {
        let mut stream = TcpStream::connect(&address).expect("it accepts");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{session}\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    };
    let page = get("/", "");
    let api = get("/api/v1/namespaces/default", "Authorization: Bearer s3ss10n\r\n");
    let stranger = get("/api/v1/namespaces/default", "Authorization: Bearer guessed\r\n");
    child.kill().expect("ended");
    child.wait().expect("ended");
    assert!(page.contains("the application's own page"), "{page}");
    assert!(api.starts_with("HTTP/1.1 200") && api.contains("\"kind\":\"Namespace\""), "{api}");
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
}

#[test]
fn once_says_what_a_bare_pod_is_missing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let manifest = dir.path().join("pod.yaml");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: c, image: nginx}]}\n";
    std::fs::write(&manifest, pod).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_standalone"));
    command.arg("--data-dir").arg(dir.path().join("data")).args(["--listen", "127.0.0.1:0", "--once"]);
    let output = command.args(["--timeout", "2s", "--apply"]).arg(&manifest).output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("pod default/bad") && error.contains("image \"nginx\" not found"), "{error}");
}

/// Runs the standalone cluster with `--once`: its exit code, and all that it prints.
fn once(dir: &std::path::Path, manifest: &str) -> (Option<i32>, String) {
    let file = dir.join("manifest.yaml");
    std::fs::write(&file, manifest).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_standalone"));
    command.arg("--data-dir").arg(dir.join("data")).args(["--listen", "127.0.0.1:0", "--once", "--timeout", "20s"]);
    let output = command.arg("--apply").arg(&file).output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), printed)
}

#[test]
fn what_is_wrong_with_a_manifest_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    for (manifest, problem) in [
        (format!("{map}dato: {{}}\n"), "unknown field \"dato\""),
        (format!("{map}data: {{a: b, a: c}}\n"), "\"data.a\" stands twice"),
        ("# nothing\n".to_owned(), "there is no object in it"),
        ("apiVersion: v1\nkind: Foo\nmetadata: {name: x}\n".to_owned(), "Foo \"x\": no such kind in v1"),
    ] {
        let (code, printed) = once(dir.path(), &manifest);
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains(problem) && printed.contains("manifest.yaml"), "{printed}");
    }
}

/// A list of objects; and what is no longer in a manifest goes.
#[test]
fn applied_again_without_a_key_the_key_is_gone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pod = |variable: &str| {
        format!(
            "- apiVersion: v1\n  kind: Pod\n  metadata: {{name: say-{variable}}}\n  spec:\n    restartPolicy: Never\n    containers:\n    - \
             {{name: c, image: kore.dev/host, command: [sh, -c, 'test \"$X\" = \"{variable}\"'], env: [{{name: X, valueFrom: \
             {{configMapKeyRef: {{name: c, key: {variable}, optional: true}}}}}}]}}\n"
        )
    };
    let list = |data: &str, pod: &str| {
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}, data: {data}}}\n{pod}"
        )
    };
    let (code, printed) = once(dir.path(), &list("{a: a, b: b}", &(pod("a") + &pod("b"))));
    assert_eq!(code, Some(0), "{printed}");
    let gone = pod("b").replace("say-b", "say-nothing").replace("= \"b\"", "= \"\"");
    let (code, printed) = once(dir.path(), &list("{a: a}", &gone));
    assert_eq!(code, Some(0), "{printed}");
}

/// Three pods that all say the same are three pods.
#[test]
fn once_is_content_with_answers_that_are_alike() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: same}\nspec:\n  replicas: 3\n  selector: \
        {matchLabels: {app: same}}\n  template:\n    metadata: {labels: {app: same}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
        containers:\n      - name: c\n        image: kore.dev/hello\n        env: [{name: POD_NAME, value: one}, {name: POD_IP, \
        valueFrom: {fieldRef: {fieldPath: status.podIP}}}]\n---\napiVersion: v1\nkind: Service\nmetadata: {name: same}\nspec: \
        {selector: {app: same}, ports: [{port: 8080}]}\n";
    let (code, printed) = once(dir.path(), manifest);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("Hello from one"), "{printed}");
}
