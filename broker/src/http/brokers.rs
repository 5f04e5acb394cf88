//! The cluster and its brokers.

use actix_web::get;
use actix_web::web::{Data, Json};
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, ErrorBody};

/// The cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cluster {
    /// Its identity.
    cluster_id: String,
    /// The broker that answers.
    broker_id: i32,
    /// Number of metadata entries this broker has applied.
    metadata_epoch: u64,
    /// Number of topics.
    topics: usize,
    /// Its brokers.
    brokers: Vec<Broker>,
}

/// A broker, as clients are told to reach it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Broker {
    /// Its number.
    id: i32,
    /// Host name or address.
    host: String,
    /// TCP port.
    port: i32,
    /// Where it stands.
    rack: Option<String>,
}

/// The cluster.
#[utoipa::path(context_path = "/api/v1", tag = "cluster",
    responses((status = 200, body = Cluster), (status = "default", body = ErrorBody)))]
#[get("/cluster")]
pub(crate) async fn cluster(state: Data<State>) -> Result<Json<Cluster>, ApiError> {
    let described = describe(&state).await?;
    let image = state.shared.node.directory.image();
    Ok(Json(Cluster {
        cluster_id: described.cluster_id.to_string(),
        broker_id: state.shared.node.settings.broker_id.0,
        metadata_epoch: image.epoch(),
        topics: image.topic_count(),
        brokers: brokers(described),
    }))
}

/// The brokers.
#[utoipa::path(context_path = "/api/v1", tag = "cluster",
    responses((status = 200, body = [Broker]), (status = "default", body = ErrorBody)))]
#[get("/brokers")]
pub(crate) async fn list(state: Data<State>) -> Result<Json<Vec<Broker>>, ApiError> {
    Ok(Json(brokers(describe(&state).await?)))
}

async fn describe(state: &State) -> Result<DescribeClusterResponse, ApiError> {
    let response = state.client.call(&DescribeClusterRequest::default(), 0).await?;
    ApiError::check(response.error_code, response.error_message.as_deref())?;
    Ok(response)
}

fn brokers(described: DescribeClusterResponse) -> Vec<Broker> {
    let broker = |broker: kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker| Broker {
        id: broker.broker_id.0,
        host: broker.host.to_string(),
        port: broker.port,
        rack: broker.rack.map(|rack| rack.to_string()),
    };
    described.brokers.into_iter().map(broker).collect()
}
