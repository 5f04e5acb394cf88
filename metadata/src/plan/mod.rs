//! Checks a command against an image: the entry to log, and the answer to give once it is durable.
//!
//! The rules and the texts are those of Kafka's controller, so that tools which match them go on working. Every item of
//! a command is accepted or refused on its own; what is accepted becomes one entry, so a command takes one epoch.

mod acceptors;
mod client_metrics;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod edit;
mod internal_topic;
mod manual;
mod reassignments;
mod set_configs;
mod topic_config;

use std::collections::{BTreeMap, BTreeSet};

use millrace_types::ErrorCode;

use crate::command::Command;
use crate::entry::{Change, Entry};
use crate::image::Image;
use crate::outcome::{CommandResult, ItemError};
use crate::topic_ids::TopicIds;

/// The most partitions one command creates; as Kafka, which refuses more as a policy violation.
pub(crate) const MAX_PARTITIONS_PER_COMMAND: usize = 10_000;

/// What a command comes to on one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The entry to log; `None` when nothing changes.
    pub entry: Option<Entry>,
    /// The answer, once the entry is durable.
    pub result: CommandResult,
}

impl Planned {
    fn new(changes: Vec<Change>, result: CommandResult) -> Self {
        let entry = (!changes.is_empty()).then(|| Entry::new(changes));
        Self { entry, result }
    }

    /// A command that was refused as a whole.
    fn refused(code: ErrorCode, message: &str) -> Self {
        Self { entry: None, result: CommandResult::Failed(ItemError::new(code, message)) }
    }
}

/// Checks `command` against `image`. Identities of topics are drawn from `ids`; nothing else decides but the two
/// arguments. The entry applies to `image` without an error.
#[must_use]
pub fn plan(image: &Image, ids: &mut TopicIds, command: Command) -> Planned {
    match command {
        Command::CreateTopics(request) => create_topics::plan(image, ids, request),
        Command::DeleteTopics(request) => delete_topics::plan(image, request),
        Command::CreatePartitions(request) => create_partitions::plan(image, request),
        Command::SetConfigs(request) => set_configs::plan(image, request),
        Command::RegisterBroker(broker) => {
            let known = image.broker(broker.id) == Some(&broker);
            let newer =
                |other: &crate::Broker| other.directory == broker.directory && other.incarnation > broker.incarnation;
            if image.broker(broker.id).is_some_and(newer) {
                return Planned::refused(ErrorCode::StaleBrokerEpoch, "A later start of this broker has registered.");
            }
            let changes = if known { Vec::new() } else { vec![Change::RegisterBroker(broker)] };
            Planned::new(changes, CommandResult::Registered)
        }
        Command::AlterReassignments(request) => reassignments::alter(image, &request),
        Command::FinishReassignment(request) => reassignments::finish(image, &request),
        Command::SetAcceptors { acceptors } => acceptors::plan(image, acceptors),
        Command::EnsureInternalTopic { name } => internal_topic::plan(image, ids, &name),
    }
}

/// The items that appear more than once.
fn duplicates<'a, T: Ord + ?Sized + 'a>(items: impl IntoIterator<Item = &'a T>) -> BTreeSet<&'a T> {
    let mut seen: BTreeMap<&T, usize> = BTreeMap::new();
    for item in items {
        *seen.entry(item).or_default() += 1;
    }
    seen.into_iter().filter_map(|(item, count)| (count > 1).then_some(item)).collect()
}

#[cfg(test)]
mod tests;
