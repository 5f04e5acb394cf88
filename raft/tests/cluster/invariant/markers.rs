//! I4: after recovery no epoch begins above the log's end, and epochs and starts are in order.

use millrace_raft::Restored;

use super::Checked;

pub(super) fn check(restored: &Restored) -> Checked {
    let ordered = restored.epochs.is_sorted_by(|a, b| a.epoch < b.epoch && a.start <= b.start);
    let within = restored.epochs.iter().all(|known| known.start <= restored.log_end);
    if ordered && within { Ok(()) } else { Err(format!("epochs {:?}, log end {}", restored.epochs, restored.log_end)) }
}
