//! Finding and killing all processes of a container: by descent while its shim lives, by their mark at the end.

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::disk::MARK;

/// Kills every process that descends from `ancestor`, but not `ancestor`.
pub(crate) fn kill_descendants_of(ancestor: Pid) {
    let parents: Vec<(i32, i32)> = pids().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![ancestor.as_raw_nonzero().get()];
    let mut next = 0;
    while next < family.len() {
        let member = family[next];
        family.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| *pid));
        next += 1;
    }
    family[1..].iter().for_each(|&pid| kill(pid));
}

/// Kills every process that carries the mark of the container in `dir`: what commands executed in it left behind, and, when its shim is
/// dead, the descendants that did not die with it.
pub(crate) fn kill_marked(dir: &Path) {
    let mark = [MARK.as_bytes(), b"=", dir.as_os_str().as_bytes()].concat();
    for pid in pids() {
        let environment = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).unwrap_or_default();
        if environment.split(|&byte| byte == 0).any(|variable| variable == mark) {
            kill(pid);
        }
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fourth field of `/proc/PID/stat`; the second is a name that may hold anything, in parentheses.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
