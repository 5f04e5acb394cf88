//! A replica on a simulated disk, step by step.

mod commit;
mod crash;
mod damage;
mod deleting;
mod failure;
mod faults;
mod forcing;
mod heal;
mod leaving;
mod lifecycle;
mod moving;
mod peers;
mod policy;
mod records;
mod rejoin;
mod rot;
mod stall;

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_metadata::{Command, ConfigOperation, ConfigResource, ResourceChange, SetConfigs};
use millrace_storage::{BatchLimits, ValidBatches};
use millrace_types::{ErrorCode, Instant, Offset, TopicPartition};

use crate::call::{Acks, Caller, PartitionAnswer, PartitionOp, ReplyTo};
use crate::replica::ReplicaEvent;
use crate::settings::{Replication, log_config};
use crate::testing::{START_WALL, World, batch};

/// A world with one partition.
struct Scene {
    world: World,
    partition: TopicPartition,
    next_token: u64,
}

impl Scene {
    fn new(configs: &[(&str, &str)]) -> Self {
        let mut world = World::new(1);
        let topic = world.topic("t", 1, configs);
        Self { world, partition: TopicPartition::new(topic, 0), next_token: 0 }
    }

    /// A scene whose storage work waits for [`World::work_once`].
    fn held(configs: &[(&str, &str)]) -> Self {
        let mut scene = Self::new(configs);
        scene.world.hold = true;
        scene
    }

    fn produce_with(&mut self, records: Bytes, acks: Acks, deadline: Instant) -> u64 {
        let batches = ValidBatches::check(records, &BatchLimits::default(), START_WALL).expect("valid");
        self.call(PartitionOp::Produce { batches, acks, deadline })
    }

    /// Produces one record with acks=all and no deadline; returns the call's token.
    fn produce(&mut self, value: &str) -> u64 {
        self.produce_with(batch(&[value]), Acks::All, Instant::NEVER)
    }

    fn call(&mut self, op: PartitionOp) -> u64 {
        self.next_token += 1;
        self.world.call(self.partition, self.next_token, op);
        self.next_token
    }

    fn cancel(&mut self, token: u64) {
        let from = ReplyTo { caller: Caller::Metadata, token };
        self.world.event(self.partition, ReplicaEvent::Cancel { from });
    }

    /// Changes the settings of the log, as a change of the topic's settings does.
    fn configure(&mut self, configs: &[(&str, &str)]) {
        let changes = configs.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())));
        let resource = ResourceChange {
            resource: ConfigResource::Topic("t".to_owned()),
            operation: ConfigOperation::Replace(changes.collect()),
        };
        self.world.change(Command::SetConfigs(SetConfigs { resources: vec![resource], validate_only: false }));
        let image = self.world.shared.directory.image();
        let config = log_config(&image.topic("t").expect("the topic").settings, &image);
        self.world.event(
            self.partition,
            ReplicaEvent::Configure { log: Box::new(config), replication: Replication::default() },
        );
    }

    fn answer(&mut self, token: u64) -> Option<PartitionAnswer> {
        self.world.answers.remove(&token)
    }

    /// The base offset that was acknowledged.
    fn acked(&mut self, token: u64) -> Option<Offset> {
        match self.answer(token)? {
            PartitionAnswer::Produced { base_offset, .. } => Some(base_offset),
            other => panic!("not acknowledged: {other:?}"),
        }
    }

    /// The code of a failure.
    fn failed(&mut self, token: u64) -> Option<ErrorCode> {
        match self.answer(token)? {
            PartitionAnswer::Failed(code) => Some(code),
            PartitionAnswer::Refused { error, .. } => Some(error.error_code()),
            other => panic!("no failure: {other:?}"),
        }
    }

    fn high_watermark(&self) -> Offset {
        self.world.shared.directory.partition(&self.partition).expect("hosted").log.high_watermark()
    }

    /// Does all storage work.
    fn work(&mut self) {
        while self.world.work_once() {}
    }
}

/// The values of all records below the high watermark, by offset, read through the published view.
fn records(world: &World, partition: TopicPartition) -> BTreeMap<Offset, String> {
    let view = world.shared.directory.partition(&partition).expect("hosted");
    crate::testing::records(&view, view.log.high_watermark())
}
