//! A consumer that fetches in a session while others write: it gets every record, in order, and no wake-up is lost.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::fetch_request::ForgottenTopic;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use millrace_storage::BatchHeader;
use millrace_types::{ErrorCode, Offset};

use crate::call::ConnectionId;
use crate::testing::{Dice, World, batch, fetch, produce, topic_name};

const VERSION: i16 = 12;
const PARTITIONS: i32 = 6;

/// What a consumer remembers of its session, as KIP-227 has clients do it.
struct Consumer {
    connection: ConnectionId,
    session: i32,
    epoch: i32,
    positions: BTreeMap<i32, Offset>,
    /// Partitions whose position the broker does not know.
    changed: BTreeSet<i32>,
    forgotten: BTreeSet<i32>,
    waits: bool,
}

impl Consumer {
    fn new(connection: ConnectionId) -> Self {
        let positions: BTreeMap<i32, Offset> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
        let changed = positions.keys().copied().collect();
        Self { connection, session: 0, epoch: 0, positions, changed, forgotten: BTreeSet::new(), waits: false }
    }

    fn send(&mut self, world: &mut World, max_bytes: i32, min_bytes: i32) {
        let named: Vec<(i32, Offset)> =
            self.changed.iter().map(|partition| (*partition, self.positions[partition])).collect();
        let mut request = fetch("t", &named)
            .with_session_id(self.session)
            .with_session_epoch(self.epoch)
            .with_max_wait_ms(100)
            .with_max_bytes(max_bytes)
            .with_min_bytes(min_bytes);
        if named.is_empty() {
            request.topics.clear();
        }
        if !self.forgotten.is_empty() {
            let partitions = std::mem::take(&mut self.forgotten).into_iter().collect();
            let topic = ForgottenTopic::default().with_topic(topic_name("t")).with_partitions(partitions);
            request.forgotten_topics_data.push(topic);
        }
        self.changed.clear();
        self.waits = true;
        world.send(self.connection, VERSION, 1, &request);
    }

    /// Takes the response if it has come; returns the number of records in it.
    fn receive(&mut self, world: &mut World) -> Option<i64> {
        let (_, response) = world.receive::<FetchRequest>(self.connection, VERSION)?;
        self.waits = false;
        assert_eq!(response.error_code, ErrorCode::None.code());
        assert!(response.session_id > 0);
        (self.session, self.epoch) = (response.session_id, self.epoch + 1);
        Some(self.take(&response))
    }

    fn take(&mut self, response: &FetchResponse) -> i64 {
        let mut count = 0;
        for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
            assert_eq!(data.error_code, ErrorCode::None.code());
            let position = self.positions.get_mut(&data.partition_index).expect("only what was asked for");
            let mut rest = data.records.clone().expect("never null");
            while !rest.is_empty() {
                let header = BatchHeader::parse(&rest).expect("a whole batch");
                assert_eq!(header.base_offset, *position, "the next record of partition {}", data.partition_index);
                *position = header.last_offset() + 1;
                count += i64::from(header.records);
                self.changed.insert(data.partition_index);
                drop(rest.split_to(header.size()));
            }
        }
        count
    }

    /// Asks for everything anew, in a session of its own.
    fn renew(&mut self) {
        self.epoch = 0;
        self.forgotten.clear();
        self.changed = self.positions.keys().copied().collect();
    }
}

fn run(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(seed);
    world.topic("t", PARTITIONS, &[]);
    let writer = world.connect();
    let mut consumer = Consumer::new(world.connect());
    let mut written = BTreeMap::from_iter((0..PARTITIONS).map(|partition| (partition, 0)));
    world.hold = true;
    for _ in 0..300 {
        match dice.roll(12) {
            0..=3 if world.connection(writer).wants_frames() => {
                let partition = i32::try_from(dice.roll(6)).expect("small");
                let values = &["a", "b"][..usize::try_from(1 + dice.roll(2)).expect("small")];
                *written.get_mut(&partition).expect("known") += i64::try_from(values.len()).expect("small");
                world.send(writer, 9, 1, &produce(1, "t", &[(partition, batch(values))]));
            }
            4..=6 => {
                world.work_once();
            }
            7 => world.advance(dice.roll(60)),
            8 if !consumer.waits && consumer.positions.len() > 1 => {
                // It pauses a partition, or resumes one.
                let partition = i32::try_from(dice.roll(6)).expect("small");
                if consumer.session > 0 && consumer.epoch > 0 && consumer.positions.contains_key(&partition) {
                    paused_and_resumed(&mut consumer, &mut world, partition);
                }
            }
            9 if !consumer.waits && dice.roll(4) == 0 => consumer.renew(),
            10 if !consumer.waits && dice.roll(4) == 0 => consumer.connection = world.connect(),
            _ if !consumer.waits => {
                let (max_bytes, min_bytes) =
                    ([1, 200, 1 << 20][usize::try_from(dice.roll(3)).expect("small")], 1 + 99 * dice.roll(2));
                consumer.send(&mut world, max_bytes, i32::try_from(min_bytes).expect("small"));
            }
            _ => {}
        }
        consumer.receive(&mut world);
    }
    world.hold = false;
    world.run();
    if consumer.waits {
        world.advance(100);
        consumer.receive(&mut world).expect("the wait is over");
    }
    while consumer.positions != written {
        consumer.send(&mut world, 1 << 20, 1);
        let count = consumer.receive(&mut world).unwrap_or_else(|| panic!("seed {seed}: it waits for what is there"));
        assert!(count > 0, "seed {seed}: {:?} of {written:?}", consumer.positions);
    }
}

/// Takes a partition out of the session with one fetch and puts it back with the next.
fn paused_and_resumed(consumer: &mut Consumer, world: &mut World, partition: i32) {
    let position = consumer.positions.remove(&partition).expect("known");
    consumer.changed.remove(&partition);
    consumer.forgotten.insert(partition);
    consumer.send(world, 1, 1);
    world.advance(100);
    consumer.receive(world).expect("the wait is over");
    consumer.positions.insert(partition, position);
    consumer.changed.insert(partition);
}

#[test]
fn a_consumer_in_a_session_misses_nothing() {
    (0..150).for_each(run);
}
