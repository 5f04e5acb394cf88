//! Writing the response of a fetch.

use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::protocol::StrBytes;
use millrace_types::ErrorCode;

use super::{LEADER_FROM, Outcome, SESSION_FROM};
use crate::api::{Context, leaders::Leaders};
use crate::fetch_session::{NO_SESSION, PartitionKey, TopicKey};
use crate::wire::{self, Frame, WireError};

/// The response that carries an error for the whole request and nothing else.
pub(super) fn refusal(cx: &Context<'_>, error: ErrorCode) -> Result<Frame, WireError> {
    let response = FetchResponse::default().with_error_code(error.code()).with_session_id(NO_SESSION);
    wire::encode_fetch(&response, cx.version)
}

/// The response with these partitions, in their order; neighbours of one topic share its entry.
pub(super) fn response<'a>(
    cx: &Context<'_>,
    session: i32,
    answers: impl Iterator<Item = (&'a PartitionKey, &'a Outcome)>,
    committed_only: bool,
) -> Result<Frame, WireError> {
    let mut leaders = Leaders::default();
    let mut response = FetchResponse::default();
    let mut topic_key: Option<&TopicKey> = None;
    for (key, outcome) in answers {
        if topic_key != Some(&key.topic) {
            topic_key = Some(&key.topic);
            response.responses.push(topic(&key.topic));
        }
        let mut data = partition(key.partition, outcome, committed_only);
        if cx.version >= LEADER_FROM {
            add_leader(cx, outcome, &mut data, &mut leaders);
        }
        if let Some(topic) = response.responses.last_mut() {
            topic.partitions.push(data);
        }
    }
    if cx.version >= SESSION_FROM {
        response.session_id = session;
    }
    let endpoint = |at: crate::api::leaders::LeaderEndpoint| {
        let node = NodeEndpoint::default().with_node_id(at.id.0.into()).with_host(at.host);
        node.with_port(at.port).with_rack(at.rack)
    };
    response.node_endpoints = leaders.endpoints(cx).into_iter().map(endpoint).collect();
    wire::encode_fetch(&response, cx.version)
}

fn topic(key: &TopicKey) -> FetchableTopicResponse {
    match key {
        TopicKey::Name(name) => {
            FetchableTopicResponse::default().with_topic(StrBytes::from_string(name.to_string()).into())
        }
        TopicKey::Id(id) => FetchableTopicResponse::default().with_topic_id(*id),
    }
}

/// `records` is empty and never null: librdkafka takes null for an error.
fn partition(number: i32, outcome: &Outcome, committed_only: bool) -> PartitionData {
    let data = PartitionData::default()
        .with_partition_index(number)
        .with_error_code(outcome.error.code())
        .with_high_watermark(outcome.high_watermark)
        .with_last_stable_offset(outcome.last_stable)
        .with_log_start_offset(outcome.log_start)
        .with_aborted_transactions(committed_only.then(Vec::new))
        .with_records(Some(outcome.records.clone()))
        .with_preferred_read_replica(outcome.preferred.map_or(-1, |broker| broker.0).into());
    match outcome.diverging {
        Some((epoch, end)) => {
            data.with_diverging_epoch(EpochEndOffset::default().with_epoch(epoch).with_end_offset(end))
        }
        None => data,
    }
}

fn add_leader(cx: &Context<'_>, outcome: &Outcome, data: &mut PartitionData, leaders: &mut Leaders) {
    if !matches!(outcome.error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
        return;
    }
    let known = (outcome.error, outcome.known_epoch);
    if let Some((leader, epoch)) = outcome.partition.and_then(|partition| leaders.current(cx, partition, known)) {
        data.current_leader = LeaderIdAndEpoch::default().with_leader_id(leader.0.into()).with_leader_epoch(epoch);
    }
}
