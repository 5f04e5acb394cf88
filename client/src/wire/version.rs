//! Which version of each API this client speaks, and which one it uses with a broker (KIP-35).

use std::collections::BTreeMap;

use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::VersionRange;

/// The versions of an API this client speaks: from what Apache Kafka 2.1 offers to the newest whose fields it uses.
pub(crate) const fn supported(api: ApiKey) -> Option<VersionRange> {
    let (min, max) = match api {
        ApiKey::Produce => (3, 10),
        ApiKey::Fetch => (4, 16),
        ApiKey::ListOffsets => (1, 8),
        ApiKey::Metadata => (1, 12),
        ApiKey::OffsetCommit => (2, 9),
        ApiKey::OffsetFetch => (1, 8),
        ApiKey::FindCoordinator => (0, 4),
        ApiKey::JoinGroup => (0, 9),
        ApiKey::Heartbeat => (0, 4),
        ApiKey::LeaveGroup => (0, 5),
        ApiKey::SyncGroup => (0, 5),
        ApiKey::DescribeGroups => (0, 5),
        ApiKey::ListGroups => (0, 4),
        ApiKey::ApiVersions => (0, 3),
        ApiKey::CreateTopics => (2, 7),
        ApiKey::DeleteTopics => (1, 6),
        ApiKey::DeleteRecords => (0, 2),
        ApiKey::InitProducerId => (0, 4),
        ApiKey::OffsetForLeaderEpoch => (2, 4),
        ApiKey::DescribeConfigs => (1, 4),
        ApiKey::IncrementalAlterConfigs => (0, 1),
        ApiKey::CreatePartitions => (0, 3),
        ApiKey::DeleteGroups => (0, 2),
        ApiKey::OffsetDelete => (0, 0),
        _ => return None,
    };
    Some(VersionRange { min, max })
}

/// The versions a broker offers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ApiVersions {
    ranges: BTreeMap<i16, VersionRange>,
}

impl ApiVersions {
    pub(crate) fn read(response: &ApiVersionsResponse) -> Self {
        let row = |api: &kafka_protocol::messages::api_versions_response::ApiVersion| {
            (api.api_key, VersionRange { min: api.min_version, max: api.max_version })
        };
        Self { ranges: response.api_keys.iter().map(row).collect() }
    }

    /// The newest version that both sides speak and that is at most `ceiling`.
    pub(crate) fn choose(&self, api: ApiKey, ceiling: i16) -> Option<i16> {
        let common = self.ranges.get(&(api as i16))?.intersect(&supported(api)?);
        let version = common.max.min(ceiling);
        (version >= common.min).then_some(version)
    }
}
