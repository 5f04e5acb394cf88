//! Why a broker does not start, or stops on its own.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use millrace_metadata::ReplayError;
use millrace_metadata::config::BrokerConfigErrors;
use millrace_storage::{DataDirError, DiskError, JournalError, QStateError};
use millrace_types::BrokerId;
use thiserror::Error;

use crate::net::address::AddressError;

/// Why a broker does not start, or stops on its own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The configuration file is no TOML, or holds what no key can have.
    #[error("{place}: {reason}")]
    ConfigSyntax {
        /// File, line and column.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The file that names the brokers of the cluster cannot be read.
    #[error("`cluster.file`: cannot read {}", path.display())]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The data directory is of another cluster than the file that names the brokers.
    #[error(
        "data directory {}: it belongs to cluster {found}, but `cluster.file` is of cluster {expected}: another \
         directory is needed, or another file", path.display()
    )]
    WrongCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster it belongs to.
        found: String,
        /// The cluster of the file.
        expected: String,
    },
    /// The data directory is of a broker among others, and nothing says where these are.
    #[error(
        "data directory {}: its metadata are decided by broker(s) {}, and this is broker {me} without a cluster file: \
         start it with --cluster-file FILE and the --broker-id it had", path.display(), list(.deciders)
    )]
    NoClusterFile {
        /// The directory.
        path: PathBuf,
        /// The broker that was to start.
        me: BrokerId,
        /// Who decides.
        deciders: Vec<BrokerId>,
    },
    /// A key does not exist.
    #[error("{place}: there is no configuration key `{key}`{}", hint(.similar.as_deref()))]
    UnknownKey {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// A key that looks like it.
        similar: Option<String>,
    },
    /// A value is refused by its key.
    #[error("{place}: {source}")]
    InvalidValue {
        /// Where it stands.
        place: String,
        /// What is wrong.
        source: BrokerConfigErrors,
    },
    /// An address cannot be read.
    #[error("`{key}`: {source}")]
    Address {
        /// The key.
        key: &'static str,
        /// What is wrong.
        source: AddressError,
    },
    /// Settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// The admin interface has no authentication and must not be reachable from elsewhere.
    #[error(
        "`admin.listener` is {0}: the admin interface has no authentication yet, so it listens on loopback addresses \
         only (127.0.0.1 or [::1]); put a proxy that authenticates in front of it to reach it from elsewhere"
    )]
    AdminNotLoopback(SocketAddr),
    /// An address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("data directory {}: {source}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: DataDirError,
    },
    /// The write-ahead store cannot be opened.
    #[error("the write-ahead store: {0}")]
    QState(#[from] QStateError),
    /// The metadata journal cannot be opened.
    #[error("the metadata journal: {0}")]
    Journal(#[from] JournalError),
    /// The metadata journal cannot be replayed.
    #[error("the metadata journal: {0}")]
    Replay(#[from] ReplayError),
    /// A disk operation failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The metrics recorder cannot be installed.
    #[error("metrics: {0}")]
    Metrics(String),
    /// Signals cannot be handled.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// Log lines cannot be written as asked for.
    #[error("`log.level`: {0}")]
    LogFilter(String),
}

fn list(brokers: &[BrokerId]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn hint(similar: Option<&str>) -> String {
    similar.map(|similar| format!(" (did you mean `{similar}`?)")).unwrap_or_default()
}

/// An error and its causes in one line, each cause that says something of its own.
#[must_use]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}
