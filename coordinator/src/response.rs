//! What a shard answers.

use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{ErrorCode, LeaderEpoch, Offset};

use crate::group::state::GroupState;

/// The answer to a [`GroupRequest`](crate::GroupRequest), of the same name but for [`GroupResponse::Failed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupResponse {
    /// `JoinGroup`.
    Join(JoinedGroup),
    /// `SyncGroup`.
    Sync(SyncedGroup),
    /// `Heartbeat`.
    Heartbeat(ErrorCode),
    /// `LeaveGroup`.
    Leave(LeftGroup),
    /// `OffsetCommit`: topics and partitions in the order of the request.
    Commit(Vec<CommittedTopic>),
    /// `OffsetFetch`.
    Fetch(FetchedOffsets),
    /// `OffsetDelete`: topics and partitions in the order of the request.
    DeleteOffsets(Vec<CommittedTopic>),
    /// `DeleteGroups`: in the order of the request.
    DeleteGroups(Vec<(Arc<str>, ErrorCode)>),
    /// `ForgetTopics`.
    ForgetTopics,
    /// `DescribeGroups`: in the order of the request.
    Describe(Vec<DescribedGroup>),
    /// `ListGroups`: in the order of the group ids.
    List(Vec<ListedGroup>),
    /// The request failed as a whole, whatever it was; nothing of it is promised.
    Failed(ErrorCode),
}

/// The answer to a member that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedGroup {
    /// Why it could not join.
    pub error: ErrorCode,
    /// The generation joined, `-1` with an error.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol selected by the members' votes.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader.
    pub leader: Arc<str>,
    /// Whether the leader keeps the assignment in force instead of computing one (KIP-814).
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Arc<str>,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// One member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Its metadata for the selected protocol.
    pub metadata: Bytes,
}

/// The answer to a member that asks for its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedGroup {
    /// Why there is none.
    pub error: ErrorCode,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The selected protocol.
    pub protocol: Option<Arc<str>>,
    /// The member's assignment.
    pub assignment: Bytes,
}

/// The answer to members that leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftGroup {
    /// Why nobody could leave.
    pub error: ErrorCode,
    /// What came of each, in the order of the request.
    pub members: Vec<LeftMember>,
}

/// One member of a [`LeftGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMember {
    /// The member id of the request.
    pub member_id: Arc<str>,
    /// The instance id of the request.
    pub instance_id: Option<Arc<str>>,
    /// Why it could not leave.
    pub error: ErrorCode,
}

/// Error codes by partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// Partition and error code.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// The committed offsets of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffsets {
    /// The group.
    pub group: Arc<str>,
    /// The offsets by topic.
    pub topics: Vec<FetchedTopic>,
}

/// The committed offsets of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The offsets.
    pub partitions: Vec<FetchedOffset>,
}

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// The committed offset, `-1` for none.
    pub offset: Offset,
    /// The committed leader epoch, `-1` for unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: Arc<str>,
    /// Why there is no offset.
    pub error: ErrorCode,
}

/// One group as `DescribeGroups` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// The group.
    pub group: Arc<str>,
    /// Its state; [`GroupState::Dead`] for a group that does not exist.
    pub state: GroupState,
    /// Its protocol type, empty when it has none.
    pub protocol_type: Arc<str>,
    /// The protocol in force, empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members, by member id.
    pub members: Vec<DescribedMember>,
}

/// One member as `DescribeGroups` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.id` of the member.
    pub client_id: Arc<str>,
    /// Address of the member.
    pub client_host: Arc<str>,
    /// Its metadata for the protocol in force.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// One group as `ListGroups` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: Arc<str>,
    /// Its protocol type, empty when it has none.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: GroupState,
}
