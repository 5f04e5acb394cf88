//! The one error type of the client, and the three questions an application asks about an error.

use std::sync::Arc;

use millrace_types::{ErrorCode, Offset};

/// Result of a client operation.
pub type Result<T> = std::result::Result<T, ClientError>;

/// What can go wrong in the client. Cheap to clone: one failed batch answers many deliveries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A broker answered a request with an error code.
    #[error("{api}: {code}{}", detail(.message.as_deref()))]
    Broker {
        /// Name of the API that failed.
        api: &'static str,
        /// The code of the answer.
        code: ErrorCode,
        /// The broker's own text, when it sent one.
        message: Option<Arc<str>>,
    },
    /// The operation was not finished within its time.
    #[error("{what} was not finished in time{}", cause_text(.cause.as_deref()))]
    Timeout {
        /// The operation.
        what: &'static str,
        /// The last error that kept it from being finished.
        cause: Option<Box<ClientError>>,
    },
    /// A record was not acknowledged.
    #[error("record not acknowledged: {cause}")]
    NotDelivered {
        /// Why the producer gave up.
        cause: Box<ClientError>,
        /// Whether the record may be in the log all the same.
        possibly_written: bool,
    },
    /// The connection to a broker ended before the answer came.
    #[error("the connection to {address} ended before the answer came")]
    Disconnected {
        /// The broker's address.
        address: Arc<str>,
    },
    /// No broker can be reached.
    #[error("no broker can be reached, tried {addresses}: {reason}")]
    NoBroker {
        /// The addresses that were tried, separated by commas.
        addresses: Arc<str>,
        /// Why the last of them failed.
        reason: Arc<str>,
    },
    /// The broker and this client have no version of an API in common.
    #[error("the broker offers no version of {api} that this client speaks")]
    UnsupportedVersion {
        /// Name of the API.
        api: &'static str,
    },
    /// A broker's bytes do not follow the protocol.
    #[error("{what} does not follow the protocol: {reason}")]
    Protocol {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// A record batch failed its check.
    #[error("{topic}-{partition}: corrupt record batch at offset {offset}: {reason}")]
    Corrupt {
        /// Name of the topic.
        topic: Arc<str>,
        /// Number of the partition.
        partition: i32,
        /// Base offset of the batch, or the offset that was fetched.
        offset: Offset,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// A record is larger than the producer may send.
    #[error("a record of {size} bytes is larger than the limit of {limit} bytes (max_request_size)")]
    RecordTooLarge {
        /// Size of the record in a batch of its own, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The producer's memory is full of records that are not acknowledged yet.
    #[error("the producer's buffer is full")]
    BufferFull,
    /// The topic has no such partition.
    #[error("topic {topic} has {count} partitions, there is no partition {partition}")]
    UnknownPartition {
        /// Name of the topic.
        topic: Arc<str>,
        /// The partition that was asked for.
        partition: i32,
        /// Number of partitions the topic has.
        count: i32,
    },
    /// A partition has no committed offset and the consumer is told not to choose one.
    #[error("{topic}-{partition} has no valid position and auto.offset.reset is none")]
    NoPosition {
        /// Name of the topic.
        topic: Arc<str>,
        /// Number of the partition.
        partition: i32,
    },
    /// The log was truncated below the consumer's position by an unclean change of leaders (KIP-320).
    #[error("{topic}-{partition} was truncated to {end_offset}, below the position {position}")]
    Truncated {
        /// Name of the topic.
        topic: Arc<str>,
        /// Number of the partition.
        partition: i32,
        /// The consumer's position.
        position: Offset,
        /// End of the last leader epoch that the log and the consumer share.
        end_offset: Offset,
    },
    /// A partition is not assigned to this consumer.
    #[error("{topic}-{partition} is not assigned to this consumer")]
    NotAssigned {
        /// Name of the topic.
        topic: Arc<str>,
        /// Number of the partition.
        partition: i32,
    },
    /// A setting, or a combination of settings, is not allowed.
    #[error("configuration: {reason}")]
    Config {
        /// What is wrong.
        reason: Arc<str>,
    },
    /// The operation needs a group id or a subscription that this consumer does not have.
    #[error("not possible in this state: {reason}")]
    State {
        /// What is missing.
        reason: &'static str,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// Whether the same operation may succeed when it is tried again without any change.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code_is_retriable(*code),
            Self::NotDelivered { cause, .. } => cause.is_retriable(),
            Self::Timeout { .. } | Self::Disconnected { .. } | Self::NoBroker { .. } | Self::BufferFull => true,
            Self::Corrupt { .. } => true,
            Self::UnsupportedVersion { .. }
            | Self::Protocol { .. }
            | Self::RecordTooLarge { .. }
            | Self::UnknownPartition { .. }
            | Self::NoPosition { .. }
            | Self::Truncated { .. }
            | Self::NotAssigned { .. }
            | Self::Config { .. }
            | Self::State { .. }
            | Self::Closed => false,
        }
    }

    /// Whether this client object is of no use any more and has to be made again.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Broker { code, .. } => matches!(
                code,
                ErrorCode::ProducerFenced
                    | ErrorCode::InvalidProducerEpoch
                    | ErrorCode::FencedInstanceId
                    | ErrorCode::SaslAuthenticationFailed
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::UnsupportedSaslMechanism
            ),
            Self::NotDelivered { cause, .. } => cause.is_fatal(),
            Self::UnsupportedVersion { .. } | Self::Closed => true,
            _ => false,
        }
    }

    /// Whether records of the failed operation may be in the log all the same.
    #[must_use]
    pub fn possibly_written(&self) -> bool {
        match self {
            Self::NotDelivered { possibly_written, .. } => *possibly_written,
            _ => false,
        }
    }

    /// The broker's error code at the root of this error, if a broker gave one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::NotDelivered { cause, .. } => cause.code(),
            Self::Timeout { cause, .. } => cause.as_ref().and_then(|cause| cause.code()),
            _ => None,
        }
    }

    pub(crate) fn broker(api: &'static str, code: ErrorCode) -> Self {
        Self::Broker { api, code, message: None }
    }

    pub(crate) fn broker_with(api: &'static str, code: ErrorCode, message: Option<&str>) -> Self {
        Self::Broker { api, code, message: message.map(Arc::from) }
    }

    pub(crate) fn protocol(what: &'static str, reason: impl AsRef<str>) -> Self {
        Self::Protocol { what, reason: Arc::from(reason.as_ref()) }
    }

    pub(crate) fn config(reason: impl AsRef<str>) -> Self {
        Self::Config { reason: Arc::from(reason.as_ref()) }
    }

    pub(crate) fn timeout(what: &'static str, cause: Option<Self>) -> Self {
        Self::Timeout { what, cause: cause.map(Box::new) }
    }
}

/// Whether Kafka's own clients try again after `code`.
#[must_use]
pub(crate) fn code_is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::RequestTimedOut
            | ErrorCode::BrokerNotAvailable
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::NetworkException
            | ErrorCode::CorruptMessage
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::NotController
            | ErrorCode::KafkaStorageError
            | ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::ListenerNotFound
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::PreferredLeaderNotAvailable
            | ErrorCode::EligibleLeadersNotAvailable
            | ErrorCode::ConcurrentTransactions
            | ErrorCode::UnstableOffsetCommit
            | ErrorCode::ThrottlingQuotaExceeded
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::RebalanceInProgress
            | ErrorCode::ReassignmentInProgress
            | ErrorCode::RebootstrapRequired
    )
}

fn detail(message: Option<&str>) -> String {
    message.filter(|text| !text.is_empty()).map(|text| format!(" ({text})")).unwrap_or_default()
}

fn cause_text(cause: Option<&ClientError>) -> String {
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_retriable_and_possibly_written() {
        let lost = ClientError::NotDelivered {
            cause: Box::new(ClientError::Disconnected { address: Arc::from("b:9092") }),
            possibly_written: true,
        };
        assert!(lost.is_retriable() && lost.possibly_written() && !lost.is_fatal());
        let fenced = ClientError::broker("Produce", ErrorCode::ProducerFenced);
        assert!(fenced.is_fatal() && !fenced.is_retriable() && !fenced.possibly_written());
    }

    #[test]
    fn the_code_is_found_under_its_wrappers() {
        let inner = ClientError::broker_with("Produce", ErrorCode::NotEnoughReplicas, Some("2 < 3"));
        let outer = ClientError::timeout("produce", Some(inner));
        assert_eq!(outer.code(), Some(ErrorCode::NotEnoughReplicas));
        assert!(outer.to_string().contains("2 < 3"), "{outer}");
    }
}
