//! I10: the high watermark stays below what the majority holds. I11: `min.insync.replicas` data voters have acknowledged what it
//! passes, and where acknowledged means flushed they hold it at that moment, with power or without. I5: what it has passed never
//! changes.

use millrace_raft::{ReplicaKey, Status};
use millrace_types::{LeaderEpoch, Offset};

use crate::ghost::{Ghost, Mirror, Rec};

/// The replicas of a partition that may count as copies.
#[derive(Debug)]
pub struct Copies<'a> {
    /// The logs of all data voters, of those without power as they were when last seen, where any was, and whether they may
    /// not hold what they have acknowledged, since their disks were replaced or have rotted.
    pub logs: &'a [(ReplicaKey, Option<&'a Mirror>, bool)],
    /// Whether acknowledged means flushed.
    pub durable: bool,
    /// As many have to be.
    pub needed: usize,
}

impl Copies<'_> {
    /// Replicas that count for the batch at `base` under the leader of `epoch`.
    ///
    /// What is acknowledged from the page cache, or on a disk that is then replaced or rots, may be gone the moment after: there only the
    /// word counts, and only in the epoch in which it was given (rules R1 and R4).
    fn of(&self, ghost: &Ghost, epoch: LeaderEpoch, base: Offset, batch: &Rec) -> usize {
        let holds = |mirror: &Mirror| {
            base < mirror.start || (mirror.batches.get(&base) == Some(batch) && batch.last < mirror.acknowledged)
        };
        let said_in = |epoch, key: &ReplicaKey| ghost.words.get(&(epoch, *key)).is_some_and(|upto| batch.last < *upto);
        // A leader may have what passed in an earlier epoch from its leader, whom nobody has seen doing it.
        let said_once = |key: &ReplicaKey| (batch.epoch..=epoch).any(|epoch| said_in(epoch, key));
        let counts = |(key, mirror, has_forgotten): &&(ReplicaKey, Option<&Mirror>, bool)| {
            mirror.is_some_and(holds) || (*has_forgotten && said_once(key)) || (!self.durable && said_in(epoch, key))
        };
        self.logs.iter().filter(counts).count()
    }
}

/// The high watermark of a leader has come to a new place.
///
/// # Errors
/// It is too high.
pub fn check(ghost: &mut Ghost, mirror: &Mirror, status: &Status, copies: &Copies<'_>) -> Result<(), String> {
    let (high_watermark, start) = (status.high_watermark, status.epoch_start.unwrap_or(0));
    if status.commit.unwrap_or(0).max(start) < high_watermark {
        return Err(format!("the high watermark is {high_watermark}, committed is {:?}", status.commit));
    }
    let known = ghost.high_watermarks.get(&status.epoch).copied().unwrap_or(0);
    if high_watermark <= known {
        return Ok(());
    }
    ghost.high_watermarks.insert(status.epoch, high_watermark);
    let new = mirror.batches.range(..high_watermark).rev().take_while(|(_, batch)| batch.last >= known);
    for (base, batch) in new.filter(|(_, batch)| batch.last < high_watermark) {
        if let Some((before, epoch)) = ghost.passed.get(base) {
            if before != batch {
                return Err(format!("at {base} {before:?} is acknowledged in {epoch}, and {batch:?}"));
            }
            continue;
        }
        ghost.passed.insert(*base, (*batch, status.epoch));
        let (holders, needed) = (copies.of(ghost, status.epoch, *base, batch), copies.needed);
        if holders < needed {
            let log = |log: &Mirror| {
                format!("{}..{} to {}, {:?}", log.start, log.end, log.acknowledged, log.batches.get(base))
            };
            let known = |(key, mirror, _): &(ReplicaKey, Option<&Mirror>, bool)| {
                let said = ghost.words.get(&(status.epoch, *key));
                format!("{key} {}, has said {said:?}", mirror.map_or_else(|| "not seen".to_owned(), log))
            };
            let known: Vec<String> = copies.logs.iter().map(known).collect();
            let text = format!("{batch:?} at {base} is acknowledged with {holders} of {needed} copies");
            return Err(format!("{text}: {}", known.join("; ")));
        }
    }
    Ok(())
}
