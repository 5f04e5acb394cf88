//! `ElectLeaders` (key 43): moving leadership to the preferred replica, or to one that may have lost records (KIP-460).
//!
//! A replica of this broker leads its partition from its start on, so there is no election to hold: a partition has the
//! leader that is wanted, or that leader cannot be had.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ApiKey, ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Image, Topic};
use millrace_types::{ErrorCode, TopicPartition};

use super::{Api, Context, Step, lookup};
use crate::wire::{self, WireError};

/// The API `ElectLeaders`.
pub(super) const API: Api = Api { key: ApiKey::ElectLeaders, min: 0, advertised_min: 0, max: 2, handle };

/// From this version on the response has an error of its own.
const TOP_ERROR_FROM: i16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Election {
    Preferred,
    Unclean,
}

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: ElectLeadersRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let election = match request.election_type {
        0 => Ok(Election::Preferred),
        1 => Ok(Election::Unclean),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let results = match request.topic_partitions {
        None => election.map(|election| all(cx, &image, election)).unwrap_or_default(),
        Some(topics) => {
            let mut wanted: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
            for topic in topics {
                wanted.entry(topic.topic).or_default().extend(topic.partitions);
            }
            wanted.into_iter().map(|(name, numbers)| named(cx, &image, election, name, numbers)).collect()
        }
    };
    let mut response = ElectLeadersResponse::default().with_replica_election_results(results);
    if cx.version >= TOP_ERROR_FROM {
        response = response.with_error_code(election.err().unwrap_or(ErrorCode::None).code());
    }
    cx.reply(&response)
}

/// The results of every topic; a partition that needs no election is left out, as in Kafka.
fn all(cx: &Context<'_>, image: &Image, election: Election) -> Vec<ReplicaElectionResult> {
    let topic = |topic: &Topic| {
        let failed = (0..topic.partition_count()).filter_map(|number| {
            let error = elect(cx, topic, number, election);
            (error != ErrorCode::ElectionNotNeeded).then(|| partition(number, error))
        });
        ReplicaElectionResult::default()
            .with_topic(TopicName(StrBytes::from_string(topic.name.to_string())))
            .with_partition_result(failed.collect())
    };
    image.topics().map(|one| topic(one)).collect()
}

fn named(
    cx: &Context<'_>,
    image: &Image,
    election: Result<Election, ErrorCode>,
    name: TopicName,
    numbers: BTreeSet<i32>,
) -> ReplicaElectionResult {
    let topic = lookup::topic_by_name(image, &name);
    let result = |number: i32| match (election, topic) {
        (Err(error), _) | (_, Err(error)) => partition(number, error),
        (Ok(election), Ok(topic)) => partition(number, elect(cx, topic, number, election)),
    };
    let results = numbers.into_iter().map(result).collect();
    ReplicaElectionResult::default().with_topic(name).with_partition_result(results)
}

/// What an election of this partition comes to.
fn elect(cx: &Context<'_>, topic: &Topic, number: i32, election: Election) -> ErrorCode {
    let Some(assignment) = topic.assignment(number) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    let here = TopicPartition::new(topic.id, number);
    let leads = cx.directory.partition(&here).is_some_and(|view| view.leader_epoch().is_some());
    let preferred = assignment.replicas.first() == Some(&cx.settings.broker_id);
    match election {
        Election::Preferred if leads && preferred => ErrorCode::ElectionNotNeeded,
        Election::Preferred => ErrorCode::PreferredLeaderNotAvailable,
        Election::Unclean if leads => ErrorCode::ElectionNotNeeded,
        Election::Unclean => ErrorCode::EligibleLeadersNotAvailable,
    }
}

fn partition(number: i32, error: ErrorCode) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(number)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_static_str(error.message())))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::elect_leaders_request::TopicPartitions;

    use super::*;
    use crate::api::metadata_call::testing::{Admin, topic};

    fn request(version: i16, election: i8, topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
        let one = |(name, numbers): &(&str, &[i32])| {
            TopicPartitions::default().with_topic(topic(name)).with_partitions(numbers.to_vec())
        };
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(topics.map(|topics| topics.iter().map(one).collect()))
            .with_timeout_ms(1_000);
        if version > 0 { request.with_election_type(election) } else { request }
    }

    fn rows(response: &ElectLeadersResponse) -> Vec<(&str, Vec<(i32, i16)>)> {
        let results = response.replica_election_results.iter();
        results
            .map(|topic| {
                let partitions = topic.partition_result.iter().map(|one| (one.partition_id, one.error_code));
                (topic.topic.as_str(), partitions.collect())
            })
            .collect()
    }

    #[test]
    fn a_healthy_partition_needs_no_election() {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 2, &[]);
        let (healthy, unknown) = (ErrorCode::ElectionNotNeeded.code(), ErrorCode::UnknownTopicOrPartition.code());
        for version in API.min..=API.max {
            for election in 0..=1 {
                let wanted: &[(&str, &[i32])] = &[("b", &[0]), ("a", &[1, 0, 2, 1])];
                let response = admin.request(version, &request(version, election, Some(wanted)));
                let expected = [("a", vec![(0, healthy), (1, healthy), (2, unknown)]), ("b", vec![(0, unknown)])];
                assert_eq!((response.error_code, rows(&response)), (0, expected.to_vec()));
                assert!(response.replica_election_results[0].partition_result[0].error_message.is_some());
            }
        }
    }

    #[test]
    fn of_all_topics_only_what_failed_is_told() {
        let mut admin = Admin::new(&[]);
        let id = admin.world.topic("a", 2, &[]);
        admin.world.topic("b", 1, &[]);
        for version in API.min..=API.max {
            let response = admin.request(version, &request(version, 0, None));
            assert_eq!(rows(&response), [("a", vec![]), ("b", vec![])]);
        }
        admin.world.shared.directory.withdraw(&TopicPartition::new(id, 1));
        let preferred = admin.request(2, &request(2, 0, None));
        assert_eq!(rows(&preferred)[0], ("a", vec![(1, ErrorCode::PreferredLeaderNotAvailable.code())]));
        let unclean = admin.request(2, &request(2, 1, None));
        assert_eq!(rows(&unclean)[0], ("a", vec![(1, ErrorCode::EligibleLeadersNotAvailable.code())]));
    }

    #[test]
    fn an_unknown_kind_of_election_is_refused() {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 1, &[]);
        let invalid = ErrorCode::InvalidRequest.code();
        let response = admin.request(2, &request(2, 7, Some(&[("a", &[0])])));
        assert_eq!((response.error_code, rows(&response)), (invalid, vec![("a", vec![(0, invalid)])]));
        let response = admin.request(1, &request(1, -1, None));
        assert_eq!((response.error_code, rows(&response)), (invalid, vec![]));
    }
}
