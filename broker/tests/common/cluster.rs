//! Several brokers as processes, with topics that all of them hold.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, TopicName};
use tempfile::TempDir;

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

    /// Two brokers that hold `topics`, and a third that is their witness.
    pub fn with_witness(topics: &[Shared<'_>], settings: &[&str]) -> Self {
        let cluster = Self::begin_by(3, "role = \"witness\"\n", settings, |_, _, address| address.to_owned());
        // Partitions that are created before it is registered have none.
        until("the witness is registered", || {
            let (_, brokers) = cluster.broker(1).json("GET", "/api/v1/brokers", "");
            brokers.as_array()?.iter().any(|broker| broker["id"] == 3 && broker["host"].is_string()).then_some(())
        });
        for (at, topic) in topics.iter().enumerate() {
            cluster.create(at % 3 + 1, topic, 2);
        }
        cluster
    }

    /// The same, where a broker looks for another one at the address that `way` makes of its own.
    pub fn start_by(
        count: usize,
        topics: &[Shared<'_>],
        settings: &[&str],
        way: impl Fn(usize, usize, &str) -> String,
    ) -> Self {
        let cluster = Self::begin_by(count, "", settings, way);
        for (at, topic) in topics.iter().enumerate() {
            cluster.create(at % count + 1, topic, count);
        }
        cluster
    }

    /// Starts brokers, of which the last has these lines in the cluster file as well.
    fn begin_by(count: usize, last: &str, settings: &[&str], way: impl Fn(usize, usize, &str) -> String) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let clients: Vec<String> = (0..count).map(|_| lasting_address()).collect();
        let peers: Vec<String> = (0..count).map(|_| lasting_address()).collect();
        for id in 1..=count {
            let seen = |(other, address): (usize, &String)| {
                (other, if other == id { address.clone() } else { way(id, other, address) })
            };
            let file = cluster_file(CLUSTER, (1..).zip(&peers).map(seen)) + last;
            std::fs::write(root.path().join(format!("{id}.toml")), file).expect("written");
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { root, clients, peers, settings, brokers: (0..count).map(|_| None).collect() };
        let starting: Vec<Starting> = (1..=count).map(|id| cluster.begin(id)).collect();
        for (at, starting) in starting.into_iter().enumerate() {
            cluster.brokers[at] = Some(starting.within(DEADLINE).unwrap_or_else(|starting| starting.give_up()));
        }
        cluster
    }

    /// Creates a topic by asking a broker.
    pub fn create(&self, by: usize, topic: &Shared<'_>, replicas: usize) {
        let (partitions, replicas) = (i32::try_from(topic.partitions), i16::try_from(replicas));
        let (partitions, replicas) = (partitions.expect("small"), replicas.expect("small"));
        until("the topic is created", || {
            let mut client = self.broker(by).connect();
            match client.create_replicated(topic.name, partitions, replicas, topic.configs) {
                0 => Some(()),
                // INVALID_REPLICATION_FACTOR, REQUEST_TIMED_OUT: not all brokers are registered yet.
                38 | 7 => None,
                code => panic!("error {code}"),
            }
        });
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

    /// What a broker tells of a topic's partitions.
    pub fn partitions(&self, id: usize, topic: &str) -> Vec<serde_json::Value> {
        let (status, partitions) = self.broker(id).json("GET", &format!("/api/v1/topics/{topic}/partitions"), "");
        assert_eq!(status, 200, "{partitions}");
        partitions.as_array().expect("a list").clone()
    }

    /// Waits until a broker says that so many replicas of every partition are in sync.
    pub fn await_in_sync(&self, id: usize, topic: &str, count: usize) {
        until("replicas in sync", || {
            let in_sync = |partition: &serde_json::Value| partition["in_sync_replicas"].as_array().map_or(0, Vec::len);
            self.partitions(id, topic).iter().all(|partition| in_sync(partition) == count).then_some(())
        });
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
