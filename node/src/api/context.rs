//! What a handler sees of the world, and how it asks for things.

use std::sync::Arc;

use kafka_protocol::protocol::Encodable;
use millrace_storage::WarmJob;
use millrace_types::{Now, Offset, TopicPartition};

use super::Step;
use crate::call::{Call, PartitionOp};
use crate::connection::{Outbox, Session};
use crate::directory::Directory;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::wire::{self, WireError};

/// What a handler sees of the world, and where it puts its calls.
pub struct Context<'a> {
    /// The time of this step.
    pub now: Now,
    /// Metadata image and partition views.
    pub directory: &'a Arc<Directory>,
    /// The broker's settings.
    pub settings: &'a Settings,
    /// What the connection remembers.
    pub session: &'a mut Session,
    /// Version of the request being handled.
    pub version: i16,
    /// The client id of the request's header, empty when it has none.
    pub client_id: &'a str,
    /// What the broker's connections share.
    pub shared: &'a Arc<Shared>,
    /// What this step asks for; the connection core turns it into effects.
    pub(crate) out: &'a mut Outbox,
}

impl Context<'_> {
    /// Encodes the response of the current request.
    ///
    /// # Errors
    /// When a field is set that the request's version does not have.
    pub fn reply<R: Encodable>(&self, response: &R) -> Result<Step, WireError> {
        Ok(Step::Reply(wire::encode_body(response, self.version)?))
    }

    /// Calls the replica of `partition`; the answer comes back under the token returned.
    pub fn call_partition(&mut self, partition: TopicPartition, op: PartitionOp) -> u64 {
        self.call(Call::Partition(partition, op))
    }

    /// Calls another core; the answer comes back under the token returned. The calls of one step have consecutive
    /// tokens as long as nothing else is asked for between them.
    pub fn call(&mut self, call: Call) -> u64 {
        let token = self.out.token();
        self.out.calls.push((token, call));
        token
    }

    /// Watches `partition` for a high watermark above `beyond`, unless it is watched already. The registration belongs
    /// to the connection: it stays when the request is answered, and what comes of it reaches
    /// [`advanced`](super::Waiting::advanced) of the request that waits by then. `false` when the partition's replica
    /// has refused to be watched since the last fetch began.
    pub(crate) fn watch(&mut self, partition: TopicPartition, beyond: Offset) -> bool {
        if self.session.watches.is_refused(&partition) {
            return false;
        }
        if self.session.watches.is_armed(&partition) {
            return true;
        }
        let token = self.out.token();
        self.session.watches.arm(partition, token);
        self.out.calls.push((token, Call::Partition(partition, PartitionOp::Watch { beyond })));
        true
    }

    /// Takes back the registration of `partition`, if there is one.
    pub(crate) fn unwatch(&mut self, partition: TopicPartition) {
        if let Some(token) = self.session.watches.disarm(&partition) {
            self.out.cancelled.push((token, partition));
        }
    }

    /// Has a cold range read in; [`warmed`](super::Waiting::warmed) gets the token returned.
    pub(crate) fn warm(&mut self, job: WarmJob) -> u64 {
        let token = self.out.token();
        self.out.warms.push((token, job));
        token
    }
}
