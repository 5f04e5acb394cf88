//! `ListPartitionReassignments` (key 46): the partitions whose replicas are being moved (KIP-455).

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `ListPartitionReassignments`.
pub(super) const API: Api = Api { key: ApiKey::ListPartitionReassignments, min: 0, advertised_min: 0, max: 0, handle };

/// No replica is ever on its way: a topic's assignment is what its replicas are, there being no operation that
/// changes it. Topics that do not exist have no reassignment either; Kafka leaves them out as well.
fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let _: ListPartitionReassignmentsRequest = wire::decode(body, cx.version)?;
    cx.reply(&ListPartitionReassignmentsResponse::default().with_error_message(None))
}

#[cfg(test)]
mod tests;
