//! A broker in memory for tests of the tokio layer: one node, one coordinator, groups of one member, faults on order.

#![allow(unreachable_pub)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::messages::{ApiKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Partitions of every topic.
pub const PARTITIONS: i32 = 2;

/// The one version of each API on offer.
const OFFERED: [(ApiKey, i16); 13] = [
    (ApiKey::Produce, 9),
    (ApiKey::Fetch, 12),
    (ApiKey::ListOffsets, 7),
    (ApiKey::Metadata, 12),
    (ApiKey::OffsetCommit, 8),
    (ApiKey::OffsetFetch, 7),
    (ApiKey::FindCoordinator, 3),
    (ApiKey::JoinGroup, 5),
    (ApiKey::Heartbeat, 3),
    (ApiKey::LeaveGroup, 3),
    (ApiKey::SyncGroup, 3),
    (ApiKey::ApiVersions, 3),
    (ApiKey::InitProducerId, 4),
];

#[derive(Default)]
struct Partition {
    batches: Vec<(i64, Bytes)>,
    end: i64,
    /// Sequence number expected next, per producer.
    sequences: BTreeMap<i64, i32>,
}

#[derive(Default)]
struct State {
    logs: BTreeMap<(String, i32), Partition>,
    committed: BTreeMap<(String, i32), i64>,
    generation: i32,
}

/// The broker.
pub struct Broker {
    port: u16,
    state: Mutex<State>,
    appended: Notify,
    /// Write the next produce request, then end the connection in place of an answer.
    pub lose_next_answer: AtomicBool,
    /// Produce requests wait while this is true.
    pub held: watch::Sender<bool>,
}

impl Broker {
    /// A broker on a free port.
    pub async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let broker = Arc::new(Self {
            port: listener.local_addr().expect("bound").port(),
            state: Mutex::default(),
            appended: Notify::new(),
            lose_next_answer: AtomicBool::new(false),
            held: watch::Sender::new(false),
        });
        let serving = Arc::clone(&broker);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        broker
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Number of records of a topic.
    pub fn records(&self, topic: &str) -> i64 {
        let state = self.state.lock().expect("not poisoned");
        state.logs.iter().filter(|((name, _), _)| name == topic).map(|(_, log)| log.end).sum()
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        loop {
            let Ok(length) = stream.read_i32().await else { return };
            let mut frame = BytesMut::zeroed(length as usize);
            if stream.read_exact(&mut frame).await.is_err() {
                return;
            }
            let Some(answer) = self.handle(frame.freeze()).await else { return };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn handle(&self, mut frame: Bytes) -> Option<Bytes> {
        let (key, version) = (frame.clone().get_i16(), frame.slice(2..).get_i16());
        let api = ApiKey::try_from(key).expect("known");
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version)).expect("header");
        let request = RequestKind::decode(api, &mut frame, version).expect("body");
        let body = self.answer(request).await?;
        let mut out = BytesMut::new();
        out.put_i32(0);
        let head = ResponseHeader::default().with_correlation_id(header.correlation_id);
        head.encode(&mut out, api.response_header_version(version)).expect("header");
        body.encode(&mut out, version).expect("body");
        let length = out.len() as i32 - 4;
        out[..4].copy_from_slice(&length.to_be_bytes());
        Some(out.freeze())
    }

    async fn answer(&self, request: RequestKind) -> Option<ResponseKind> {
        Some(match request {
            RequestKind::ApiVersions(_) => ResponseKind::ApiVersions(offered()),
            RequestKind::Metadata(request) => ResponseKind::Metadata(self.metadata(request)),
            RequestKind::InitProducerId(_) => {
                ResponseKind::InitProducerId(m::InitProducerIdResponse::default().with_producer_id(77.into()))
            }
            RequestKind::Produce(request) => {
                let mut held = self.held.subscribe();
                held.wait_for(|held| !held).await.ok()?;
                let answer = self.produce(request);
                self.appended.notify_waiters();
                if self.lose_next_answer.swap(false, Ordering::SeqCst) {
                    return None;
                }
                ResponseKind::Produce(answer)
            }
            RequestKind::Fetch(request) => ResponseKind::Fetch(self.fetch_or_wait(request).await),
            RequestKind::ListOffsets(request) => ResponseKind::ListOffsets(self.list_offsets(request)),
            RequestKind::FindCoordinator(_) => ResponseKind::FindCoordinator(
                m::FindCoordinatorResponse::default()
                    .with_node_id(1.into())
                    .with_host(StrBytes::from_static_str("127.0.0.1"))
                    .with_port(i32::from(self.port)),
            ),
            other => self.group(other),
        })
    }

    fn metadata(&self, request: m::MetadataRequest) -> m::MetadataResponse {
        let partition = |number| {
            m::metadata_response::MetadataResponsePartition::default()
                .with_partition_index(number)
                .with_leader_id(1.into())
                .with_leader_epoch(3)
        };
        let topic = |topic: m::metadata_request::MetadataRequestTopic| {
            m::metadata_response::MetadataResponseTopic::default()
                .with_name(topic.name)
                .with_partitions((0..PARTITIONS).map(partition).collect())
        };
        let broker = m::metadata_response::MetadataResponseBroker::default()
            .with_node_id(1.into())
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(i32::from(self.port));
        m::MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_topics(request.topics.unwrap_or_default().into_iter().map(topic).collect())
    }

    fn produce(&self, request: m::ProduceRequest) -> m::ProduceResponse {
        let mut state = self.state.lock().expect("not poisoned");
        let mut topics = Vec::new();
        for topic in request.topic_data {
            let mut rows = Vec::new();
            for row in topic.partition_data {
                let log = state.logs.entry((topic.name.to_string(), row.index)).or_default();
                let (code, offset) = log.append(row.records.expect("records"));
                let answer = m::produce_response::PartitionProduceResponse::default()
                    .with_index(row.index)
                    .with_error_code(code)
                    .with_base_offset(offset)
                    .with_log_append_time_ms(-1);
                rows.push(answer);
            }
            let answer = m::produce_response::TopicProduceResponse::default().with_name(topic.name);
            topics.push(answer.with_partition_responses(rows));
        }
        m::ProduceResponse::default().with_responses(topics)
    }

    async fn fetch_or_wait(&self, request: m::FetchRequest) -> m::FetchResponse {
        let wait = Duration::from_millis(request.max_wait_ms as u64);
        let end = tokio::time::Instant::now() + wait;
        loop {
            let appended = self.appended.notified();
            tokio::pin!(appended);
            appended.as_mut().enable();
            let (answer, bytes) = self.fetch(&request);
            if bytes > 0 || tokio::time::timeout_at(end, appended).await.is_err() {
                return answer;
            }
        }
    }

    fn fetch(&self, request: &m::FetchRequest) -> (m::FetchResponse, usize) {
        let state = self.state.lock().expect("not poisoned");
        let (mut topics, mut total) = (Vec::new(), 0);
        for topic in &request.topics {
            let mut rows = Vec::new();
            for row in &topic.partitions {
                let log = state.logs.get(&(topic.topic.to_string(), row.partition));
                let batches = log.map_or(&[][..], |log| &log.batches);
                let wanted = batches.iter().filter(|(last, _)| *last >= row.fetch_offset);
                let records: Vec<u8> = wanted.flat_map(|(_, bytes)| bytes.to_vec()).collect();
                total += records.len();
                let answer = m::fetch_response::PartitionData::default()
                    .with_partition_index(row.partition)
                    .with_high_watermark(log.map_or(0, |log| log.end))
                    .with_records(Some(records.into()));
                rows.push(answer);
            }
            let answer = m::fetch_response::FetchableTopicResponse::default().with_topic(topic.topic.clone());
            topics.push(answer.with_partitions(rows));
        }
        (m::FetchResponse::default().with_responses(topics), total)
    }

    fn list_offsets(&self, request: m::ListOffsetsRequest) -> m::ListOffsetsResponse {
        let state = self.state.lock().expect("not poisoned");
        let topics = request.topics.into_iter().map(|topic| {
            let row = |asked: m::list_offsets_request::ListOffsetsPartition| {
                let end = state.logs.get(&(topic.name.to_string(), asked.partition_index)).map_or(0, |log| log.end);
                m::list_offsets_response::ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_offset(if asked.timestamp == -2 { 0 } else { end })
            };
            m::list_offsets_response::ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.into_iter().map(row).collect())
        });
        m::ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn group(&self, request: RequestKind) -> ResponseKind {
        let mut state = self.state.lock().expect("not poisoned");
        match request {
            RequestKind::JoinGroup(request) => {
                state.generation += 1;
                let member = m::join_group_response::JoinGroupResponseMember::default()
                    .with_member_id(StrBytes::from_static_str("m"))
                    .with_metadata(request.protocols[0].metadata.clone());
                ResponseKind::JoinGroup(
                    m::JoinGroupResponse::default()
                        .with_generation_id(state.generation)
                        .with_protocol_name(Some(request.protocols[0].name.clone()))
                        .with_leader(StrBytes::from_static_str("m"))
                        .with_member_id(StrBytes::from_static_str("m"))
                        .with_members(vec![member]),
                )
            }
            RequestKind::SyncGroup(request) => {
                let assignment = request.assignments[0].assignment.clone();
                ResponseKind::SyncGroup(m::SyncGroupResponse::default().with_assignment(assignment))
            }
            RequestKind::Heartbeat(_) => ResponseKind::Heartbeat(m::HeartbeatResponse::default()),
            RequestKind::LeaveGroup(_) => ResponseKind::LeaveGroup(m::LeaveGroupResponse::default()),
            RequestKind::OffsetCommit(request) => {
                let topics = request.topics.into_iter().map(|topic| {
                    let rows = topic.partitions.iter().map(|row| {
                        state.committed.insert((topic.name.to_string(), row.partition_index), row.committed_offset);
                        m::offset_commit_response::OffsetCommitResponsePartition::default()
                            .with_partition_index(row.partition_index)
                    });
                    let rows = rows.collect();
                    m::offset_commit_response::OffsetCommitResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_partitions(rows)
                });
                ResponseKind::OffsetCommit(m::OffsetCommitResponse::default().with_topics(topics.collect()))
            }
            RequestKind::OffsetFetch(request) => {
                let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
                    let rows = topic.partition_indexes.iter().map(|number| {
                        let offset = state.committed.get(&(topic.name.to_string(), *number)).copied().unwrap_or(-1);
                        m::offset_fetch_response::OffsetFetchResponsePartition::default()
                            .with_partition_index(*number)
                            .with_committed_offset(offset)
                    });
                    m::offset_fetch_response::OffsetFetchResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_partitions(rows.collect())
                });
                ResponseKind::OffsetFetch(m::OffsetFetchResponse::default().with_topics(topics.collect()))
            }
            other => panic!("not offered: {other:?}"),
        }
    }
}

impl Partition {
    /// Kafka's rules for sequence numbers, as far as one producer in order needs them.
    fn append(&mut self, records: Bytes) -> (i16, i64) {
        let at = |from: usize, to: usize| Bytes::copy_from_slice(&records[from..to]);
        let (producer, sequence, count) = (at(43, 51).get_i64(), at(53, 57).get_i32(), at(57, 61).get_i32());
        if producer >= 0 {
            let expected = self.sequences.entry(producer).or_default();
            if sequence < *expected {
                return (46, -1);
            }
            if sequence > *expected {
                return (45, -1);
            }
            *expected += count;
        }
        let base = self.end;
        let mut bytes = BytesMut::from(&records[..]);
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        self.end += i64::from(count);
        self.batches.push((self.end - 1, bytes.freeze()));
        (0, base)
    }
}

fn offered() -> m::ApiVersionsResponse {
    let row = |(api, version): &(ApiKey, i16)| {
        m::api_versions_response::ApiVersion::default()
            .with_api_key(*api as i16)
            .with_min_version(*version)
            .with_max_version(*version)
    };
    m::ApiVersionsResponse::default().with_api_keys(OFFERED.iter().map(row).collect())
}
