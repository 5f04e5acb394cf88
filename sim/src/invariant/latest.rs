//! The latest offset is above every offset that was acknowledged before it was asked for.

use std::collections::BTreeMap;

use millrace_types::{LeaderEpoch, Offset};

use super::violation;
use crate::history::{Part, Partition, Tick, Violation};

/// A question for the latest offset.
#[derive(Debug)]
pub struct Question {
    /// When it was asked.
    pub invoked: Tick,
    /// How far the high watermark of each epoch's leader had come by then. One that is cut off may hear later of what its followers
    /// had acknowledged to it, and has answered before.
    pub told: BTreeMap<LeaderEpoch, Offset>,
}

impl Question {
    /// A question about `partition`, asked now.
    #[must_use]
    pub fn new(partition: &Partition, invoked: Tick) -> Self {
        Self { invoked, told: partition.told.clone() }
    }
}

/// Checks the answer `latest` of the leader of `epoch` to a question. A leader that does not know of its successor yet cannot know
/// what that has acknowledged; what its own epoch or an earlier one has, it must tell.
///
/// # Errors
/// The answer is too low.
pub fn check(
    partition: &Partition,
    part: &Part,
    question: &Question,
    (latest, epoch): (Offset, LeaderEpoch),
) -> Result<(), Violation> {
    // A failed disk takes back what was acknowledged from the page cache, until the restart. Of several replicas the one whose disk
    // has failed leads no longer.
    if partition.damaged || (partition.limited && !partition.durable) {
        return Ok(());
    }
    let Question { invoked, told } = question;
    let reached = told.range(..=epoch).map(|(_, told)| *told).max().unwrap_or(0);
    let end = if told.is_empty() { Offset::MAX } else { reached };
    let before = partition.acked.range(..end).rev().find(|(_, ack)| ack.acked < *invoked);
    match before {
        Some((offset, _)) if *offset >= latest => {
            violation("latest", format!("{part}: latest is {latest}, but {offset} was acknowledged before"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Ack;

    /// Epoch 1 is cut off with its high watermark at 2; epoch 2 has acknowledged 2 and 3, which it found in its log.
    fn cut_off() -> Partition {
        let ack = |offset: Offset| (offset, Ack { value: 7, invoked: 1, acked: 5 });
        Partition { acked: (0..4).map(ack).collect(), told: BTreeMap::from([(1, 2), (2, 4)]), ..Partition::default() }
    }

    fn is_too_low(partition: &Partition, question: &Question, answer: (Offset, LeaderEpoch)) -> bool {
        check(partition, &Part::new("orders", 0), question, answer).is_err()
    }

    #[test]
    fn a_leader_tells_what_its_epoch_or_an_earlier_one_has_acknowledged() {
        let partition = cut_off();
        let question = Question::new(&partition, 9);
        assert!(is_too_low(&partition, &question, (1, 1)) && !is_too_low(&partition, &question, (2, 1)));
        assert!(is_too_low(&partition, &question, (3, 2)) && !is_too_low(&partition, &question, (4, 2)));
        let early = Question::new(&partition, 5);
        assert!(!is_too_low(&partition, &early, (0, 2)), "nothing was acknowledged yet");
    }

    #[test]
    fn what_a_leader_that_is_cut_off_hears_later_is_not_asked_of_an_earlier_answer() {
        let mut partition = cut_off();
        let question = Question::new(&partition, 9);
        partition.told.insert(1, 4);
        assert!(!is_too_low(&partition, &question, (2, 1)));
        assert!(is_too_low(&partition, &Question::new(&partition, 10), (2, 1)), "it has heard before it was asked");
    }
}
