//! What can be asked of the metadata: one type per admin operation.

use millrace_types::{BrokerId, DirectoryId, TopicId};
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::identity::Acceptor;

/// A change asked for by a client or by a broker itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Create topics; each is accepted or refused on its own.
    CreateTopics(CreateTopics),
    /// Delete topics; each is accepted or refused on its own.
    DeleteTopics(DeleteTopics),
    /// Add partitions to topics; each topic is accepted or refused on its own.
    CreatePartitions(CreatePartitions),
    /// Change the configuration of topics, brokers and client metrics; each resource is accepted or refused on its own.
    SetConfigs(SetConfigs),
    /// A broker makes itself known at its start.
    RegisterBroker(Broker),
    /// Create an internal topic unless it exists.
    EnsureInternalTopic {
        /// Its name; only names for which [`crate::is_internal`] holds are accepted.
        name: String,
    },
    /// Move replicas, or stop moving them (KIP-455); each partition is accepted or refused on its own.
    AlterReassignments(AlterReassignments),
    /// The members of a partition are what its target names: its leader's broker asks for this.
    FinishReassignment(FinishReassignment),
    /// Let others decide the entries of the log from here on.
    SetAcceptors {
        /// The acceptors: registered brokers with the directories they have registered.
        acceptors: Vec<Acceptor>,
    },
}

/// Topics to create.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopics {
    /// The topics, in the order of the request.
    pub topics: Vec<NewTopic>,
    /// Check only.
    pub validate_only: bool,
}

/// One topic to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Its name, not yet checked.
    pub name: String,
    /// Number of partitions; `-1` for the broker's `num.partitions`, or with an assignment.
    pub partitions: i32,
    /// Number of replicas; `-1` for the broker's `default.replication.factor`, or with an assignment.
    pub replication_factor: i16,
    /// Replicas chosen by the client: pairs of partition number and brokers, in the order of the request; empty to
    /// let the cluster choose.
    pub assignments: Vec<(i32, Vec<BrokerId>)>,
    /// Configuration by key; a null value is refused as Kafka does.
    pub configs: Vec<(String, Option<String>)>,
}

impl NewTopic {
    /// A topic with the broker's defaults.
    #[must_use]
    pub fn with_defaults(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: -1, replication_factor: -1, assignments: Vec::new(), configs: Vec::new() }
    }
}

/// Topics to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopics {
    /// The topics, in the order of the request.
    pub topics: Vec<TopicRef>,
}

/// A topic by name or by identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By identity.
    Id(TopicId),
}

/// Partitions to add.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePartitions {
    /// The topics, in the order of the request.
    pub topics: Vec<NewPartitions>,
    /// Check only.
    pub validate_only: bool,
}

/// The partitions one topic shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPartitions {
    /// The topic.
    pub name: String,
    /// The number of partitions in total.
    pub count: i32,
    /// Replicas of the added partitions in order, when the client chooses them.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// Replicas to move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterReassignments {
    /// The partitions, in the order of the request.
    pub partitions: Vec<ReassignPartition>,
    /// Whether a partition may get another number of replicas (KIP-860).
    pub allow_factor_change: bool,
}

/// Where the replicas of one partition shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReassignPartition {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The brokers, the preferred leader first; `None` to stop, and to go back to where they were.
    pub replicas: Option<Vec<BrokerId>>,
}

/// A partition that has reached its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishReassignment {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: i32,
    /// The metadata epoch that has set the target.
    pub epoch: u64,
    /// Who votes, under which data directory.
    pub voters: Vec<(BrokerId, DirectoryId)>,
}

/// Configuration to change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetConfigs {
    /// The resources, in the order of the request.
    pub resources: Vec<ResourceChange>,
    /// Check only.
    pub validate_only: bool,
}

/// The change of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceChange {
    /// The resource.
    pub resource: ConfigResource,
    /// What shall happen to it.
    pub operation: ConfigOperation,
}

/// Whose configuration it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// One broker, or with `None` the default of all brokers.
    Broker(Option<BrokerId>),
    /// A client metrics subscription (KIP-714).
    ClientMetrics(String),
}

/// How a resource's configuration changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOperation {
    /// AlterConfigs: these values, in the order of the request, are all that stays set.
    Replace(Vec<(String, Option<String>)>),
    /// IncrementalAlterConfigs (KIP-339): one operation per key, in the order of the request.
    Incremental(Vec<(String, ConfigOperationKind, Option<String>)>),
}

/// What happens to one key (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOperationKind {
    /// Set the value.
    Set,
    /// Take the value back to the next layer.
    Delete,
    /// Add elements to a list.
    Append,
    /// Take elements from a list.
    Subtract,
}
