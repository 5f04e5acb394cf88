//! A broker as a process of its own, and a client that speaks raw frames to it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use millrace_storage::{BatchBuilder, Codec, RecordIter};

/// How long anything may take on a machine that does other things too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A broker's process; it is killed when the value is dropped.
pub struct Broker {
    child: Child,
    /// The first listener's address.
    pub address: SocketAddr,
    /// The admin interface's address.
    pub admin: SocketAddr,
    /// All that it said on standard output before it was ready.
    pub banner: Vec<String>,
}

impl Broker {
    /// Starts a broker on `directory` and waits until it is ready.
    pub fn start(directory: &Path, settings: &[&str]) -> Self {
        let mut child = command(directory, settings).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut banner = Vec::new();
        let address = |banner: &[String], before: &str| -> Option<SocketAddr> {
            let line = banner.iter().find_map(|line| line.strip_prefix(before))?;
            Some(line.rsplit('/').next().expect("an address").parse().expect("an address"))
        };
        while !banner.iter().any(|line: &String| line.starts_with("data in ")) {
            match lines.recv_timeout(DEADLINE) {
                Ok(line) => banner.push(line),
                Err(_) => panic!("the broker is not ready: {:?}, said {banner:?}", child.try_wait()),
            }
        }
        let address_of_listener = address(&banner, "listening on ").expect("a listener");
        let admin = address(&banner, "admin on ").expect("an admin interface");
        Self { child, address: address_of_listener, admin, banner }
    }

    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks the process to stop and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal();
        wait(&mut self.child)
    }

    /// Sends SIGTERM.
    pub fn signal(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// A connection to the first listener.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Asks the admin interface; the status and the body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).expect("the admin interface listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut response = Vec::new();
        // A server that refuses a body may close before it has read all of it.
        let _reset = stream.read_to_end(&mut response);
        let response = String::from_utf8_lossy(&response).into_owned();
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// Asks the admin interface; the status and the body's JSON.
    pub fn json(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (status, body) = self.http(method, path, body);
        (status, if body.is_empty() { serde_json::Value::Null } else { parse(&body) })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn parse(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The command that runs a broker on `directory` with free ports.
pub fn command(directory: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", "log.level=warn"]);
    command.arg("--data-dir").arg(directory).stdin(Stdio::null());
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// Waits for the end of a process.
pub fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _gone = child.kill();
    panic!("the process does not end");
}

/// Asks `condition` again and again until it has an answer.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A connection that sends one request at a time.
pub struct Client {
    /// The socket.
    pub stream: TcpStream,
    correlation: i32,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream, correlation: 0 }
    }

    /// Sends a request and returns its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.correlation += 1;
        let frame = frame(request, version, self.correlation);
        self.stream.write_all(&frame).expect("sent");
        self.correlation
    }

    /// Reads one response.
    pub fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut frame = self.receive_frame().expect("a response");
        let correlation = frame.get_i32();
        if R::Response::header_version(version) >= 1 {
            frame.advance(1);
        }
        (correlation, R::Response::decode(&mut frame, version).expect("a response of this version"))
    }

    /// Reads one frame; `None` when the broker has closed.
    pub fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame.into())
    }

    /// Sends a request and reads its response.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let sent = self.send(request, version);
        let (received, response) = self.receive::<R>(version);
        assert_eq!(received, sent, "responses come in the order of the requests");
        response
    }

    /// Whether the broker closes the connection.
    pub fn is_closed(&mut self) -> bool {
        // Closed is an end of the stream, or a reset when it had not read everything.
        !matches!(self.stream.read(&mut [0; 1]), Ok(1))
    }

    /// Creates a topic; the error code.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let config = |(key, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(-1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        self.call(&request, 7).topics.first().expect("one topic").error_code
    }

    /// Waits until every partition of a topic has a leader.
    pub fn await_leaders(&mut self, name: &str) {
        until("leaders", || {
            let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
            let request =
                MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
            let response = self.call(&request, 12);
            let topic = response.topics.first().expect("one topic");
            let led = topic.error_code == 0 && topic.partitions.iter().all(|partition| partition.leader_id.0 >= 0);
            led.then_some(())
        });
    }

    /// Produces records with acks all; the base offset or the error code.
    pub fn produce(&mut self, topic: &str, partition: i32, values: &[&str]) -> Result<i64, i16> {
        let request = produce_request(topic, partition, values, -1);
        let response = self.call(&request, 9);
        let partition = &response.responses[0].partition_responses[0];
        if partition.error_code == 0 { Ok(partition.base_offset) } else { Err(partition.error_code) }
    }

    /// Fetches from an offset; the values with their offsets, and the high watermark.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64, wait_ms: i32) -> (Vec<(i64, String)>, i64) {
        let response = self.call(&fetch_request(topic, partition, offset, wait_ms), 12);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0, "fetch at {offset}");
        (values(partition.records.clone().unwrap_or_default(), offset), partition.high_watermark)
    }

    /// Fetches everything from offset 0 to the high watermark.
    pub fn fetch_all(&mut self, topic: &str, partition: i32) -> Vec<(i64, String)> {
        let mut all: Vec<(i64, String)> = Vec::new();
        until("everything is fetched", || {
            let next = all.last().map_or(0, |(offset, _)| offset + 1);
            let (records, high_watermark) = self.fetch(topic, partition, next, 0);
            all.extend(records);
            (all.last().map_or(0, |(offset, _)| offset + 1) >= high_watermark).then_some(())
        });
        all
    }
}

/// A Produce request of one batch.
pub fn produce_request(topic: &str, partition: i32, values: &[&str], acks: i16) -> ProduceRequest {
    let mut batch = BatchBuilder::new(1_700_000_000_000, Codec::None);
    for value in values {
        batch = batch.push(None, Some(value.as_bytes()));
    }
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch.build().expect("fits")));
    let topic = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// A Fetch request of one partition.
pub fn fetch_request(topic: &str, partition: i32, offset: i64, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

fn values(mut records: Bytes, from: i64) -> Vec<(i64, String)> {
    let mut values = Vec::new();
    while records.len() > 12 {
        let length = u32::from_be_bytes(records[8..12].try_into().expect("four bytes"));
        let batch = records.split_to(12 + usize::try_from(length).expect("fits"));
        for record in RecordIter::new(&batch).expect("a batch") {
            let record = record.expect("a record");
            if record.offset >= from {
                let value = record.value.expect("a value");
                values.push((record.offset, String::from_utf8(value.to_vec()).expect("text")));
            }
        }
    }
    values
}

/// A frame with length prefix, header and body.
pub fn frame<R: Request>(request: &R, version: i16, correlation: i32) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i16(R::KEY);
    body.put_i16(version);
    body.put_i32(correlation);
    body.put_i16(4);
    body.put_slice(b"test");
    if R::header_version(version) >= 2 {
        body.put_u8(0);
    }
    request.encode(&mut body, version).expect("a request of this version");
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len()).expect("fits"));
    frame.put_slice(&body);
    frame.freeze()
}

/// A text as the codec takes it.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Commits an offset for a group without members.
pub fn commit(client: &mut Client, group: &str, topic: &str, partition: i32, offset: i64) {
    use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, OffsetCommitRequest};

    until("a coordinator", || {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        let response = client.call(&request, 4);
        (response.coordinators.first().is_some_and(|found| found.error_code == 0)).then_some(())
    });
    until("the commit", || {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("")));
        let topic =
            OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let response = client.call(&request, 8);
        match response.topics[0].partitions[0].error_code {
            0 => Some(()),
            // The coordinator is being found or loaded.
            14..=16 => None,
            code => panic!("error {code}"),
        }
    });
}

/// What a client asks first; a client that does not name itself is refused (KIP-511).
pub fn api_versions() -> kafka_protocol::messages::ApiVersionsRequest {
    kafka_protocol::messages::ApiVersionsRequest::default()
        .with_client_software_name(text("test"))
        .with_client_software_version(text("1"))
}
