//! L4 of moves: when the faults are over every reassignment ends, and each broker then has exactly what the metadata name there, in
//! memory and on its disk: nothing is missing, and nothing is left behind.

use std::collections::BTreeSet;

use millrace_metadata::Image;
use millrace_types::{BrokerId, TopicPartition};

/// What a broker has of partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The partitions of which a replica runs, or is about to.
    pub replicas: BTreeSet<TopicPartition>,
    /// The partitions of which the witness runs.
    pub witnesses: BTreeSet<TopicPartition>,
    /// Those of the replicas that hold records.
    pub written: BTreeSet<TopicPartition>,
    /// The partitions that have a directory of their own: a log has one since it was first written to.
    pub directories: BTreeSet<TopicPartition>,
}

/// The broker holds `held`, and its metadata are `image`.
///
/// # Errors
/// A partition still moves, or the broker has something else than it shall have.
pub fn check(image: &Image, broker: BrokerId, held: &Held) -> Result<(), String> {
    for topic in image.topics() {
        if let Some(at) = topic.partitions.iter().position(|assignment| assignment.reassignment.is_some()) {
            return Err(format!("{}-{at} still moves: {:?}", topic.name, topic.partitions[at]));
        }
    }
    let replicas: BTreeSet<_> = image.topics().flat_map(|topic| topic.partitions_on(broker)).collect();
    let witnesses: BTreeSet<_> = image.topics().flat_map(|topic| topic.witnessed_on(broker)).collect();
    let same = |what, named: &BTreeSet<_>, held: &BTreeSet<_>| {
        same(what, named, held).map_err(|why| format!("of broker {broker}: {why}"))
    };
    same("replicas", &replicas, &held.replicas)?;
    same("witnesses", &witnesses, &held.witnesses)?;
    let has = |partition: &&TopicPartition| held.written.contains(*partition) || held.directories.contains(*partition);
    let shall: BTreeSet<_> = replicas.iter().filter(has).copied().collect();
    same("directories", &shall, &held.directories)
}

fn same(what: &str, named: &BTreeSet<TopicPartition>, held: &BTreeSet<TopicPartition>) -> Result<(), String> {
    if named == held {
        return Ok(());
    }
    let tell = |some: &BTreeSet<TopicPartition>, others| {
        some.difference(others).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    Err(format!("{what} that are left behind: [{}], and that are missing: [{}]", tell(held, named), tell(named, held)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_types::TopicId;
    use uuid::Uuid;

    #[test]
    fn what_is_missing_or_left_behind_is_found() {
        let partition = |number| TopicPartition::new(TopicId(Uuid::from_u128(1)), number);
        let of = |numbers: &[i32]| numbers.iter().map(|number| partition(*number)).collect::<BTreeSet<_>>();
        assert_eq!(same("replicas", &of(&[1, 2]), &of(&[2, 1])), Ok(()));
        for (named, held) in [(of(&[1]), of(&[1, 2])), (of(&[1, 2]), of(&[1])), (of(&[1]), of(&[2]))] {
            assert!(same("replicas", &named, &held).is_err());
        }
        let image = Image::new(millrace_metadata::Local::default());
        let held = Held { directories: of(&[1]), ..Held::default() };
        assert_eq!(check(&image, BrokerId(1), &Held::default()), Ok(()));
        assert!(check(&image, BrokerId(1), &held).is_err());
    }
}
