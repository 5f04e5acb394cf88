//! `ElectLeaders` (key 43): moving leadership to the preferred replica, or to one that may have lost records (KIP-460).
//!
//! The preferred leader is the first replica of the assignment. It leads after the present leader has handed over, which
//! [`crate::leaders`] asks of it, wherever it is: any broker can be asked. An election that may lose records is never
//! held on a client's word: a majority of the replicas elects by itself and loses nothing, and a lost majority is given
//! up by the operator alone.

mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::elect_leaders_response::PartitionResult;
use kafka_protocol::messages::{ApiKey, ElectLeadersRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Image, Topic};
use millrace_types::{ErrorCode, Instant, TopicPartition};

use self::waiting::Electing;
use super::{Api, Context, Step, lookup};
use crate::call::Call;
use crate::deadline;
use crate::wire::{self, WireError};

/// The API `ElectLeaders`.
pub(super) const API: Api = Api { key: ApiKey::ElectLeaders, min: 0, advertised_min: 0, max: 2, handle };

/// From this version on the response has an error of its own.
const TOP_ERROR_FROM: i16 = 1;
/// Why no replica is elected that may have lost records.
const NO_UNCLEAN: &str = "Nobody leads the partition, and no replica is made leader that may lack acknowledged records: \
                          it has a leader again when a majority of its replicas is back.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Election {
    Preferred,
    Unclean,
}

/// What an election comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Known(ErrorCode),
    /// The answer to the call with this token tells.
    Asked(u64),
}

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ElectLeadersRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let deadline = deadline::after_ms(cx.now, request.timeout_ms);
    let election = match request.election_type {
        0 => Ok(Election::Preferred),
        1 => Ok(Election::Unclean),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let mut electing = Electing::new(deadline);
    match request.topic_partitions {
        None => {
            if let Ok(election) = election {
                all(cx, &image, election, &mut electing);
            }
        }
        Some(topics) => {
            let mut wanted: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
            for topic in topics {
                wanted.entry(topic.topic).or_default().extend(topic.partitions);
            }
            for (name, numbers) in wanted {
                named(cx, &image, election, (name, numbers), &mut electing);
            }
        }
    }
    if cx.version >= TOP_ERROR_FROM {
        electing.response.error_code = election.err().unwrap_or(ErrorCode::None).code();
    }
    electing.begin(cx)
}

/// Elects for every topic; a partition that needs no election is left out, as in Kafka.
fn all(cx: &mut Context<'_>, image: &Image, election: Election, electing: &mut Electing) {
    for topic in image.topics() {
        electing.topic(TopicName(StrBytes::from_string(topic.name.to_string())));
        for number in 0..topic.partition_count() {
            let outcome = elect(cx, topic, number, election, electing.deadline);
            if outcome != Outcome::Known(ErrorCode::ElectionNotNeeded) {
                electing.push(partition(number, election, outcome), outcome);
            }
        }
    }
}

fn named(
    cx: &mut Context<'_>,
    image: &Image,
    election: Result<Election, ErrorCode>,
    (name, numbers): (TopicName, BTreeSet<i32>),
    electing: &mut Electing,
) {
    let topic = lookup::topic_by_name(image, &name);
    electing.topic(name.clone());
    for number in numbers {
        let (kind, outcome) = match (election, topic) {
            (Err(error), _) | (_, Err(error)) => (Election::Preferred, Outcome::Known(error)),
            (Ok(election), Ok(topic)) => (election, elect(cx, topic, number, election, electing.deadline)),
        };
        electing.push(partition(number, kind, outcome), outcome);
    }
}

/// Begins an election of this partition, or finds that there is none to begin.
fn elect(cx: &mut Context<'_>, topic: &Topic, number: i32, election: Election, deadline: Instant) -> Outcome {
    let Some(assignment) = topic.assignment(number) else {
        return Outcome::Known(ErrorCode::UnknownTopicOrPartition);
    };
    let at = TopicPartition::new(topic.id, number);
    let leader = cx.directory.leader(&at);
    if election == Election::Unclean {
        let error =
            if leader.is_some() { ErrorCode::ElectionNotNeeded } else { ErrorCode::EligibleLeadersNotAvailable };
        return Outcome::Known(error);
    }
    match (leader, assignment.target_replicas().first().copied()) {
        (Some(leader), Some(preferred)) if leader.broker == preferred => Outcome::Known(ErrorCode::ElectionNotNeeded),
        (Some(leader), Some(to)) if leader.in_sync.contains(&to) && cx.directory.is_heard(to) => {
            Outcome::Asked(cx.call(Call::Elect { partition: at, to, deadline }))
        }
        _ => Outcome::Known(ErrorCode::PreferredLeaderNotAvailable),
    }
}

/// The row of a partition; that of one which is asked waits for its answer.
fn partition(number: i32, election: Election, outcome: Outcome) -> PartitionResult {
    let error = match outcome {
        Outcome::Known(error) => error,
        Outcome::Asked(_) => ErrorCode::RequestTimedOut,
    };
    let unclean = election == Election::Unclean && error == ErrorCode::EligibleLeadersNotAvailable;
    let text = if unclean { NO_UNCLEAN } else { error.message() };
    PartitionResult::default()
        .with_partition_id(number)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_static_str(text)))
}

#[cfg(test)]
mod tests;
