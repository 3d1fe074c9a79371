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
