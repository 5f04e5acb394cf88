//! I10: the high watermark stays below what the majority holds. I11: `min.insync.replicas` data voters hold what it passes.
//! I5: what it has passed never changes.

use millrace_raft::Status;

use crate::ghost::{Ghost, Mirror};

/// The high watermark of a leader has come to a new place; `others` are the logs of all data voters, `needed` as many of
/// them have to hold what it has passed.
///
/// # Errors
/// It is too high.
pub fn check(
    ghost: &mut Ghost,
    mirror: &Mirror,
    status: &Status,
    others: &[&Mirror],
    needed: usize,
) -> Result<(), String> {
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
        let holds = |other: &&&Mirror| *base < other.start || other.batches.get(base) == Some(batch);
        let holders = others.iter().filter(holds).count();
        if holders < needed {
            return Err(format!("{batch:?} at {base} is acknowledged with {holders} of {needed} copies"));
        }
    }
    Ok(())
}
