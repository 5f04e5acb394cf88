//! The cluster and its brokers.

use actix_web::get;
use actix_web::web::{Data, Json};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use millrace_node::peer::PeerStatus;
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
    /// Host name or address, where the broker is registered.
    host: Option<String>,
    /// TCP port, where the broker is registered.
    port: Option<i32>,
    /// Where it stands.
    rack: Option<String>,
    /// The session of the broker that answers with it; none with itself.
    session: Option<Session>,
}

/// Whether two brokers hear each other.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Whether the broker is heard.
    up: bool,
    /// Which start of the broker's process is heard.
    incarnation: Option<u64>,
    /// Its data directory.
    directory: Option<String>,
    /// Connections that carry messages.
    connections: usize,
    /// Messages that wait for a connection.
    queued_messages: usize,
    /// Their bytes.
    queued_bytes: usize,
    /// Sessions that have begun since this process has.
    sessions: u64,
    /// Connections that were lost or given up.
    resets: u64,
    /// Hellos that were not accepted, by either broker.
    refused: u64,
}

impl From<&PeerStatus> for Session {
    fn from(status: &PeerStatus) -> Self {
        Self {
            up: status.session.is_some(),
            incarnation: status.session.map(|peer| peer.incarnation),
            directory: status.session.map(|peer| peer.key.directory.to_string()),
            connections: status.open,
            queued_messages: status.queued_messages,
            queued_bytes: status.queued_bytes,
            sessions: status.sessions,
            resets: status.resets,
            refused: status.refused,
        }
    }
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
        brokers: brokers(&state, described),
    }))
}

/// The brokers.
#[utoipa::path(context_path = "/api/v1", tag = "cluster",
    responses((status = 200, body = [Broker]), (status = "default", body = ErrorBody)))]
#[get("/brokers")]
pub(crate) async fn list(state: Data<State>) -> Result<Json<Vec<Broker>>, ApiError> {
    let described = describe(&state).await?;
    Ok(Json(brokers(&state, described)))
}

async fn describe(state: &State) -> Result<DescribeClusterResponse, ApiError> {
    let response = state.client.call(&DescribeClusterRequest::default(), 0).await?;
    ApiError::check(response.error_code, response.error_message.as_deref())?;
    Ok(response)
}

/// The brokers that clients are told of, and those that there are sessions with.
fn brokers(state: &State, described: DescribeClusterResponse) -> Vec<Broker> {
    let report = state.shared.peer_report();
    let session = |id: i32| {
        let status = report.sessions.iter().find(|(broker, _)| broker.0 == id);
        status.map(|(_, status)| Session::from(status))
    };
    let broker = |broker: DescribeClusterBroker| Broker {
        id: broker.broker_id.0,
        host: Some(broker.host.to_string()),
        port: Some(broker.port),
        rack: broker.rack.map(|rack| rack.to_string()),
        session: session(broker.broker_id.0),
    };
    let mut brokers: Vec<Broker> = described.brokers.into_iter().map(broker).collect();
    for (id, status) in &report.sessions {
        if !brokers.iter().any(|broker| broker.id == id.0) {
            let session = Some(Session::from(status));
            brokers.push(Broker { id: id.0, host: None, port: None, rack: None, session });
        }
    }
    brokers.sort_by_key(|broker| broker.id);
    brokers
}
