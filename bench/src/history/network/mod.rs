//! What lies between the brokers of a run, so that it can fail: network namespaces with a switch of our own between them where the
//! process may make them, else a relay between every two brokers.

mod addresses;
mod frames;
mod namespaces;
mod relay;
mod ways;

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::BenchError;
pub(crate) use addresses::Addresses;
use namespaces::Namespaces;
use relay::Relays;
pub(crate) use ways::{CLIENTS, Node, Way, Ways};

/// What may lie between brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Between {
    /// Namespaces where they can be made, else relays.
    Auto,
    /// A network namespace for each broker; needs root.
    Namespaces,
    /// A TCP relay for each broker and peer.
    Relays,
}

/// What lies between the brokers of this run.
#[derive(Debug)]
enum Medium {
    Namespaces(Namespaces),
    Relays {
        /// They relay as long as they are here.
        _relays: Relays,
    },
}

/// The network of a run. What was made for it goes with the value.
#[derive(Debug)]
pub(crate) struct Network {
    medium: Medium,
    /// Where everybody is.
    pub(crate) addresses: Addresses,
    /// What happens on it.
    pub(crate) ways: Arc<Ways>,
}

impl Network {
    /// A network for brokers 1 to `brokers`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// It cannot be made. [`Between::Auto`] fails only where relays fail.
    pub(crate) async fn make(between: Between, brokers: Node, seed: u64) -> Result<Self, BenchError> {
        let ways = Arc::<Ways>::default();
        if between != Between::Relays {
            let addresses = Addresses::apart();
            match Namespaces::make(&addresses, brokers, &ways, seed) {
                Ok(made) => return Ok(Self { medium: Medium::Namespaces(made), addresses, ways }),
                Err(error) if between == Between::Namespaces => return Err(error),
                Err(error) => eprintln!("no namespaces ({error}): relays instead"),
            }
        }
        let addresses = Addresses::loopback();
        let relays = Relays::make(&addresses, brokers, &ways, seed).await?;
        Ok(Self { medium: Medium::Relays { _relays: relays }, addresses, ways })
    }

    /// In words.
    pub(crate) fn name(&self) -> &'static str {
        match self.medium {
            Medium::Namespaces(_) => "a network namespace for each broker, and a switch of packets between them",
            Medium::Relays { .. } => "a relay of connections for each broker and peer",
        }
    }

    /// Whether what clients send goes over it too.
    pub(crate) fn carries_clients(&self) -> bool {
        matches!(self.medium, Medium::Namespaces(_))
    }

    /// The address at which a broker finds another one.
    pub(crate) fn peer(&self, from: Node, to: Node) -> String {
        match &self.medium {
            Medium::Relays { .. } if from != to => self.addresses.relay(from, to),
            _ => self.addresses.peer(to),
        }
    }

    /// A command that runs `program` where a broker is.
    pub(crate) fn command(&self, broker: Node, program: &std::path::Path) -> Command {
        match &self.medium {
            Medium::Namespaces(namespaces) => namespaces.command(broker, program),
            Medium::Relays { .. } => Command::new(program),
        }
    }

    /// A connection to the admin interface of a broker, which listens on a loopback address where the broker is.
    ///
    /// # Errors
    /// It does not listen.
    pub(crate) fn connect_admin(&self, broker: Node) -> std::io::Result<TcpStream> {
        let address = self.addresses.admin(broker);
        match &self.medium {
            Medium::Namespaces(namespaces) => namespaces.connect(broker, &address),
            Medium::Relays { .. } => addresses::connect(&address),
        }
    }
}
