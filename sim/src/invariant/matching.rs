//! I2: an offset and an epoch name one batch, and the batch before it; an epoch begins at one offset (Raft 5.3).

use millrace_raft::Raft;
use millrace_types::Offset;

use crate::ghost::{Ghost, Mirror};

/// The batches at the offsets `added` are new in a log.
///
/// # Errors
/// Another log has or had something else there.
pub fn check(ghost: &mut Ghost, mirror: &Mirror, added: &[Offset]) -> Result<(), String> {
    for base in added {
        let Some(batch) = mirror.batches.get(base) else { continue };
        let before = mirror.batches.range(..base).next_back().filter(|(_, before)| before.last + 1 == *base);
        let before = before.map(|(_, before)| before.epoch);
        let known = ghost.batches.entry((*base, batch.epoch)).or_insert((*batch, before));
        if known.0 != *batch {
            return Err(format!("at {base} there is {batch:?}, and was {:?}", known.0));
        }
        match (known.1, before) {
            (Some(known), Some(before)) if known != before => {
                return Err(format!(
                    "the batch at {base} of epoch {} follows epochs {known} and {before}",
                    batch.epoch
                ));
            }
            (None, Some(_)) => known.1 = before,
            _ => {}
        }
    }
    Ok(())
}

/// Whether a log can be read to its end, and everything in it was in one before.
#[must_use]
pub fn knows(ghost: &Ghost, mirror: &Mirror) -> bool {
    let mut ends = mirror.batches.keys().copied().skip(1).chain([mirror.end]);
    mirror.batches.iter().all(|(base, batch)| {
        let known = ghost.batches.get(&(*base, batch.epoch)).is_some_and(|(one, _)| one == batch);
        known && ends.next() == Some(batch.last + 1)
    })
}

/// The epochs that a replica knows begin where they began for others.
///
/// # Errors
/// One does not.
pub fn check_epochs(ghost: &mut Ghost, raft: &Raft) -> Result<(), String> {
    for marker in raft.epochs().rev().take(2).filter(|marker| marker.epoch > 0) {
        let start = *ghost.starts.entry(marker.epoch).or_insert(marker.start);
        if start != marker.start {
            return Err(format!("epoch {} begins at {start} and at {}", marker.epoch, marker.start));
        }
    }
    Ok(())
}
