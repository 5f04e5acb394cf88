//! What is logged: one entry per metadata epoch, made of changes that take effect together.
//!
//! A change is written as an envelope `{kind, version, minReader, required, body}` around its JSON body, so that a
//! reader of another release can tell what it meets: an unknown kind or a version above what it reads is refused when
//! the change is required, and passed over when it is not. A body may hold fields a reader does not know; whoever adds
//! one that must not be passed over raises `minReader`.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, TopicId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::broker::Broker;
use crate::identity::{Acceptor, Proposal};
use crate::reassignment::{TargetReached, TopicTargets};
use crate::topic::Assignment;

/// The changes of one metadata epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The changes, in the order in which they are applied.
    pub changes: Vec<Change>,
}

/// One change of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The first change of every cluster.
    Genesis {
        /// The cluster's identity.
        cluster_id: String,
        /// Who decides from the next entry on; without any it is the first broker that registers.
        acceptors: Vec<Acceptor>,
    },
    /// Which proposal the entry is. It names the owner of the next slot.
    Proposed(Proposal),
    /// These are the acceptors from the next entry on.
    SetAcceptors {
        /// The acceptors.
        acceptors: Vec<Acceptor>,
    },
    /// A broker registered or registered again.
    RegisterBroker(Broker),
    /// Number of each broker's last start, where they are not what the registrations come to; a snapshot tells them.
    BrokerStarts(BTreeMap<BrokerId, u64>),
    /// A topic came to be.
    CreateTopic(TopicRecord),
    /// Partitions were added to a topic, numbered on from the ones it has.
    CreatePartitions(NewAssignments),
    /// Replicas of a topic's partitions shall be elsewhere.
    SetTarget(TopicTargets),
    /// A partition's replicas are where they shall be.
    TargetDone(TargetReached),
    /// A topic went.
    DeleteTopic {
        /// The topic.
        id: TopicId,
    },
    /// The whole configuration set on a topic.
    SetTopicConfig {
        /// The topic.
        id: TopicId,
        /// Every key that is set.
        overrides: BTreeMap<String, String>,
    },
    /// The whole configuration set on a broker, or for all brokers, while they run.
    SetBrokerConfig {
        /// The broker; `None` for all.
        broker: Option<BrokerId>,
        /// Every key that is set.
        overrides: BTreeMap<String, String>,
    },
    /// The whole configuration of a client metrics subscription (KIP-714).
    SetClientMetrics {
        /// The subscription.
        name: String,
        /// Every key that is set; when none is, the subscription is gone.
        overrides: BTreeMap<String, String>,
    },
}

/// A topic as it is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Replicas of each partition, in order of the partitions' numbers.
    pub partitions: Vec<Assignment>,
    /// The configuration set on it.
    #[serde(default)]
    pub overrides: BTreeMap<String, String>,
}

/// Partitions added to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAssignments {
    /// The topic.
    pub id: TopicId,
    /// Replicas of each added partition, in order.
    pub partitions: Vec<Assignment>,
}

/// Why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The bytes are no entry.
    #[error("malformed metadata entry: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A required change of a kind this release does not know.
    #[error("metadata change of the unknown kind {kind:?} (version {version}) is required; upgrade this broker")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// Its version.
        version: u16,
    },
    /// A change that asks for a newer reader.
    #[error("metadata change {kind:?} asks for a reader of version {min_reader}, this one is {supported}")]
    TooNew {
        /// The kind.
        kind: String,
        /// The version asked for.
        min_reader: u16,
        /// The version this release reads.
        supported: u16,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    kind: String,
    version: u16,
    min_reader: u16,
    #[serde(default = "required")]
    required: bool,
    /// Kept as text, so that the order of its fields is that of their declaration.
    body: Box<RawValue>,
}

const fn required() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
struct GenesisBody {
    #[serde(rename = "clusterId")]
    cluster_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    acceptors: Vec<Acceptor>,
}

#[derive(Serialize, Deserialize)]
struct AcceptorsBody {
    acceptors: Vec<Acceptor>,
}

#[derive(Serialize, Deserialize)]
struct DeleteTopicBody {
    id: TopicId,
}

#[derive(Serialize, Deserialize)]
struct TopicConfigBody {
    id: TopicId,
    overrides: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct BrokerConfigBody {
    broker: Option<BrokerId>,
    overrides: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct ClientMetricsBody {
    name: String,
    overrides: BTreeMap<String, String>,
}

/// The version of every kind that has had no second one.
const VERSION: u16 = 1;

/// The version of a `Genesis` that names acceptors: who passes over them would decide alone.
const GENESIS_WITH_ACCEPTORS: u16 = 2;

/// The version of a change that tells of a witness: who passes over it would count the voters of a partition wrong, or
/// place records where none may be.
const WITH_WITNESS: u16 = 3;

/// The version of a change that tells of replicas which are being moved: who passes over them would delete what still
/// counts.
const WITH_REASSIGNMENT: u16 = 4;

/// The newest version this release reads.
const READS: u16 = 4;

impl Entry {
    /// The entry of these changes.
    #[must_use]
    pub const fn new(changes: Vec<Change>) -> Self {
        Self { changes }
    }

    /// The entry's bytes: the same for equal entries, since every map in it is ordered.
    ///
    /// # Errors
    /// Never for an entry built by [`crate::plan`]; serialization reports errors in principle.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let envelopes = self.changes.iter().map(Change::envelope).collect::<Result<Vec<_>, _>>()?;
        Ok(serde_json::to_vec(&envelopes)?)
    }

    /// Which proposal the entry is, if it was proposed to others.
    #[must_use]
    pub fn proposal(&self) -> Option<Proposal> {
        self.changes.iter().find_map(|change| match change {
            Change::Proposed(proposal) => Some(*proposal),
            _ => None,
        })
    }

    /// Reads an entry's bytes.
    ///
    /// # Errors
    /// When the bytes are no entry, or hold a required change that this release cannot read.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let envelopes: Vec<Envelope> = serde_json::from_slice(bytes)?;
        let mut changes = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            changes.extend(Change::open(envelope)?);
        }
        Ok(Self { changes })
    }
}

impl Change {
    fn envelope(&self) -> Result<Envelope, EntryError> {
        let (kind, body) = match self {
            Self::Genesis { cluster_id, acceptors } => {
                let body = GenesisBody { cluster_id: cluster_id.clone(), acceptors: acceptors.clone() };
                ("Genesis", to_raw_value(&body)?)
            }
            Self::Proposed(proposal) => ("Proposed", to_raw_value(proposal)?),
            Self::SetAcceptors { acceptors } => {
                ("SetAcceptors", to_raw_value(&AcceptorsBody { acceptors: acceptors.clone() })?)
            }
            Self::RegisterBroker(broker) => ("RegisterBroker", to_raw_value(broker)?),
            Self::BrokerStarts(starts) => ("BrokerStarts", to_raw_value(starts)?),
            Self::CreateTopic(topic) => ("CreateTopic", to_raw_value(topic)?),
            Self::CreatePartitions(added) => ("CreatePartitions", to_raw_value(added)?),
            Self::SetTarget(targets) => ("SetTarget", to_raw_value(targets)?),
            Self::TargetDone(reached) => ("TargetDone", to_raw_value(reached)?),
            Self::DeleteTopic { id } => ("DeleteTopic", to_raw_value(&DeleteTopicBody { id: *id })?),
            Self::SetTopicConfig { id, overrides } => {
                let body = TopicConfigBody { id: *id, overrides: overrides.clone() };
                ("SetTopicConfig", to_raw_value(&body)?)
            }
            Self::SetBrokerConfig { broker, overrides } => {
                let body = BrokerConfigBody { broker: *broker, overrides: overrides.clone() };
                ("SetBrokerConfig", to_raw_value(&body)?)
            }
            Self::SetClientMetrics { name, overrides } => {
                let body = ClientMetricsBody { name: name.clone(), overrides: overrides.clone() };
                ("SetClientMetrics", to_raw_value(&body)?)
            }
        };
        let version = match self {
            Self::Genesis { acceptors, .. } if !acceptors.is_empty() => GENESIS_WITH_ACCEPTORS,
            _ if self.assignments().iter().any(|one| one.reassignment.is_some()) => WITH_REASSIGNMENT,
            _ if self.tells_of_witness() => WITH_WITNESS,
            _ => VERSION,
        };
        // A release that decides alone needs not know whose proposal an entry is, and one that numbers no starts no numbers.
        let required = !matches!(self, Self::Proposed(_) | Self::BrokerStarts(_));
        Ok(Envelope { kind: kind.to_owned(), version, min_reader: version, required, body })
    }

    fn tells_of_witness(&self) -> bool {
        match self {
            Self::RegisterBroker(broker) => !broker.holds_data(),
            Self::SetTarget(TopicTargets { targets, .. }) => targets.iter().any(|target| target.witness.is_some()),
            _ => self.assignments().iter().any(|assignment| assignment.witness.is_some()),
        }
    }

    /// The assignments that the change tells of.
    fn assignments(&self) -> &[Assignment] {
        match self {
            Self::CreateTopic(TopicRecord { partitions, .. })
            | Self::CreatePartitions(NewAssignments { partitions, .. }) => partitions,
            _ => &[],
        }
    }

    /// The change in an envelope; `None` for one that this release cannot read and need not.
    fn open(envelope: Envelope) -> Result<Option<Self>, EntryError> {
        let Envelope { kind, version, min_reader, required, body } = envelope;
        let known = KINDS.contains(&kind.as_str());
        if (!known || min_reader > READS) && !required {
            return Ok(None);
        }
        if known && min_reader > READS {
            return Err(EntryError::TooNew { kind, min_reader, supported: READS });
        }
        let change = match kind.as_str() {
            "Genesis" => {
                let GenesisBody { cluster_id, acceptors } = read(&body)?;
                Self::Genesis { cluster_id, acceptors }
            }
            "Proposed" => Self::Proposed(read(&body)?),
            "SetAcceptors" => Self::SetAcceptors { acceptors: read::<AcceptorsBody>(&body)?.acceptors },
            "RegisterBroker" => Self::RegisterBroker(read(&body)?),
            "BrokerStarts" => Self::BrokerStarts(read(&body)?),
            "CreateTopic" => Self::CreateTopic(read(&body)?),
            "CreatePartitions" => Self::CreatePartitions(read(&body)?),
            "SetTarget" => Self::SetTarget(read(&body)?),
            "TargetDone" => Self::TargetDone(read(&body)?),
            "DeleteTopic" => Self::DeleteTopic { id: read::<DeleteTopicBody>(&body)?.id },
            "SetTopicConfig" => {
                let TopicConfigBody { id, overrides } = read(&body)?;
                Self::SetTopicConfig { id, overrides }
            }
            "SetBrokerConfig" => {
                let BrokerConfigBody { broker, overrides } = read(&body)?;
                Self::SetBrokerConfig { broker, overrides }
            }
            "SetClientMetrics" => {
                let ClientMetricsBody { name, overrides } = read(&body)?;
                Self::SetClientMetrics { name, overrides }
            }
            _ => return Err(EntryError::UnknownKind { kind, version }),
        };
        Ok(Some(change))
    }
}

const KINDS: [&str; 13] = [
    "Genesis",
    "Proposed",
    "SetAcceptors",
    "RegisterBroker",
    "BrokerStarts",
    "CreateTopic",
    "CreatePartitions",
    "SetTarget",
    "TargetDone",
    "DeleteTopic",
    "SetTopicConfig",
    "SetBrokerConfig",
    "SetClientMetrics",
];

fn read<T: DeserializeOwned>(body: &RawValue) -> Result<T, EntryError> {
    Ok(serde_json::from_str(body.get())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Proposer;
    use crate::reassignment::PartitionTarget;
    use millrace_types::DirectoryId;
    use uuid::Uuid;

    fn every_change() -> Vec<Change> {
        let id = TopicId(Uuid::from_u128(7));
        let overrides = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let partitions = vec![Assignment::new(vec![BrokerId(1), BrokerId(2)])];
        let witnessed = vec![Assignment { witness: Some(BrokerId(3)), ..partitions[0].clone() }];
        let witness = crate::Broker { role: crate::BrokerRole::Witness, ..crate::image::tests::broker(3) };
        let target = |witness| PartitionTarget { partition: 0, replicas: vec![BrokerId(4)], witness };
        let directories = vec![DirectoryId::from_u128(1); 2];
        let moving = vec![partitions[0].retargeted(&target(None), 9, directories.clone())];
        let by = Proposer { broker: BrokerId(1), directory: DirectoryId::from_u128(7), incarnation: 2 };
        let acceptor = by.acceptor();
        vec![
            Change::Genesis { cluster_id: "c".to_owned(), acceptors: Vec::new() },
            Change::Genesis { cluster_id: "c".to_owned(), acceptors: vec![acceptor] },
            Change::Proposed(Proposal { by, number: 3 }),
            Change::SetAcceptors { acceptors: vec![acceptor] },
            Change::RegisterBroker(crate::image::tests::broker(1)),
            Change::RegisterBroker(witness),
            Change::BrokerStarts(BTreeMap::from([(BrokerId(1), 7)])),
            Change::CreateTopic(TopicRecord {
                id,
                name: "t".to_owned(),
                partitions: partitions.clone(),
                overrides: overrides.clone(),
            }),
            Change::CreatePartitions(NewAssignments { id, partitions }),
            Change::CreatePartitions(NewAssignments { id, partitions: witnessed }),
            Change::CreatePartitions(NewAssignments { id, partitions: moving }),
            Change::SetTarget(TopicTargets { id, targets: vec![target(None)] }),
            Change::SetTarget(TopicTargets { id, targets: vec![target(Some(BrokerId(1)))] }),
            Change::TargetDone(TargetReached { id, partition: 1, epoch: 5, directories }),
            Change::SetTopicConfig { id, overrides: overrides.clone() },
            Change::SetBrokerConfig { broker: Some(BrokerId(1)), overrides: overrides.clone() },
            Change::SetBrokerConfig { broker: None, overrides: overrides.clone() },
            Change::SetClientMetrics { name: "m".to_owned(), overrides },
            Change::DeleteTopic { id },
        ]
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let entry = Entry::new(every_change());
        let bytes = entry.encode().unwrap();
        assert_eq!(Entry::decode(&bytes).unwrap(), entry);
        assert_eq!(entry.encode().unwrap(), bytes, "the bytes are a function of the entry");
    }

    #[test]
    fn whoever_does_not_know_witnesses_refuses_what_tells_of_them() {
        let required = |change: &Change| change.envelope().unwrap().min_reader;
        for change in every_change() {
            let told = String::from_utf8(Entry::new(vec![change.clone()]).encode().unwrap()).unwrap();
            assert_eq!(required(&change) == WITH_WITNESS, told.contains("witness"), "{told}");
        }
    }

    #[test]
    fn whoever_does_not_know_reassignments_refuses_what_tells_of_them() {
        for change in every_change() {
            let envelope = change.envelope().unwrap();
            let told = envelope.body.get().contains("reassignment");
            assert_eq!(envelope.min_reader == WITH_REASSIGNMENT, told, "{}", envelope.body.get());
        }
    }

    #[test]
    fn what_a_later_release_requires_is_refused_by_name() {
        let unknown = br#"[{"kind":"Decommission","version":3,"minReader":1,"body":{}}]"#;
        let error = Entry::decode(unknown).unwrap_err();
        assert!(matches!(error, EntryError::UnknownKind { ref kind, version: 3 } if kind == "Decommission"), "{error}");
        let newer = br#"[{"kind":"DeleteTopic","version":9,"minReader":5,"body":{}}]"#;
        let error = Entry::decode(newer).unwrap_err();
        assert!(matches!(error, EntryError::TooNew { min_reader: 5, supported: 4, .. }), "{error}");
    }

    #[test]
    fn what_a_later_release_does_not_require_is_passed_over() {
        let hint = br#"[{"kind":"Hint","version":1,"minReader":1,"required":false,"body":{}},
                        {"kind":"Genesis","version":4,"minReader":1,"body":{"clusterId":"c","more":1}}]"#;
        let entry = Entry::decode(hint).unwrap();
        assert_eq!(entry.changes, [Change::Genesis { cluster_id: "c".to_owned(), acceptors: Vec::new() }]);
    }

    #[test]
    fn garbage_is_an_error() {
        for bytes in [&b""[..], b"{}", b"[1]", br#"[{"kind":"DeleteTopic","version":1,"minReader":1,"body":{}}]"#] {
            assert!(matches!(Entry::decode(bytes), Err(EntryError::Malformed(_))), "{bytes:?}");
        }
    }
}
