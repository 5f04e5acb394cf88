//! Several brokers as processes, with a topic that all of them hold.
//!
//! Every data directory is made with the same metadata before its broker starts, as if the brokers had agreed on them.

use std::path::Path;
use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, TopicName};
use millrace_metadata::{
    Assignment, Broker as Registered, Change, Endpoint, Entry, Image, Local, TopicRecord, apply, snapshot_records,
};
use millrace_storage::{
    DataDir, Disk, Journal, JournalOptions, METADATA_DIR, NewBoot, NewIdentity, QSTATE_DIR, QState,
};
use millrace_types::{BrokerId, DirectoryId, TopicId};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Broker, Client, DEADLINE, Starting, command_at, lasting_address, text, until};

/// Id of the cluster.
pub const CLUSTER: &str = "several";

/// A topic that all brokers hold.
pub struct Shared<'a> {
    /// Its name.
    pub name: &'a str,
    /// Number of partitions.
    pub partitions: usize,
    /// Its configuration.
    pub configs: &'a [(&'a str, &'a str)],
}

/// Brokers, numbered from 1.
pub struct Cluster {
    root: TempDir,
    clients: Vec<String>,
    peers: Vec<String>,
    settings: Vec<String>,
    brokers: Vec<Option<Broker>>,
}

impl Cluster {
    /// Starts `count` brokers that hold `topics`.
    pub fn start(count: usize, topics: &[Shared<'_>], settings: &[&str]) -> Self {
        Self::start_by(count, topics, settings, |_, _, address| address.to_owned())
    }

    /// The same, where a broker looks for another one at the address that `way` makes of its own.
    pub fn start_by(
        count: usize,
        topics: &[Shared<'_>],
        settings: &[&str],
        way: impl Fn(usize, usize, &str) -> String,
    ) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let clients: Vec<String> = (0..count).map(|_| lasting_address()).collect();
        let peers: Vec<String> = (0..count).map(|_| lasting_address()).collect();
        for id in 1..=count {
            let seen = |(other, address): (usize, &String)| {
                (other, if other == id { address.clone() } else { way(id, other, address) })
            };
            let file = cluster_file(CLUSTER, (1..).zip(&peers).map(seen));
            std::fs::write(root.path().join(format!("{id}.toml")), file).expect("written");
        }
        let records = records(&clients, topics);
        for id in 1..=count {
            make(&root.path().join(id.to_string()), id, &records);
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { root, clients, peers, settings, brokers: (0..count).map(|_| None).collect() };
        let starting: Vec<Starting> = (1..=count).map(|id| cluster.begin(id)).collect();
        for (at, starting) in starting.into_iter().enumerate() {
            cluster.brokers[at] = Some(starting.within(DEADLINE).unwrap_or_else(|starting| starting.give_up()));
        }
        cluster
    }

    /// The command that runs a broker.
    pub fn command(&self, id: usize) -> std::process::Command {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let mut command = command_at(&self.clients[id - 1], &self.root.path().join(id.to_string()), &settings);
        command.arg("--cluster-file").arg(self.root.path().join(format!("{id}.toml")));
        command.args(["--broker-id", &id.to_string()]);
        command
    }

    fn begin(&self, id: usize) -> Starting {
        Starting::run(self.command(id))
    }

    /// The folder of a broker's data.
    pub fn directory(&self, id: usize) -> std::path::PathBuf {
        self.root.path().join(id.to_string())
    }

    /// Where other brokers reach a broker.
    pub fn peer(&self, id: usize) -> &str {
        &self.peers[id - 1]
    }

    /// Where clients find the cluster.
    pub fn bootstrap(&self) -> String {
        self.clients.join(",")
    }

    /// A broker that runs.
    pub fn broker(&self, id: usize) -> &Broker {
        self.brokers[id - 1].as_ref().expect("it runs")
    }

    /// Ends a broker as `kill -9` does.
    pub fn kill(&mut self, id: usize) {
        self.brokers[id - 1].take().expect("it runs").kill();
    }

    /// How often a metric of a broker has counted, over all its labels.
    pub fn metric(&self, id: usize, name: &str) -> f64 {
        let (status, text) = self.broker(id).http("GET", "/metrics", "");
        assert_eq!(status, 200);
        let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Has a broker stop in order.
    pub fn stop(&mut self, id: usize) {
        assert!(self.brokers[id - 1].take().expect("it runs").stop().success(), "a clean stop of broker {id}");
    }

    /// Starts a broker again.
    pub fn restart(&mut self, id: usize) {
        let starting = self.begin(id).within(DEADLINE);
        self.brokers[id - 1] = Some(starting.unwrap_or_else(|starting| starting.give_up()));
    }

    /// Waits until some broker other than `not` says that another one than it leads a partition; which.
    pub fn leader(&self, topic: &str, partition: usize, not: Option<usize>) -> usize {
        until("a leader", || {
            let asked = (1..=self.brokers.len()).filter(|id| Some(*id) != not && self.brokers[*id - 1].is_some());
            asked.filter_map(|id| self.leader_by(id, topic, partition)).find(|leader| Some(*leader) != not)
        })
    }

    /// The leader of a partition, as a broker tells it.
    pub fn leader_by(&self, id: usize, topic: &str, partition: usize) -> Option<usize> {
        let mut client = Client::connect(self.broker(id).address);
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text(topic))));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        let response = client.call(&request, 12);
        let partition = response.topics.first()?.partitions.get(partition)?;
        usize::try_from(partition.leader_id.0).ok()
    }

    /// Whether a broker hears another one.
    pub fn hears(&self, id: usize, other: usize) -> bool {
        self.session(id, other)["up"] == true
    }

    /// What a broker tells of its session with another one.
    pub fn session(&self, id: usize, other: usize) -> serde_json::Value {
        let (status, brokers) = self.broker(id).json("GET", "/api/v1/brokers", "");
        assert_eq!(status, 200);
        let found = brokers.as_array().expect("a list").iter().find(|broker| broker["id"] == other);
        found.map_or(serde_json::Value::Null, |broker| broker["session"].clone())
    }
}

/// The text of a cluster file.
pub fn cluster_file(cluster: &str, brokers: impl IntoIterator<Item = (usize, String)>) -> String {
    let broker = |(id, address): (usize, String)| format!("[[brokers]]\nid = {id}\npeer = \"{address}\"\n");
    format!("cluster_id = \"{cluster}\"\n{}", brokers.into_iter().map(broker).collect::<String>())
}

/// Identity of a broker's first data directory.
pub fn directory_id(id: usize) -> DirectoryId {
    DirectoryId(Uuid::from_u128(0xd1_0000 + id as u128))
}

/// The metadata on which the brokers agree.
fn records(clients: &[String], topics: &[Shared<'_>]) -> Vec<Vec<u8>> {
    let id = |number: usize| BrokerId(i32::try_from(number).expect("small"));
    let mut changes = vec![Change::Genesis { cluster_id: CLUSTER.to_owned(), acceptors: Vec::new() }];
    for (at, address) in clients.iter().enumerate() {
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let endpoint =
            Endpoint { listener: "PLAINTEXT".to_owned(), host: host.to_owned(), port: port.parse().expect("a port") };
        changes.push(Change::RegisterBroker(Registered {
            id: id(at + 1),
            rack: None,
            endpoints: vec![endpoint],
            directory: directory_id(at + 1),
            incarnation: 1,
        }));
    }
    let count = clients.len();
    for (number, topic) in topics.iter().enumerate() {
        let replicas = |first: usize| (0..count).map(|next| id((first + next) % count + 1)).collect();
        changes.push(Change::CreateTopic(TopicRecord {
            id: TopicId(Uuid::from_u128(0x70_0000 + number as u128)),
            name: topic.name.to_owned(),
            partitions: (0..topic.partitions).map(|first| Assignment { replicas: replicas(first) }).collect(),
            overrides: topic.configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }));
    }
    let mut image = Image::new(Local::default());
    apply(&mut image, &Entry::new(changes)).expect("it fits");
    snapshot_records(&image).expect("it is written")
}

/// Makes a data directory with these metadata.
fn make(path: &Path, id: usize, records: &[Vec<u8>]) {
    let directory = directory_id(id);
    let identity = NewIdentity { directory_id: directory, cluster_id: CLUSTER.to_owned() };
    let data_dir = DataDir::open(path, identity).expect("a directory");
    let disk: &Arc<dyn Disk> = data_dir.disk();
    let options = || JournalOptions { create: true, ..JournalOptions::default() };
    let boot = NewBoot { directory, boot_id: data_dir.boot_id().to_owned(), nonce: id as u64 };
    QState::open(disk, Path::new(QSTATE_DIR), options(), boot).expect("a store");
    disk.create_dir(Path::new(METADATA_DIR)).expect("a folder");
    let (mut journal, ..) = Journal::open(disk, Path::new(METADATA_DIR), "metadata", options()).expect("a journal");
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    journal.append(&records).expect("written");
    journal.flush().expect("durable");
}
