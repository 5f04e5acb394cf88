//! The state transition: one function per kind of change.
//!
//! Apply is total over the entries that [`crate::plan`] makes on the same state, and an error over any other: an entry
//! that does not fit its state means that the log or this code is broken, and the broker stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{BrokerId, TopicId};

use crate::broker::Broker;
use crate::config::TopicSettings;
use crate::entry::{Change, Entry, EntryError, NewAssignments, TopicRecord};
use crate::identity::Acceptor;
use crate::image::Image;
use crate::name::is_internal;
use crate::reassignment::{TargetReached, TopicTargets};
use crate::topic::{Assignment, Topic};

/// Why an entry does not fit the state it is applied to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The cluster has been founded already.
    #[error("the metadata log holds a second Genesis")]
    Genesis,
    /// The cluster would have no acceptor, or a broker would be two.
    #[error("{0:?} cannot be the acceptors")]
    Acceptors(Vec<Acceptor>),
    /// The topic is not in the state.
    #[error("no topic {0}")]
    NoTopic(TopicId),
    /// The name or the identity is taken.
    #[error("topic {name} ({id}) is there already")]
    TopicExists {
        /// The name.
        name: String,
        /// The identity.
        id: TopicId,
    },
    /// A partition without replicas, with one twice, or on a broker that is not registered.
    #[error("partition {number} of {topic} has the invalid replicas {replicas:?}")]
    Replicas {
        /// The topic.
        topic: TopicId,
        /// Position of the partition in the change.
        number: usize,
        /// Its replicas.
        replicas: Vec<BrokerId>,
    },
    /// The partition is not there, or does not go to the target that is said to be reached.
    #[error("partition {1} of {0} has no such reassignment")]
    NoReassignment(TopicId, i32),
    /// The entry cannot be encoded for the hash chain.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// Applies `entry` and goes on by one epoch.
///
/// # Errors
/// When the entry does not fit the image. The image may then hold a part of the entry and must be dropped.
pub fn apply(image: &mut Image, entry: &Entry) -> Result<(), ApplyError> {
    let encoded = entry.encode()?;
    advance(image, entry, &encoded)
}

/// Applies an entry as its writer has encoded it. The chain covers these bytes: an entry of a later release may hold
/// fields that this one passes over.
///
/// # Errors
/// As [`apply`], and when the bytes are no entry that this release reads.
pub fn apply_encoded(image: &mut Image, encoded: &[u8]) -> Result<Entry, ApplyError> {
    let entry = Entry::decode(encoded)?;
    advance(image, &entry, encoded)?;
    Ok(entry)
}

fn advance(image: &mut Image, entry: &Entry, encoded: &[u8]) -> Result<(), ApplyError> {
    // An entry that its broker decided alone has no proposal, and the slot behind it no owner.
    image.proposal = None;
    for change in &entry.changes {
        apply_change(image, change)?;
    }
    image.epoch += 1;
    image.hash = image.hash.extend(encoded);
    Ok(())
}

/// Applies one change without counting an epoch; a snapshot is read so.
pub(crate) fn apply_change(image: &mut Image, change: &Change) -> Result<(), ApplyError> {
    match change {
        Change::Genesis { .. } if !image.cluster_id.is_empty() => Err(ApplyError::Genesis),
        Change::Genesis { cluster_id, acceptors } => {
            image.cluster_id.clone_from(cluster_id);
            if acceptors.is_empty() { Ok(()) } else { set_acceptors(image, acceptors) }
        }
        Change::Proposed(proposal) => {
            image.proposal = Some(*proposal);
            Ok(())
        }
        Change::SetAcceptors { acceptors } => set_acceptors(image, acceptors),
        Change::RegisterBroker(broker) => {
            register(image, broker);
            Ok(())
        }
        Change::BrokerStarts(starts) => {
            image.starts = Arc::new(starts.clone());
            Ok(())
        }
        Change::CreateTopic(record) => create_topic(image, record),
        Change::CreatePartitions(added) => create_partitions(image, added),
        Change::SetTarget(targets) => set_target(image, targets),
        Change::TargetDone(reached) => target_done(image, reached),
        Change::DeleteTopic { id } => delete_topic(image, *id),
        Change::SetTopicConfig { id, overrides } => set_topic_config(image, *id, overrides),
        Change::SetBrokerConfig { broker, overrides } => {
            set_broker_config(image, *broker, overrides);
            Ok(())
        }
        Change::SetClientMetrics { name, overrides } => {
            set_client_metrics(image, name, overrides);
            Ok(())
        }
    }
}

fn set_acceptors(image: &mut Image, acceptors: &[Acceptor]) -> Result<(), ApplyError> {
    let twice = (1..acceptors.len()).any(|at| acceptors[..at].iter().any(|other| other.broker == acceptors[at].broker));
    if acceptors.is_empty() || twice {
        return Err(ApplyError::Acceptors(acceptors.to_vec()));
    }
    image.acceptors = acceptors.into();
    Ok(())
}

/// A broker registers. Where its id is an acceptor with another directory, the new directory takes the place: the old
/// one is gone, which whoever proposes this has made as sure as can be.
fn register(image: &mut Image, broker: &Broker) {
    let own = Acceptor { broker: broker.id, directory: broker.directory };
    if image.acceptors.is_empty() {
        image.acceptors = Arc::new([own]);
    } else if image.acceptors.iter().any(|acceptor| acceptor.broker == own.broker && *acceptor != own) {
        let replaced = |acceptor: &Acceptor| if acceptor.broker == own.broker { own } else { *acceptor };
        image.acceptors = image.acceptors.iter().map(replaced).collect();
    }
    let process = |broker: &Broker| (broker.directory, broker.incarnation);
    if image.broker(broker.id).map(process) != Some(process(broker)) {
        let next = image.start_of(broker.id).map_or(1, |last| last + 1);
        Arc::make_mut(&mut image.starts).insert(broker.id, next.max(broker.incarnation));
    }
    Arc::make_mut(&mut image.brokers).insert(broker.id, broker.clone());
}

fn create_topic(image: &mut Image, record: &TopicRecord) -> Result<(), ApplyError> {
    let TopicRecord { id, name, partitions, overrides } = record;
    if image.topic(name).is_some() || image.topic_by_id(*id).is_some() {
        return Err(ApplyError::TopicExists { name: name.clone(), id: *id });
    }
    if partitions.is_empty() {
        return Err(ApplyError::Replicas { topic: *id, number: 0, replicas: Vec::new() });
    }
    check_replicas(image, *id, partitions)?;
    let settings = TopicSettings::resolve(overrides, &image.layers());
    image.put(Topic {
        id: *id,
        name: Arc::from(name.as_str()),
        internal: is_internal(name),
        partitions: partitions.iter().map(|assignment| founded(image, assignment)).collect(),
        overrides: overrides.clone(),
        settings,
    });
    Ok(())
}

/// The assignment with the directories that its brokers have now, unless it names them.
fn founded(image: &Image, assignment: &Assignment) -> Assignment {
    let mut founded = assignment.clone();
    if assignment.hosts().count() > 1 && assignment.directories.is_empty() {
        let hosts = assignment.hosts().filter_map(|id| image.broker(id));
        founded.directories = hosts.map(|broker| broker.directory).collect();
    }
    founded
}

fn create_partitions(image: &mut Image, added: &NewAssignments) -> Result<(), ApplyError> {
    let mut topic = find(image, added.id)?;
    check_replicas(image, added.id, &added.partitions)?;
    topic.partitions.extend(added.partitions.iter().map(|assignment| founded(image, assignment)));
    image.put(topic);
    Ok(())
}

fn set_target(image: &mut Image, TopicTargets { id, targets }: &TopicTargets) -> Result<(), ApplyError> {
    let mut topic = find(image, *id)?;
    let epoch = image.epoch + 1;
    for target in targets {
        let number = usize::try_from(target.partition).unwrap_or(usize::MAX);
        let known = topic.partitions.get_mut(number).ok_or(ApplyError::NoReassignment(*id, target.partition))?;
        let registered = known.hosts().filter_map(|id| image.broker(id)).map(|broker| broker.directory);
        *known = known.retargeted(target, epoch, registered.collect());
    }
    check_replicas(image, *id, &topic.partitions)?;
    image.put(topic);
    Ok(())
}

fn target_done(image: &mut Image, reached: &TargetReached) -> Result<(), ApplyError> {
    let TargetReached { id, partition, epoch, directories } = reached;
    let mut topic = find(image, *id)?;
    let known = usize::try_from(*partition).ok().and_then(|number| topic.partitions.get_mut(number));
    let is_meant = |known: &&mut Assignment| {
        let hosts = known.target_hosts().count();
        known.reassignment.as_ref().is_some_and(|one| one.epoch == *epoch) && directories.len() == hosts
    };
    let known = known.filter(is_meant).ok_or(ApplyError::NoReassignment(*id, *partition))?;
    *known = known.completed(directories.clone());
    image.put(topic);
    Ok(())
}

fn delete_topic(image: &mut Image, id: TopicId) -> Result<(), ApplyError> {
    image.remove(id).map(drop).ok_or(ApplyError::NoTopic(id))
}

fn set_client_metrics(image: &mut Image, name: &str, overrides: &BTreeMap<String, String>) {
    let subscriptions = Arc::make_mut(&mut image.client_metrics);
    if overrides.is_empty() {
        subscriptions.remove(name);
    } else {
        subscriptions.insert(name.to_owned(), overrides.clone());
    }
}

fn set_topic_config(image: &mut Image, id: TopicId, overrides: &BTreeMap<String, String>) -> Result<(), ApplyError> {
    let mut topic = find(image, id)?;
    topic.settings = TopicSettings::resolve(overrides, &image.layers());
    topic.overrides.clone_from(overrides);
    image.put(topic);
    Ok(())
}

fn set_broker_config(image: &mut Image, broker: Option<BrokerId>, overrides: &BTreeMap<String, String>) {
    let configs = Arc::make_mut(&mut image.configs);
    match broker {
        None => configs.default.clone_from(overrides),
        Some(id) if overrides.is_empty() => {
            configs.brokers.remove(&id);
        }
        Some(id) => {
            configs.brokers.insert(id, overrides.clone());
        }
    }
    image.resolve();
}

fn find(image: &Image, id: TopicId) -> Result<Topic, ApplyError> {
    image.topic_by_id(id).map(|topic| Topic::clone(topic)).ok_or(ApplyError::NoTopic(id))
}

fn check_replicas(image: &Image, topic: TopicId, partitions: &[Assignment]) -> Result<(), ApplyError> {
    for (number, assignment) in partitions.iter().enumerate() {
        let Assignment { replicas, directories, .. } = assignment;
        let hosts: Vec<BrokerId> = assignment.hosts().collect();
        let named = directories.is_empty() || directories.len() == hosts.len();
        let target: Vec<BrokerId> = assignment.target_hosts().collect();
        let twice = |ids: &[BrokerId]| ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id));
        let empty = replicas.is_empty() || assignment.target_replicas().is_empty();
        let unknown = assignment.concerned().any(|id| image.broker(id).is_none());
        if empty || twice(&hosts) || twice(&target) || !named || unknown {
            return Err(ApplyError::Replicas { topic, number, replicas: assignment.concerned().collect() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::{broker, image};
    use uuid::Uuid;

    fn id(number: u128) -> TopicId {
        TopicId(Uuid::from_u128(number))
    }

    fn record(name: &str, number: u128, partitions: &[&[i32]]) -> Change {
        let assignment = |ids: &&[i32]| Assignment::new(ids.iter().map(|id| BrokerId(*id)).collect());
        Change::CreateTopic(TopicRecord {
            id: id(number),
            name: name.to_owned(),
            partitions: partitions.iter().map(assignment).collect(),
            overrides: BTreeMap::new(),
        })
    }

    fn one(image: &mut Image, change: Change) -> Result<(), ApplyError> {
        apply(image, &Entry::new(vec![change]))
    }

    #[test]
    fn every_entry_is_one_epoch_and_one_link_of_the_chain() {
        let mut image = image(2, &[]);
        let (epoch, hash) = (image.epoch(), image.hash());
        let entry = Entry::new(vec![record("a", 1, &[&[1]]), record("b", 2, &[&[2]])]);
        apply(&mut image, &entry).unwrap();
        assert_eq!(image.epoch(), epoch + 1);
        assert_eq!(image.hash(), hash.extend(&entry.encode().unwrap()));
        assert_eq!(image.check(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_the_state_is_an_error() {
        let fails = |change: Change| {
            let mut image = image(2, &[]);
            one(&mut image, record("a", 1, &[&[1]])).unwrap();
            one(&mut image, change).unwrap_err()
        };
        assert!(matches!(
            fails(Change::Genesis { cluster_id: "c".to_owned(), acceptors: Vec::new() }),
            ApplyError::Genesis
        ));
        assert!(matches!(fails(record("a", 2, &[&[1]])), ApplyError::TopicExists { .. }));
        assert!(matches!(fails(record("b", 1, &[&[1]])), ApplyError::TopicExists { .. }));
        assert!(matches!(fails(record("b", 2, &[])), ApplyError::Replicas { .. }));
        assert!(matches!(fails(record("b", 2, &[&[1], &[]])), ApplyError::Replicas { number: 1, .. }));
        assert!(matches!(fails(record("b", 2, &[&[3]])), ApplyError::Replicas { .. }));
        assert!(matches!(fails(record("b", 2, &[&[1, 2, 1]])), ApplyError::Replicas { .. }));
        assert!(matches!(fails(Change::DeleteTopic { id: id(9) }), ApplyError::NoTopic(_)));
        let overrides = BTreeMap::new();
        assert!(matches!(fails(Change::SetTopicConfig { id: id(9), overrides }), ApplyError::NoTopic(_)));
        let added = NewAssignments { id: id(9), partitions: Vec::new() };
        assert!(matches!(fails(Change::CreatePartitions(added)), ApplyError::NoTopic(_)));
    }

    #[test]
    fn a_broker_registers_again() {
        let mut image = image(1, &[]);
        let again = Broker { incarnation: 5, ..broker(1) };
        one(&mut image, Change::RegisterBroker(again.clone())).unwrap();
        assert_eq!(image.brokers().values().collect::<Vec<_>>(), [&again]);
    }

    #[test]
    fn no_two_starts_of_a_broker_have_one_number() {
        let mut image = image(1, &[]);
        let id = BrokerId(1);
        assert_eq!(image.start_of(id), Some(1));
        let mut register = |directory: u128, incarnation: u64, rack: Option<&str>| {
            let directory = millrace_types::DirectoryId::from_u128(directory);
            let again = Broker { directory, incarnation, rack: rack.map(str::to_owned), ..broker(1) };
            one(&mut image, Change::RegisterBroker(again)).unwrap();
            let mut replay = crate::Replay::new(crate::Local::default());
            crate::snapshot_records(&image).unwrap().iter().for_each(|record| replay.feed(record).unwrap());
            assert_eq!(replay.finish().unwrap().start_of(id), image.start_of(id), "a snapshot keeps it");
            image.start_of(id).unwrap()
        };
        assert_eq!(register(1, 7, None), 7, "starts that never registered have used theirs");
        assert_eq!(register(1, 7, Some("r")), 7, "the same process");
        assert_eq!(register(9, 1, None), 8, "a wiped disk counts anew");
        assert_eq!(register(9, 2, None), 9);
        assert_eq!(register(9, 30, None), 30);
    }

    #[test]
    fn a_wiped_broker_is_no_first_voter_of_what_was_created_before() {
        let mut before = image(3, &[]);
        let entry = Entry::new(vec![record("a", 1, &[&[3, 1, 2]]), record("b", 2, &[&[1]])]);
        apply(&mut before, &entry).expect("applies");
        let directories = |image: &Image| {
            let topic = image.topic("a").expect("there");
            topic.partitions[0].directories.clone()
        };
        let first = directories(&before);
        assert_eq!(first, [3, 1, 2].map(|id| before.broker(BrokerId(id)).expect("registered").directory));
        assert!(before.topic("b").expect("there").partitions[0].directories.is_empty());
        let mut wiped = broker(1);
        wiped.directory = millrace_types::DirectoryId::from_u128(0x99);
        apply(&mut before, &Entry::new(vec![Change::RegisterBroker(wiped)])).expect("applies");
        assert_eq!(directories(&before), first);
        let records = crate::snapshot_records(&before).expect("written");
        let mut replay = crate::Replay::new(crate::Local::default());
        for bytes in &records {
            replay.feed(bytes).expect("read");
        }
        assert_eq!(directories(&replay.finish().expect("whole")), first, "nor after a snapshot");
    }
}
