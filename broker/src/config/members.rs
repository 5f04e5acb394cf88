//! Who the brokers of the cluster are, and where they are reached.
//!
//! This is what the rest of the broker knows of membership: today it is read from a file at the start, and whoever
//! finds brokers by other means makes the same value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use millrace_metadata::BrokerRole;
use millrace_metadata::config::BrokerConfig;
use millrace_types::BrokerId;

use super::cluster_file;
use crate::error::StartError;
use crate::net::address::{AddressError, ListenerAddress};

/// An address that brokers reach each other at, as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress(ListenerAddress);

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains("://") {
            return Err(AddressError::Named(text.to_owned()));
        }
        text.parse().map(Self)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split_once("://").map_or(text.as_str(), |(_, address)| address))
    }
}

impl PeerAddress {
    /// Host name or address; empty for every interface.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port
    }

    /// Whether it stands for every interface of a machine: something to bind, and nothing to dial.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.host.is_empty() || self.0.is_wildcard()
    }

    pub(crate) fn listener(&self) -> &ListenerAddress {
        &self.0
    }
}

/// What a broker holds of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRole {
    /// Their logs.
    Broker,
    /// Epochs and offsets only: it votes, and holds no record.
    Witness,
}

impl MemberRole {
    /// The same as the metadata log takes it.
    #[must_use]
    pub const fn of_log(self) -> BrokerRole {
        match self {
            Self::Broker => BrokerRole::Data,
            Self::Witness => BrokerRole::Witness,
        }
    }
}

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where other brokers reach it.
    pub peer: PeerAddress,
    /// Where it stands.
    pub rack: Option<String>,
    /// What it holds.
    pub role: MemberRole,
}

/// The brokers of a cluster, as one of them sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// Id of the cluster.
    pub cluster_id: String,
    /// Every broker, this one included.
    pub brokers: BTreeMap<BrokerId, Member>,
    /// The address that this broker binds.
    pub bind: PeerAddress,
}

impl Members {
    /// The same as the metadata log takes them.
    #[must_use]
    pub fn of_log(&self) -> millrace_metadata::log::Members {
        let member = |member: &Member| millrace_metadata::log::Member {
            host: member.peer.host().to_owned(),
            port: member.peer.port(),
        };
        millrace_metadata::log::Members::new(self.brokers.iter().map(|(id, one)| (*id, member(one))).collect())
    }

    /// The address of a broker.
    #[must_use]
    pub fn address(&self, broker: BrokerId) -> Option<&PeerAddress> {
        self.brokers.get(&broker).map(|member| &member.peer)
    }
}

/// The members that the configuration names; `None` when it names none.
pub(super) fn of(config: &BrokerConfig) -> Result<Option<Members>, StartError> {
    let bind = config
        .value("peer.listener")
        .map(|text| text.parse::<PeerAddress>().map_err(|source| StartError::Address { key: "peer.listener", source }));
    let bind = bind.transpose()?;
    let Some(file) = config.value("cluster.file") else {
        return match bind {
            Some(_) => Err(StartError::Contradiction(
                "`peer.listener` is set and `cluster.file` is not: a broker that is alone has no peers".to_owned(),
            )),
            None => Ok(None),
        };
    };
    let me = BrokerId(i32::try_from(config.number("node.id")).unwrap_or(i32::MAX));
    let file = cluster_file::read(Path::new(&file))?;
    file.members(me, bind, config.value("broker.rack").as_deref()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_address_has_no_name() {
        let address: PeerAddress = "[::1]:9192".parse().expect("valid");
        assert_eq!((address.host(), address.port(), address.to_string().as_str()), ("::1", 9192, "[::1]:9192"));
        assert!(!address.is_wildcard());
        assert!(
            ["[::]:1", "0.0.0.0:1", ":1"].iter().all(|text| text.parse::<PeerAddress>().expect("valid").is_wildcard())
        );
        let error = "PLAINTEXT://127.0.0.1:9192".parse::<PeerAddress>().expect_err("named");
        assert!(error.to_string().contains("write host:port"), "{error}");
    }
}
