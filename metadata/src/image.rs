//! The replicated state at one metadata epoch, as every part of a broker reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{BrokerId, TopicId};

use crate::broker::Broker;
use crate::chain::ChainHash;
use crate::config::{BrokerConfig, Defaults, DynamicConfigs, Layers, TopicSettings};
use crate::identity::{Acceptor, Proposal};
use crate::named::{Colliding, Identified, Named};
use crate::shards::Shards;
use crate::topic::Topic;

/// What one broker brings of its own: it takes no part in the replicated state, but resolves settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// The broker that holds the image.
    pub broker: Option<BrokerId>,
    /// The configuration its process started with.
    pub config: BrokerConfig,
}

/// Client metrics subscriptions by name, each with the keys that are set.
pub type ClientMetrics = BTreeMap<String, BTreeMap<String, String>>;

/// The metadata at one epoch. Cloning is cheap: it shares everything.
///
/// Invariants (I16): `topics` by name and by identity hold the same topics; every replica of every partition is a
/// registered broker; no partition is without a replica. [`Image::check`] proves them.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) epoch: u64,
    pub(crate) hash: ChainHash,
    pub(crate) cluster_id: String,
    pub(crate) acceptors: Arc<[Acceptor]>,
    pub(crate) proposal: Option<Proposal>,
    pub(crate) brokers: Arc<BTreeMap<BrokerId, Broker>>,
    /// Number of each broker's last start that has registered, over all its directories.
    pub(crate) starts: Arc<BTreeMap<BrokerId, u64>>,
    by_name: Shards<Named>,
    by_id: Shards<Identified>,
    /// The names that could collide with another one.
    collisions: Shards<Colliding>,
    pub(crate) configs: Arc<DynamicConfigs>,
    pub(crate) client_metrics: Arc<ClientMetrics>,
    local: Arc<Local>,
    defaults: Arc<Defaults>,
}

impl Image {
    /// The image of epoch 0: no cluster, no broker, no topic.
    #[must_use]
    pub fn new(local: Local) -> Self {
        let configs = DynamicConfigs::default();
        let defaults = Arc::new(Defaults::resolve(&layers(&configs, &local)));
        Self {
            epoch: 0,
            hash: ChainHash::default(),
            cluster_id: String::new(),
            acceptors: Arc::default(),
            proposal: None,
            brokers: Arc::default(),
            starts: Arc::default(),
            by_name: Shards::new(),
            by_id: Shards::new(),
            collisions: Shards::new(),
            configs: Arc::new(configs),
            client_metrics: Arc::default(),
            local: Arc::new(local),
            defaults,
        }
    }

    /// The number of entries applied.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The hash chain over the entries applied.
    #[must_use]
    pub const fn hash(&self) -> ChainHash {
        self.hash
    }

    /// The cluster's identity; empty before the first entry.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Who decides the next entry; none before the cluster is founded and a broker is registered.
    #[must_use]
    pub fn acceptors(&self) -> &[Acceptor] {
        &self.acceptors
    }

    /// Which proposal the last entry was; `None` for one that its broker decided alone.
    #[must_use]
    pub const fn proposal(&self) -> Option<Proposal> {
        self.proposal
    }

    /// The registered brokers by id.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Broker> {
        &self.brokers
    }

    /// The broker `id`.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// Number of the start of broker `id` that is registered. It grows with each start, whatever directory it is of, and is
    /// never used twice: an incarnation begins anew with each directory.
    #[must_use]
    pub fn start_of(&self, id: BrokerId) -> Option<u64> {
        self.starts.get(&id).copied()
    }

    /// The brokers that replicas are placed on, by id.
    pub fn data_brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().filter(|broker| broker.holds_data())
    }

    /// The topic named `name`.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(Named::hash(name), name).map(|named| &named.0)
    }

    /// The topic with the identity `id`.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(Identified::hash(id), &id).map(|identified| &identified.0)
    }

    /// Every topic, in order of the names. The order is made by each call.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        let mut topics: Vec<&Arc<Topic>> = self.by_name.iter().map(|named| &named.0).collect();
        topics.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        topics.into_iter()
    }

    /// The number of topics.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// Configuration of brokers set while they run.
    #[must_use]
    pub fn broker_configs(&self) -> &DynamicConfigs {
        &self.configs
    }

    /// The client metrics subscriptions (KIP-714) by name; each has a key that is set.
    #[must_use]
    pub fn client_metrics(&self) -> &ClientMetrics {
        &self.client_metrics
    }

    /// The layers of configuration on the broker that holds the image.
    #[must_use]
    pub fn layers(&self) -> Layers<'_> {
        layers(&self.configs, &self.local)
    }

    /// What the layers come to on the broker that holds the image.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// The broker that holds the image, and the configuration its process started with.
    #[must_use]
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// The topic whose name collides with `name`, or is `name`.
    #[must_use]
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        if Colliding::is_possible(name) {
            let key = Colliding(Arc::from(name));
            self.collisions.get(key.hash(), &key).map(|colliding| &colliding.0)
        } else {
            None
        }
    }

    /// Takes a topic out.
    pub(crate) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let Identified(topic) = self.by_id.take(Identified::hash(id), &id)?;
        self.by_name.take(Named::hash(&topic.name), &*topic.name);
        if Colliding::is_possible(&topic.name) {
            let key = Colliding(Arc::clone(&topic.name));
            self.collisions.take(key.hash(), &key);
        }
        Some(topic)
    }

    /// Puts a topic in place of the one with its identity, or beside the others.
    pub(crate) fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        if Colliding::is_possible(&topic.name) {
            let key = Colliding(Arc::clone(&topic.name));
            self.collisions.replace(key.hash(), key);
        }
        self.by_name.replace(Named::hash(&topic.name), Named(Arc::clone(&topic)));
        self.by_id.replace(Identified::hash(topic.id), Identified(topic));
    }

    /// Resolves all settings again after the configuration of brokers has changed.
    pub(crate) fn resolve(&mut self) {
        let layers = layers(&self.configs, &self.local);
        let defaults = Defaults::resolve(&layers);
        if *self.defaults == defaults {
            return;
        }
        let mut changed = Vec::new();
        for Identified(topic) in self.by_id.iter() {
            let settings = TopicSettings::resolve(&topic.overrides, &layers);
            if settings != topic.settings {
                changed.push(Topic { settings, ..Topic::clone(topic) });
            }
        }
        self.defaults = Arc::new(defaults);
        for topic in changed {
            self.put(topic);
        }
    }

    /// Checks the invariants of the state.
    ///
    /// # Errors
    /// Names the first invariant that does not hold.
    pub fn check(&self) -> Result<(), String> {
        if self.by_name.len() != self.by_id.len() {
            return Err(format!("{} names for {} identities", self.by_name.len(), self.by_id.len()));
        }
        let ambiguous = self.by_id.iter().filter(|one| Colliding::is_possible(&one.0.name)).count();
        if ambiguous != self.collisions.len() {
            return Err(format!("{ambiguous} names can collide, {} are known", self.collisions.len()));
        }
        for (at, acceptor) in self.acceptors.iter().enumerate() {
            if self.acceptors[..at].iter().any(|other| other.broker == acceptor.broker) {
                return Err(format!("broker {} is two acceptors", acceptor.broker));
            }
        }
        for topic in self.topics() {
            let name = &topic.name;
            if !self.topic_by_id(topic.id).is_some_and(|other| Arc::ptr_eq(other, topic)) {
                return Err(format!("topic {name} is another one by its identity"));
            }
            if topic.partitions.is_empty() {
                return Err(format!("topic {name} has no partition"));
            }
            for (number, assignment) in topic.partitions.iter().enumerate() {
                if assignment.replicas.is_empty() {
                    return Err(format!("partition {name}-{number} has no replica"));
                }
                if let Some(stranger) = assignment.concerned().find(|id| !self.brokers.contains_key(id)) {
                    return Err(format!("partition {name}-{number} is on the unknown broker {stranger}"));
                }
                if assignment.target_witness().is_some_and(|id| assignment.has_replica(id)) {
                    return Err(format!("partition {name}-{number} shall have its witness where it has a replica"));
                }
            }
        }
        Ok(())
    }
}

fn layers<'a>(configs: &'a DynamicConfigs, local: &'a Local) -> Layers<'a> {
    // A reader that is no broker (a tool) sees the cluster's defaults alone.
    Layers::of(configs, local.broker.unwrap_or(BrokerId(-1)), &local.config)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::broker::Endpoint;
    use crate::entry::{Change, Entry};
    use millrace_types::DirectoryId;
    use uuid::Uuid;

    /// A broker with one listener.
    pub(crate) fn broker(id: i32) -> Broker {
        Broker {
            id: BrokerId(id),
            rack: None,
            endpoints: vec![Endpoint { listener: "PLAINTEXT".to_owned(), host: format!("b{id}"), port: 9092 }],
            directory: DirectoryId(Uuid::from_u128(u128::try_from(id).unwrap())),
            incarnation: 1,
            role: crate::BrokerRole::Data,
        }
    }

    /// An image of broker 1 with the brokers 1 to `brokers`.
    pub(crate) fn image(brokers: i32, config: &[(&str, &str)]) -> Image {
        let config = BrokerConfig::new(config.iter().copied()).unwrap();
        let mut image = Image::new(Local { broker: Some(BrokerId(1)), config });
        let mut changes = vec![Change::Genesis { cluster_id: "cluster".to_owned(), acceptors: Vec::new() }];
        changes.extend((1..=brokers).map(|id| Change::RegisterBroker(broker(id))));
        crate::apply(&mut image, &Entry::new(changes)).unwrap();
        image
    }
}
