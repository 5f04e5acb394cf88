//! The leader a client should turn to, sent along with the error that tells it it asked the wrong one (KIP-951).

use std::collections::BTreeSet;

use kafka_protocol::protocol::StrBytes;
use millrace_types::{BrokerId, ErrorCode, LeaderEpoch, TopicPartition};

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
    /// The current leader of `partition` and its epoch, as far as this broker knows them and the client, which knows of
    /// epoch `known`, does not. This broker is named only where the client's epoch is what was wrong.
    pub(super) fn current(
        &mut self,
        cx: &Context<'_>,
        partition: TopicPartition,
        (error, known): (ErrorCode, LeaderEpoch),
    ) -> Option<(BrokerId, LeaderEpoch)> {
        let leader = cx.directory.leader(&partition).filter(|leader| leader.epoch > known)?;
        if error == ErrorCode::NotLeaderOrFollower && leader.broker == cx.settings.broker_id {
            return None;
        }
        self.0.insert(leader.broker);
        Some((leader.broker, leader.epoch))
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
