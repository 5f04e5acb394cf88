//! Where the nodes of a run are. Two runs on one machine have different addresses, by the number of their process.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::{CLIENTS, Node};

/// How long a connection on this machine may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The port for clients, and the one for other brokers, of an address that is a broker's own.
const CLIENT_PORT: u16 = 9092;
const PEER_PORT: u16 = 9192;
const ADMIN_PORT: u16 = 9644;
/// On an address that all share a broker's number is added, and a relay's is below that of the broker it comes from.
const SHARED_PORT_STEP: u16 = 1000;

/// The addresses of a run.
#[derive(Debug, Clone)]
pub(crate) enum Addresses {
    /// One address of the loopback network for all.
    Loopback(Ipv4Addr),
    /// An address for each node, in a network of its own.
    Apart([u8; 3]),
}

impl Addresses {
    /// An address of this run alone: no other process asks the system for a port there.
    pub(crate) fn loopback() -> Self {
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        Self::Loopback(Ipv4Addr::new(127, 64 | (high & 63), middle, low))
    }

    /// A network of this run, in the range that is kept for benchmarks of networks (RFC 2544).
    pub(crate) fn apart() -> Self {
        let [_, _, middle, low] = std::process::id().to_be_bytes();
        Self::Apart([198, 18 | (middle & 1), low])
    }

    /// The address of a node.
    pub(crate) fn host(&self, node: Node) -> Ipv4Addr {
        match self {
            Self::Loopback(address) => *address,
            Self::Apart([a, b, c]) => Ipv4Addr::new(*a, *b, *c, if node == CLIENTS { 254 } else { node }),
        }
    }

    fn at(&self, node: Node, port: u16) -> String {
        let shift = match self {
            Self::Loopback(_) => u16::from(node),
            Self::Apart(_) => 0,
        };
        format!("{}:{}", self.host(node), port + shift)
    }

    /// Where clients find a broker.
    pub(crate) fn client(&self, broker: Node) -> String {
        self.at(broker, CLIENT_PORT)
    }

    /// Where a broker listens for others.
    pub(crate) fn peer(&self, broker: Node) -> String {
        self.at(broker, PEER_PORT)
    }

    /// Where the relay from a broker to another one listens.
    pub(crate) fn relay(&self, from: Node, to: Node) -> String {
        self.at(to, PEER_PORT + SHARED_PORT_STEP * u16::from(from))
    }

    /// Where a broker's admin interface listens.
    pub(crate) fn admin(&self, broker: Node) -> String {
        match self {
            Self::Loopback(_) => self.at(broker, ADMIN_PORT),
            Self::Apart(_) => format!("127.0.0.1:{ADMIN_PORT}"),
        }
    }
}

/// Connects to an address of this machine.
pub(crate) fn connect(address: &str) -> std::io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nobody_shares_an_address() {
        for addresses in [Addresses::loopback(), Addresses::apart()] {
            let mut all = BTreeSet::new();
            let mut count = 0;
            for id in 1..=9 {
                let mut of_it = vec![addresses.client(id), addresses.peer(id)];
                if matches!(addresses, Addresses::Loopback(_)) {
                    of_it.push(addresses.admin(id));
                    of_it.extend((1..=9).map(|from| addresses.relay(from, id)));
                }
                count += of_it.len();
                all.extend(of_it);
            }
            assert_eq!(all.len(), count, "{addresses:?}");
        }
    }
}
