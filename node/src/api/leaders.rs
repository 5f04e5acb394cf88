//! The leader a client should turn to, sent along with the error that tells it it asked the wrong one (KIP-951).

use std::collections::BTreeSet;

use kafka_protocol::protocol::StrBytes;
use millrace_types::{BrokerId, LeaderEpoch, TopicPartition};

use super::Context;

/// The leaders named in one response, for its list of endpoints.
#[derive(Debug, Default)]
pub(super) struct Leaders(BTreeSet<BrokerId>);

/// Where a broker can be reached on the listener of the connection.
pub(super) struct LeaderEndpoint {
    pub(super) id: BrokerId,
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) rack: Option<StrBytes>,
}

impl Leaders {
    /// The current leader of `partition` and its epoch, as far as this broker knows them. A leader without an epoch is
    /// of no use to a client, so that none is named for a replica that is still starting.
    pub(super) fn current(&mut self, cx: &Context<'_>, partition: TopicPartition) -> Option<(BrokerId, LeaderEpoch)> {
        let (leader, epoch) = cx.directory.partition(&partition)?.leader()?;
        self.0.insert(leader);
        Some((leader, epoch))
    }

    /// The endpoints of the leaders named so far, in the order of their numbers.
    pub(super) fn endpoints(&self, cx: &Context<'_>) -> Vec<LeaderEndpoint> {
        let image = cx.directory.image();
        let listener = &cx.session.origin.listener;
        let endpoint = |id: &BrokerId| {
            let broker = image.broker(*id)?;
            let endpoint = broker.endpoint(listener)?;
            Some(LeaderEndpoint {
                id: *id,
                host: StrBytes::from_string(endpoint.host.clone()),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone().map(StrBytes::from_string),
            })
        };
        self.0.iter().filter_map(endpoint).collect()
    }
}
