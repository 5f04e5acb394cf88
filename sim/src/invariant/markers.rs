//! I4: after a start no epoch begins above the end of the log, and epochs and their starts are in order.

use millrace_raft::Raft;
use millrace_types::Offset;

/// Looks at a replica that has just started.
///
/// # Errors
/// Its epochs contradict its log.
pub fn check(raft: &Raft, end: Offset) -> Result<(), String> {
    let epochs: Vec<_> = raft.epochs().collect();
    let ordered = epochs.is_sorted_by(|a, b| a.epoch < b.epoch && a.start <= b.start);
    if ordered && epochs.iter().all(|known| known.start <= end) {
        return Ok(());
    }
    Err(format!("epochs {epochs:?}, the log ends at {end}"))
}
