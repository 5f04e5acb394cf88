//! The host: connections, replicas, their messages and timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Request};
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{
    Broker, BrokerRole, Change, Command, CommandResult, CreateTopics, Endpoint, Entry, Image, Local, NewTopic,
    TopicIds, apply, plan,
};
use millrace_storage::{CrashKind, SimDisk};
use millrace_types::{BrokerId, Instant, Now, TopicId, TopicPartition};

use super::storage::{Done, Storage, Work};
use super::{BROKER, DIRECTORY, LISTENER, at_ms};
use crate::call::{Answer, Call, Caller, ConnectionId, PartitionAnswer, PartitionOp, ReplyTo};
use crate::connection::{Connection, ConnectionEffect, ConnectionEvent, Origin};
use crate::core::Core;
use crate::directory::Directory;
use crate::replica::{Replica, ReplicaEffect, ReplicaEvent};
use crate::settings::{Settings, log_config};
use crate::shared::Shared;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Connection(ConnectionId),
    Replica(TopicPartition),
}

enum Message {
    Connection(ConnectionId, ConnectionEvent),
    Replica(TopicPartition, ReplicaEvent),
}

/// A broker's data path without threads, sockets and clocks.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) shared: Arc<Shared>,
    pub(crate) storage: Storage,
    /// While set, storage work waits.
    pub(crate) hold: bool,
    /// Answers that reached no connection: those to [`World::call`].
    pub(crate) answers: BTreeMap<u64, PartitionAnswer>,
    /// Elections that were asked for and have no answer.
    pub(crate) elections: VecDeque<(ReplyTo, TopicPartition, BrokerId)>,
    /// While set, calls to replicas come back as if their queues were full.
    pub(crate) refuse_calls: bool,
    pub(crate) stopped: BTreeSet<TopicPartition>,
    /// Calls that replicas were sent, by kind, since the last [`World::take_log`].
    log: Vec<String>,
    ids: TopicIds,
    replicas: BTreeMap<TopicPartition, Replica>,
    connections: BTreeMap<ConnectionId, Connection>,
    timers: BTreeMap<Who, Instant>,
    messages: VecDeque<Message>,
    sent: BTreeMap<ConnectionId, VecDeque<Bytes>>,
    closed: BTreeMap<ConnectionId, &'static str>,
    next_connection: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_config(seed, &[])
    }

    pub(crate) fn with_config(seed: u64, config: &[(&str, &str)]) -> Self {
        let config = [("node.id", "1")].iter().chain(config);
        let config = BrokerConfig::new(config.map(|(key, value)| (*key, *value))).expect("valid configuration");
        let settings = Settings::new(&config, 1, "/data".to_owned());
        let mut image = Image::new(Local { broker: Some(BROKER), config });
        let genesis = Change::Genesis { cluster_id: "test-cluster".to_owned(), acceptors: Vec::new() };
        apply(&mut image, &Entry::new(vec![genesis])).expect("the first entry");
        let endpoint = Endpoint { listener: LISTENER.to_owned(), host: "broker.test".to_owned(), port: 9092 };
        let broker = Broker {
            id: BROKER,
            rack: None,
            endpoints: vec![endpoint],
            directory: DIRECTORY,
            incarnation: 1,
            role: BrokerRole::Data,
        };
        command(&mut image, &mut TopicIds::new(1), Command::RegisterBroker(broker));
        let directory = Arc::new(Directory::new(image));
        let shared = Shared::new(directory, Arc::new(settings), seed);
        shared.producer_ids.begin(1);
        Self::over(Storage::new(seed), Arc::new(shared), at_ms(0))
    }

    fn over(storage: Storage, shared: Arc<Shared>, now: Now) -> Self {
        Self {
            now,
            shared,
            storage,
            hold: false,
            refuse_calls: false,
            elections: VecDeque::new(),
            answers: BTreeMap::new(),
            stopped: BTreeSet::new(),
            log: Vec::new(),
            ids: TopicIds::new(2),
            replicas: BTreeMap::new(),
            connections: BTreeMap::new(),
            timers: BTreeMap::new(),
            messages: VecDeque::new(),
            sent: BTreeMap::new(),
            closed: BTreeMap::new(),
            next_connection: 0,
        }
    }

    /// The next process start on what a crash leaves of the disk. The metadata is taken over as it is.
    pub(crate) fn crash(&self, kind: CrashKind) -> Self {
        self.crash_after(kind, |_| {})
    }

    /// The same, with storage work held back from the start on.
    pub(crate) fn crash_held(&self, kind: CrashKind) -> Self {
        let mut next = self.reopen(kind, |_| {});
        next.hold = true;
        next.run();
        next
    }

    /// The same, after something was done to the disk while no process ran.
    pub(crate) fn crash_after(&self, kind: CrashKind, damage: impl FnOnce(&SimDisk)) -> Self {
        let mut next = self.reopen(kind, damage);
        next.run();
        next
    }

    fn reopen(&self, kind: CrashKind, damage: impl FnOnce(&SimDisk)) -> Self {
        let image = self.shared.directory.image();
        let directory = Arc::new(Directory::new(Image::clone(&image)));
        let config = &image.local().config;
        let settings = Settings::new(config, self.shared.settings.incarnation + 1, "/data".to_owned());
        let start = settings.incarnation;
        let shared = Shared::new(directory, Arc::new(settings), self.now.instant.as_micros());
        shared.producer_ids.begin(start);
        let mut next = Self::over(self.storage.crash(kind, damage), Arc::new(shared), self.now);
        next.ids = self.ids.clone();
        let partitions: Vec<_> = image.topics().flat_map(|topic| topic.partitions_on(BROKER)).collect();
        for partition in partitions {
            next.start_replica(partition);
        }
        next
    }

    /// Creates a topic and starts its replicas.
    pub(crate) fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let mut topic = NewTopic::with_defaults(name);
        topic.partitions = partitions;
        topic.configs = configs.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        let create = Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false });
        self.change(create);
        let id = self.shared.directory.image().topic(name).expect("the topic is created").id;
        for partition in 0..partitions {
            self.start_replica(TopicPartition::new(id, partition));
        }
        self.run();
        id
    }

    /// Applies a command to the metadata and publishes the image.
    pub(crate) fn change(&mut self, change: Command) {
        let mut image = Image::clone(&self.shared.directory.image());
        command(&mut image, &mut self.ids, change);
        self.shared.directory.publish_image(Arc::new(image));
    }

    /// Carries out a command and publishes the image, if it has changed.
    pub(crate) fn carry_out(&mut self, command: Command) -> CommandResult {
        let mut image = Image::clone(&self.shared.directory.image());
        let planned = plan(&image, &mut self.ids, command);
        if let Some(entry) = &planned.entry {
            apply(&mut image, entry).expect("a planned entry applies");
            self.shared.directory.publish_image(Arc::new(image));
        }
        planned.result
    }

    /// The core of a replica.
    pub(crate) fn replica(&self, partition: TopicPartition) -> &Replica {
        &self.replicas[&partition]
    }

    pub(super) fn start_replica(&mut self, partition: TopicPartition) {
        let image = self.shared.directory.image();
        let topic = image.topic_by_id(partition.topic).expect("the topic exists");
        let replica = self.storage.replica(partition, log_config(&topic.settings, &image), self.now);
        self.shared.directory.publish(replica.view());
        self.replicas.insert(partition, replica);
        self.messages.push_back(Message::Replica(partition, ReplicaEvent::Start));
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        let origin = Origin { listener: Arc::from(LISTENER), client_host: Arc::from("127.0.0.1") };
        self.connections.insert(id, Connection::new(id, origin, Arc::clone(&self.shared)));
        id
    }

    pub(crate) fn connection(&self, id: ConnectionId) -> &Connection {
        &self.connections[&id]
    }

    pub(crate) fn disconnect(&mut self, id: ConnectionId) {
        self.messages.push_back(Message::Connection(id, ConnectionEvent::Closed));
        self.run();
        self.connections.remove(&id);
    }

    /// Delivers a frame and runs until nothing is left to do.
    pub(crate) fn frame(&mut self, connection: ConnectionId, frame: Bytes) {
        assert!(self.connections[&connection].wants_frames(), "the host asks first");
        self.messages.push_back(Message::Connection(connection, ConnectionEvent::Frame(frame)));
        self.run();
    }

    /// Sends a request under a correlation id.
    pub(crate) fn send<R: Request>(&mut self, connection: ConnectionId, version: i16, correlation: i32, request: &R) {
        let mut frame = BytesMut::new();
        frame.put_i16(R::KEY);
        frame.put_i16(version);
        frame.put_i32(correlation);
        frame.put_i16(4);
        frame.put_slice(b"test");
        if ApiKey::try_from(R::KEY).expect("known key").request_header_version(version) >= 2 {
            frame.put_u8(0);
        }
        request.encode(&mut frame, version).expect("the request is encoded");
        self.frame(connection, frame.freeze());
    }

    /// Takes the oldest response: its correlation id and its body.
    pub(crate) fn receive_bytes(&mut self, connection: ConnectionId) -> Option<(i32, Bytes)> {
        let mut frame = self.sent.get_mut(&connection)?.pop_front()?;
        assert_eq!(frame.get_i32(), i32::try_from(frame.len()).expect("small"), "the length prefix");
        Some((frame.get_i32(), frame))
    }

    /// Takes the oldest response to a request of type `R`.
    pub(crate) fn receive<R: Request>(&mut self, connection: ConnectionId, version: i16) -> Option<(i32, R::Response)> {
        let (correlation, mut body) = self.receive_bytes(connection)?;
        let key = ApiKey::try_from(R::KEY).expect("known key");
        if key != ApiKey::ApiVersions && key.response_header_version(version) >= 1 {
            assert_eq!(body.get_u8(), 0, "no tagged fields");
        }
        let response = R::Response::decode(&mut body, version).expect("the response is decoded");
        assert!(body.is_empty(), "nothing follows the response");
        Some((correlation, response))
    }

    /// Sends a request and takes its response, which must be there at once.
    pub(crate) fn request<R: Request>(&mut self, connection: ConnectionId, version: i16, request: &R) -> R::Response {
        self.send(connection, version, 77, request);
        let (correlation, response) = self.receive::<R>(connection, version).expect("a response");
        assert_eq!(correlation, 77);
        response
    }

    /// Why the connection was closed by its core.
    pub(crate) fn closed(&self, connection: ConnectionId) -> Option<&'static str> {
        self.closed.get(&connection).copied()
    }

    /// Calls a replica as another core would; the answer is put into `answers` under the token.
    pub(crate) fn call(&mut self, partition: TopicPartition, token: u64, op: PartitionOp) {
        let from = ReplyTo { caller: Caller::Metadata, token };
        self.event(partition, ReplicaEvent::Call { from, op });
    }

    /// Delivers an event to a replica and runs.
    pub(crate) fn event(&mut self, partition: TopicPartition, event: ReplicaEvent) {
        self.messages.push_back(Message::Replica(partition, event));
        self.run();
    }

    /// Lets time pass, in steps from timer to timer.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = Now {
            instant: self.now.instant.after(std::time::Duration::from_millis(ms)),
            wall: self.now.wall + i64::try_from(ms).expect("small"),
        };
        while let Some((who, due)) = self.timers.iter().map(|(who, due)| (*who, *due)).min_by_key(|timer| timer.1) {
            if due > end.instant {
                break;
            }
            let passed = i64::try_from(due.since(self.now.instant).as_millis()).expect("small");
            self.now = Now { instant: due.max(self.now.instant), wall: self.now.wall + passed };
            self.timers.remove(&who);
            self.messages.push_back(match who {
                Who::Connection(id) => Message::Connection(id, ConnectionEvent::Timer),
                Who::Replica(partition) => Message::Replica(partition, ReplicaEvent::Timer),
            });
            self.run();
        }
        self.now = end;
    }

    /// Number of timers that are set.
    pub(crate) fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// What replicas were asked since the last call, one line each.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Does the oldest piece of storage work that is held back; `false` when there is none.
    pub(crate) fn work_once(&mut self) -> bool {
        let Some(work) = self.storage.work.pop_front() else { return false };
        match self.storage.finish(work) {
            Done::Replica(partition, event) => self.messages.push_back(Message::Replica(partition, event)),
            Done::Connection(id, event) => self.messages.push_back(Message::Connection(id, event)),
            Done::Nothing => {}
        }
        self.run();
        true
    }

    /// Runs until nothing is left to do.
    pub(crate) fn run(&mut self) {
        loop {
            while let Some(message) = self.messages.pop_front() {
                match message {
                    Message::Connection(id, event) => self.step_connection(id, event),
                    Message::Replica(partition, event) => self.step_replica(partition, event),
                }
            }
            if self.hold || !self.work_once() {
                return;
            }
        }
    }

    fn step_connection(&mut self, id: ConnectionId, event: ConnectionEvent) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut effects = Vec::new();
        connection.step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                ConnectionEffect::Send(frame) => self.sent.entry(id).or_default().push_back(frame.to_bytes()),
                ConnectionEffect::Call { token, call } => {
                    self.deliver(ReplyTo { caller: Caller::Connection(id), token }, call)
                }
                ConnectionEffect::CancelWatch { token, partition } => {
                    self.log.push(format!("cancel {}", partition.partition));
                    let from = ReplyTo { caller: Caller::Connection(id), token };
                    self.messages.push_back(Message::Replica(partition, ReplicaEvent::Cancel { from }));
                }
                ConnectionEffect::Warm { token, job } => self.storage.work.push_back(Work::Warm(id, token, job)),
                ConnectionEffect::Timer(at) => drop(self.timers.insert(Who::Connection(id), at)),
                ConnectionEffect::Close(why) => drop(self.closed.insert(id, why)),
            }
        }
    }

    fn deliver(&mut self, from: ReplyTo, call: Call) {
        let (partition, op) = match call {
            Call::Partition(partition, op) => (partition, op),
            Call::Elect { partition, to, .. } => return self.elections.push_back((from, partition, to)),
            Call::Group(..) | Call::Metadata(_) => panic!("no other core is hosted"),
        };
        let kind = match &op {
            PartitionOp::Produce { .. } => "produce",
            PartitionOp::Watch { .. } => "watch",
            PartitionOp::DeleteRecords { .. } => "delete",
            PartitionOp::Describe => "describe",
        };
        self.log.push(format!("{kind} {}", partition.partition));
        if self.replicas.contains_key(&partition) && !self.refuse_calls {
            self.messages.push_back(Message::Replica(partition, ReplicaEvent::Call { from, op }));
        } else {
            self.answer(from, Answer::Gone(millrace_types::ErrorCode::NotLeaderOrFollower));
        }
    }

    pub(super) fn answer(&mut self, to: ReplyTo, answer: Answer) {
        match (to.caller, answer) {
            (Caller::Connection(id), answer) => {
                let event = ConnectionEvent::Answer { token: to.token, answer };
                self.messages.push_back(Message::Connection(id, event));
            }
            (_, Answer::Partition(answer)) => drop(self.answers.insert(to.token, answer)),
            (_, answer) => panic!("{answer:?} to nobody"),
        }
    }

    fn step_replica(&mut self, partition: TopicPartition, event: ReplicaEvent) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let mut effects = Vec::new();
        replica.step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                ReplicaEffect::Put { token, records } => {
                    self.storage.work.push_back(Work::Put(partition, token, records));
                }
                ReplicaEffect::Flush(work) => self.storage.work.push_back(Work::Flush(partition, work)),
                ReplicaEffect::Upkeep(job) => self.storage.work.push_back(Work::Upkeep(partition, job)),
                ReplicaEffect::Prepare(job) => self.storage.work.push_back(Work::Prepare(partition, job)),
                ReplicaEffect::Run(job) => self.storage.work.push_back(Work::Run(job)),
                ReplicaEffect::Cut(_) => panic!("a single replica cuts nothing while it runs"),
                ReplicaEffect::Warm { .. } => panic!("a single replica serves no follower"),
                ReplicaEffect::Answer { to, answer } => self.answer(to, Answer::Partition(answer)),
                ReplicaEffect::Send { to, .. } => panic!("a single replica has no peer {to}"),
                ReplicaEffect::TargetReached { .. } => panic!("a single replica goes nowhere"),
                ReplicaEffect::Forced { .. } => panic!("a single replica loses no majority"),
                ReplicaEffect::Timer(at) => drop(self.timers.insert(Who::Replica(partition), at)),
                ReplicaEffect::Stopped => drop(self.stopped.insert(partition)),
            }
        }
    }
}

fn command(image: &mut Image, ids: &mut TopicIds, command: Command) {
    let planned = plan(image, ids, command);
    let entry = planned.entry.unwrap_or_else(|| panic!("refused: {:?}", planned.result));
    apply(image, &entry).expect("a planned entry applies");
}
