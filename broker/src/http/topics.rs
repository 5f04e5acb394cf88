//! Topics: list, create, describe, configure, delete.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, delete, get, patch, post};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_types::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::State;
use super::configs::{self, ConfigValue};
use super::error::{ApiError, ErrorBody};

/// Milliseconds a change of topics may take.
const TIMEOUT_MS: i32 = 30_000;

/// A topic in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicSummary {
    /// Its name.
    name: String,
    /// Its identity.
    id: Uuid,
    /// Whether the cluster keeps its own state in it.
    internal: bool,
    /// Number of partitions.
    partitions: usize,
    /// Number of replicas of each.
    replication_factor: usize,
}

/// A topic that could be created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckedTopic {
    /// Its name.
    name: String,
    /// Number of partitions it would have.
    partitions: usize,
    /// Number of replicas of each.
    replication_factor: usize,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicDescription {
    /// What a list shows.
    #[serde(flatten)]
    summary: TopicSummary,
    /// Every setting, with the value in effect.
    configs: Vec<ConfigValue>,
}

/// A topic to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTopic {
    /// Its name.
    name: String,
    /// Number of partitions; the broker's `num.partitions` when left out.
    partitions: Option<i32>,
    /// Number of replicas; the broker's `default.replication.factor` when left out.
    replication_factor: Option<i16>,
    /// Settings that differ from the broker's.
    #[serde(default)]
    configs: BTreeMap<String, String>,
    /// Check only.
    #[serde(default)]
    validate_only: bool,
}

/// Settings to change: a value sets the key, `null` takes it back to the broker's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicChange {
    /// The settings by key.
    configs: BTreeMap<String, Option<String>>,
}

/// What a list of topics holds.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListOptions {
    /// Also topics that the cluster keeps its own state in.
    #[serde(default)]
    internal: bool,
}

/// The topics, in the order of their names.
#[utoipa::path(context_path = "/api/v1", tag = "topics", params(ListOptions),
    responses((status = 200, body = [TopicSummary]), (status = "default", body = ErrorBody)))]
#[get("/topics")]
pub(crate) async fn list(state: Data<State>, options: Query<ListOptions>) -> Result<Json<Vec<TopicSummary>>, ApiError> {
    let request = MetadataRequest::default().with_topics(None);
    let response = state.client.call(&request, 12).await?;
    let mut topics: Vec<_> =
        response.topics.iter().filter(|topic| options.internal || !topic.is_internal).map(summary).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(topics))
}

/// Creates a topic, or with `validate_only` checks whether it could be.
#[utoipa::path(context_path = "/api/v1", tag = "topics", request_body = NewTopic,
    responses((status = 201, description = "The topic is there", body = TopicSummary),
        (status = 200, description = "Checked only: it could be created", body = CheckedTopic), (status = "default", body = ErrorBody)))]
#[post("/topics")]
pub(crate) async fn create(state: Data<State>, topic: Json<NewTopic>) -> Result<HttpResponse, ApiError> {
    let topic = topic.into_inner();
    let config = |(key, value): (String, String)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string(key))
            .with_value(Some(StrBytes::from_string(value)))
    };
    let wanted = CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions.unwrap_or(-1))
        .with_replication_factor(topic.replication_factor.unwrap_or(-1))
        .with_configs(topic.configs.into_iter().map(config).collect());
    let request = CreateTopicsRequest::default()
        .with_topics(vec![wanted])
        .with_timeout_ms(TIMEOUT_MS)
        .with_validate_only(topic.validate_only);
    let response = state.client.call(&request, 7).await?;
    let created = response.topics.first().ok_or_else(|| ApiError::bad(&"the broker answered for no topic"))?;
    ApiError::check(created.error_code, created.error_message.as_deref())?;
    let name = topic.name;
    let partitions = usize::try_from(created.num_partitions).unwrap_or(0);
    let replication_factor = usize::try_from(created.replication_factor).unwrap_or(0);
    Ok(if topic.validate_only {
        HttpResponse::Ok().json(CheckedTopic { name, partitions, replication_factor })
    } else {
        let internal = false;
        let id = created.topic_id;
        HttpResponse::Created().json(TopicSummary { name, id, internal, partitions, replication_factor })
    })
}

/// A topic with its settings.
#[utoipa::path(context_path = "/api/v1", tag = "topics", params(("name", description = "The topic's name")),
    responses((status = 200, body = TopicDescription), (status = "default", body = ErrorBody)))]
#[get("/topics/{name}")]
pub(crate) async fn describe(state: Data<State>, name: Path<String>) -> Result<Json<TopicDescription>, ApiError> {
    let topic = metadata(&state, &name).await?;
    let configs = configs::of_topic(&state, &name).await?;
    Ok(Json(TopicDescription { summary: summary(&topic), configs }))
}

/// Changes settings of a topic.
#[utoipa::path(context_path = "/api/v1", tag = "topics", params(("name", description = "The topic's name")),
    request_body = TopicChange,
    responses((status = 200, body = [ConfigValue]), (status = "default", body = ErrorBody)))]
#[patch("/topics/{name}")]
pub(crate) async fn alter(
    state: Data<State>,
    name: Path<String>,
    change: Json<TopicChange>,
) -> Result<Json<Vec<ConfigValue>>, ApiError> {
    configs::alter_topic(&state, &name, change.into_inner().configs).await?;
    Ok(Json(configs::of_topic(&state, &name).await?))
}

/// Deletes a topic with its data.
#[utoipa::path(context_path = "/api/v1", tag = "topics", params(("name", description = "The topic's name")),
    responses((status = 204), (status = "default", body = ErrorBody)))]
#[delete("/topics/{name}")]
pub(crate) async fn delete(state: Data<State>, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let topic = DeleteTopicState::default().with_name(Some(topic_name(&name)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS);
    let response = state.client.call(&request, 6).await?;
    for deleted in &response.responses {
        ApiError::check(deleted.error_code, deleted.error_message.as_deref())?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// The metadata of one topic, which is not created by asking.
pub(super) async fn metadata(state: &State, name: &str) -> Result<MetadataResponseTopic, ApiError> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    let response = state.client.call(&request, 12).await?;
    let Some(topic) = response.topics.into_iter().next() else {
        return Err(ApiError::missing(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}")));
    };
    ApiError::check(topic.error_code, None)?;
    Ok(topic)
}

/// A name as the codec takes it.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn summary(topic: &MetadataResponseTopic) -> TopicSummary {
    TopicSummary {
        name: topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default(),
        id: topic.topic_id,
        internal: topic.is_internal,
        partitions: topic.partitions.len(),
        replication_factor: topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len()),
    }
}
