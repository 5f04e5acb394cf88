//! A request that waits for one command of the metadata store.

#[cfg(test)]
pub(crate) mod testing;

use millrace_metadata::{Command, CommandResult, ItemError};
use millrace_types::{ErrorCode, Instant};

use super::{Context, Resume, Step, Waiting};
use crate::call::{Answer, Call};
use crate::deadline;
use crate::wire::{Frame, WireError};

/// Builds the response from what became of the command.
pub(super) type Finish = Box<dyn FnOnce(&Context<'_>, CommandResult) -> Result<Frame, WireError> + Send>;

/// Sends `command` to the metadata store and answers with `finish`; after `timeout_ms` milliseconds with
/// `REQUEST_TIMED_OUT`, whatever becomes of the command then.
pub(super) fn send(cx: &mut Context<'_>, command: Command, timeout_ms: i32, finish: Finish) -> Step {
    let token = cx.call(Call::Metadata(command));
    let deadline = deadline::after_ms(cx.now, timeout_ms);
    Step::Wait(Box::new(Commanding { token, deadline, finish: Some(finish) }))
}

/// What an answer of the metadata store says about the command.
pub(super) fn result(answer: Answer) -> CommandResult {
    match answer {
        Answer::Metadata(result) => result,
        Answer::Gone(code) => failed(code),
        Answer::Partition(_) | Answer::Group(_) | Answer::Elected(_) => failed(ErrorCode::UnknownServerError),
    }
}

/// A command that failed as a whole.
pub(super) fn failed(code: ErrorCode) -> CommandResult {
    CommandResult::Failed(ItemError::new(code, code.message()))
}

/// The error of a command that gave no results of the kind it should have.
pub(super) fn error_of(result: CommandResult) -> ItemError {
    match result {
        CommandResult::Failed(error) => error,
        CommandResult::CreatedTopics(_)
        | CommandResult::DeletedTopics(_)
        | CommandResult::CreatedPartitions(_)
        | CommandResult::SetConfigs(_)
        | CommandResult::AlteredReassignments(_)
        | CommandResult::FinishedReassignment
        | CommandResult::Registered
        | CommandResult::AcceptorsSet
        | CommandResult::InternalTopic { .. } => {
            ItemError::new(ErrorCode::UnknownServerError, ErrorCode::UnknownServerError.message())
        }
    }
}

struct Commanding {
    token: u64,
    deadline: Instant,
    finish: Option<Finish>,
}

impl Commanding {
    fn finish(&mut self, cx: &Context<'_>, result: CommandResult) -> Result<Resume, WireError> {
        match self.finish.take() {
            Some(finish) => Ok(Resume::Reply(finish(cx, result)?)),
            None => Ok(Resume::Wait),
        }
    }
}

impl Waiting for Commanding {
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        if token != self.token {
            return Ok(Resume::Wait);
        }
        self.finish(cx, result(answer))
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        self.finish(cx, failed(ErrorCode::RequestTimedOut))
    }
}
