//! A broker as a process of its own, and a client that speaks raw frames to it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

pub mod cluster;
pub mod numbers;
pub mod proxy;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime};

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

/// A process that is killed when the value is dropped.
struct Process(Child);

/// A broker's process; it is killed when the value is dropped.
pub struct Broker {
    process: Process,
    /// The first listener's address.
    pub address: SocketAddr,
    /// The admin interface's address.
    pub admin: SocketAddr,
    /// All that it said on standard output before it was ready.
    pub banner: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Broker {
    /// Starts a broker on `directory` and waits until it is ready.
    pub fn start(directory: &Path, settings: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", directory, settings)
    }

    /// The same, listening on `address`.
    pub fn start_at(address: &str, directory: &Path, settings: &[&str]) -> Self {
        let started = Starting::begin(address, directory, settings).within(DEADLINE);
        started.unwrap_or_else(|starting| starting.give_up())
    }

    /// Sees that nothing has panicked, and that no more than `limit` bytes of memory were used at once.
    pub fn is_sound(&mut self, limit: u64) {
        assert!(self.is_running(), "the broker has ended");
        let log = self.log.lock().expect("no panic");
        let panics: Vec<&String> = log.iter().filter(|line| line.contains("panic") || line.contains("ERROR")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
        let peak = peak_memory(self.id());
        assert!(peak < limit, "the broker has used {peak} bytes at once");
    }

    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends the process as `kill -9` does.
    pub fn kill(mut self) {
        self.process.0.kill().expect("it runs");
        self.process.0.wait().expect("it ends");
    }

    /// Asks the process to stop and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal();
        wait(&mut self.process.0)
    }

    /// Sends SIGTERM.
    pub fn signal(&self) {
        self.send(rustix::process::Signal::TERM);
    }

    /// Halts the process: it does nothing and is not gone.
    pub fn pause(&self) {
        self.send(rustix::process::Signal::STOP);
    }

    /// Lets a halted process go on.
    pub fn resume(&self) {
        self.send(rustix::process::Signal::CONT);
    }

    fn send(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.process.0.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.0.try_wait().expect("a child").is_none()
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

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A broker that is not ready. Dropped, it is killed as `kill -9` does.
pub struct Starting {
    process: Process,
    lines: mpsc::Receiver<String>,
    banner: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Starting {
    /// Starts a broker on `directory` that will listen on `address`.
    pub fn begin(address: &str, directory: &Path, settings: &[&str]) -> Self {
        Self::run(command_at(address, directory, settings))
    }

    /// Starts the broker that the command says.
    pub fn run(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().expect("the binary runs"));
        let stdout = process.0.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = process.0.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                kept.lock().expect("no panic").push(line);
            }
        });
        Self { process, lines, banner: Vec::new(), log }
    }

    /// The broker once it is ready, or this value again when it is not ready within `patience`.
    pub fn within(mut self, patience: Duration) -> Result<Broker, Self> {
        let begun = Instant::now();
        while !self.banner.iter().any(|line| line.starts_with("data in ")) {
            match self.lines.recv_timeout(patience.saturating_sub(begun.elapsed())) {
                Ok(line) => self.banner.push(line),
                Err(mpsc::RecvTimeoutError::Timeout) => return Err(self),
                Err(mpsc::RecvTimeoutError::Disconnected) => self.give_up(),
            }
        }
        let address = |before: &str| -> SocketAddr {
            let line = self.banner.iter().find_map(|line| line.strip_prefix(before)).expect(before);
            line.rsplit('/').next().expect("an address").parse().expect("an address")
        };
        let (listener, admin) = (address("listening on "), address("admin on "));
        Ok(Broker { process: self.process, address: listener, admin, banner: self.banner, log: self.log })
    }

    /// Fails with what the broker has said.
    pub fn give_up(mut self) -> ! {
        panic!("the broker is not ready: {:?}, said {:?}", self.process.0.try_wait(), self.banner)
    }
}

/// An address of this machine for a broker that is started again and again on one port. The port is below those that
/// the kernel gives to clients: a client that connects to such a port while nobody listens may be connected to itself.
pub fn lasting_address() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let free = |port: &u32| std::net::TcpListener::bind(format!("127.0.0.1:{port}")).is_ok();
    let mut next = std::iter::repeat_with(|| {
        20_000 + (std::process::id().wrapping_mul(16) + TAKEN.fetch_add(1, Ordering::Relaxed)) % 12_000
    });
    let port = next.by_ref().take(1_000).find(free).expect("a free port");
    format!("127.0.0.1:{port}")
}

fn parse(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The program, without arguments.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    // What is meant for the tests is no configuration of the broker.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MILLRACE_")) {
        command.env_remove(name);
    }
    command
}

/// The command that runs a broker on `directory` with free ports.
pub fn command(directory: &Path, settings: &[&str]) -> Command {
    command_at("127.0.0.1:0", directory, settings)
}

/// The same, listening on `address`.
pub fn command_at(address: &str, directory: &Path, settings: &[&str]) -> Command {
    let mut command = program();
    command.args(["serve", "--listen", address, "--admin", "127.0.0.1:0", "--set", "log.level=warn"]);
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
    // Records of long ago would go at the first retention check.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let mut batch = BatchBuilder::new(i64::try_from(now.as_millis()).expect("fits"), Codec::None);
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

/// The most memory that a process has had at once, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

/// What a client asks first; a client that does not name itself is refused (KIP-511).
pub fn api_versions() -> kafka_protocol::messages::ApiVersionsRequest {
    kafka_protocol::messages::ApiVersionsRequest::default()
        .with_client_software_name(text("test"))
        .with_client_software_version(text("1"))
}
