//! A majority that is lost for good is given up.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::post;
use actix_web::web::{Data, Json, Path};
use millrace_node::replica::{ForceRefusal, Forced};
use millrace_types::{BrokerId, ErrorCode, TopicPartition};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::State;
use super::error::{ApiError, ErrorBody};
use crate::actor::forcing::ForceRequest;
use crate::actor::parcel::{Order, Parcel};

/// How long the write-ahead store may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Who shall vote in a partition that has lost its majority for good.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForcedVoters {
    /// The brokers whose replicas survive, the one that is asked among them.
    voters: Vec<i32>,
    /// That records which only the others hold are given up, acknowledged ones too.
    #[serde(default)]
    accept_loss: bool,
}

/// A configuration that was forced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForcedConfiguration {
    /// The topic.
    topic: String,
    /// The partition.
    partition: i32,
    /// Its generation: replicas of a lower one count no more, and take over the log of who leads this one.
    generation: u32,
    /// Who votes now.
    voters: Vec<i32>,
    /// The first offset of the log of the broker that answers.
    log_start_offset: i64,
    /// What it knew to be committed.
    high_watermark: i64,
    /// Its end: what is kept lies below. Records acknowledged from here on are lost, unless another of the voters has them.
    log_end_offset: i64,
    /// The leader epoch at that end.
    log_end_epoch: i32,
}

/// Gives up the voters of a partition that are lost for good: those named vote alone from now on, and records that only the
/// others hold are lost. Refused while the partition has a leader, or had one in the last 10 s.
#[utoipa::path(context_path = "/api/v1", tag = "topics", request_body = ForcedVoters,
    params(("name", description = "The topic's name"), ("partition", description = "The partition's number")),
    responses((status = 200, body = ForcedConfiguration), (status = 409, body = ErrorBody), (status = "default", body = ErrorBody)))]
#[post("/topics/{name}/partitions/{partition}/force-configuration")]
pub(crate) async fn force(
    state: Data<State>,
    path: Path<(String, i32)>,
    wanted: Json<ForcedVoters>,
) -> Result<Json<ForcedConfiguration>, ApiError> {
    let (topic, partition) = path.into_inner();
    if !wanted.accept_loss {
        let message = "records that only the lost replicas hold are given up for good; say so with accept_loss";
        return Err(conflict("LOSS_NOT_ACCEPTED", message));
    }
    let image = state.shared.node.directory.image();
    let found = image.topic(&topic).filter(|topic| (0..topic.partition_count()).contains(&partition));
    let Some(found) = found else {
        let code = ErrorCode::UnknownTopicOrPartition;
        return Err(ApiError::missing(code, format!("there is no partition {partition} of a topic {topic}")));
    };
    let named = TopicPartition::new(found.id, partition);
    match ask(&state, named, &wanted.voters).await {
        Ok(forced) => {
            tracing::warn!(
                %topic, partition, generation = forced.generation, voters = ?forced.voters, log_end = forced.log_end,
                log_epoch = forced.log_epoch, "an operator has given up the lost majority of a partition"
            );
            Ok(Json(answer(topic, partition, forced)))
        }
        Err(error) => {
            tracing::warn!(%topic, partition, voters = ?wanted.voters, %error, "an operator was refused to give up a majority");
            Err(error)
        }
    }
}

async fn ask(state: &State, partition: TopicPartition, voters: &[i32]) -> Result<Forced, ApiError> {
    let (reply, answer) = oneshot::channel();
    let voters = voters.iter().copied().map(BrokerId).collect();
    let order = Order::Force(Box::new(ForceRequest { partition, voters, reply }));
    let arbiter = state.shared.placement.partition(&partition);
    state.shared.inbox(arbiter).send(&mut vec![Parcel::Order(order)]);
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(Ok(forced))) => Ok(forced),
        Ok(Ok(Err(refusal))) => Err(conflict(name(&refusal), &refusal.to_string())),
        Ok(Err(_)) => Err(conflict(name(&ForceRefusal::NotHere), &ForceRefusal::NotHere.to_string())),
        Err(_) => {
            let message = "not durable yet; it may still become so".to_owned();
            Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "REQUEST_TIMED_OUT", message))
        }
    }
}

fn conflict(error: &str, message: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, error, message.to_owned())
}

fn name(refusal: &ForceRefusal) -> &'static str {
    match refusal {
        ForceRefusal::NotHere => "NO_REPLICA_HERE",
        ForceRefusal::Led(_) => "LEADER_KNOWN",
        ForceRefusal::Recent(_) => "ELECTION_MAY_HELP",
        ForceRefusal::Unknown(_) => "UNKNOWN_VOTER",
        ForceRefusal::NotNamed(_) => "NOT_NAMED",
        ForceRefusal::LeftOut(_) => "SURVIVOR_LEFT_OUT",
        ForceRefusal::UnderWay => "UNDER_WAY",
        _ => "REFUSED",
    }
}

fn answer(topic: String, partition: i32, forced: Forced) -> ForcedConfiguration {
    ForcedConfiguration {
        topic,
        partition,
        generation: forced.generation,
        voters: forced.voters.into_iter().map(|broker| broker.0).collect(),
        log_start_offset: forced.log_start,
        high_watermark: forced.high_watermark,
        log_end_offset: forced.log_end,
        log_end_epoch: forced.log_epoch,
    }
}
