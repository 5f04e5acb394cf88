//! What a shard can be asked, in plain types that are the same for every version of the Kafka APIs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_types::{LeaderEpoch, Offset, Timestamp};

/// A request about groups; each is answered exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRequest {
    /// `JoinGroup`.
    Join(JoinGroup),
    /// `SyncGroup`.
    Sync(SyncGroup),
    /// `Heartbeat`.
    Heartbeat(Heartbeat),
    /// `LeaveGroup`.
    Leave(LeaveGroup),
    /// `OffsetCommit`.
    Commit(CommitOffsets),
    /// `OffsetFetch` of one group.
    Fetch(FetchOffsets),
    /// `OffsetDelete`.
    DeleteOffsets(DeleteOffsets),
    /// `DeleteGroups`.
    DeleteGroups(Vec<Arc<str>>),
    /// Topics have been deleted: what the groups have committed of them goes too, lest a topic that is created under
    /// the same name be read from an offset of the old one.
    ForgetTopics(Vec<Arc<str>>),
    /// `DescribeGroups`.
    Describe(Vec<Arc<str>>),
    /// `ListGroups`.
    List {
        /// Names of states, in any case, of which one must fit; empty for all (KIP-518).
        states: Vec<String>,
    },
}

/// A member joins, or joins again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroup {
    /// The group.
    pub group: Arc<str>,
    /// The member's id, empty when it has none yet.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// `client.id` of the member.
    pub client_id: Arc<str>,
    /// Address of the member.
    pub client_host: Arc<str>,
    /// How long the member may be silent.
    pub session_timeout: Duration,
    /// How long a rebalance waits for the member.
    pub rebalance_timeout: Duration,
    /// `consumer`, `connect`, ...
    pub protocol_type: Arc<str>,
    /// Assignors with their metadata, the preferred one first.
    pub protocols: Vec<JoinProtocol>,
    /// Whether a member without an id is sent back with one first (`JoinGroup` 4, KIP-394).
    pub requires_known_member_id: bool,
    /// Whether the member understands that it leads without assigning (`JoinGroup` 9, KIP-814).
    pub supports_skipping_assignment: bool,
}

/// One protocol (assignor) that a member offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinProtocol {
    /// Its name.
    pub name: Arc<str>,
    /// Opaque to the coordinator but for the topics of the `consumer` protocol.
    pub metadata: Bytes,
}

/// A member asks for its assignment; the leader brings everyone's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group.
    pub group: Arc<str>,
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation the member knows.
    pub generation: i32,
    /// The protocol type the member expects, if it says one (KIP-559).
    pub protocol_type: Option<Arc<str>>,
    /// The protocol the member expects, if it says one.
    pub protocol: Option<Arc<str>>,
    /// Member id and assignment, of the leader alone.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// A member is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group.
    pub group: Arc<str>,
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation the member knows.
    pub generation: i32,
}

/// Members leave, or are removed by an administrator (KIP-345).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveGroup {
    /// The group.
    pub group: Arc<str>,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// One member of a [`LeaveGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member, empty when it is named by its instance id.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
}

/// Offsets to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsets {
    /// The group.
    pub group: Arc<str>,
    /// The member, empty for a consumer that does not use group management.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation the member knows, negative without group management.
    pub generation: i32,
    /// How long to keep the offsets (`OffsetCommit` 2 to 4), `None` for the broker's retention.
    pub retention: Option<Duration>,
    /// Whether a member of a group that does not exist is told so, rather than that its generation is not the current
    /// one (`OffsetCommit` 9, KIP-848).
    pub knows_missing_group: bool,
    /// The offsets.
    pub topics: Vec<CommitTopic>,
}

/// The offsets of one topic to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The offsets by partition.
    pub partitions: Vec<CommitOffset>,
}

/// One offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffset {
    /// The partition.
    pub partition: i32,
    /// The offset to go on from.
    pub offset: Offset,
    /// Leader epoch of the last consumed record, `-1` for unknown (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: Arc<str>,
    /// When the offset counts as committed, in milliseconds (`OffsetCommit` 1); `None` for the time of the request.
    pub commit_timestamp: Option<Timestamp>,
}

/// Which committed offsets of a group to return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsets {
    /// The group.
    pub group: Arc<str>,
    /// The partitions by topic; `None` for all that have an offset.
    pub topics: Option<Vec<TopicPartitions>>,
    /// Whether an offset whose transaction is open is refused (KIP-447).
    pub require_stable: bool,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitions {
    /// The topic's name.
    pub name: Arc<str>,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// Which committed offsets to forget (KIP-496).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// The group.
    pub group: Arc<str>,
    /// The partitions by topic.
    pub topics: Vec<TopicPartitions>,
}
