//! What can happen to the metadata store, and what it asks of its host.

use std::sync::Arc;

use bytes::Bytes;
use millrace_metadata::{Command, CommandResult, Image, Proposer};
use millrace_raft::Voter;
use millrace_storage::{DiskError, LogConfig};
use millrace_types::{BrokerId, DirectoryId, Instant, TopicPartition};

use crate::call::ReplyTo;
use crate::replica::Promises;
#[cfg(doc)]
use crate::replica::ReplicaEvent;

/// Everything that can happen to the metadata store.
#[derive(Debug)]
pub enum MetadataEvent {
    /// The process is ready: found the cluster if there is none, register this broker, and start its replicas.
    Start,
    /// A call of another core.
    Command {
        /// Where the answer goes.
        from: ReplyTo,
        /// What is asked.
        command: Command,
    },
    /// The records of a `Persist` effect are durable, or could not be written.
    Persisted {
        /// The token of the effect.
        token: u64,
        /// What came of it.
        result: Result<(), DiskError>,
    },
    /// A message of the metadata log came from another broker.
    PeerMessage {
        /// The process that sent it, as the session knows it.
        from: Proposer,
        /// Its bytes (`docs/metadata_protocol.md`).
        bytes: Bytes,
    },
    /// Messages to and from this process arrive. A later process of a broker takes the place of an earlier one.
    BrokerUp(Proposer),
    /// They do not any more.
    BrokerDown(BrokerId),
    /// A replica of this broker has published its first leader epoch. The host sends it once for every `CreateReplica`
    /// effect; the answer to the command that created the partition waits for it, [`super::LEADER_WAIT`] at most.
    ReplicaLed {
        /// The partition.
        partition: TopicPartition,
    },
    /// A replica that leads says that the target of its partition is reached, see
    /// [`crate::replica::ReplicaEffect::TargetReached`].
    TargetReached {
        /// The partition.
        partition: TopicPartition,
        /// The metadata epoch that has set the target.
        epoch: u64,
        /// Who votes.
        voters: Vec<(BrokerId, DirectoryId)>,
    },
    /// A replica or a witness that was to retire has, and its data is gone.
    ReplicaRetired {
        /// The partition.
        partition: TopicPartition,
        /// What stays of its promises: a replica that the partition gets here again begins with them. It is the host that
        /// keeps them; the store does not look at them.
        promises: Box<Promises>,
    },
    /// The time asked for by the latest `Timer` effect has come.
    Timer,
}

/// Everything the metadata store asks of its host.
#[derive(Debug)]
pub enum MetadataEffect {
    /// Append the records to the metadata journal and flush it; completes as [`MetadataEvent::Persisted`]. With a
    /// snapshot the journal's content is then replaced by it: it stands for everything up to and with `records`. A
    /// failure of the snapshot alone is no failure of the `Persist`: the records are durable without it, and another
    /// snapshot follows after as many entries.
    Persist {
        /// The store's number for it.
        token: u64,
        /// The records, in order.
        records: Vec<Bytes>,
        /// What can stand for all records up to the last of these.
        snapshot: Option<Vec<Bytes>>,
    },
    /// Replace the content of the metadata journal, durably, by these records, which came from another broker; completes
    /// as [`MetadataEvent::Persisted`], and a failure is one.
    Replace {
        /// The store's number for it.
        token: u64,
        /// The records.
        snapshot: Vec<Bytes>,
    },
    /// Send a message of the metadata log; it may be lost.
    SendPeer {
        /// To this broker.
        to: BrokerId,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Publish a newer image: to the directory, and to the settings by [`crate::Settings::refresh`].
    Publish(Arc<Image>),
    /// This process is registered, and this is the number of its start among those of the broker: what
    /// [`crate::ProducerIds::begin`] waits for.
    Registered {
        /// The number.
        start: u64,
    },
    /// Open the log of a partition and start its replica.
    CreateReplica {
        /// The partition.
        partition: TopicPartition,
        /// The settings of its log.
        config: LogConfig,
        /// Who votes in it at first, the preferred leader in front.
        voters: Vec<Voter>,
    },
    /// Start the witness of a partition, which has no log. Nobody waits for a leader that it knows.
    CreateWitness {
        /// The partition.
        partition: TopicPartition,
        /// Who votes in it at first.
        voters: Vec<Voter>,
    },
    /// The broker shall have no replica and no witness of a partition any more, or shall have one after all: tell the one that
    /// runs, as [`ReplicaEvent::Retire`]. When it has stopped for that, what it has promised is put in place of what is known of
    /// it, its data is removed, and [`MetadataEvent::ReplicaRetired`] follows. One that starts where the image names none here
    /// is told at once; each time it is told along who leads ([`ReplicaEvent::Hint`]), as far as that is known. What is to go is
    /// told so again and again; where nothing runs any more, or yet, that means nothing.
    RetireReplica {
        /// The partition.
        partition: TopicPartition,
        /// Whether it shall retire.
        retire: bool,
    },
    /// Stop a replica or a witness, and remove its data.
    DeleteReplica {
        /// The partition.
        partition: TopicPartition,
    },
    /// The settings of a replica's log changed.
    ConfigureReplica {
        /// The partition.
        partition: TopicPartition,
        /// The settings.
        config: LogConfig,
    },
    /// The voters of a partition shall be others: [`super::target`] tells whom. Every replica is told when it starts, too.
    RetargetReplica {
        /// The partition.
        partition: TopicPartition,
    },
    /// An answer.
    Answer {
        /// To whom.
        to: ReplyTo,
        /// What.
        result: CommandResult,
    },
    /// Wake the store at this moment; replaces the timer asked for before.
    Timer(Instant),
}
