//! Pitfall 23: a topic made again under the same name. Its epochs and offsets begin anew, so whatever is kept by name would take
//! the old topic's for its own; everything is kept by id.

use super::*;

fn delete(cluster: &mut Cluster, id: i32, name: &str) {
    let topics = vec![TopicRef::Name(name.to_owned())];
    cluster.send(id, Command::DeleteTopics(DeleteTopics { topics }));
}

fn id_of(cluster: &Cluster, id: i32, name: &str) -> TopicId {
    cluster.nodes[&id].store.image().topic(name).expect("it is there").id
}

fn hosted(cluster: &Cluster, id: i32) -> BTreeSet<TopicId> {
    cluster.nodes[&id].replicas.keys().map(|partition| partition.topic).collect()
}

#[test]
fn hole_23_a_broker_that_missed_it_has_replicas_of_the_new_topic_alone() {
    let mut cluster = Cluster::founded();
    cluster.create(1, topic("t", 2, 3));
    cluster.pass(3_000);
    let old = id_of(&cluster, 3, "t");
    assert_eq!(hosted(&cluster, 3), BTreeSet::from([old]));

    // Broker 3 hears neither that the topic goes nor that its namesake comes.
    cluster.silent.insert(3);
    delete(&mut cluster, 1, "t");
    cluster.pass(3_000);
    cluster.create(2, topic("t", 1, 3));
    cluster.pass(3_000);
    let new = id_of(&cluster, 1, "t");
    assert_ne!(old, new, "an id is never used again");
    assert_eq!((id_of(&cluster, 3, "t"), hosted(&cluster, 3)), (old, BTreeSet::from([old])));

    // It learns of both at once: nothing of the old one is taken for the new one's.
    cluster.silent.clear();
    cluster.pass(3_000);
    for id in 1..=3 {
        assert_eq!((id_of(&cluster, id, "t"), hosted(&cluster, id)), (new, BTreeSet::from([new])), "broker {id}");
        assert_eq!(cluster.nodes[&id].replicas.len(), 1, "the old one had two partitions");
    }
}

#[test]
fn hole_23_a_broker_that_starts_again_finds_what_the_old_topic_left() {
    use crate::metadata_store::Part;
    let mut cluster = Cluster::founded();
    cluster.create(1, topic("t", 1, 3));
    cluster.pass(3_000);
    let left = TopicPartition::new(id_of(&cluster, 3, "t"), 0);
    let journal = cluster.nodes[&3].journal.clone();
    cluster.silent.insert(3);
    delete(&mut cluster, 1, "t");
    cluster.pass(3_000);
    cluster.create(1, topic("t", 1, 3));
    cluster.pass(3_000);
    cluster.silent.clear();
    cluster.left = vec![(left, Part::Replica)];
    cluster.start(3, 2, journal);
    cluster.pass(5_000);
    let new = TopicPartition::new(id_of(&cluster, 3, "t"), 0);
    assert_ne!(left, new);
    assert_eq!(cluster.nodes[&3].replicas.keys().copied().collect::<Vec<_>>(), [new]);
}
