//! What can happen to a replica, and what it asks of its host.

use bytes::Bytes;
use millrace_raft::{Change, Envelope, Message, Peer, ReplicaKey, Voter};
use millrace_storage::{
    CutDone, CutJob, DiskError, FlushWork, LogConfig, PrepareJob, Prepared, QRecord, StorageJob, UpkeepJob, Upkept,
    WarmJob,
};
use millrace_types::{BrokerId, DirectoryId, Instant, LeaderEpoch, Offset};

use super::{ForceRefusal, Forced};
use crate::call::{PartitionAnswer, PartitionOp, ReplyTo};
use crate::settings::Replication;

/// Who shall vote in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetVoters {
    /// The voters, under the directories that their brokers have registered; nobody while that is not known.
    pub voters: Vec<Voter>,
    /// While replicas are being moved: the metadata epoch that says so. The leader tells when they are there.
    pub epoch: Option<u64>,
}

impl From<Vec<Voter>> for TargetVoters {
    fn from(voters: Vec<Voter>) -> Self {
        Self { voters, epoch: None }
    }
}

/// Everything that can happen to a replica.
#[derive(Debug)]
pub enum ReplicaEvent {
    /// The process has opened the log: take part in the consensus (a single voter elects itself).
    Start,
    /// A call of another core.
    Call {
        /// Where the answer goes.
        from: ReplyTo,
        /// What is asked.
        op: PartitionOp,
    },
    /// The caller takes back a `Watch`.
    Cancel {
        /// The registration.
        from: ReplyTo,
    },
    /// Flush work is done: everything below `upto` is durable, or the flush failed.
    Flushed {
        /// The log end offset when the work was taken.
        upto: Offset,
        /// The leader epoch when the work was taken.
        epoch: LeaderEpoch,
        /// A failure poisons the log (consensus rules, "a failed flush").
        result: Result<(), DiskError>,
    },
    /// Records of the write-ahead store are durable, or could not be written.
    PutDone {
        /// The token of the `Put` effect.
        token: u64,
        /// What came of it.
        result: Result<(), DiskError>,
    },
    /// The log was cut, or could not be.
    CutApplied(CutDone),
    /// A cold range was read in.
    Warmed {
        /// The token of the `Warm` effect.
        token: u64,
    },
    /// Space allocated ahead is ready.
    Prepared(Prepared),
    /// A piece of upkeep is done.
    Upkept(Upkept),
    /// The time asked for by the latest `Timer` effect has come.
    Timer,
    /// The topic's settings changed.
    Configure {
        /// Those of the log.
        log: Box<LogConfig>,
        /// Those of its replication.
        replication: Replication,
    },
    /// A message of another replica of the partition came.
    Peer {
        /// The message, its sender and its receiver.
        envelope: Box<Envelope>,
        /// The record batches that came with a response, else nothing.
        records: Bytes,
    },
    /// Frames come from this replica's broker again, or for the first time.
    SessionUp(Peer),
    /// No frames come from the broker any more.
    SessionDown {
        /// The broker.
        broker: BrokerId,
        /// When the last frame came.
        heard: Instant,
    },
    /// Ask again: the session was renewed, or an answer is overdue.
    Refetch,
    /// Someone says who leads. Only a hint.
    Hint {
        /// The leader.
        leader: ReplicaKey,
        /// Of this epoch.
        epoch: LeaderEpoch,
    },
    /// Hand leadership over.
    Transfer {
        /// To whom.
        to: ReplicaKey,
    },
    /// These shall be the voters.
    Target(TargetVoters),
    /// The broker shall have no replica of the partition any more, or shall have one after all: the replica stops for good when
    /// the newest configuration that it knows does not name it. Then [`super::Replica::is_retired`] holds.
    Retire(bool),
    /// Change the members by one step.
    Change(Change),
    /// The operator gives up a lost majority: these brokers, which have votes and records, shall vote alone. Answered by
    /// [`ReplicaEffect::Forced`].
    Force {
        /// The host's number for it.
        token: u64,
        /// Who votes from now on, the broker that is asked among them.
        voters: Vec<BrokerId>,
    },
    /// A part of the process hangs (`true`), so that no other broker hears it: the replica leaves leading to others until that
    /// is over.
    Unwell(bool),
    /// Drain: hand leadership over, answer what waits, flush, write what a clean start needs, then push [`ReplicaEffect::Stopped`].
    Stop,
}

/// Everything a replica asks of its host.
#[derive(Debug)]
pub enum ReplicaEffect {
    /// Make the write-ahead records durable, in the order of the effects; completes as [`ReplicaEvent::PutDone`]. As
    /// with `Flush`, a full queue is no failure.
    Put {
        /// The replica's number for it.
        token: u64,
        /// The records.
        records: Vec<QRecord>,
    },
    /// Make appended data durable; completes as [`ReplicaEvent::Flushed`]. A replica has at most one under way. A host
    /// whose queue is full keeps the work until there is room: a failure reported for it would poison the log.
    Flush(FlushWork),
    /// Allocate ahead on a storage thread; completes as [`ReplicaEvent::Prepared`].
    Prepare(PrepareJob),
    /// Look at a sealed segment, or repair it, on a storage thread; completes as [`ReplicaEvent::Upkept`]. A replica has a
    /// few under way at most; a host whose queue is full keeps it until there is room.
    Upkeep(UpkeepJob),
    /// Cut the log on a storage thread; completes as [`ReplicaEvent::CutApplied`].
    Cut(CutJob),
    /// Read a cold range on a storage thread; completes as [`ReplicaEvent::Warmed`].
    Warm {
        /// The replica's number for it.
        token: u64,
        /// The work.
        job: WarmJob,
    },
    /// Remove files and the like on a storage thread; nothing comes back.
    Run(StorageJob),
    /// An answer.
    Answer {
        /// To whom.
        to: ReplyTo,
        /// What.
        answer: PartitionAnswer,
    },
    /// Send a message to another replica of the partition. It may be lost, delayed or doubled.
    Send {
        /// To whom.
        to: ReplicaKey,
        /// What.
        message: Message,
        /// The record batches that go with a response, else nothing.
        records: Bytes,
        /// Whether it is an answer to a follower that is far behind: more is there for it than it holds, and nobody waits
        /// for it.
        catch_up: bool,
    },
    /// The voters are those that they shall be, and a majority of them knows it: the metadata store is told, as
    /// [`crate::metadata_store::MetadataEvent::TargetReached`]. It comes again until the target is another one.
    TargetReached {
        /// The metadata epoch that has set the target.
        epoch: u64,
        /// Who votes.
        voters: Vec<(BrokerId, DirectoryId)>,
    },
    /// What became of [`ReplicaEvent::Force`]: the configuration is durable and in force here, or nothing was done.
    Forced {
        /// The number that came with it.
        token: u64,
        /// What is forced, or why not.
        result: Result<Forced, ForceRefusal>,
    },
    /// Wake the replica at this moment; replaces the timer asked for before.
    Timer(Instant),
    /// The replica has stopped cleanly; the host may drop it.
    Stopped,
}
