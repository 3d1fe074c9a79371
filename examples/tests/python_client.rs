//! The official Python client, unmodified, against the standalone cluster.
#![allow(missing_docs)]

mod support;

use std::process::Command;

use support::Standalone;

#[test]
#[ignore = "needs the Python client"]
fn the_official_python_client() {
    let cluster = Standalone::start(&["--nodes", "0"]);
    let python = std::env::var_os("KORE_PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/python_client.py");
    let output = Command::new(python).arg(script).arg(cluster.kubeconfig()).output().expect("Python starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert_eq!(printed.matches("is as it should be").count(), 5, "{printed}");
}
