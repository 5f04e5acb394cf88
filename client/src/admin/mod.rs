//! The administrative client: the nouns of administration, and the client on tokio.

mod client;

pub use client::Admin;

use std::collections::BTreeMap;

use crate::error::Result;
use crate::model::{Broker, PartitionDescription, TopicPartition};

/// Outcome per item of a request that names several, in the order of the request.
pub type Outcomes<K, T> = Vec<(K, Result<T>)>;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions, -1 for the broker's default (KIP-464).
    pub partitions: i32,
    /// Number of replicas, -1 for the broker's default.
    pub replication_factor: i16,
    /// Brokers per partition, in place of the two numbers above.
    pub assignment: Vec<Vec<i32>>,
    /// Configuration by Kafka's keys.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's default replication factor and configuration.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, replication_factor: -1, assignment: Vec::new(), configs: BTreeMap::new() }
    }

    /// The same topic with one configuration entry more.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }
}

/// A topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id as a UUID in text, none when the broker gives none.
    pub id: Option<String>,
    /// Whether it is the cluster's own.
    pub internal: bool,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// The cluster as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: Option<String>,
    /// The broker named as controller, -1 for none.
    pub controller: i32,
    /// The brokers, by their numbers.
    pub brokers: Vec<Broker>,
}

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic, by name.
    Topic(String),
    /// A broker, by number; none stands for the default of all brokers.
    Broker(Option<i32>),
    /// A consumer group, by its id.
    Group(String),
}

/// One configuration entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's key.
    pub name: String,
    /// Its value; none when it is sensitive or unset.
    pub value: Option<String>,
    /// Whether it is the default, not set for this resource itself.
    pub is_default: bool,
    /// Whether it cannot be changed while running.
    pub read_only: bool,
    /// Whether its value is kept secret.
    pub sensitive: bool,
}

/// One change of a configuration (KIP-339).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Set the key to the value.
    Set(String, String),
    /// Return the key to its default.
    Delete(String),
    /// Add to the list that the key holds.
    Append(String, String),
    /// Take from the list that the key holds.
    Subtract(String, String),
}

/// A group as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// Its protocol type, `consumer` for consumers.
    pub protocol_type: String,
    /// Its state, empty when the broker does not tell.
    pub state: String,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// The id the coordinator gave.
    pub member_id: String,
    /// The static instance id, if it has one.
    pub instance_id: Option<String>,
    /// The client's own id.
    pub client_id: String,
    /// The host it connects from.
    pub host: String,
    /// The partitions assigned to it.
    pub assignment: Vec<TopicPartition>,
}

/// A group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// `Empty`, `Stable`, `PreparingRebalance`, `CompletingRebalance` or `Dead`.
    pub state: String,
    /// Its protocol type.
    pub protocol_type: String,
    /// The assignor in use.
    pub assignor: String,
    /// Number of the coordinator.
    pub coordinator: i32,
    /// Its members.
    pub members: Vec<MemberDescription>,
}
