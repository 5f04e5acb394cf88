//! `DescribeCluster` (key 60): the cluster's identity and its brokers (KIP-700).

use bytes::Bytes;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{ApiKey, BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_types::ErrorCode;

use super::{Api, Context, Step, authorized};
use crate::wire::{self, WireError};

/// The API `DescribeCluster`.
pub(super) const API: Api = Api { key: ApiKey::DescribeCluster, min: 0, advertised_min: 0, max: 1, handle };

/// The endpoints of brokers (KIP-919).
const BROKERS: i8 = 1;
/// The endpoints of controllers, which this cluster does not have.
const CONTROLLERS: i8 = 2;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DescribeClusterRequest = wire::decode(body, cx.version)?;
    let error = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(ErrorCode::MismatchedEndpointType),
        _ => Some(ErrorCode::UnsupportedEndpointType),
    };
    if let Some(error) = error {
        let response = DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str(error.message())))
            .with_controller_id(BrokerId(-1));
        return cx.reply(&response);
    }
    let image = cx.directory.image();
    let listener = &cx.session.origin.listener;
    let broker = |broker: &millrace_metadata::Broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(broker.id.0))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.clone().map(StrBytes::from_string)),
        )
    };
    let operations =
        if request.include_cluster_authorized_operations { authorized::CLUSTER } else { authorized::UNKNOWN };
    // Any broker answers any admin request: the one that is asked names itself.
    let response = DescribeClusterResponse::default()
        .with_error_message(None)
        .with_cluster_id(StrBytes::from_string(image.cluster_id().to_owned()))
        .with_controller_id(BrokerId(cx.settings.broker_id.0))
        .with_brokers(image.brokers().values().filter_map(broker).collect())
        .with_cluster_authorized_operations(operations);
    cx.reply(&response)
}

#[cfg(test)]
mod tests;
