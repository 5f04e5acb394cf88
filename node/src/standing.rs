//! How the partitions stand that a broker leads, and those that nobody does: counted when somebody asks, so that an idle broker
//! has nothing to do.

use millrace_metadata::{Assignment, Topic};
use millrace_types::TopicPartition;

use crate::directory::{Directory, PartitionView};

/// What a broker knows of the replication of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Partitions that this broker leads.
    pub led: usize,
    /// Partitions of the cluster that nobody leads, as far as this broker knows.
    pub leaderless: usize,
    /// Of those led here: how many have fewer replicas in sync than they have.
    pub under_replicated: usize,
    /// Of those led here: how many have fewer in sync than `min.insync.replicas`, and take no records with `acks=all`.
    pub under_min_in_sync: usize,
    /// Of those led here with more than one replica: how many have exactly as many in sync.
    pub at_min_in_sync: usize,
    /// Partitions that this broker is the preferred leader of, and does not lead.
    pub led_elsewhere: usize,
    /// Partitions of the cluster whose replicas are being moved.
    pub reassigning: usize,
    /// The most records that a follower of a partition led here lacks, of those that have told what they hold.
    pub max_lag: u64,
}

impl Standing {
    /// Counts.
    #[must_use]
    pub fn of(directory: &Directory) -> Self {
        let image = directory.image();
        let mut standing = Self::default();
        for topic in image.topics() {
            for (number, assignment) in (0..).zip(&topic.partitions) {
                let at = TopicPartition::new(topic.id, number);
                standing.reassigning += usize::from(assignment.reassignment.is_some());
                let led = directory.partition(&at).filter(|view| view.leader_epoch().is_some());
                if let Some(view) = led {
                    standing.count_led(topic, number, assignment, &view);
                } else {
                    let prefers = assignment.target_replicas().first().copied() == image.local().broker;
                    standing.led_elsewhere += usize::from(prefers);
                    standing.leaderless += usize::from(directory.leader(&at).is_none());
                }
            }
        }
        standing
    }

    fn count_led(&mut self, topic: &Topic, number: i32, assignment: &Assignment, view: &PartitionView) {
        let (in_sync, needed) = (view.in_sync(), min_in_sync(topic, number));
        self.led += 1;
        self.under_replicated += usize::from(in_sync < assignment.replicas.len());
        self.under_min_in_sync += usize::from(in_sync < needed);
        self.at_min_in_sync += usize::from(in_sync == needed && assignment.replicas.len() > 1);
        self.max_lag = self.max_lag.max(view.max_lag());
    }
}

/// The replicas that must be in sync for acks=all: `min.insync.replicas`, but never more than the partition has. Kafka
/// caps it in the same way since version 3.7, so that a larger value does not stop a topic of few replicas.
pub(crate) fn min_in_sync(topic: &Topic, number: i32) -> usize {
    // While replicas are moved there are at least as many as the fewer of before and after; the replica itself knows exactly.
    let least = |one: &Assignment| one.replicas.len().min(one.target_replicas().len());
    let replicas = topic.assignment(number).map_or(0, least);
    usize::try_from(topic.settings.min_insync_replicas).unwrap_or(usize::MAX).min(replicas)
}

#[cfg(test)]
mod tests {
    use millrace_types::BrokerId;

    use super::*;
    use crate::testing::World;

    #[test]
    fn what_is_led_and_what_nobody_leads_is_counted() {
        let mut world = World::new(1);
        for id in [2, 3, 4] {
            world.neighbour(id, None);
        }
        let three = [1, 2, 3];
        let id = world.placed("t", &[&three, &three, &three, &three, &[2, 3, 4], &[2, 3, 4]]);
        let at = |number| TopicPartition::new(id, number);
        world.lead(at(0), 3, &[1, 2, 3]);
        world.lead(at(1), 3, &[1, 3]);
        world.lead(at(2), 3, &[1]);
        world.follow(at(3), 4, Some(2));
        world.hint(at(4), 2, 3, &[3]);
        let standing = |world: &World| Standing::of(&world.shared.directory);
        let seen = standing(&world);
        assert_eq!((seen.led, seen.leaderless, seen.under_replicated), (3, 1, 2), "{seen:?}");
        assert_eq!((seen.under_min_in_sync, seen.at_min_in_sync, seen.led_elsewhere), (0, 1, 1), "{seen:?}");
        assert_eq!((seen.reassigning, seen.max_lag), (0, 0));
        world.hear(2, false);
        world.hear(3, false);
        assert_eq!(standing(&world).leaderless, 3, "who led them is not heard");
        world.view(at(1)).set_held_by_all(Some(-7));
        assert_eq!(standing(&world).max_lag, 7, "of what the log holds, which is nothing");
        world.view(at(1)).set_held_by_all(None);
        assert_eq!(standing(&world).max_lag, 0);
    }

    #[test]
    fn replicas_below_the_least_are_counted_apart() {
        let mut world = World::new(1);
        world.neighbour(2, None);
        let mut topic = millrace_metadata::NewTopic::with_defaults("u");
        topic.assignments = vec![(0, vec![BrokerId(1), BrokerId(2)])];
        topic.configs = vec![("min.insync.replicas".to_owned(), Some("2".to_owned()))];
        let create = millrace_metadata::CreateTopics { topics: vec![topic], validate_only: false };
        world.change(millrace_metadata::Command::CreateTopics(create));
        let id = world.shared.directory.image().topic("u").expect("created").id;
        let at = TopicPartition::new(id, 0);
        let other = world.placed("t", &[&[1]]);
        let log = world.view(TopicPartition::new(other, 0)).log.clone();
        world.shared.directory.publish(std::sync::Arc::new(PartitionView::new(at, log)));
        world.lead(at, 1, &[1, 2]);
        let seen = Standing::of(&world.shared.directory);
        assert_eq!((seen.under_min_in_sync, seen.at_min_in_sync, seen.under_replicated), (0, 1, 0));
        world.lead(at, 1, &[1]);
        let seen = Standing::of(&world.shared.directory);
        assert_eq!((seen.under_min_in_sync, seen.at_min_in_sync, seen.under_replicated), (1, 0, 1));
    }
}
