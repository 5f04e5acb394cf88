//! `millrace serve`: run a broker.

use std::path::PathBuf;

use clap::Args;

use super::CliResult;
use crate::config::{Config, Flags};

/// Flags of `serve`. Each stands over the environment (`MILLRACE_NUM_PARTITIONS` for `num.partitions`), which stands
/// over the file.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Address to listen on, as host:port or NAME://host:port; port 0 takes any that is free. May be repeated
    /// [default: 127.0.0.1:9092].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Address that clients are told to connect to, one per listener name [default: the bound address].
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Vec<String>,
    /// Address of the HTTP admin interface, loopback only; empty for none [default: 127.0.0.1:9644].
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Where the data is kept [default: ./millrace-data].
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// The broker's number in its cluster [default: 1].
    #[arg(long, value_name = "NUMBER")]
    pub broker_id: Option<String>,
    /// A TOML file that names the brokers of the cluster; without it the broker is alone.
    #[arg(long, value_name = "FILE")]
    pub cluster_file: Option<String>,
    /// Address that other brokers reach this one at, as host:port [default: as in the cluster file].
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Option<String>,
    /// A TOML file with configuration keys.
    #[arg(long, value_name = "FILE", env = "MILLRACE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Any configuration key, as num.partitions=3. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ServeArgs {
    fn flags(&self) -> Result<Flags, String> {
        let mut values = Vec::new();
        let lists = [("--listen", "listeners", &self.listen), ("--advertise", "advertised.listeners", &self.advertise)];
        for (flag, key, list) in lists {
            if !list.is_empty() {
                values.push((flag, key.to_owned(), list.join(",")));
            }
        }
        let single = [
            ("--admin", "admin.listener", &self.admin),
            ("--data-dir", "log.dir", &self.data_dir),
            ("--broker-id", "node.id", &self.broker_id),
            ("--cluster-file", "cluster.file", &self.cluster_file),
            ("--peer", "peer.listener", &self.peer),
        ];
        for (flag, key, value) in single {
            if let Some(value) = value {
                values.push((flag, key.to_owned(), value.clone()));
            }
        }
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("flag --set: `{pair}` is not KEY=VALUE"))?;
            values.push(("--set", key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Flags { config: self.config.clone(), values })
    }
}

/// Runs a broker until a signal ends it.
///
/// # Errors
/// When the configuration is refused or the broker cannot start.
pub(super) fn run(args: &ServeArgs) -> CliResult {
    let config = Config::load(&args.flags()?, std::env::vars())?;
    crate::serve::run(config)?;
    Ok(())
}
