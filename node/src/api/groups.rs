//! What the handlers of the group APIs have in common: which coordinator is asked, and how its answers come back.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use millrace_coordinator::{GroupRequest, GroupResponse};
use millrace_metadata::{CONSUMER_OFFSETS, Image};
use millrace_types::ErrorCode;

use super::{Context, Resume, Step, Waiting};
use crate::call::{Answer, Call};
use crate::wire::{Frame, WireError};

/// What a coordinator has answered; every way in which it could not is an error code.
pub(super) type Answered = Result<GroupResponse, ErrorCode>;

/// The partition of `__consumer_offsets` whose coordinator has the group; `NOT_COORDINATOR` while the topic does not
/// exist, so that the client asks for the coordinator, which makes it.
pub(super) fn partition_of(image: &Image, group: &str) -> Result<i32, ErrorCode> {
    let partitions = image.topic(CONSUMER_OFFSETS).map_or(0, |topic| topic.partition_count());
    partition_for(group, partitions).ok_or(ErrorCode::NotCoordinator)
}

/// The partition for a group id among `partitions`, as Kafka chooses it: `abs(id.hashCode()) % partitions` in Java.
fn partition_for(group: &str, partitions: i32) -> Option<i32> {
    // Java's strings are UTF-16, and `Utils.abs` of the smallest integer is 0.
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0).checked_rem(partitions)
}

/// Asks one coordinator; `finish` makes the response of its answer.
pub(super) fn ask<F>(cx: &mut Context<'_>, group: &str, request: GroupRequest, finish: F) -> Result<Step, WireError>
where
    F: FnOnce(i16, Answered) -> Result<Frame, WireError> + Send + 'static,
{
    match partition_of(&cx.directory.image(), group) {
        Ok(partition) => gather(cx, vec![(partition, request)], move |version, answers| {
            finish(version, answers.into_iter().next().unwrap_or(Err(ErrorCode::UnknownServerError)))
        }),
        Err(error) => Ok(Step::Reply(finish(cx.version, Err(error))?)),
    }
}

/// Asks several coordinators; `finish` makes the response of their answers, which are in the order of the calls.
pub(super) fn gather<F>(cx: &mut Context<'_>, calls: Vec<(i32, GroupRequest)>, finish: F) -> Result<Step, WireError>
where
    F: FnOnce(i16, Vec<Answered>) -> Result<Frame, WireError> + Send + 'static,
{
    if calls.is_empty() {
        return Ok(Step::Reply(finish(cx.version, Vec::new())?));
    }
    let left = calls.len();
    let tokens = calls.into_iter().map(|(partition, request)| cx.call(Call::Group(partition, request))).collect();
    let answers = (0..left).map(|_| None).collect();
    Ok(Step::Wait(Box::new(Gathering { tokens, answers, left, finish: Some(finish) })))
}

/// A request that waits for coordinators.
struct Gathering<F> {
    /// Tokens of the calls, ascending.
    tokens: Vec<u64>,
    answers: Vec<Option<Answered>>,
    left: usize,
    finish: Option<F>,
}

impl<F> Waiting for Gathering<F>
where
    F: FnOnce(i16, Vec<Answered>) -> Result<Frame, WireError> + Send + 'static,
{
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        let Ok(at) = self.tokens.binary_search(&token) else { return Ok(Resume::Wait) };
        let Some(slot) = self.answers.get_mut(at).filter(|slot| slot.is_none()) else { return Ok(Resume::Wait) };
        *slot = Some(match answer {
            Answer::Group(GroupResponse::Failed(error)) | Answer::Gone(error) => Err(error),
            Answer::Group(response) => Ok(response),
            Answer::Partition(_) | Answer::Metadata(_) | Answer::Elected(_) => Err(ErrorCode::UnknownServerError),
        });
        self.left -= 1;
        if self.left > 0 {
            return Ok(Resume::Wait);
        }
        let Some(finish) = self.finish.take() else { return Ok(Resume::Wait) };
        let answers = self.answers.drain(..).flatten().collect();
        Ok(Resume::Reply(finish(cx.version, answers)?))
    }
}

/// The values in their order, each once: what a request costs stays within what it carries, however often it repeats
/// itself.
pub(super) fn distinct<T: Ord + Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    values.into_iter().filter(|value| seen.insert(value.clone())).collect()
}

/// A string of a request, kept beyond its frame.
pub(super) fn text(value: &StrBytes) -> Arc<str> {
    Arc::from(&**value)
}

/// A string that may be missing.
pub(super) fn optional(value: Option<&StrBytes>) -> Option<Arc<str>> {
    value.map(text)
}

/// A string of a response.
pub(super) fn string(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

#[cfg(test)]
mod tests;
