//! The configuration a process starts with: TOML file, environment, flags, in this order, each over the one before.
//!
//! Which keys there are, their types and defaults is one table, in the metadata crate. A key or value that the table
//! refuses is named with the place where it stands.

mod cluster_file;
mod environment;
mod file;
mod layers;
mod listeners;
mod members;
mod place;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use millrace_metadata::config::BrokerConfig;

use crate::error::StartError;
use crate::net::address::ListenerAddress;
use layers::Values;

pub use listeners::Advertised;
pub use members::{Member, MemberRole, Members, PeerAddress};

/// Arbiters that are started when the configuration leaves it to the broker. More cores than two are shared with
/// storage threads, the admin interface and the kernel's network work.
const fn default_arbiters(cores: usize) -> usize {
    match cores {
        0..=2 => cores,
        3..=15 => cores - 1,
        16..=47 => cores - 2,
        _ => cores - 4,
    }
}

/// What flags say; everything else comes from the file and the environment.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`: the file.
    pub config: Option<PathBuf>,
    /// Keys that have a flag of their own, and those of `--set`: the flag, the key and the value.
    pub values: Vec<(&'static str, String, String)>,
}

/// The configuration of a broker's process, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every key that is set.
    pub broker: BrokerConfig,
    /// The addresses to bind.
    pub listeners: Vec<ListenerAddress>,
    /// What clients are told to connect to.
    pub advertised: Advertised,
    /// Address of the HTTP interface; `None` for none.
    pub admin: Option<SocketAddr>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Threads that serve connections and partitions.
    pub arbiters: usize,
    /// The brokers of the cluster; `None` for a broker that is alone.
    pub members: Option<Members>,
}

impl Config {
    /// Loads the configuration from its three sources; `environment` is that of the process.
    ///
    /// # Errors
    /// Names the first key, value or file that cannot be used.
    pub fn load(flags: &Flags, environment: impl Iterator<Item = (String, String)>) -> Result<Self, StartError> {
        let mut values = Values::default();
        if let Some(path) = &flags.config {
            file::read(path, &mut values)?;
        }
        environment::read(environment, &mut values)?;
        for (flag, key, value) in &flags.values {
            values.set(key, value, format!("flag {flag}"))?;
        }
        Self::new(values.check()?)
    }

    fn new(broker: BrokerConfig) -> Result<Self, StartError> {
        let listeners = listeners::bound(&broker)?;
        listeners::check_protocols(&broker, &listeners)?;
        let advertised = Advertised::new(&broker, &listeners)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let arbiters = match usize::try_from(broker.number("num.network.threads")) {
            Ok(0) | Err(_) => default_arbiters(cores).max(1),
            Ok(threads) => threads,
        };
        Ok(Self {
            admin: admin(&broker)?,
            data_dir: Path::new(&broker.value("log.dir").unwrap_or_default()).to_owned(),
            arbiters,
            members: members::of(&broker)?,
            listeners,
            advertised,
            broker,
        })
    }
}

/// The admin interface's address, which must not be reachable from other machines.
fn admin(broker: &BrokerConfig) -> Result<Option<SocketAddr>, StartError> {
    let text = broker.value("admin.listener").unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.strip_prefix("http://").unwrap_or(&text);
    let addresses = text.to_socket_addrs().map_err(|source| StartError::Bind { address: text.to_owned(), source })?;
    let addresses: Vec<_> = addresses.collect();
    if let Some(outside) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        return Err(StartError::AdminNotLoopback(*outside));
    }
    Ok(addresses.first().copied())
}

#[cfg(test)]
mod tests;
