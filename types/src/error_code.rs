//! Kafka's error codes, by their numbers on the wire.

use std::fmt;

/// An error code of the Kafka protocol.
///
/// The numbers are those of Apache Kafka's `Errors`; an unknown number reads as [`ErrorCode::UnknownServerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The server met an error that has no code of its own.
    UnknownServerError = -1,
    /// No error.
    None = 0,
    /// The offset is outside the range the partition holds.
    OffsetOutOfRange = 1,
    /// A record batch failed its checksum, size or format check.
    CorruptMessage = 2,
    /// This server does not host the topic or partition.
    UnknownTopicOrPartition = 3,
    /// The requested fetch size is invalid.
    InvalidFetchSize = 4,
    /// There is no leader for the partition at the moment.
    LeaderNotAvailable = 5,
    /// This broker is not the leader, or not a replica, of the partition.
    NotLeaderOrFollower = 6,
    /// The request was not finished within its time.
    RequestTimedOut = 7,
    /// The broker is not available.
    BrokerNotAvailable = 8,
    /// The replica is not available.
    ReplicaNotAvailable = 9,
    /// A record batch is larger than the topic allows.
    MessageTooLarge = 10,
    /// The metadata string of a committed offset is too large.
    OffsetMetadataTooLarge = 12,
    /// The server disconnected before it answered.
    NetworkException = 13,
    /// The coordinator is still loading its state.
    CoordinatorLoadInProgress = 14,
    /// The coordinator is not available.
    CoordinatorNotAvailable = 15,
    /// This broker is not the coordinator.
    NotCoordinator = 16,
    /// The topic name, or the operation on this topic, is not allowed.
    InvalidTopicException = 17,
    /// The record batch is larger than a segment.
    RecordListTooLarge = 18,
    /// There are fewer in-sync replicas than required; nothing was written.
    NotEnoughReplicas = 19,
    /// The records were written, but to fewer in-sync replicas than required.
    NotEnoughReplicasAfterAppend = 20,
    /// The acks of the request are none of -1, 0 and 1.
    InvalidRequiredAcks = 21,
    /// The generation of the group member is not the current one.
    IllegalGeneration = 22,
    /// The member's protocols do not fit those of its group.
    InconsistentGroupProtocol = 23,
    /// The group id is invalid.
    InvalidGroupId = 24,
    /// The coordinator does not know the member.
    UnknownMemberId = 25,
    /// The session timeout is outside the allowed range.
    InvalidSessionTimeout = 26,
    /// The group is rebalancing: join again.
    RebalanceInProgress = 27,
    /// The committed offset's data is too large.
    InvalidCommitOffsetSize = 28,
    /// Not authorized for the topic.
    TopicAuthorizationFailed = 29,
    /// Not authorized for the group.
    GroupAuthorizationFailed = 30,
    /// Not authorized for the cluster.
    ClusterAuthorizationFailed = 31,
    /// The timestamp of a record is outside the allowed range.
    InvalidTimestamp = 32,
    /// The SASL mechanism is not supported.
    UnsupportedSaslMechanism = 33,
    /// The request is not valid in the current SASL state.
    IllegalSaslState = 34,
    /// The version of the API is not supported.
    UnsupportedVersion = 35,
    /// A topic with this name already exists.
    TopicAlreadyExists = 36,
    /// The number of partitions is below 1 or above the limit.
    InvalidPartitions = 37,
    /// The replication factor is below 1 or above the number of brokers.
    InvalidReplicationFactor = 38,
    /// The replica assignment is invalid.
    InvalidReplicaAssignment = 39,
    /// The configuration is invalid.
    InvalidConfig = 40,
    /// This broker is not the controller; no broker of Millrace answers it.
    NotController = 41,
    /// The request contradicts itself or the protocol.
    InvalidRequest = 42,
    /// The message format does not support the operation.
    UnsupportedForMessageFormat = 43,
    /// The request violates a policy.
    PolicyViolation = 44,
    /// The sequence number leaves a gap.
    OutOfOrderSequenceNumber = 45,
    /// The sequence number was seen before, too long ago to know its offset.
    DuplicateSequenceNumber = 46,
    /// The producer's epoch is older than the current one.
    InvalidProducerEpoch = 47,
    /// The transaction is in a state that does not allow this.
    InvalidTxnState = 48,
    /// The producer id does not belong to the transactional id.
    InvalidProducerIdMapping = 49,
    /// The transaction timeout is above the limit.
    InvalidTransactionTimeout = 50,
    /// Another transaction of the producer is still being finished.
    ConcurrentTransactions = 51,
    /// The transaction coordinator is not the current one.
    TransactionCoordinatorFenced = 52,
    /// Not authorized for the transactional id.
    TransactionalIdAuthorizationFailed = 53,
    /// Security features are disabled.
    SecurityDisabled = 54,
    /// The operation was not attempted; another of its batch failed.
    OperationNotAttempted = 55,
    /// The log cannot be read or written.
    KafkaStorageError = 56,
    /// The log directory is not known.
    LogDirNotFound = 57,
    /// SASL authentication failed.
    SaslAuthenticationFailed = 58,
    /// The partition holds nothing of the producer id any more.
    UnknownProducerId = 59,
    /// A reassignment of the partition is in progress.
    ReassignmentInProgress = 60,
    /// The group has members.
    NonEmptyGroup = 68,
    /// The group does not exist.
    GroupIdNotFound = 69,
    /// The fetch session is not known.
    FetchSessionIdNotFound = 70,
    /// The epoch of the fetch session is not the expected one.
    InvalidFetchSessionEpoch = 71,
    /// No listener of the leader fits the one the request came in by.
    ListenerNotFound = 72,
    /// Topic deletion is disabled.
    TopicDeletionDisabled = 73,
    /// The leader epoch of the request is older than the broker's.
    FencedLeaderEpoch = 74,
    /// The leader epoch of the request is newer than the broker's.
    UnknownLeaderEpoch = 75,
    /// The compression type is not supported in this version.
    UnsupportedCompressionType = 76,
    /// The broker epoch is stale.
    StaleBrokerEpoch = 77,
    /// The high watermark has not caught up after an election.
    OffsetNotAvailable = 78,
    /// The member must join again with the member id it was given.
    MemberIdRequired = 79,
    /// The preferred leader is not available.
    PreferredLeaderNotAvailable = 80,
    /// The group has its maximum number of members.
    GroupMaxSizeReached = 81,
    /// Another member joined with the same group instance id.
    FencedInstanceId = 82,
    /// No eligible leader is available.
    EligibleLeadersNotAvailable = 83,
    /// The partition has the wanted leader already.
    ElectionNotNeeded = 84,
    /// No reassignment is in progress.
    NoReassignmentInProgress = 85,
    /// The group is subscribed to the topic.
    GroupSubscribedToTopic = 86,
    /// A record failed validation.
    InvalidRecord = 87,
    /// There are offsets whose transaction is not finished.
    UnstableOffsetCommit = 88,
    /// A quota is exceeded.
    ThrottlingQuotaExceeded = 89,
    /// A newer producer with the same transactional id exists.
    ProducerFenced = 90,
    /// The resource does not exist.
    ResourceNotFound = 91,
    /// The resource exists already.
    DuplicateResource = 92,
    /// The credential is not acceptable.
    UnacceptableCredential = 93,
    /// The voter sets differ.
    InconsistentVoterSet = 94,
    /// The update version is invalid.
    InvalidUpdateVersion = 95,
    /// The feature cannot be updated.
    FeatureUpdateFailed = 96,
    /// The principal cannot be read.
    PrincipalDeserializationFailure = 97,
    /// The snapshot does not exist.
    SnapshotNotFound = 98,
    /// The position is outside the snapshot.
    PositionOutOfRange = 99,
    /// This server does not know the topic id.
    UnknownTopicId = 100,
    /// A broker with this id is registered.
    DuplicateBrokerRegistration = 101,
    /// The broker id is not registered.
    BrokerIdNotRegistered = 102,
    /// The topic id does not fit the log.
    InconsistentTopicId = 103,
    /// The cluster id is another one.
    InconsistentClusterId = 104,
    /// The transactional id is not known.
    TransactionalIdNotFound = 105,
    /// The fetch session mixes topic names and topic ids.
    FetchSessionTopicIdError = 106,
    /// The replica may not join the in-sync replicas.
    IneligibleReplica = 107,
    /// A new leader was elected.
    NewLeaderElected = 108,
    /// The offset is in tiered storage.
    OffsetMovedToTieredStorage = 109,
    /// The member epoch is not the current one.
    FencedMemberEpoch = 110,
    /// The instance id is still used.
    UnreleasedInstanceId = 111,
    /// The assignor is not supported.
    UnsupportedAssignor = 112,
    /// The member epoch is stale.
    StaleMemberEpoch = 113,
    /// The request came to the wrong kind of endpoint.
    MismatchedEndpointType = 114,
    /// The endpoint type is not supported.
    UnsupportedEndpointType = 115,
    /// The controller id is not known.
    UnknownControllerId = 116,
    /// The telemetry subscription is not known.
    UnknownSubscriptionId = 117,
    /// The telemetry is too large.
    TelemetryTooLarge = 118,
    /// The registration is invalid.
    InvalidRegistration = 119,
    /// The transaction met an error and must be aborted.
    TransactionAbortable = 120,
    /// The state of the record does not allow this.
    InvalidRecordState = 121,
    /// The share session is not known.
    ShareSessionNotFound = 122,
    /// The share session epoch is invalid.
    InvalidShareSessionEpoch = 123,
    /// The state epoch is fenced.
    FencedStateEpoch = 124,
    /// The voter key does not fit the receiver.
    InvalidVoterKey = 125,
    /// The voter is part of the voter set already.
    DuplicateVoter = 126,
    /// The voter is not part of the voter set.
    VoterNotFound = 127,
    /// The regular expression is invalid.
    InvalidRegularExpression = 128,
    /// The client must bootstrap again.
    RebootstrapRequired = 129,
}

/// Every code with its number and text, in the order of the numbers.
const CODES: &[(i16, ErrorCode, &str)] = &[
    (-1, ErrorCode::UnknownServerError, "The server met an error that has no code of its own."),
    (0, ErrorCode::None, "No error."),
    (1, ErrorCode::OffsetOutOfRange, "The offset is outside the range the partition holds."),
    (2, ErrorCode::CorruptMessage, "A record batch failed its checksum, size or format check."),
    (3, ErrorCode::UnknownTopicOrPartition, "This server does not host the topic or partition."),
    (4, ErrorCode::InvalidFetchSize, "The requested fetch size is invalid."),
    (5, ErrorCode::LeaderNotAvailable, "There is no leader for the partition at the moment."),
    (6, ErrorCode::NotLeaderOrFollower, "This broker is not the leader, or not a replica, of the partition."),
    (7, ErrorCode::RequestTimedOut, "The request was not finished within its time."),
    (8, ErrorCode::BrokerNotAvailable, "The broker is not available."),
    (9, ErrorCode::ReplicaNotAvailable, "The replica is not available."),
    (10, ErrorCode::MessageTooLarge, "A record batch is larger than the topic allows."),
    (12, ErrorCode::OffsetMetadataTooLarge, "The metadata string of a committed offset is too large."),
    (13, ErrorCode::NetworkException, "The server disconnected before it answered."),
    (14, ErrorCode::CoordinatorLoadInProgress, "The coordinator is still loading its state."),
    (15, ErrorCode::CoordinatorNotAvailable, "The coordinator is not available."),
    (16, ErrorCode::NotCoordinator, "This broker is not the coordinator."),
    (17, ErrorCode::InvalidTopicException, "The topic name, or the operation on this topic, is not allowed."),
    (18, ErrorCode::RecordListTooLarge, "The record batch is larger than a segment."),
    (19, ErrorCode::NotEnoughReplicas, "There are fewer in-sync replicas than required; nothing was written."),
    (
        20,
        ErrorCode::NotEnoughReplicasAfterAppend,
        "The records were written, but to fewer in-sync replicas than required.",
    ),
    (21, ErrorCode::InvalidRequiredAcks, "The acks of the request are none of -1, 0 and 1."),
    (22, ErrorCode::IllegalGeneration, "The generation of the group member is not the current one."),
    (23, ErrorCode::InconsistentGroupProtocol, "The member's protocols do not fit those of its group."),
    (24, ErrorCode::InvalidGroupId, "The group id is invalid."),
    (25, ErrorCode::UnknownMemberId, "The coordinator does not know the member."),
    (26, ErrorCode::InvalidSessionTimeout, "The session timeout is outside the allowed range."),
    (27, ErrorCode::RebalanceInProgress, "The group is rebalancing: join again."),
    (28, ErrorCode::InvalidCommitOffsetSize, "The committed offset's data is too large."),
    (29, ErrorCode::TopicAuthorizationFailed, "Not authorized for the topic."),
    (30, ErrorCode::GroupAuthorizationFailed, "Not authorized for the group."),
    (31, ErrorCode::ClusterAuthorizationFailed, "Not authorized for the cluster."),
    (32, ErrorCode::InvalidTimestamp, "The timestamp of a record is outside the allowed range."),
    (33, ErrorCode::UnsupportedSaslMechanism, "The SASL mechanism is not supported."),
    (34, ErrorCode::IllegalSaslState, "The request is not valid in the current SASL state."),
    (35, ErrorCode::UnsupportedVersion, "The version of the API is not supported."),
    (36, ErrorCode::TopicAlreadyExists, "A topic with this name already exists."),
    (37, ErrorCode::InvalidPartitions, "The number of partitions is below 1 or above the limit."),
    (38, ErrorCode::InvalidReplicationFactor, "The replication factor is below 1 or above the number of brokers."),
    (39, ErrorCode::InvalidReplicaAssignment, "The replica assignment is invalid."),
    (40, ErrorCode::InvalidConfig, "The configuration is invalid."),
    (41, ErrorCode::NotController, "This broker is not the controller; no broker of Millrace answers it."),
    (42, ErrorCode::InvalidRequest, "The request contradicts itself or the protocol."),
    (43, ErrorCode::UnsupportedForMessageFormat, "The message format does not support the operation."),
    (44, ErrorCode::PolicyViolation, "The request violates a policy."),
    (45, ErrorCode::OutOfOrderSequenceNumber, "The sequence number leaves a gap."),
    (46, ErrorCode::DuplicateSequenceNumber, "The sequence number was seen before, too long ago to know its offset."),
    (47, ErrorCode::InvalidProducerEpoch, "The producer's epoch is older than the current one."),
    (48, ErrorCode::InvalidTxnState, "The transaction is in a state that does not allow this."),
    (49, ErrorCode::InvalidProducerIdMapping, "The producer id does not belong to the transactional id."),
    (50, ErrorCode::InvalidTransactionTimeout, "The transaction timeout is above the limit."),
    (51, ErrorCode::ConcurrentTransactions, "Another transaction of the producer is still being finished."),
    (52, ErrorCode::TransactionCoordinatorFenced, "The transaction coordinator is not the current one."),
    (53, ErrorCode::TransactionalIdAuthorizationFailed, "Not authorized for the transactional id."),
    (54, ErrorCode::SecurityDisabled, "Security features are disabled."),
    (55, ErrorCode::OperationNotAttempted, "The operation was not attempted; another of its batch failed."),
    (56, ErrorCode::KafkaStorageError, "The log cannot be read or written."),
    (57, ErrorCode::LogDirNotFound, "The log directory is not known."),
    (58, ErrorCode::SaslAuthenticationFailed, "SASL authentication failed."),
    (59, ErrorCode::UnknownProducerId, "The partition holds nothing of the producer id any more."),
    (60, ErrorCode::ReassignmentInProgress, "A reassignment of the partition is in progress."),
    (68, ErrorCode::NonEmptyGroup, "The group has members."),
    (69, ErrorCode::GroupIdNotFound, "The group does not exist."),
    (70, ErrorCode::FetchSessionIdNotFound, "The fetch session is not known."),
    (71, ErrorCode::InvalidFetchSessionEpoch, "The epoch of the fetch session is not the expected one."),
    (72, ErrorCode::ListenerNotFound, "No listener of the leader fits the one the request came in by."),
    (73, ErrorCode::TopicDeletionDisabled, "Topic deletion is disabled."),
    (74, ErrorCode::FencedLeaderEpoch, "The leader epoch of the request is older than the broker's."),
    (75, ErrorCode::UnknownLeaderEpoch, "The leader epoch of the request is newer than the broker's."),
    (76, ErrorCode::UnsupportedCompressionType, "The compression type is not supported in this version."),
    (77, ErrorCode::StaleBrokerEpoch, "The broker epoch is stale."),
    (78, ErrorCode::OffsetNotAvailable, "The high watermark has not caught up after an election."),
    (79, ErrorCode::MemberIdRequired, "The member must join again with the member id it was given."),
    (80, ErrorCode::PreferredLeaderNotAvailable, "The preferred leader is not available."),
    (81, ErrorCode::GroupMaxSizeReached, "The group has its maximum number of members."),
    (82, ErrorCode::FencedInstanceId, "Another member joined with the same group instance id."),
    (83, ErrorCode::EligibleLeadersNotAvailable, "No eligible leader is available."),
    (84, ErrorCode::ElectionNotNeeded, "The partition has the wanted leader already."),
    (85, ErrorCode::NoReassignmentInProgress, "No reassignment is in progress."),
    (86, ErrorCode::GroupSubscribedToTopic, "The group is subscribed to the topic."),
    (87, ErrorCode::InvalidRecord, "A record failed validation."),
    (88, ErrorCode::UnstableOffsetCommit, "There are offsets whose transaction is not finished."),
    (89, ErrorCode::ThrottlingQuotaExceeded, "A quota is exceeded."),
    (90, ErrorCode::ProducerFenced, "A newer producer with the same transactional id exists."),
    (91, ErrorCode::ResourceNotFound, "The resource does not exist."),
    (92, ErrorCode::DuplicateResource, "The resource exists already."),
    (93, ErrorCode::UnacceptableCredential, "The credential is not acceptable."),
    (94, ErrorCode::InconsistentVoterSet, "The voter sets differ."),
    (95, ErrorCode::InvalidUpdateVersion, "The update version is invalid."),
    (96, ErrorCode::FeatureUpdateFailed, "The feature cannot be updated."),
    (97, ErrorCode::PrincipalDeserializationFailure, "The principal cannot be read."),
    (98, ErrorCode::SnapshotNotFound, "The snapshot does not exist."),
    (99, ErrorCode::PositionOutOfRange, "The position is outside the snapshot."),
    (100, ErrorCode::UnknownTopicId, "This server does not know the topic id."),
    (101, ErrorCode::DuplicateBrokerRegistration, "A broker with this id is registered."),
    (102, ErrorCode::BrokerIdNotRegistered, "The broker id is not registered."),
    (103, ErrorCode::InconsistentTopicId, "The topic id does not fit the log."),
    (104, ErrorCode::InconsistentClusterId, "The cluster id is another one."),
    (105, ErrorCode::TransactionalIdNotFound, "The transactional id is not known."),
    (106, ErrorCode::FetchSessionTopicIdError, "The fetch session mixes topic names and topic ids."),
    (107, ErrorCode::IneligibleReplica, "The replica may not join the in-sync replicas."),
    (108, ErrorCode::NewLeaderElected, "A new leader was elected."),
    (109, ErrorCode::OffsetMovedToTieredStorage, "The offset is in tiered storage."),
    (110, ErrorCode::FencedMemberEpoch, "The member epoch is not the current one."),
    (111, ErrorCode::UnreleasedInstanceId, "The instance id is still used."),
    (112, ErrorCode::UnsupportedAssignor, "The assignor is not supported."),
    (113, ErrorCode::StaleMemberEpoch, "The member epoch is stale."),
    (114, ErrorCode::MismatchedEndpointType, "The request came to the wrong kind of endpoint."),
    (115, ErrorCode::UnsupportedEndpointType, "The endpoint type is not supported."),
    (116, ErrorCode::UnknownControllerId, "The controller id is not known."),
    (117, ErrorCode::UnknownSubscriptionId, "The telemetry subscription is not known."),
    (118, ErrorCode::TelemetryTooLarge, "The telemetry is too large."),
    (119, ErrorCode::InvalidRegistration, "The registration is invalid."),
    (120, ErrorCode::TransactionAbortable, "The transaction met an error and must be aborted."),
    (121, ErrorCode::InvalidRecordState, "The state of the record does not allow this."),
    (122, ErrorCode::ShareSessionNotFound, "The share session is not known."),
    (123, ErrorCode::InvalidShareSessionEpoch, "The share session epoch is invalid."),
    (124, ErrorCode::FencedStateEpoch, "The state epoch is fenced."),
    (125, ErrorCode::InvalidVoterKey, "The voter key does not fit the receiver."),
    (126, ErrorCode::DuplicateVoter, "The voter is part of the voter set already."),
    (127, ErrorCode::VoterNotFound, "The voter is not part of the voter set."),
    (128, ErrorCode::InvalidRegularExpression, "The regular expression is invalid."),
    (129, ErrorCode::RebootstrapRequired, "The client must bootstrap again."),
];

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The code with this number on the wire.
    #[must_use]
    pub fn from_code(code: i16) -> Self {
        CODES.binary_search_by_key(&code, |row| row.0).map_or(Self::UnknownServerError, |at| CODES[at].1)
    }

    /// One sentence that says what the code means.
    #[must_use]
    pub fn message(self) -> &'static str {
        CODES.binary_search_by_key(&self.code(), |row| row.0).map_or("", |at| CODES[at].2)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({}): {}", self.code(), self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number() {
        assert!(CODES.is_sorted_by_key(|row| row.0), "binary search needs the order");
        for (code, error, _) in CODES {
            assert_eq!(ErrorCode::from_code(*code), *error);
            assert_eq!(error.code(), *code);
        }
        assert_eq!(ErrorCode::from_code(i16::MAX), ErrorCode::UnknownServerError);
    }
}
