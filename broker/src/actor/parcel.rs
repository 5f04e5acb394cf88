//! What goes from one arbiter to another, and what the storage threads bring back.

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_node::metadata_store::MetadataEvent;
use millrace_node::peers::PeersEvent;
use millrace_node::replica::{Promises, ReplicaEvent};
use millrace_node::{Answer, Call, Caller, ReplyTo};
use millrace_raft::Voter;
use millrace_storage::{CutDone, DiskError, Log, LogConfig, LogError, Prepared, Recovery, SeenStart, Upkept};
use millrace_types::{LeaderEpoch, Offset, TopicPartition};

use crate::local::LocalRequest;
use crate::net::cuts::Cut;
use crate::net::limits::Permit;

use super::countdown::Countdown;
use super::forcing::ForceRequest;
use super::witness::NewWitness;

/// One message between arbiters.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A call of a core.
    Call {
        /// Where the answer goes.
        from: ReplyTo,
        /// The call.
        call: Call,
    },
    /// A caller takes back a `Watch`.
    Cancel {
        /// The registration.
        from: ReplyTo,
        /// The partition.
        partition: TopicPartition,
    },
    /// The answer to a call.
    Answer {
        /// The caller.
        to: ReplyTo,
        /// What came back.
        answer: Answer,
    },
    /// What replicas of one turn have for the sessions with other brokers, in its order.
    Peers(Vec<PeersEvent>),
    /// What the sessions have for replicas, in its order.
    Replicas(Vec<(TopicPartition, ReplicaEvent)>),
    /// An order to the arbiter itself.
    Order(Order),
}

impl Parcel {
    /// Whether it may be refused when too much waits; all else belongs to what was accepted before.
    pub(crate) const fn is_refusable(&self) -> bool {
        matches!(self, Self::Call { .. })
    }
}

/// What the broker wants of an arbiter.
#[derive(Debug)]
pub(crate) enum Order {
    /// Host a replica.
    StartReplica(Box<OpenedLog>),
    /// Host a witness.
    StartWitness(Box<NewWitness>),
    /// To the arbiter of the metadata store: a replica has published its first leader epoch.
    ReplicaLed(TopicPartition),
    /// To the arbiter of the metadata store: what the sessions with other brokers have for it.
    Metadata(Box<MetadataEvent>),
    /// Stop a replica or a witness, and remove what there is of it.
    DeleteReplica(TopicPartition),
    /// Tell a replica or a witness that the broker shall have none any more, or shall have one after all.
    RetireReplica(TopicPartition, bool),
    /// Tell a replica which voters its partition shall have.
    RetargetReplica(TopicPartition),
    /// Have a replica force a configuration.
    Force(Box<ForceRequest>),
    /// Give a replica other settings.
    ConfigureReplica(TopicPartition, Box<LogConfig>),
    /// Serve a client.
    Accept(Box<Accepted>),
    /// Serve a request of the process itself.
    Local(Box<LocalRequest>),
    /// Count what waits for the actors, for `/metrics`.
    Sample(Countdown),
    /// Take no more requests, answer those that are there, close the connections.
    StopConnections(Countdown),
    /// Close the connections, whatever they wait for.
    KillConnections,
    /// To the arbiter of the sessions with other brokers: hand over to the sockets what was said before.
    DrainPeers(Countdown),
    /// Stop the coordinators, which still call their replicas.
    StopGroups(Countdown),
    /// Stop the replicas.
    StopReplicas(Countdown),
}

/// A replica's log, open and recovered.
#[derive(Debug)]
pub(crate) struct OpenedLog {
    /// The partition.
    pub(crate) partition: TopicPartition,
    /// Its log.
    pub(crate) log: Log,
    /// What opening it came to.
    pub(crate) recovery: Recovery,
    /// What the write-ahead store knows that the replica has promised.
    pub(crate) promises: Promises,
    /// Who votes at first.
    pub(crate) voters: Vec<Voter>,
}

/// A client's socket on its way to an arbiter.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The socket, not blocking.
    pub(crate) stream: std::net::TcpStream,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Name of the listener.
    pub(crate) listener: Arc<str>,
    /// Its place among the connections that are allowed.
    pub(crate) permit: Permit,
    /// By which it can be closed from another thread.
    pub(crate) cut: Cut,
}

/// What a storage thread has done.
#[derive(Debug)]
pub(crate) enum Completion {
    /// Flush work of a replica.
    Flushed {
        /// The partition.
        partition: TopicPartition,
        /// Everything below it is durable.
        upto: Offset,
        /// The leader epoch when the work was taken.
        epoch: LeaderEpoch,
        /// What came of it.
        result: Result<(), DiskError>,
    },
    /// Records of a replica in the write-ahead store.
    Put {
        /// The partition.
        partition: TopicPartition,
        /// The replica's number for them.
        token: u64,
        /// What came of it.
        result: Result<(), DiskError>,
    },
    /// Space of a replica, allocated ahead.
    Prepared {
        /// The partition.
        partition: TopicPartition,
        /// What was made.
        prepared: Prepared,
    },
    /// A piece of upkeep of a replica's log is done.
    Upkept {
        /// The partition.
        partition: TopicPartition,
        /// What came of it.
        upkept: Box<Upkept>,
    },
    /// A cold range was read in.
    Warmed {
        /// Who asked.
        caller: Caller,
        /// The caller's number for it.
        token: u64,
    },
    /// A replica's log was cut, or could not be.
    CutApplied {
        /// The partition.
        partition: TopicPartition,
        /// What came of it.
        done: Box<CutDone>,
    },
    /// A cold range that a replica has records for followers in was read in.
    ReplicaWarmed {
        /// The partition.
        partition: TopicPartition,
        /// The replica's number for it.
        token: u64,
    },
    /// A start of another broker that was seen.
    Remembered {
        /// The number that the sessions have for it.
        token: u64,
        /// The start.
        seen: SeenStart,
        /// What came of it.
        result: Result<(), DiskError>,
    },
    /// Records of the metadata store.
    Persisted {
        /// The store's number for them.
        token: u64,
        /// What came of it.
        result: Result<(), DiskError>,
    },
    /// A replica or a witness that has retired is gone with its data.
    Retired {
        /// The partition.
        partition: TopicPartition,
        /// What stays of its promises.
        promises: Box<Promises>,
    },
    /// Logs of replicas that were created.
    Opened(Vec<(TopicPartition, Result<Box<OpenedLog>, LogError>)>),
}
