//! `InitProducerId` (key 22): an identity for an idempotent producer (KIP-98, KIP-360).

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse};
use millrace_types::{ErrorCode, NO_PRODUCER_ID, ProducerId};

use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `InitProducerId`.
pub(super) const API: Api = Api { key: ApiKey::InitProducerId, min: 0, advertised_min: 0, max: 5, handle };

/// Kafka's default of `transaction.max.timeout.ms`.
const MAX_TRANSACTION_TIMEOUT_MS: i32 = 900_000;
/// Epoch of a producer that has none.
const NO_EPOCH: i16 = -1;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: InitProducerIdRequest = wire::decode(body, cx.version)?;
    let response = match init(cx, &request) {
        Ok((id, epoch)) => InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(epoch),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(NO_PRODUCER_ID.into())
            .with_producer_epoch(NO_EPOCH),
    };
    cx.reply(&response)
}

/// The producer id and epoch to use.
///
/// A producer without transactional id always gets a fresh id with epoch 0, also when it names one: nobody keeps the
/// epochs of such producers, so that only a fresh id is sure to be ahead of every batch in flight.
fn init(cx: &Context<'_>, request: &InitProducerIdRequest) -> Result<(ProducerId, i16), ErrorCode> {
    match &request.transactional_id {
        Some(id) if id.is_empty() => return Err(ErrorCode::InvalidRequest),
        Some(_) if !(1..=MAX_TRANSACTION_TIMEOUT_MS).contains(&request.transaction_timeout_ms) => {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        // No broker coordinates transactions. Clients take this code for final; those of a coordinator they retry.
        Some(_) => return Err(ErrorCode::UnsupportedVersion),
        None => {}
    }
    let named = (request.producer_id.0 != NO_PRODUCER_ID, request.producer_epoch != NO_EPOCH);
    if named.0 != named.1 {
        return Err(ErrorCode::InvalidRequest);
    }
    let id = cx.shared.producer_ids.next()?;
    Ok((id, 0))
}
