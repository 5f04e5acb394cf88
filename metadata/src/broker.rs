//! A registered broker and the endpoints its clients reach it by.

use millrace_types::{BrokerId, DirectoryId, Incarnation};
use serde::{Deserialize, Serialize};

/// What is placed on a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BrokerRole {
    /// Replicas of partitions.
    #[default]
    Data,
    /// Witnesses alone: voters of partitions that hold no records.
    Witness,
}

/// A broker of the cluster, as it registered itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Broker {
    /// Its number.
    pub id: BrokerId,
    /// Where it stands, as replica placement sees it (`broker.rack`).
    pub rack: Option<String>,
    /// Advertised addresses, one per listener name.
    pub endpoints: Vec<Endpoint>,
    /// Its data directory.
    pub directory: DirectoryId,
    /// Number of its process start; it grows with each registration of the same directory.
    pub incarnation: Incarnation,
    /// What is placed on it. A broker that registers with another role keeps what it has.
    #[serde(default, skip_serializing_if = "is_data")]
    pub role: BrokerRole,
}

fn is_data(role: &BrokerRole) -> bool {
    *role == BrokerRole::Data
}

impl Broker {
    /// Whether replicas with records are placed on it.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        is_data(&self.role)
    }

    /// The address advertised for `listener`; `None` when the broker has no such listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}

/// One advertised address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Name of the listener, for example `PLAINTEXT`.
    pub listener: String,
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}
