//! For tests: a network that understands what a machine sends and answers what a test says, in virtual time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use millrace_types::{Instant, Now};
use uuid::Uuid;

use super::{ConnectionId, Machine, NetOutput};
use crate::error::ClientError;
use crate::wire::{supported, text};

/// A request that a machine sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) connection: ConnectionId,
    /// Port of the broker it went to: tests give broker N the port 9000 + N.
    pub(crate) port: u16,
    pub(crate) request: RequestKind,
    correlation_id: i32,
    version: i16,
}

/// The network, the clock and the requests not answered.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) now: Now,
    pub(crate) sent: VecDeque<Sent>,
    open: Vec<(ConnectionId, u16)>,
    /// Ports that refuse connections.
    pub(crate) dead: Vec<u16>,
    /// Ports of brokers whose processes are stopped: they take connections and answer nothing.
    pub(crate) stopped: Vec<u16>,
    /// The broker that FindCoordinator is answered with.
    pub(crate) coordinator: i32,
    /// Brokers and topics (name, partitions as (leader, epoch)) that Metadata is answered with.
    pub(crate) brokers: Vec<i32>,
    pub(crate) topics: Vec<(&'static str, Vec<(i32, i32)>)>,
    /// Whether the test answers Metadata and FindCoordinator itself.
    pub(crate) manual: bool,
}

impl Net {
    pub(crate) fn new(topics: &[(&'static str, &[(i32, i32)])]) -> Self {
        let topics = topics.iter().map(|(name, partitions)| (*name, partitions.to_vec())).collect();
        let mut net = Self { brokers: vec![1, 2], coordinator: 1, topics, ..Self::default() };
        net.now.instant = Instant::from_micros(1_000_000);
        net.now.wall = 1_700_000_000_000;
        net
    }

    /// Lets the machine work until it waits for the test.
    pub(crate) fn run<M: Machine>(&mut self, machine: &mut M) {
        for _ in 0..200 {
            machine.advance(self.now);
            let mut idle = true;
            while let Some(output) = machine.poll_output() {
                idle = false;
                self.output(machine, output);
            }
            idle &= !self.reflexes(machine);
            if idle {
                return;
            }
        }
        panic!("the machine does not come to rest");
    }

    /// Lets time pass, stopping at each of the machine's deadlines as a host would.
    pub(crate) fn pass<M: Machine>(&mut self, machine: &mut M, time: Duration) {
        let end = self.now.instant.after(time);
        for _ in 0..10_000 {
            self.run(machine);
            let next = machine.deadline(self.now).min(end);
            if self.now.instant >= end {
                return;
            }
            assert!(next > self.now.instant || self.now.instant >= end, "a deadline that does not move: {next:?}");
            let step = next.since(self.now.instant);
            self.now.instant = next;
            self.now.wall += i64::try_from(step.as_millis()).expect("short");
        }
        panic!("time does not pass");
    }

    fn output<M: Machine>(&mut self, machine: &mut M, output: NetOutput) {
        match output {
            NetOutput::Open { connection, port, .. } if self.dead.contains(&port) => {
                machine.closed(self.now, connection, &ClientError::Disconnected { address: Arc::from("dead") });
            }
            NetOutput::Open { connection, port, .. } => {
                self.open.push((connection, port));
                machine.opened(self.now, connection);
            }
            NetOutput::Close { connection } => self.forget(connection),
            NetOutput::Write { connection, frame } => {
                let port = self.open.iter().find(|(id, _)| *id == connection).map_or(0, |(_, port)| *port);
                self.sent.push_back(read(connection, port, frame));
            }
        }
    }

    /// Answers what every test would answer the same way, where nothing before it on its connection waits.
    fn reflexes<M: Machine>(&mut self, machine: &mut M) -> bool {
        let first =
            |at: usize, sent: &Sent| self.sent.iter().position(|other| other.connection == sent.connection) == Some(at);
        let found = self
            .sent
            .iter()
            .enumerate()
            .find_map(|(at, sent)| if first(at, sent) { Some((at, self.reflex(sent)?)) } else { None });
        let Some((at, answer)) = found else { return false };
        let sent = self.sent.remove(at).expect("found");
        self.answer(machine, &sent, answer);
        true
    }

    fn forget(&mut self, connection: ConnectionId) {
        self.open.retain(|(id, _)| *id != connection);
        self.sent.retain(|sent| sent.connection != connection);
    }

    /// What every test would answer the same way.
    fn reflex(&self, sent: &Sent) -> Option<ResponseKind> {
        match &sent.request {
            _ if self.stopped.contains(&sent.port) => None,
            RequestKind::ApiVersions(_) => Some(ResponseKind::ApiVersions(versions())),
            RequestKind::Metadata(_) if !self.manual => Some(ResponseKind::Metadata(self.metadata())),
            RequestKind::FindCoordinator(_) if !self.manual => {
                let row = m::find_coordinator_response::Coordinator::default()
                    .with_key(text("g"))
                    .with_node_id(self.coordinator.into())
                    .with_host(text(&format!("b{}", self.coordinator)))
                    .with_port(9000 + self.coordinator);
                Some(ResponseKind::FindCoordinator(m::FindCoordinatorResponse::default().with_coordinators(vec![row])))
            }
            _ => None,
        }
    }

    pub(crate) fn metadata(&self) -> m::MetadataResponse {
        let broker = |id: &i32| {
            m::metadata_response::MetadataResponseBroker::default()
                .with_node_id((*id).into())
                .with_host(text(&format!("b{id}")))
                .with_port(9000 + id)
        };
        let topic = |(name, partitions): &(&'static str, Vec<(i32, i32)>)| {
            let partition = |(number, (leader, epoch)): (usize, &(i32, i32))| {
                m::metadata_response::MetadataResponsePartition::default()
                    .with_partition_index(number as i32)
                    .with_leader_id((*leader).into())
                    .with_leader_epoch(*epoch)
            };
            m::metadata_response::MetadataResponseTopic::default()
                .with_name(Some(m::TopicName(text(name))))
                .with_topic_id(Uuid::from_u128(name.len() as u128))
                .with_partitions(partitions.iter().enumerate().map(partition).collect())
        };
        m::MetadataResponse::default()
            .with_brokers(self.brokers.iter().map(broker).collect())
            .with_topics(self.topics.iter().map(topic).collect())
    }

    /// The next request, which must be there.
    pub(crate) fn next(&mut self) -> Sent {
        let at = self.sent.iter().position(|sent| self.reflex(sent).is_none()).expect("a request was sent");
        self.sent.remove(at).expect("found")
    }

    /// The next request of this API, others staying.
    pub(crate) fn next_of(&mut self, api: ApiKey) -> Option<Sent> {
        let at =
            self.sent.iter().position(|sent| crate::wire::api_of(&sent.request).map(|(api, _)| api) == Some(api))?;
        self.sent.remove(at)
    }

    /// Answers a request.
    pub(crate) fn answer<M: Machine>(&self, machine: &mut M, sent: &Sent, answer: ResponseKind) {
        let (api, _) = crate::wire::api_of(&sent.request).expect("known");
        let mut frame = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(sent.correlation_id);
        header.encode(&mut frame, api.response_header_version(sent.version)).expect("header");
        answer.encode(&mut frame, sent.version).unwrap_or_else(|error| panic!("{api:?}: {error:#}"));
        machine.frame(self.now, sent.connection, frame.freeze());
    }

    /// Breaks the connection that a request came by.
    pub(crate) fn cut<M: Machine>(&mut self, machine: &mut M, connection: ConnectionId) {
        self.forget(connection);
        machine.closed(self.now, connection, &ClientError::Disconnected { address: Arc::from("cut") });
    }
}

fn read(connection: ConnectionId, port: u16, mut frame: Bytes) -> Sent {
    let _length = frame.split_to(4);
    let (api, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let api = ApiKey::try_from(api).expect("known");
    let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).expect("header");
    let request = RequestKind::decode(api, &mut frame, version).expect("body");
    assert!(frame.is_empty(), "{api:?} version {version} leaves bytes behind");
    Sent { connection, port, request, correlation_id: header.correlation_id, version }
}

/// Every API at every version this client speaks.
pub(crate) fn versions() -> m::ApiVersionsResponse {
    let row = |key: i16| {
        let range = supported(ApiKey::try_from(key).ok()?)?;
        let row = m::api_versions_response::ApiVersion::default();
        Some(row.with_api_key(key).with_min_version(range.min).with_max_version(range.max))
    };
    m::ApiVersionsResponse::default().with_api_keys((0..100).filter_map(row).collect())
}
