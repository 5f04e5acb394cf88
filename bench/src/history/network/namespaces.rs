//! A network namespace for each broker, with one cable each to a switch in this process.
//!
//! A cable is a pair of virtual Ethernet devices. The end that stays outside is read and written as a file, through a tap device upon it. Neighbours
//! are written down, so that no way depends on the way back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::frames::{Switch, hardware};
use super::{Addresses, CLIENTS, Node, Ways, addresses};
use crate::error::BenchError;

/// What names of namespaces and devices begin with; the number of the process follows.
const PREFIX: &str = "mrh";
const MTU: &str = "9000";

/// The namespaces of a run. They go with the value.
#[derive(Debug)]
pub(super) struct Namespaces {
    switch: Option<Switch>,
    names: Names,
    brokers: Node,
}

/// Names of what a process makes.
#[derive(Debug, Clone, Copy)]
struct Names(u32);

impl Names {
    fn namespace(self, node: Node) -> String {
        format!("{PREFIX}{}n{node}", self.0)
    }

    /// The end of a cable at the node.
    fn near(self, node: Node) -> String {
        format!("{PREFIX}{}a{node}", self.0)
    }

    /// The end at the switch.
    fn far(self, node: Node) -> String {
        format!("{PREFIX}{}b{node}", self.0)
    }

    /// The device by which the switch reads it.
    fn tap(self, node: Node) -> String {
        format!("{PREFIX}{}t{node}", self.0)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.switch = None;
        for node in CLIENTS..=self.brokers {
            // What was not made cannot be removed. A namespace takes its end of a cable along, and that the other end.
            let _absent = ip(&["link", "del", &self.names.far(node)]);
            if node != CLIENTS {
                let _absent = ip(&["netns", "del", &self.names.namespace(node)]);
            }
        }
    }
}

impl Namespaces {
    /// Namespaces for brokers 1 to `brokers`, and a cable for the clients.
    ///
    /// # Errors
    /// The system does not let this process make them.
    pub(super) fn make(addresses: &Addresses, brokers: Node, ways: &Arc<Ways>, seed: u64) -> Result<Self, BenchError> {
        remove_left_behind();
        let mut made = Self { switch: None, names: Names(std::process::id()), brokers };
        let mut ends = BTreeMap::new();
        for node in CLIENTS..=brokers {
            ends.insert(node, made.cable(node, addresses).map_err(failed)?);
        }
        made.switch = Some(Switch::start(ends, ways, seed));
        Ok(made)
    }

    /// Makes a node's namespace and cable; the end at the switch.
    fn cable(&self, node: Node, addresses: &Addresses) -> io::Result<File> {
        let names = self.names;
        let (near, far, tap) = (names.near(node), names.far(node), names.tap(node));
        let space = names.namespace(node);
        ip(&["link", "add", &far, "mtu", MTU, "type", "veth", "peer", "name", &near])?;
        ip(&["link", "set", &near, "address", &hardware(node), "mtu", MTU])?;
        let mut inside = Vec::new();
        if node != CLIENTS {
            ip(&["netns", "add", &space])?;
            ip(&["link", "set", &near, "netns", &space])?;
            inside.extend(["-n", space.as_str()]);
            ip(&[inside.as_slice(), &["link", "set", "lo", "up"]].concat())?;
        }
        let address = format!("{}/24", addresses.host(node));
        ip(&[inside.as_slice(), &["addr", "add", &address, "dev", &near]].concat())?;
        ip(&[inside.as_slice(), &["link", "set", &near, "up"]].concat())?;
        for other in (CLIENTS..=self.brokers).filter(|other| *other != node) {
            let (host, hardware) = (addresses.host(other).to_string(), hardware(other));
            let neighbour = ["neigh", "replace", &host, "lladdr", &hardware, "dev", &near, "nud", "permanent"];
            ip(&[inside.as_slice(), &neighbour].concat())?;
        }
        ip(&["link", "set", &far, "up"])?;
        ip(&["link", "add", "link", &far, "name", &tap, "mtu", MTU, "type", "macvtap", "mode", "passthru"])?;
        ip(&["link", "set", &tap, "up"])?;
        let number = std::fs::read_to_string(format!("/sys/class/net/{tap}/ifindex"))?;
        File::options().read(true).write(true).open(format!("/dev/tap{}", number.trim()))
    }

    /// A command that runs `program` in a broker's namespace.
    pub(super) fn command(&self, broker: Node, program: &Path) -> Command {
        let mut command = Command::new("ip");
        // `ip` becomes the program: the child's number is the broker's.
        command.args(["netns", "exec", &self.names.namespace(broker)]).arg(program);
        command
    }

    /// Connects to an address inside a broker's namespace.
    pub(super) fn connect(&self, broker: Node, address: &str) -> io::Result<TcpStream> {
        let space = File::open(Path::new("/run/netns").join(self.names.namespace(broker)))?;
        let address = address.to_owned();
        // A thread of its own, which ends in the namespace it entered; the socket stays where it was made.
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            addresses::connect(&address)
        });
        thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }
}

/// Removes what runs have left behind that were ended without a word.
fn remove_left_behind() {
    let listed = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let is_left = |name: &str| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    for name in listed("/run/netns").iter().filter(|name| is_left(name)) {
        let _gone = ip(&["netns", "del", name]);
    }
    for name in listed("/sys/class/net").iter().filter(|name| is_left(name)) {
        let _gone = ip(&["link", "del", name]);
    }
}

/// The process that made something of this name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {}: {}", arguments.join(" "), said.trim())))
}

fn failed(source: io::Error) -> BenchError {
    BenchError::Io { address: "network namespaces".to_owned(), operation: "make", source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_who_made_them_and_are_short_enough() {
        let names = Names(4_194_304);
        for name in [names.namespace(3), names.near(3), names.far(3), names.tap(3)] {
            assert_eq!(owner(&name), Some(4_194_304));
            assert!(name.len() <= 15, "{name} is no name of a device");
        }
        assert_eq!(owner("eth0"), None);
        assert_eq!(owner("mrh12"), None);
    }
}
