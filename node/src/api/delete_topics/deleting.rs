//! A request whose topics are being deleted, and then what groups have committed of them.
//!
//! ```text
//! Deleting -> (the store has deleted them) -> Forgetting -> (every coordinator has answered) -> respond
//! ```
//!
//! What the store has deleted stays deleted, so that nothing a coordinator answers, or its silence, changes the
//! response.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::DeleteTopicsResponse;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_metadata::{CONSUMER_OFFSETS, Command, CommandResult, DeleteTopics, TopicRef};
use millrace_types::{ErrorCode, Instant};

use super::{before_disabled, result_of};
use crate::api::metadata_call::{error_of, failed, result};
use crate::api::{Context, Resume, Step, Waiting};
use crate::call::{Answer, Call};
use crate::deadline;
use crate::wire::{self, WireError};

/// A request that is under way.
pub(super) struct Deleting {
    asked: Vec<TopicRef>,
    results: Vec<DeletableTopicResult>,
    stage: Stage,
    deadline: Instant,
}

/// What is waited for.
enum Stage {
    /// The answer of the metadata store.
    Deleting { token: u64 },
    /// Those of the coordinators that have not answered.
    Forgetting { tokens: BTreeSet<u64> },
}

impl Deleting {
    /// Has `topics` deleted; `results` are those of others, which were named wrongly.
    pub(super) fn begin(
        cx: &mut Context<'_>,
        topics: Vec<TopicRef>,
        results: Vec<DeletableTopicResult>,
        timeout_ms: i32,
    ) -> Step {
        let token = cx.call(Call::Metadata(Command::DeleteTopics(DeleteTopics { topics: topics.clone() })));
        let (stage, deadline) = (Stage::Deleting { token }, deadline::after_ms(cx.now, timeout_ms));
        Step::Wait(Box::new(Self { asked: topics, results, stage, deadline }))
    }

    /// Takes over what the store says; returns the names of the topics that are deleted.
    fn deleted(&mut self, version: i16, result: CommandResult) -> Vec<Arc<str>> {
        let asked = std::mem::take(&mut self.asked);
        let outcomes = match result {
            CommandResult::DeletedTopics(outcomes) => outcomes,
            other => {
                let error = before_disabled(version, error_of(other));
                asked.into_iter().map(|topic| (topic, Err(error.clone()))).collect()
            }
        };
        let names = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
        let names = names.map(|deleted| Arc::from(deleted.name.as_str())).collect();
        self.results.extend(outcomes.into_iter().map(|(topic, outcome)| result_of(topic, outcome)));
        names
    }

    fn respond(&mut self, version: i16) -> Result<Resume, WireError> {
        let response = DeleteTopicsResponse::default().with_responses(std::mem::take(&mut self.results));
        Ok(Resume::Reply(wire::encode_body(&response, version)?))
    }
}

/// Has every coordinator of this broker forget `topics`; returns the tokens of the calls.
fn forget(cx: &mut Context<'_>, topics: &[Arc<str>]) -> BTreeSet<u64> {
    let image = cx.directory.image();
    let Some(offsets) = image.topic(CONSUMER_OFFSETS).filter(|_| !topics.is_empty()) else {
        return BTreeSet::new();
    };
    let here = offsets.partitions_on(cx.settings.broker_id);
    here.map(|at| cx.call(Call::Group(at.partition, GroupRequest::ForgetTopics(topics.to_vec())))).collect()
}

impl Waiting for Deleting {
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        match &mut self.stage {
            Stage::Deleting { token: asked } if *asked == token => {
                let names = self.deleted(cx.version, result(answer));
                self.stage = Stage::Forgetting { tokens: forget(cx, &names) };
            }
            Stage::Forgetting { tokens } if tokens.contains(&token) => {
                tokens.remove(&token);
                if !matches!(answer, Answer::Group(GroupResponse::ForgetTopics)) {
                    tracing::warn!(?answer, "offsets committed for deleted topics stay until they expire");
                }
            }
            Stage::Deleting { .. } | Stage::Forgetting { .. } => return Ok(Resume::Wait),
        }
        match &self.stage {
            Stage::Forgetting { tokens } if tokens.is_empty() => self.respond(cx.version),
            Stage::Deleting { .. } | Stage::Forgetting { .. } => Ok(Resume::Wait),
        }
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Only topics whose deletion is still asked for fail; while coordinators are waited for there are none.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        self.deleted(cx.version, failed(ErrorCode::RequestTimedOut));
        self.respond(cx.version)
    }
}
