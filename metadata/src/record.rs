//! The records of the metadata's journal: entries, and snapshots that stand for all entries before them.
//!
//! Every record is one JSON object. An entry is `{"entry": {"epoch", "hash", "changes"}}`; a snapshot is a head
//! `{"snapshot": {"format", "epoch", "hash", "parts"}}` followed by that many `{"part": {"number", "changes"}}`, whose
//! changes rebuild the image from nothing. What an acceptor has promised and accepted for the next slot is
//! `{"cell": {"slot", "promised", "accepted"}}`; the entry of its slot makes it void. Reading a journal is applying what it
//! holds: recovery and the live path share [`crate::apply_encoded`].

use std::collections::BTreeMap;

use millrace_types::BrokerId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::apply::{ApplyError, apply_change, apply_encoded};
use crate::broker::Broker;
use crate::chain::ChainHash;
use crate::entry::{Change, Entry, EntryError, TopicRecord};
use crate::image::{Image, Local};
use crate::log::{Ballot, Cell, Restored, Value};

/// Format of the journal's records; a reader refuses any other.
const FORMAT: u16 = 1;

/// Bytes of encoded changes after which a snapshot begins another part.
const PART_BYTES: usize = 256 * 1024;

/// Why a journal cannot be replayed. Each means that the journal is damaged or of another release; none is repaired by
/// itself, for the journal is the only copy of its decisions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bytes are no record.
    #[error("record {number} of the metadata journal is malformed: {source}")]
    Malformed {
        /// Position of the record, from 0.
        number: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The snapshot is of another release.
    #[error("the metadata snapshot has the format version {found}, this release reads {FORMAT}")]
    Format {
        /// The version found.
        found: u16,
    },
    /// A record is missing or in the wrong place.
    #[error("record {number} of the metadata journal is out of order: {reason}")]
    Order {
        /// Position of the record, from 0.
        number: usize,
        /// What was expected.
        reason: String,
    },
    /// The hash chain broke: the same entries gave another state than when they were written.
    #[error("the hash of metadata epoch {epoch} is {found}, the journal says {expected}")]
    Hash {
        /// The epoch.
        epoch: u64,
        /// The hash written.
        expected: String,
        /// The hash of what was read.
        found: ChainHash,
    },
    /// The journal is of another cluster than its directory.
    #[error("the metadata journal is of the cluster {journal:?}, its directory of {directory:?}")]
    OtherCluster {
        /// The cluster in the journal.
        journal: String,
        /// The cluster in the directory's description.
        directory: String,
    },
    /// The directory belongs to a broker with another number: its replicas would not be found under the configured one.
    #[error("the data directory belongs to broker {registered}, but node.id is {configured}")]
    OtherBroker {
        /// The broker that registered with the directory.
        registered: BrokerId,
        /// The configured number.
        configured: BrokerId,
    },
    /// An entry cannot be read.
    #[error("record {number} of the metadata journal: {source}")]
    Entry {
        /// Position of the record, from 0.
        number: usize,
        /// What is wrong.
        source: EntryError,
    },
    /// An entry does not fit the state before it.
    #[error("record {number} of the metadata journal does not apply: {source}")]
    Apply {
        /// Position of the record, from 0.
        number: usize,
        /// What is wrong.
        source: ApplyError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record<'a> {
    #[serde(borrow)]
    Entry(EntryBody<'a>),
    Snapshot(SnapshotHead),
    #[serde(borrow)]
    Part(PartBody<'a>),
    #[serde(borrow)]
    Cell(CellBody<'a>),
}

#[derive(Serialize, Deserialize)]
struct CellBody<'a> {
    slot: u64,
    promised: Option<Ballot>,
    #[serde(borrow)]
    accepted: Option<AcceptedBody<'a>>,
}

#[derive(Serialize, Deserialize)]
struct AcceptedBody<'a> {
    ballot: Ballot,
    #[serde(borrow)]
    changes: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct EntryBody<'a> {
    epoch: u64,
    hash: String,
    #[serde(borrow)]
    changes: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct SnapshotHead {
    format: u16,
    epoch: u64,
    hash: String,
    parts: usize,
}

#[derive(Serialize, Deserialize)]
struct PartBody<'a> {
    number: usize,
    #[serde(borrow)]
    changes: &'a RawValue,
}

/// The record of `entry`, which led to the state `after`.
///
/// # Errors
/// Never for an entry built by [`crate::plan`]; serialization reports errors in principle.
pub fn entry_record(entry: &Entry, after: &Image) -> Result<Vec<u8>, EntryError> {
    encoded_entry_record(&entry.encode()?, after)
}

/// The record of the entry with these bytes, which led to the state `after`.
pub(crate) fn encoded_entry_record(encoded: &[u8], after: &Image) -> Result<Vec<u8>, EntryError> {
    let changes: &RawValue = serde_json::from_slice(encoded)?;
    let body = EntryBody { epoch: after.epoch, hash: after.hash.to_string(), changes };
    Ok(serde_json::to_vec(&Record::Entry(body))?)
}

/// The record of what an acceptor has promised and accepted.
pub(crate) fn cell_record(cell: &Cell) -> Result<Vec<u8>, EntryError> {
    let accepted = match &cell.accepted {
        Some((ballot, value)) => Some(AcceptedBody { ballot: *ballot, changes: serde_json::from_slice(value)? }),
        None => None,
    };
    let body = CellBody { slot: cell.slot, promised: cell.promised, accepted };
    Ok(serde_json::to_vec(&Record::Cell(body))?)
}

/// The records of a snapshot of `image`: a journal that holds them and nothing else replays to an equal image.
///
/// # Errors
/// Never for an image built by [`crate::apply()`]; serialization reports errors in principle.
pub fn snapshot_records(image: &Image) -> Result<Vec<Vec<u8>>, EntryError> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut pending = Entry::default();
    let mut size = 0;
    for change in snapshot_changes(image) {
        size += approximate_size(&change);
        pending.changes.push(change);
        if size >= PART_BYTES {
            parts.push(std::mem::take(&mut pending).encode()?);
            size = 0;
        }
    }
    if !pending.changes.is_empty() {
        parts.push(pending.encode()?);
    }
    let head = SnapshotHead { format: FORMAT, epoch: image.epoch, hash: image.hash.to_string(), parts: parts.len() };
    let mut records = vec![serde_json::to_vec(&Record::Snapshot(head))?];
    for (number, part) in parts.iter().enumerate() {
        let changes: &RawValue = serde_json::from_slice(part)?;
        records.push(serde_json::to_vec(&Record::Part(PartBody { number, changes }))?);
    }
    Ok(records)
}

/// The changes that build `image` from nothing.
fn snapshot_changes(image: &Image) -> impl Iterator<Item = Change> {
    // Acceptors that follow from the registrations are not repeated: a broker alone writes what it always wrote.
    let alone = image.brokers.len() == 1
        && image.acceptors.iter().all(|one| image.broker(one.broker).is_some_and(|b| b.directory == one.directory));
    let acceptors = if alone { Vec::new() } else { image.acceptors.to_vec() };
    let genesis =
        (!image.cluster_id.is_empty()).then(|| Change::Genesis { cluster_id: image.cluster_id.clone(), acceptors });
    let proposed = image.proposal.map(Change::Proposed);
    let brokers = image.brokers.values().cloned().map(Change::RegisterBroker);
    let counted = image.starts.iter().all(|(id, start)| image.broker(*id).is_some_and(|one| one.incarnation == *start));
    let starts = (!counted).then(|| Change::BrokerStarts(BTreeMap::clone(&image.starts)));
    let brokers = brokers.chain(starts);
    let configs = &image.configs;
    let all = (!configs.default.is_empty())
        .then(|| Change::SetBrokerConfig { broker: None, overrides: configs.default.clone() });
    let each = configs
        .brokers
        .iter()
        .map(|(id, overrides)| Change::SetBrokerConfig { broker: Some(*id), overrides: overrides.clone() });
    let topics = image.topics().map(|topic| {
        Change::CreateTopic(TopicRecord {
            id: topic.id,
            name: topic.name.to_string(),
            partitions: topic.partitions.clone(),
            overrides: topic.overrides.clone(),
        })
    });
    let client_metrics = image
        .client_metrics
        .iter()
        .map(|(name, overrides)| Change::SetClientMetrics { name: name.clone(), overrides: overrides.clone() });
    genesis.into_iter().chain(proposed).chain(brokers).chain(all).chain(each).chain(client_metrics).chain(topics)
}

/// About how many bytes a change takes; it bounds the parts of a snapshot and nothing else.
fn approximate_size(change: &Change) -> usize {
    match change {
        Change::CreateTopic(topic) => {
            let replicas: usize = topic.partitions.iter().map(|partition| 2 + 4 * partition.concerned().count()).sum();
            let overrides: usize = topic.overrides.values().map(|value| 64 + value.len()).sum();
            256 + topic.name.len() + replicas + overrides
        }
        Change::SetClientMetrics { name, overrides } => {
            256 + name.len() + overrides.values().map(|value| 32 + value.len()).sum::<usize>()
        }
        _ => 256,
    }
}

/// Rebuilds an image from a journal's records, fed in order.
#[derive(Debug)]
pub struct Replay {
    image: Image,
    number: usize,
    snapshot: Option<Pending>,
    cell: Option<Cell>,
    /// The entries behind the snapshot, as they were written.
    tail: Vec<(Value, ChainHash)>,
    /// Records and bytes behind the snapshot.
    unsnapshotted: (usize, usize),
}

/// A snapshot of which parts are missing.
#[derive(Debug)]
struct Pending {
    epoch: u64,
    hash: ChainHash,
    next: usize,
    parts: usize,
}

impl Replay {
    /// A replay that has read nothing.
    #[must_use]
    pub fn new(local: Local) -> Self {
        Self {
            image: Image::new(local),
            number: 0,
            snapshot: None,
            cell: None,
            tail: Vec::new(),
            unsnapshotted: (0, 0),
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// When the record cannot be read, does not follow the one before it, or does not give the hash it carries.
    pub fn feed(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        let number = self.number;
        self.number += 1;
        self.unsnapshotted = (self.unsnapshotted.0 + 1, self.unsnapshotted.1 + record.len());
        let record: Record<'_> =
            serde_json::from_slice(record).map_err(|source| ReplayError::Malformed { number, source })?;
        match record {
            Record::Entry(body) => self.entry(number, &body),
            Record::Snapshot(head) => self.head(number, head),
            Record::Part(body) => self.part(number, &body),
            Record::Cell(body) => {
                let accepted = body.accepted.map(|one| (one.ballot, Value::from(one.changes.get().as_bytes())));
                self.cell = Some(Cell { slot: body.slot, promised: body.promised, accepted });
                Ok(())
            }
        }
    }

    /// The image after the last record.
    ///
    /// # Errors
    /// When the journal ended within a snapshot.
    pub fn finish(self) -> Result<Image, ReplayError> {
        match self.snapshot {
            None => Ok(self.image),
            Some(pending) => Err(ReplayError::Order {
                number: self.number,
                reason: format!("the snapshot has {} parts, {} are there", pending.parts, pending.next),
            }),
        }
    }

    /// What the log goes on with after the last record.
    ///
    /// # Errors
    /// As [`Replay::finish`].
    pub fn restore(mut self) -> Result<Restored, ReplayError> {
        let (cell, tail, unsnapshotted) = (self.cell.take(), std::mem::take(&mut self.tail), self.unsnapshotted);
        let image = self.finish()?;
        // An entry that is durable makes the cell of its slot void.
        let cell = cell.filter(|cell| cell.slot == image.epoch + 1);
        Ok(Restored { image, tail, cell, unsnapshotted })
    }

    /// What the log goes on with after the last record, if `broker` of `cluster_id` may.
    ///
    /// # Errors
    /// As [`Replay::finish`], and when the journal is of another cluster or the broker's directory of another broker.
    pub fn restore_for(self, cluster_id: &str, broker: &Broker) -> Result<Restored, ReplayError> {
        let restored = self.restore()?;
        let image = &restored.image;
        if !image.cluster_id.is_empty() && image.cluster_id != cluster_id {
            return Err(ReplayError::OtherCluster {
                journal: image.cluster_id.clone(),
                directory: cluster_id.to_owned(),
            });
        }
        let owner = image.brokers.values().find(|known| known.directory == broker.directory && known.id != broker.id);
        match owner {
            Some(owner) => Err(ReplayError::OtherBroker { registered: owner.id, configured: broker.id }),
            None => Ok(restored),
        }
    }

    fn entry(&mut self, number: usize, body: &EntryBody<'_>) -> Result<(), ReplayError> {
        let expected = self.image.epoch + 1;
        if self.snapshot.is_some() || body.epoch != expected {
            let reason = format!("it holds epoch {}, expected is {expected}", body.epoch);
            return Err(ReplayError::Order { number, reason });
        }
        let encoded = body.changes.get().as_bytes();
        apply_encoded(&mut self.image, encoded).map_err(|error| match error {
            ApplyError::Entry(source) => ReplayError::Entry { number, source },
            source => ReplayError::Apply { number, source },
        })?;
        let hash = self.image.hash;
        self.tail.push((Value::from(encoded), hash));
        if hash.to_string() != body.hash {
            return Err(ReplayError::Hash { epoch: body.epoch, expected: body.hash.clone(), found: hash });
        }
        Ok(())
    }

    fn head(&mut self, number: usize, head: SnapshotHead) -> Result<(), ReplayError> {
        if head.format != FORMAT {
            return Err(ReplayError::Format { found: head.format });
        }
        if number != 0 {
            return Err(ReplayError::Order { number, reason: "a snapshot must be the first record".to_owned() });
        }
        let Some(hash) = ChainHash::parse(&head.hash) else {
            return Err(ReplayError::Hash { epoch: head.epoch, expected: head.hash, found: ChainHash::default() });
        };
        self.snapshot = Some(Pending { epoch: head.epoch, hash, next: 0, parts: head.parts });
        self.complete();
        Ok(())
    }

    fn part(&mut self, number: usize, body: &PartBody<'_>) -> Result<(), ReplayError> {
        let expected = self.snapshot.as_ref().map(|pending| pending.next);
        if expected != Some(body.number) {
            let reason = format!("it is part {} of a snapshot, expected is {expected:?}", body.number);
            return Err(ReplayError::Order { number, reason });
        }
        let entry =
            Entry::decode(body.changes.get().as_bytes()).map_err(|source| ReplayError::Entry { number, source })?;
        for change in &entry.changes {
            apply_change(&mut self.image, change).map_err(|source| ReplayError::Apply { number, source })?;
        }
        if let Some(pending) = &mut self.snapshot {
            pending.next += 1;
        }
        self.complete();
        Ok(())
    }

    fn complete(&mut self) {
        if let Some(Pending { epoch, hash, .. }) = self.snapshot.take_if(|pending| pending.next == pending.parts) {
            self.image.epoch = epoch;
            self.image.hash = hash;
            self.unsnapshotted = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests;
