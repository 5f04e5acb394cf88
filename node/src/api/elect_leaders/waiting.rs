//! Elections under way.

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_types::{ErrorCode, Instant};

use super::Outcome;
use crate::api::{Context, Resume, Step, Waiting};
use crate::call::Answer;
use crate::wire::{self, WireError};

/// The response, whose rows are filled in as elections end. A row that is not filled in says that its time is up.
pub(super) struct Electing {
    pub(super) response: ElectLeadersResponse,
    pub(super) deadline: Instant,
    /// Tokens of the calls under way, ascending, and the places of their rows: topic and partition by position.
    slots: Vec<(u64, (usize, usize))>,
    left: usize,
}

impl Electing {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { response: ElectLeadersResponse::default(), deadline, slots: Vec::new(), left: 0 }
    }

    /// The rows that follow belong to this topic.
    pub(super) fn topic(&mut self, name: TopicName) {
        self.response.replica_election_results.push(ReplicaElectionResult::default().with_topic(name));
    }

    pub(super) fn push(&mut self, row: PartitionResult, outcome: Outcome) {
        let at = self.response.replica_election_results.len().saturating_sub(1);
        let Some(topic) = self.response.replica_election_results.last_mut() else { return };
        topic.partition_result.push(row);
        if let Outcome::Asked(token) = outcome {
            self.slots.push((token, (at, topic.partition_result.len() - 1)));
            self.left += 1;
        }
    }

    /// Answers if nothing is left to wait for.
    pub(super) fn begin(self, cx: &Context<'_>) -> Result<Step, WireError> {
        if self.left > 0 { Ok(Step::Wait(Box::new(self))) } else { cx.reply(&self.response) }
    }

    fn reply(&self, cx: &Context<'_>) -> Result<Resume, WireError> {
        Ok(Resume::Reply(wire::encode_body(&self.response, cx.version)?))
    }
}

impl Waiting for Electing {
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        let Ok(slot) = self.slots.binary_search_by_key(&token, |slot| slot.0) else { return Ok(Resume::Wait) };
        let error = match answer {
            Answer::Elected(error) | Answer::Gone(error) => error,
            Answer::Partition(_) | Answer::Group(_) | Answer::Metadata(_) => ErrorCode::UnknownServerError,
        };
        let row = self.slots.get(slot).and_then(|(_, (topic, partition))| {
            self.response.replica_election_results.get_mut(*topic)?.partition_result.get_mut(*partition)
        });
        if let Some(row) = row {
            row.error_code = error.code();
            row.error_message = Some(StrBytes::from_static_str(error.message())).filter(|_| error != ErrorCode::None);
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { self.reply(cx) } else { Ok(Resume::Wait) }
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        self.reply(cx)
    }
}
