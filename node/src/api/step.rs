//! What a handler returns: a response, or a request that waits.

use millrace_types::{Instant, TopicPartition};

use super::Context;
use crate::call::Answer;
use crate::wire::{Frame, WireError};

/// What a request does next.
pub enum Step {
    /// The response is ready.
    Reply(Frame),
    /// The request has no response (Produce with acks 0).
    Silent,
    /// The request waits for the answers to its calls.
    Wait(Box<dyn Waiting>),
    /// The connection must be closed; the text says why.
    Close(&'static str),
}

/// A request that waits for answers.
pub trait Waiting: Send {
    /// Takes the answer to the call `token` and says what follows; [`Resume::Wait`] to go on waiting.
    ///
    /// # Errors
    /// When the response cannot be encoded at the request's version.
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError>;

    /// The high watermark of a partition that this connection watches has moved, or can no longer be watched.
    ///
    /// # Errors
    /// When the response cannot be encoded at the request's version.
    fn advanced(&mut self, cx: &mut Context<'_>, partition: TopicPartition) -> Result<Resume, WireError> {
        let _ = (cx, partition);
        Ok(Resume::Wait)
    }

    /// The cold range asked for under `token` has been read in.
    ///
    /// # Errors
    /// When the response cannot be encoded at the request's version.
    fn warmed(&mut self, cx: &mut Context<'_>, token: u64) -> Result<Resume, WireError> {
        let _ = (cx, token);
        Ok(Resume::Wait)
    }

    /// When [`Waiting::expire`] is to be called.
    fn deadline(&self) -> Instant {
        Instant::NEVER
    }

    /// The deadline has passed.
    ///
    /// # Errors
    /// When the response cannot be encoded at the request's version.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        let _ = cx;
        Ok(Resume::Wait)
    }

    /// The connection closes before the request is done: cancel what was registered elsewhere.
    fn abandon(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }
}

/// What a waiting request does after an answer.
pub enum Resume {
    /// It goes on waiting.
    Wait,
    /// The response is ready.
    Reply(Frame),
    /// It is done and has no response.
    Silent,
    /// The connection must be closed; the text says why.
    Close(&'static str),
}
