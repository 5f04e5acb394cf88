//! Fitting a request to the version it is sent at.
//!
//! The codec refuses a field with a value that the version cannot carry. Cores fill in all they know; what an older
//! version lacks is taken out, or moved into the field that carried it then. A field is dropped only where the older
//! broker does the right thing without it; where it would not, the value stays and encoding fails.

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{BrokerId, GroupId, RequestKind, TopicName};
use uuid::Uuid;

/// Changes `request` to what `version` can carry.
pub(crate) fn fit(request: &mut RequestKind, version: i16) {
    match request {
        RequestKind::Fetch(fetch) => {
            for topic in &mut fetch.topics {
                if version >= 13 {
                    topic.topic = TopicName::default();
                } else {
                    topic.topic_id = Uuid::nil();
                }
                if version < 9 {
                    topic.partitions.iter_mut().for_each(|partition| partition.current_leader_epoch = -1);
                }
            }
            // Before version 11 leaders alone were fetched from.
            if version < 11 {
                fetch.rack_id = Default::default();
            }
            if version >= 15 {
                fetch.replica_id = BrokerId(-1);
            }
        }
        RequestKind::ListOffsets(list) if version < 4 => {
            let partitions = list.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|partition| partition.current_leader_epoch = -1);
            if version < 2 {
                list.isolation_level = 0;
            }
        }
        RequestKind::Metadata(metadata) if version < 4 => metadata.allow_auto_topic_creation = true,
        RequestKind::OffsetForLeaderEpoch(lookup) if version < 3 => lookup.replica_id = BrokerId(-2),
        RequestKind::DeleteTopics(delete) if version < 6 => {
            delete.topic_names = std::mem::take(&mut delete.topics).into_iter().filter_map(|t| t.name).collect();
        }
        RequestKind::ListGroups(list) if version < 4 => list.states_filter.clear(),
        other => fit_group(other, version),
    }
}

/// The same for the requests of groups.
fn fit_group(request: &mut RequestKind, version: i16) {
    match request {
        RequestKind::FindCoordinator(find) if version < 4 => {
            find.key = std::mem::take(&mut find.coordinator_keys).into_iter().next().unwrap_or_default();
        }
        RequestKind::JoinGroup(join) => {
            if version < 8 {
                join.reason = None;
            }
            if version < 5 {
                join.group_instance_id = None;
            }
            if version < 1 {
                join.rebalance_timeout_ms = -1;
            }
        }
        RequestKind::SyncGroup(sync) => {
            if version < 5 {
                sync.protocol_type = None;
                sync.protocol_name = None;
            }
            if version < 3 {
                sync.group_instance_id = None;
            }
        }
        RequestKind::Heartbeat(heartbeat) if version < 3 => heartbeat.group_instance_id = None,
        RequestKind::LeaveGroup(leave) => {
            if version < 3 {
                leave.member_id = leave.members.pop().map(|member| member.member_id).unwrap_or_default();
                leave.members.clear();
            } else if version < 5 {
                leave.members.iter_mut().for_each(|member| member.reason = None);
            }
        }
        RequestKind::OffsetCommit(commit) => {
            if version < 7 {
                commit.group_instance_id = None;
            }
            if version < 6 {
                let partitions = commit.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| partition.committed_leader_epoch = -1);
            }
        }
        RequestKind::OffsetFetch(fetch) if version < 8 => {
            let Some(group) = fetch.groups.pop() else { return };
            fetch.groups.clear();
            fetch.group_id = group.group_id;
            fetch.topics = group.topics.map(|topics| {
                let older = |topic: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics| {
                    OffsetFetchRequestTopic::default()
                        .with_name(topic.name)
                        .with_partition_indexes(topic.partition_indexes)
                };
                topics.into_iter().map(older).collect()
            });
            if version < 7 {
                fetch.require_stable = false;
            }
        }
        RequestKind::OffsetFetch(fetch) => fetch.group_id = GroupId::default(),
        _ => {}
    }
}
