//! Which answers with records are on their way by a connection.
//!
//! A leader reminds a follower that has not fetched for a while (R17), and that asks again. On a slow network the answer to its
//! first question is still on its way then. Sent once more, it would hold up what comes behind it for as long again, the next
//! question would be late as well, and the network carry the same records over and over. So while an answer is on its way,
//! another to the same question is none: the first one comes, or its loss is told (P7) and the follower asks again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use millrace_raft::{Message, Position};
use millrace_types::{DirectoryId, Incarnation, Instant, LeaderEpoch, TopicPartition};

use super::PeerMessage;
use super::mutation::{Mutation, broken};

/// Bytes that may have left a connection without [`super::PeerEvent::Written`] having told so.
pub const UNREPORTED_BYTES: usize = 128 << 10;

/// Who asks.
type Asker = (TopicPartition, DirectoryId);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    epoch: LeaderEpoch,
    position: Position,
    incarnation: Incarnation,
}

/// The question that a message answers with records.
pub(crate) fn question(message: &PeerMessage) -> Option<(Asker, Question)> {
    match &message.message {
        Message::FetchResponse(response) if !message.records.is_empty() => {
            let (epoch, position, incarnation) = (response.epoch, response.position, response.incarnation);
            Some(((message.partition, message.to), Question { epoch, position, incarnation }))
        }
        _ => None,
    }
}

/// The answers of one connection, each from when it is queued until some time after it has left.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The last answer to each, by its number.
    last: BTreeMap<Asker, (u64, Question)>,
    /// Those that have not left, in order.
    waiting: VecDeque<(u64, Asker)>,
    /// When the others have left, in order.
    gone: VecDeque<(Instant, u64, Asker)>,
    /// Ends of frames that have not left, among the bytes written, and the last answer in each or before it.
    frames: VecDeque<(u64, u64)>,
    number: u64,
    written: u64,
}

impl Answers {
    /// Whether the same question is answered already.
    pub(crate) fn is_under_way(&self, asker: &Asker, question: Question) -> bool {
        let same = self.last.get(asker).is_some_and(|(_, last)| *last == question);
        same && !broken(Mutation::AnswerTwice)
    }

    /// An answer is queued, or a message that is none.
    pub(crate) fn queued(&mut self, answer: Option<(Asker, Question)>) {
        self.number += 1;
        if let Some((asker, question)) = answer {
            self.last.insert(asker, (self.number, question));
            self.waiting.push_back((self.number, asker));
        }
    }

    /// A frame of so many bytes is handed to the socket; `left` messages wait still.
    pub(crate) fn wrote(&mut self, bytes: usize, left: usize) {
        self.written += bytes as u64;
        self.frames.push_back((self.written, self.number.saturating_sub(left as u64)));
    }

    /// Forgets what has left for as long as `patience`; of the bytes written `unwritten` have not left.
    pub(crate) fn settle(&mut self, now: Instant, unwritten: usize, patience: Duration) {
        let left = self.written.saturating_sub(unwritten as u64) + UNREPORTED_BYTES as u64;
        while let Some((_, number)) = self.frames.pop_front_if(|(end, _)| *end <= left) {
            while let Some((answer, asker)) = self.waiting.pop_front_if(|(answer, _)| *answer <= number) {
                self.gone.push_back((now, answer, asker));
            }
        }
        while let Some((_, answer, asker)) = self.gone.pop_front_if(|(at, ..)| at.after(patience) <= now) {
            if self.last.get(&asker).is_some_and(|(last, _)| *last == answer) {
                self.last.remove(&asker);
            }
        }
    }
}
