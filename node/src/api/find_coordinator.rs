//! `FindCoordinator` (key 10): which broker coordinates a group; the first question creates `__consumer_offsets`.
//!
//! This broker has no transactions, and a transactional producer is to fail at once instead of asking until its time is
//! over. From version 4 on the code is `UNSUPPORTED_VERSION`, which the clients that speak it (Java, franz-go) take as
//! final. librdkafka speaks version 2, asks again after every code but two, and takes as final
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`: that is the code below version 4. The text says what is meant in both.

use bytes::Bytes;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{CONSUMER_OFFSETS, Command, CommandResult, Image};
use millrace_types::{ErrorCode, TopicPartition};

use super::groups::{self, string};
use super::{Api, Context, Step, metadata_call};
use crate::wire::{self, Frame, WireError};

/// The API `FindCoordinator`.
pub(super) const API: Api = Api { key: ApiKey::FindCoordinator, min: 0, advertised_min: 0, max: 4, handle };

/// How long the creation of `__consumer_offsets` may take before the client is asked to come again; clients wait 30 s.
const CREATION_TIMEOUT_MS: i32 = 15_000;

/// From this version on a request has several keys (KIP-699).
const BATCHED_FROM: i16 = 4;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: FindCoordinatorRequest = wire::decode(body, cx.version)?;
    let keys = if cx.version >= BATCHED_FROM { request.coordinator_keys } else { vec![request.key] };
    let refusal = match request.key_type {
        GROUP => None,
        TRANSACTION => Some((no_transactions(cx.version), "transactions are not supported by this broker")),
        _ => Some((ErrorCode::InvalidRequest, "the key type is neither that of groups nor that of transactions")),
    };
    if let Some((error, message)) = refusal {
        return Ok(Step::Reply(answer_all(cx.version, keys, |_| Err((error, message.to_owned())))?));
    }
    let image = cx.directory.image();
    if image.topic(CONSUMER_OFFSETS).is_some() {
        return Ok(Step::Reply(find_all(cx, &image, keys)?));
    }
    let ensure = Command::EnsureInternalTopic { name: CONSUMER_OFFSETS.to_owned() };
    let finish: metadata_call::Finish = Box::new(move |cx, result| match result {
        CommandResult::InternalTopic { .. } => find_all(cx, &cx.directory.image(), keys),
        failure => {
            // Whatever is in the way may be gone the next time, and the client asks again.
            let why = metadata_call::error_of(failure).message;
            cx.shared.warn_of_offsets(cx.now, &why);
            answer_all(cx.version, keys, |_| Err((ErrorCode::CoordinatorNotAvailable, why.clone())))
        }
    });
    Ok(metadata_call::send(cx, ensure, CREATION_TIMEOUT_MS, finish))
}

/// The code that makes a transactional producer give up.
fn no_transactions(version: i16) -> ErrorCode {
    if version >= BATCHED_FROM { ErrorCode::UnsupportedVersion } else { ErrorCode::TransactionalIdAuthorizationFailed }
}

/// A coordinator: broker, host and port; or why there is none.
type Found = Result<(i32, StrBytes, i32), (ErrorCode, String)>;

fn find_all(cx: &Context<'_>, image: &Image, keys: Vec<StrBytes>) -> Result<Frame, WireError> {
    answer_all(cx.version, keys, |group| find(cx, image, group))
}

fn find(cx: &Context<'_>, image: &Image, group: &str) -> Found {
    let unavailable = |why: &str| (ErrorCode::CoordinatorNotAvailable, why.to_owned());
    let topic = image.topic(CONSUMER_OFFSETS).ok_or_else(|| unavailable("__consumer_offsets does not exist"))?;
    let partition = groups::partition_of(image, group).map_err(|error| (error, error.message().to_owned()))?;
    let leader = cx.directory.leader(&TopicPartition::new(topic.id, partition));
    let leader = match (leader, topic.assignment(partition).map(|assignment| assignment.target_replicas())) {
        (Some(leader), _) => leader.broker,
        // The only replica there is will lead, if anybody does; it says itself while it is not ready.
        (None, Some([only])) if cx.directory.is_heard(*only) => *only,
        (None, _) => return Err(unavailable("the group's partition has no leader that is heard")),
    };
    let broker = image.broker(leader).ok_or_else(|| unavailable("the coordinator is not registered"))?;
    let endpoint = broker
        .endpoint(&cx.session.origin.listener)
        .ok_or_else(|| unavailable("the coordinator has no such listener"))?;
    Ok((leader.0, string(&endpoint.host), i32::from(endpoint.port)))
}

fn answer_all(version: i16, keys: Vec<StrBytes>, find: impl Fn(&str) -> Found) -> Result<Frame, WireError> {
    let coordinator = |key: StrBytes| {
        let found = find(&key);
        let (error, message) = match &found {
            Ok(_) => (ErrorCode::None, None),
            Err((error, message)) => (*error, Some(string(message))),
        };
        let (node_id, host, port) = found.unwrap_or_else(|_| (-1, string(""), -1));
        Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(node_id))
            .with_host(host)
            .with_port(port)
            .with_error_code(error.code())
            .with_error_message(message)
    };
    let mut coordinators = keys.into_iter().map(coordinator);
    let response = if version >= BATCHED_FROM {
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    } else {
        let one = coordinators.next().unwrap_or_default();
        FindCoordinatorResponse::default()
            .with_error_code(one.error_code)
            .with_error_message(one.error_message.filter(|_| version >= 1))
            .with_node_id(one.node_id)
            .with_host(one.host)
            .with_port(one.port)
    };
    wire::encode_body(&response, version)
}
