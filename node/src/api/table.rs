//! The table of the APIs served.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::{
    Context, Step, alter_configs, alter_partition_reassignments, alter_replica_log_dirs, api_versions,
    create_partitions, create_topics, delete_groups, delete_records, delete_topics, describe_cluster, describe_configs,
    describe_groups, describe_log_dirs, describe_quorum, describe_topic_partitions, elect_leaders, fetch,
    find_coordinator, heartbeat, incremental_alter_configs, init_producer_id, join_group, leave_group,
    list_config_resources, list_groups, list_offsets, list_partition_reassignments, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
};
use crate::wire::WireError;

/// Every API served, in the order of the keys. `ApiVersions` advertises this table and nothing else.
pub const APIS: &[Api] = &[
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    delete_records::API,
    init_producer_id::API,
    offset_for_leader_epoch::API,
    describe_configs::API,
    alter_configs::API,
    alter_replica_log_dirs::API,
    describe_log_dirs::API,
    create_partitions::API,
    delete_groups::API,
    elect_leaders::API,
    incremental_alter_configs::API,
    alter_partition_reassignments::API,
    list_partition_reassignments::API,
    offset_delete::API,
    describe_quorum::API,
    describe_cluster::API,
    list_config_resources::API,
    describe_topic_partitions::API,
];

/// The API with this key on the wire; `None` when it is not served.
#[must_use]
pub fn api(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key as i16).ok().and_then(|at| APIS.get(at))
}

/// One API: its key, the versions served, and its handler.
pub struct Api {
    /// The key of the API.
    pub key: ApiKey,
    /// Lowest version answered.
    pub min: i16,
    /// Lowest version advertised; differs from `min` for Produce alone (KAFKA-18659).
    pub advertised_min: i16,
    /// Highest version answered and advertised.
    pub max: i16,
    /// Decodes the body and begins the request.
    pub handle: fn(&mut Context<'_>, Bytes) -> Result<Step, WireError>,
}
