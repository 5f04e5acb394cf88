//! What came of one partition's records, and how the response says it.

use kafka_protocol::messages::ProduceResponse;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use millrace_storage::{AppendError, BatchError};
use millrace_types::{ErrorCode, Offset, Timestamp, TopicPartition};

use crate::api::Context;
use crate::api::leaders::{LeaderEndpoint, Leaders};
use crate::call::{Answer, PartitionAnswer};

/// First version with messages for errors (KIP-467).
const MESSAGES_FROM: i16 = 8;
/// First version with the leader to turn to (KIP-951).
const LEADER_FROM: i16 = 10;

/// What came of one partition's records.
#[derive(Debug)]
pub(super) struct Verdict {
    error: ErrorCode,
    base_offset: Offset,
    log_append_time: Timestamp,
    log_start: Offset,
    message: Option<String>,
    /// The record of the batch that is to blame.
    record: Option<i32>,
    /// The partition, where the client may have to look for its leader.
    partition: Option<TopicPartition>,
}

impl Verdict {
    /// Nothing was appended.
    pub(super) fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            base_offset: -1,
            log_append_time: -1,
            log_start: -1,
            message: None,
            record: None,
            partition: None,
        }
    }

    /// The batch breaks a rule.
    pub(super) fn bad_batch(error: &BatchError) -> Self {
        let record = match error {
            BatchError::MissingKey { at } => Some(*at),
            _ => None,
        };
        Self { message: Some(error.to_string()), record, ..Self::refused(error.error_code()) }
    }

    /// The same of a partition that is known.
    pub(super) fn at(self, partition: TopicPartition) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// What a replica answered.
    pub(super) fn of(answer: Answer) -> Self {
        match answer {
            Answer::Partition(PartitionAnswer::Produced { base_offset, log_append_time, log_start }) => {
                Self { base_offset, log_append_time, log_start, ..Self::refused(ErrorCode::None) }
            }
            Answer::Partition(PartitionAnswer::Refused { error, log_start }) => {
                let base = match &error {
                    AppendError::Batch(error) => Self::bad_batch(error),
                    error => Self { message: Some(error.to_string()), ..Self::refused(error.error_code()) },
                };
                Self { log_start, ..base }
            }
            Answer::Partition(PartitionAnswer::Failed(error)) | Answer::Gone(error) => Self::refused(error),
            Answer::Partition(_) | Answer::Group(_) | Answer::Metadata(_) | Answer::Elected(_) => {
                Self::refused(ErrorCode::UnknownServerError)
            }
        }
    }

    pub(super) const fn is_error(&self) -> bool {
        !matches!(self.error, ErrorCode::None)
    }

    /// The partition's entry of the response.
    pub(super) fn response(self, cx: &Context<'_>, number: i32, leaders: &mut Leaders) -> PartitionProduceResponse {
        let mut response = PartitionProduceResponse::default()
            .with_index(number)
            .with_error_code(self.error.code())
            .with_base_offset(self.base_offset)
            .with_log_append_time_ms(self.log_append_time)
            .with_log_start_offset(self.log_start);
        if cx.version >= MESSAGES_FROM {
            let message = self.message.map(StrBytes::from_string);
            if let Some(record) = self.record {
                let blamed = BatchIndexAndErrorMessage::default().with_batch_index(record);
                response.record_errors.push(blamed.with_batch_index_error_message(message.clone()));
            }
            response.error_message = message;
        }
        if cx.version >= LEADER_FROM
            && self.error == ErrorCode::NotLeaderOrFollower
            && let Some((leader, epoch)) =
                self.partition.and_then(|partition| leaders.current(cx, partition, (self.error, -1)))
        {
            response.current_leader =
                LeaderIdAndEpoch::default().with_leader_id(leader.0.into()).with_leader_epoch(epoch);
        }
        response
    }
}

/// Adds the addresses of the leaders named.
pub(super) fn add_endpoints(cx: &Context<'_>, leaders: &Leaders, response: &mut ProduceResponse) {
    if cx.version >= LEADER_FROM {
        let node = |at: LeaderEndpoint| {
            let node = NodeEndpoint::default().with_node_id(at.id.0.into()).with_host(at.host);
            node.with_port(at.port).with_rack(at.rack)
        };
        response.node_endpoints = leaders.endpoints(cx).into_iter().map(node).collect();
    }
}
