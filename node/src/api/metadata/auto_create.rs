//! Topics that a Metadata request creates by asking for them (`auto.create.topics.enable`, KIP-487).

use std::collections::BTreeMap;

use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{
    Command, CommandResult, CreateTopics, ItemError, NewTopic, check_topic_name, is_internal, is_reserved,
};
use millrace_types::{ErrorCode, Instant};

use super::response::{self, Item, Options};
use crate::api::{Context, Resume, Waiting, metadata_call};
use crate::call::{Answer, Call};
use crate::deadline;
use crate::wire::{self, WireError};

/// How long the request waits for the topics, in milliseconds; it names no time-out itself. Kafka does not wait: the
/// client is told to ask again, which it is here when the wait is over.
const WAIT_MS: i32 = 5_000;

/// A request whose missing topics are being created.
pub(super) struct Creating {
    names: Vec<StrBytes>,
    options: Options,
    /// The calls that are not answered, each with the internal topic it is for, or `None` for all others.
    calls: BTreeMap<u64, Option<String>>,
    refused: BTreeMap<String, ErrorCode>,
    deadline: Instant,
}

impl Creating {
    /// Asks for those of `names` that do not exist; `None` when nothing is to be created.
    pub(super) fn begin(cx: &mut Context<'_>, names: &[StrBytes], may_create: bool, options: Options) -> Option<Self> {
        if !may_create {
            return None;
        }
        let image = cx.directory.image();
        let creatable =
            |name: &&StrBytes| image.topic(name).is_none() && check_topic_name(name).is_ok() && !is_reserved(name);
        let missing: Vec<&StrBytes> = names.iter().filter(creatable).collect();
        let (internal, ordinary): (Vec<&StrBytes>, Vec<&StrBytes>) =
            missing.into_iter().partition(|name| is_internal(name));
        let mut calls = BTreeMap::new();
        for name in internal {
            let command = Command::EnsureInternalTopic { name: name.to_string() };
            calls.insert(cx.call(Call::Metadata(command)), Some(name.to_string()));
        }
        if !ordinary.is_empty() {
            let topics = ordinary.iter().map(|name| NewTopic::with_defaults(name.as_str())).collect();
            let command = Command::CreateTopics(CreateTopics { topics, validate_only: false });
            calls.insert(cx.call(Call::Metadata(command)), None);
        }
        if calls.is_empty() {
            return None;
        }
        let deadline = deadline::after_ms(cx.now, WAIT_MS);
        Some(Self { names: names.to_vec(), options, calls, refused: BTreeMap::new(), deadline })
    }

    fn refuse(&mut self, name: String, code: ErrorCode) {
        let shown = match code {
            // Somebody else was faster; the topic is there.
            ErrorCode::TopicAlreadyExists => return,
            // What can pass by itself: the client asks again.
            ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut => ErrorCode::LeaderNotAvailable,
            other => other,
        };
        self.refused.insert(name, shown);
    }

    fn reply(&mut self, cx: &Context<'_>) -> Result<Resume, WireError> {
        let refused = std::mem::take(&mut self.refused);
        let item = |name: StrBytes| match refused.get(name.as_str()) {
            Some(error) => Item::Error { name, error: *error },
            None => Item::Name(name),
        };
        let items = std::mem::take(&mut self.names).into_iter().map(item).collect();
        Ok(Resume::Reply(wire::encode_body(&response::of(cx, items, self.options), cx.version)?))
    }
}

impl Waiting for Creating {
    fn resume(&mut self, cx: &mut Context<'_>, token: u64, answer: Answer) -> Result<Resume, WireError> {
        let Some(internal) = self.calls.remove(&token) else {
            return Ok(Resume::Wait);
        };
        match (metadata_call::result(answer), internal) {
            (CommandResult::CreatedTopics(outcomes), _) => {
                for (name, outcome) in outcomes {
                    if let Err(ItemError { code, .. }) = outcome {
                        self.refuse(name, code);
                    }
                }
            }
            (CommandResult::InternalTopic { .. }, _) => {}
            (other, Some(name)) => self.refuse(name, metadata_call::error_of(other).code),
            (other, None) => {
                let code = metadata_call::error_of(other).code;
                let names: Vec<String> =
                    self.names.iter().filter(|name| !is_internal(name)).map(ToString::to_string).collect();
                let image = cx.directory.image();
                for name in names.into_iter().filter(|name| image.topic(name).is_none()) {
                    self.refuse(name, code);
                }
            }
        }
        if self.calls.is_empty() { self.reply(cx) } else { Ok(Resume::Wait) }
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn expire(&mut self, cx: &mut Context<'_>) -> Result<Resume, WireError> {
        let image = cx.directory.image();
        let missing: Vec<String> =
            self.names.iter().filter(|name| image.topic(name).is_none()).map(ToString::to_string).collect();
        for name in missing {
            self.refused.entry(name).or_insert(ErrorCode::LeaderNotAvailable);
        }
        self.reply(cx)
    }
}
