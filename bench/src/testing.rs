//! A broker in memory for the tests of whole runs: one topic, one log per partition, no durability.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsResponse, FetchRequest,
    FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, ProduceRequest, ProduceResponse,
    RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use millrace_client::record::BatchHeader;

use crate::raw::VERSIONS;
use crate::raw::cluster::text;

#[derive(Debug, Default)]
struct Log {
    /// Batches by base offset.
    batches: BTreeMap<i64, Bytes>,
    end: i64,
}

#[derive(Debug, Default)]
struct State {
    /// Logs by partition; none before the topic is created.
    logs: BTreeMap<i32, Log>,
    created: usize,
    deleted: usize,
}

/// A broker on a port of its own, until the test's process ends.
#[derive(Debug, Default)]
pub(crate) struct FakeBroker {
    state: Mutex<State>,
    appended: Condvar,
    port: i32,
    /// Code that every Produce is answered with instead of being stored, 0 for none.
    pub(crate) refuse_with: AtomicI16,
}

impl FakeBroker {
    /// Starts a broker; returns it and its address.
    pub(crate) fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Arc::new(Self { port: i32::from(address.port()), ..Self::default() });
        let serving = Arc::clone(&broker);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let broker = Arc::clone(&serving);
                std::thread::spawn(move || broker.serve(stream));
            }
        });
        (broker, address.to_string())
    }

    /// Topics created and deleted so far.
    pub(crate) fn topics(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.created, state.deleted)
    }

    /// Answers requests until the client closes.
    fn serve(&self, mut stream: TcpStream) {
        let mut session = BTreeMap::new();
        let mut length = [0; 4];
        while stream.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
            stream.read_exact(&mut frame).unwrap();
            let mut frame = Bytes::from(frame);
            let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
            let version = i16::from_be_bytes([frame[2], frame[3]]);
            let header = RequestHeader::decode(&mut frame, key.request_header_version(version)).unwrap();
            let mut answer = BytesMut::new();
            answer.extend_from_slice(&[0; 4]);
            answer.extend_from_slice(&header.correlation_id.to_be_bytes());
            self.answer(key, version, &mut frame, &mut answer, &mut session);
            let length = i32::try_from(answer.len() - 4).unwrap().to_be_bytes();
            answer[..4].copy_from_slice(&length);
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn answer(
        &self,
        key: ApiKey,
        version: i16,
        frame: &mut Bytes,
        out: &mut BytesMut,
        session: &mut BTreeMap<i32, i64>,
    ) {
        match key {
            ApiKey::ApiVersions => put(&versions(), version, out),
            ApiKey::Metadata => put(&self.metadata(), version, out),
            ApiKey::CreateTopics => {
                put(&self.create(&CreateTopicsRequest::decode(frame, version).unwrap()), version, out);
            }
            ApiKey::DeleteTopics => put(&self.delete(), version, out),
            ApiKey::ListOffsets => {
                put(&self.offsets(&ListOffsetsRequest::decode(frame, version).unwrap()), version, out);
            }
            ApiKey::Produce => put(&self.produce(&ProduceRequest::decode(frame, version).unwrap()), version, out),
            ApiKey::Fetch => {
                put(&self.fetch(&FetchRequest::decode(frame, version).unwrap(), session), version, out);
            }
            other => panic!("{other:?}"),
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let state = self.state.lock().unwrap();
        let partition =
            |number: &i32| MetadataResponsePartition::default().with_partition_index(*number).with_leader_id(1.into());
        let code = if state.logs.is_empty() { 3 } else { 0 };
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(text("topic"))))
            .with_error_code(code)
            .with_partitions(state.logs.keys().map(partition).collect());
        let broker =
            MetadataResponseBroker::default().with_node_id(1.into()).with_host(text("127.0.0.1")).with_port(self.port);
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
    }

    fn create(&self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let mut state = self.state.lock().unwrap();
        state.created += 1;
        state.logs = (0..request.topics[0].num_partitions).map(|number| (number, Log::default())).collect();
        CreateTopicsResponse::default().with_topics(vec![CreatableTopicResult::default()])
    }

    fn delete(&self) -> DeleteTopicsResponse {
        let mut state = self.state.lock().unwrap();
        state.deleted += 1;
        state.logs.clear();
        DeleteTopicsResponse::default().with_responses(vec![DeletableTopicResult::default()])
    }

    fn offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let state = self.state.lock().unwrap();
        let partitions = request.topics[0].partitions.iter().map(|asked| {
            let end = state.logs[&asked.partition_index].end;
            ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_offset(if asked.timestamp == -1 { end } else { 0 })
        });
        let topic = ListOffsetsTopicResponse::default().with_partitions(partitions.collect());
        ListOffsetsResponse::default().with_topics(vec![topic])
    }

    fn produce(&self, request: &ProduceRequest) -> ProduceResponse {
        let code = self.refuse_with.load(Ordering::SeqCst);
        let data = &request.topic_data[0].partition_data[0];
        if code == 0 {
            let mut state = self.state.lock().unwrap();
            let log = state.logs.get_mut(&data.index).unwrap();
            let mut batch = data.records.clone().unwrap().to_vec();
            batch[..8].copy_from_slice(&log.end.to_be_bytes());
            let base = log.end;
            log.end = BatchHeader::read(&batch).unwrap().last_offset() + 1;
            log.batches.insert(base, Bytes::from(batch));
            self.appended.notify_all();
        }
        let partition = PartitionProduceResponse::default().with_index(data.index).with_error_code(code);
        let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
        ProduceResponse::default().with_responses(vec![topic])
    }

    fn fetch(&self, request: &FetchRequest, session: &mut BTreeMap<i32, i64>) -> FetchResponse {
        if request.session_epoch <= 0 {
            session.clear();
        }
        for asked in request.topics.iter().flat_map(|topic| &topic.partitions) {
            session.insert(asked.partition, asked.fetch_offset);
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap());
        let state = self.state.lock().unwrap();
        let is_idle = |state: &mut State| session.iter().all(|(number, from)| state.logs[number].end <= *from);
        let (state, _) = self.appended.wait_timeout_while(state, wait, is_idle).unwrap();
        let behind = session.iter().filter(|(number, from)| state.logs[number].end > **from);
        let partitions = behind.map(|(number, from)| {
            let log = &state.logs[number];
            let batches: Vec<u8> = log.batches.range(from..).take(8).flat_map(|(_, batch)| batch.to_vec()).collect();
            PartitionData::default()
                .with_partition_index(*number)
                .with_high_watermark(log.end)
                .with_records(Some(Bytes::from(batches)))
        });
        let topic = FetchableTopicResponse::default().with_partitions(partitions.collect());
        let id = if request.session_epoch < 0 { 0 } else { 77 };
        FetchResponse::default().with_session_id(id).with_responses(vec![topic])
    }
}

fn versions() -> ApiVersionsResponse {
    let range = |(key, version, _): &(i16, i16, &str)| {
        ApiVersion::default().with_api_key(*key).with_min_version(*version).with_max_version(*version)
    };
    ApiVersionsResponse::default().with_api_keys(VERSIONS.iter().map(range).collect())
}

fn put<R: Encodable + HeaderVersion>(response: &R, version: i16, out: &mut BytesMut) {
    if R::header_version(version) > 0 {
        out.extend_from_slice(&[0]);
    }
    response.encode(out, version).unwrap();
}
