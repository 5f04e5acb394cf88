//! A produce request whose partitions are being appended to.

use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceResponse, TopicName};

use millrace_types::TopicPartition;

use super::respond::{self, Verdict};
use crate::api::leaders::Leaders;
use crate::api::{Context, Resume, Step, Waiting};
use crate::call::Answer;
use crate::wire::{self, WireError};

/// Said of a client that wants no response and could otherwise not learn of the failure; Kafka does the same.
const CLOSING: &str = "a produce request with acks 0 failed";

/// A produce request that collects what came of its partitions.
pub(super) struct Producing {
    response: ProduceResponse,
    leaders: Leaders,
    /// Whether the client wants no response (acks 0).
    silent: bool,
    failed: bool,
    /// Whom the call `first + n` was made to, and where its answer belongs: topic and partition by position.
    slots: Vec<(TopicPartition, (usize, usize))>,
    first: u64,
    left: usize,
}

impl Producing {
    pub(super) fn new(silent: bool) -> Self {
        Self {
            response: ProduceResponse::default(),
            leaders: Leaders::default(),
            silent,
            failed: false,
            slots: Vec::new(),
            first: 0,
            left: 0,
        }
    }

    /// The partitions that follow belong to this topic.
    pub(super) fn topic(&mut self, name: TopicName) {
        self.response.responses.push(TopicProduceResponse::default().with_name(name));
    }

    /// The partition's answer comes under `token`.
    pub(super) fn expect(&mut self, partition: TopicPartition, token: u64) {
        if self.slots.is_empty() {
            self.first = token;
        }
        debug_assert_eq!(token, self.first + self.slots.len() as u64, "the tokens of one step have no gap");
        let place = self.push(PartitionProduceResponse::default().with_index(partition.partition));
        self.slots.push((partition, place));
        self.left += 1;
    }

    /// The partition's verdict is known.
    pub(super) fn settle(&mut self, cx: &Context<'_>, number: i32, verdict: Verdict) {
        self.failed |= verdict.is_error();
        let response = verdict.response(cx, number, &mut self.leaders);
        self.push(response);
    }

    fn push(&mut self, response: PartitionProduceResponse) -> (usize, usize) {
        let topic = self.response.responses.len().saturating_sub(1);
        let Some(responses) = self.response.responses.last_mut() else { return (topic, 0) };
        responses.partition_responses.push(response);
        (topic, responses.partition_responses.len() - 1)
    }

    /// Answers if nothing is left to wait for.
    pub(super) fn begin(mut self, cx: &Context<'_>) -> Result<Step, WireError> {
        if self.left > 0 {
            return Ok(Step::Wait(Box::new(self)));
        }
        Ok(match self.finish(cx)? {
            Resume::Reply(frame) => Step::Reply(frame),
            Resume::Close(why) => Step::Close(why),
            Resume::Silent | Resume::Wait => Step::Silent,
        })
    }

    fn finish(&mut self, cx: &Context<'_>) -> Result<Resume, WireError> {
        if self.silent {
            return Ok(if self.failed { Resume::Close(CLOSING) } else { Resume::Silent });
        }
        respond::add_endpoints(cx, &self.leaders, &mut self.response);
        Ok(Resume::Reply(wire::encode_body(&self.response, cx.version)?))
    }

    /// The partition that answers under `token`, and the place of its answer.
    fn slot(&self, token: u64) -> Option<(TopicPartition, (usize, usize))> {
        let call = usize::try_from(token.checked_sub(self.first)?).ok()?;
        self.slots.get(call).copied()
    }

    fn entry(&mut self, (topic, partition): (usize, usize)) -> Option<&mut PartitionProduceResponse> {
        self.response.responses.get_mut(topic)?.partition_responses.get_mut(partition)
    }
}

impl Waiting for Producing {
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        let Some((partition, place)) = self.slot(token) else {
            return Ok(Resume::Wait);
        };
        let verdict = Verdict::of(answer).at(partition);
        self.failed |= verdict.is_error();
        let response = verdict.response(cx, partition.partition, &mut self.leaders);
        if let Some(entry) = self.entry(place) {
            *entry = response;
        }
        self.left -= 1;
        if self.left == 0 { self.finish(cx) } else { Ok(Resume::Wait) }
    }
}
