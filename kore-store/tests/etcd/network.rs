//! A network of its own: a bridge in one namespace, each member behind it in another. Nothing of it is seen outside.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespaces. Deleted when it is dropped, also when a test fails.
pub(crate) struct Network {
    name: String,
    members: usize,
}

fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need `{program}`: {error}"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Network {
    /// A bridge and so many members. This thread moves in beside the bridge: whatever it opens from now on is there.
    pub(crate) fn enter(members: usize) -> Network {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("kore{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let network = Network { name, members };
        let hub = network.hub();
        run("ip", &format!("netns add {hub}"));
        run("ip", &format!("-n {hub} link set lo up"));
        run("ip", &format!("-n {hub} link add bridge type bridge forward_delay 0"));
        run("ip", &format!("-n {hub} addr add 10.77.0.254/24 dev bridge"));
        run("ip", &format!("-n {hub} link set bridge up"));
        for number in 0..members {
            let member = network.member(number);
            run("ip", &format!("netns add {member}"));
            run("ip", &format!("-n {member} link set lo up"));
            run("ip", &format!("-n {hub} link add port{number} type veth peer name eth0 netns {member}"));
            run("ip", &format!("-n {hub} link set port{number} master bridge up"));
            run("ip", &format!("-n {member} addr add {}/24 dev eth0", Network::address(number)));
            run("ip", &format!("-n {member} link set eth0 up"));
        }
        let space = File::open(format!("/run/netns/{hub}")).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        network
    }

    fn hub(&self) -> String {
        format!("{}h", self.name)
    }

    /// The namespace of a member.
    pub(crate) fn member(&self, number: usize) -> String {
        format!("{}m{number}", self.name)
    }

    pub(crate) fn address(number: usize) -> String {
        format!("10.77.0.{}", number + 1)
    }

    /// Cuts a member off from everybody.
    pub(crate) fn cut(&self, number: usize) {
        run("ip", &format!("-n {} link set port{number} down", self.hub()));
    }

    /// Joins it again.
    pub(crate) fn join(&self, number: usize) {
        run("ip", &format!("-n {} link set port{number} up", self.hub()));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (0..self.members).map(|number| self.member(number)).chain([self.hub()]) {
            // What was not made is not there.
            drop(Command::new("ip").args(["netns", "del", &name]).output());
        }
    }
}
