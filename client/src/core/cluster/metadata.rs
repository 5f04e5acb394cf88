//! What the client knows about topics and brokers, and when it has to ask again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use millrace_types::{ErrorCode, Instant, LeaderEpoch};
use uuid::Uuid;

use super::RequestId;
use crate::model::TopicPartition;
use crate::wire::text;

/// A producer forgets a topic it has not used for this long (`metadata.max.idle.ms`).
const INTEREST_MAX_IDLE: Duration = Duration::from_secs(300);

/// So many times a missing leader is asked for sooner than others: an election takes a few hundred milliseconds.
const ELECTION_TRIES: u32 = 10;

/// Address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) rack: Option<Arc<str>>,
}

/// A partition as last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The leader, -1 for none.
    pub(crate) leader: i32,
    /// Its epoch, -1 when the broker does not tell.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
    /// The last leader that was named, -1 for none.
    pub(crate) last_leader: i32,
}

/// A topic as last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    /// The id, nil when the broker does not tell.
    pub(crate) id: Uuid,
    pub(crate) internal: bool,
    /// Why the broker could not describe the topic.
    pub(crate) error: ErrorCode,
    /// The partitions by number; a number the broker left out has no leader.
    pub(crate) partitions: Vec<Partition>,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) nodes: BTreeMap<i32, Node>,
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) controller: i32,
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
    /// Grows with each answer.
    pub(crate) version: u64,
    /// Partitions whose leader epoch grew since the owner last asked.
    pub(crate) moved: Vec<TopicPartition>,
    /// Brokers that another one follows as a leader, since the owner last asked.
    pub(crate) left: BTreeSet<i32>,
    /// The request under way.
    pub(crate) asking: Option<RequestId>,
    /// Whether topics stay wanted however long nobody mentions them.
    pub(crate) keep_idle: bool,
    interest: BTreeMap<Arc<str>, Instant>,
    auto_create: bool,
    needed: bool,
    next_try: Instant,
    expires: Instant,
    failures: u32,
    /// Answers in a row that lacked a leader.
    leaderless: u32,
}

impl Metadata {
    pub(crate) fn new(auto_create: bool) -> Self {
        Self {
            nodes: BTreeMap::new(),
            cluster_id: None,
            controller: -1,
            topics: BTreeMap::new(),
            version: 0,
            moved: Vec::new(),
            left: BTreeSet::new(),
            asking: None,
            keep_idle: false,
            interest: BTreeMap::new(),
            auto_create,
            needed: true,
            next_try: Instant::ZERO,
            expires: Instant::NEVER,
            failures: 0,
            leaderless: 0,
        }
    }

    /// The topic, when its last description was without error.
    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name).filter(|topic| topic.error == ErrorCode::None)
    }

    pub(crate) fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topic(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// The leader and its epoch, when there is a leader.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<(i32, LeaderEpoch)> {
        let partition = self.partition(topic, partition)?;
        (partition.leader >= 0).then_some((partition.leader, partition.leader_epoch))
    }

    /// Keeps `topic` in the cache; a topic not asked for yet makes a request necessary.
    pub(crate) fn want(&mut self, now: Instant, topic: &Arc<str>) {
        if let Some(used) = self.interest.get_mut(topic) {
            *used = now;
        } else {
            self.interest.insert(Arc::clone(topic), now);
            self.needed = true;
            self.next_try = now;
        }
    }

    /// Keeps exactly `topics`.
    pub(crate) fn want_only(&mut self, now: Instant, topics: impl IntoIterator<Item = Arc<str>>) {
        let before = std::mem::take(&mut self.interest);
        for topic in topics {
            if !before.contains_key(&topic) {
                self.needed = true;
                self.next_try = now;
            }
            self.interest.insert(topic, now);
        }
        self.topics.retain(|name, _| self.interest.contains_key(name));
    }

    /// Something showed that the cache is out of date.
    pub(crate) fn invalidate(&mut self) {
        self.needed = true;
    }

    /// The same, and so that it cannot wait: the request under way, if there is one, is not waited for either.
    pub(crate) fn invalidate_now(&mut self, now: Instant) {
        self.needed = true;
        self.next_try = now;
        self.asking = None;
    }

    /// Whether to ask at `now`.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.asking.is_none() && (self.needed || self.expires <= now) && self.next_try <= now
    }

    /// When [`Metadata::is_due`] becomes true by itself.
    pub(crate) fn deadline(&self) -> Instant {
        match (self.asking, self.needed) {
            (Some(_), _) => Instant::NEVER,
            (None, true) => self.next_try,
            (None, false) => self.expires.max(self.next_try),
        }
    }

    /// The request to send.
    pub(crate) fn request(&mut self, now: Instant) -> MetadataRequest {
        self.needed = false;
        self.interest.retain(|_, used| self.keep_idle || used.after(INTEREST_MAX_IDLE) > now);
        self.topics.retain(|name, _| self.interest.contains_key(name));
        let topic = |name: &Arc<str>| MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        MetadataRequest::default()
            .with_topics(Some(self.interest.keys().map(topic).collect()))
            .with_allow_auto_topic_creation(self.auto_create)
    }

    /// The request failed; it is sent again after `pause`.
    pub(crate) fn failed(&mut self, now: Instant, pause: Duration) {
        self.asking = None;
        self.needed = true;
        self.failures = self.failures.saturating_add(1);
        self.next_try = now.after(pause);
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes an answer in. `pause` is the shortest time to the next request, `max_age` the longest.
    pub(crate) fn apply(&mut self, now: Instant, response: MetadataResponse, pause: Duration, max_age: Duration) {
        self.asking = None;
        self.failures = 0;
        self.version += 1;
        self.next_try = now.after(pause);
        self.expires = now.after(max_age);
        self.cluster_id = response.cluster_id.as_ref().map(|id| Arc::from(id.as_str()));
        self.controller = response.controller_id.0;
        if !response.brokers.is_empty() {
            self.nodes.clear();
        }
        for broker in &response.brokers {
            self.add_node(broker.node_id.0, &broker.host, broker.port, broker.rack.as_deref());
        }
        let mut leaderless = false;
        for topic in response.topics {
            let Some(name) = topic.name.clone() else { continue };
            let Some((name, _)) = self.interest.get_key_value(&*name.0) else { continue };
            let name = Arc::clone(name);
            leaderless |= topic.partitions.iter().any(|partition| partition.leader_id.0 < 0);
            self.apply_topic(&name, topic);
        }
        self.leaderless = if leaderless { self.leaderless.saturating_add(1) } else { 0 };
        if (1..=ELECTION_TRIES).contains(&self.leaderless) {
            self.next_try = now.after(pause / 4);
        }
    }

    /// Takes a broker's address in, unless it is none.
    pub(crate) fn add_node(&mut self, id: i32, host: &str, port: i32, rack: Option<&str>) {
        if let Ok(port) = u16::try_from(port)
            && !host.is_empty()
        {
            self.nodes.insert(id, Node { host: Arc::from(host), port, rack: rack.map(Arc::from) });
        }
    }

    fn apply_topic(&mut self, name: &Arc<str>, described: MetadataResponseTopic) {
        let error = ErrorCode::from_code(described.error_code);
        let known = self.topics.remove(&**name);
        if error != ErrorCode::None {
            self.needed |= crate::error::code_is_retriable(error);
            // A leader that is known stays known while the cluster cannot describe the topic for a moment.
            let topic =
                known.filter(|_| crate::error::code_is_retriable(error) && error != ErrorCode::UnknownTopicOrPartition);
            let topic = topic.unwrap_or(Topic { id: Uuid::nil(), internal: false, error, partitions: Vec::new() });
            self.topics.insert(Arc::clone(name), topic);
            return;
        }
        // Epochs can be compared only within one life of the topic.
        let known = known.filter(|known| known.id == described.topic_id).map(|known| known.partitions);
        let known = known.unwrap_or_default();
        let mut partitions = Vec::new();
        for described in described.partitions {
            let Ok(number) = usize::try_from(described.partition_index) else { continue };
            if number > partitions.len() + 100_000 {
                continue;
            }
            while partitions.len() <= number {
                partitions.push(Partition {
                    leader: -1,
                    leader_epoch: -1,
                    replicas: Vec::new(),
                    in_sync: Vec::new(),
                    last_leader: -1,
                });
            }
            let merged = self.merge(name, known.get(number), &described);
            if let Some(partition) = partitions.get_mut(number) {
                *partition = merged;
            }
        }
        let topic = Topic { id: described.topic_id, internal: described.is_internal, error, partitions };
        self.topics.insert(Arc::clone(name), topic);
    }

    /// The newer of what is known and what a broker says, by leader epoch: a broker may lag behind (KIP-320).
    fn merge(&mut self, topic: &Arc<str>, known: Option<&Partition>, said: &MetadataResponsePartition) -> Partition {
        let numbers = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
        let leader = if said.error_code == ErrorCode::LeaderNotAvailable.code() { -1 } else { said.leader_id.0 };
        let mut heard = Partition {
            leader,
            leader_epoch: said.leader_epoch,
            replicas: numbers(&said.replica_nodes),
            in_sync: numbers(&said.isr_nodes),
            last_leader: leader,
        };
        self.needed |= heard.leader < 0;
        let Some(known) = known else { return heard };
        if heard.leader_epoch >= 0 && heard.leader_epoch < known.leader_epoch {
            return known.clone();
        }
        if heard.leader < 0 {
            // That nobody leads at the moment is no reason to believe in an older epoch afterwards.
            heard.leader_epoch = heard.leader_epoch.max(known.leader_epoch);
            heard.last_leader = known.last_leader;
        } else if known.last_leader >= 0 && known.last_leader != heard.leader {
            self.left.insert(known.last_leader);
        }
        let is_newer = heard.leader_epoch > known.leader_epoch;
        if heard.leader >= 0 && (is_newer || (heard.leader_epoch < 0 && heard.leader != known.last_leader)) {
            self.moved.push(TopicPartition::new(Arc::clone(topic), said.partition_index));
        }
        heard
    }

    /// A broker named the current leader in an answer (KIP-951). Returns whether that was news.
    pub(crate) fn hint(&mut self, topic: &str, partition: i32, leader: i32, leader_epoch: LeaderEpoch) -> bool {
        let Some((name, known)) = self.topics.get_key_value(topic) else { return false };
        let (name, len) = (Arc::clone(name), known.partitions.len());
        let Some(at) = usize::try_from(partition).ok().filter(|at| *at < len) else { return false };
        let known = self.topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(at));
        let Some(known) = known.filter(|known| leader >= 0 && leader_epoch > known.leader_epoch) else { return false };
        if known.last_leader >= 0 && known.last_leader != leader {
            self.left.insert(known.last_leader);
        }
        (known.leader, known.last_leader) = (leader, leader);
        known.leader_epoch = leader_epoch;
        self.moved.push(TopicPartition::new(name, partition));
        true
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
