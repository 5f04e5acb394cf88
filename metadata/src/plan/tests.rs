//! Kafka's rules, command by command.

mod client_metrics;
mod configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod reassignments;
mod registration;

use millrace_types::{BrokerId, ErrorCode};

use crate::command::{Command, CreateTopics, NewTopic};
use crate::image::Image;
use crate::image::tests::image;
use crate::outcome::{CommandResult, CreatedTopic, ItemError, Outcome};
use crate::topic_ids::TopicIds;
use crate::{apply, plan};

/// Plans and applies commands one after another.
struct Cluster {
    image: Image,
    ids: TopicIds,
}

impl Cluster {
    fn new(brokers: i32, config: &[(&str, &str)]) -> Self {
        Self { image: image(brokers, config), ids: TopicIds::new(7) }
    }

    fn run(&mut self, command: Command) -> CommandResult {
        let planned = plan(&self.image, &mut self.ids, command);
        if let Some(entry) = &planned.entry {
            apply(&mut self.image, entry).unwrap();
        }
        self.image.check().unwrap();
        planned.result
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<(String, Outcome<CreatedTopic>)> {
        match self.run(Command::CreateTopics(CreateTopics { topics, validate_only: false })) {
            CommandResult::CreatedTopics(results) => results,
            other => panic!("{other:?}"),
        }
    }

    fn create_one(&mut self, topic: NewTopic) -> Outcome<CreatedTopic> {
        let (_, outcome) = self.create(vec![topic]).remove(0);
        outcome
    }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { partitions, replication_factor, ..NewTopic::with_defaults(name) }
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().map(|id| BrokerId(*id)).collect()
}

/// The code and the text of an item that was refused.
fn refused<T: std::fmt::Debug>(outcome: Outcome<T>) -> (ErrorCode, String) {
    let ItemError { code, message } = outcome.unwrap_err();
    (code, message)
}
