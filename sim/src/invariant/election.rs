//! I1: an epoch has one leader (Raft 5.2).

use millrace_types::LeaderEpoch;

use crate::ghost::Ghost;

/// The replica of process number `process` leads in `epoch`; whether that is new.
///
/// # Errors
/// Another process leads in it.
pub fn check(ghost: &mut Ghost, epoch: LeaderEpoch, process: u64) -> Result<bool, String> {
    match ghost.leaders.insert(epoch, process) {
        None => Ok(true),
        Some(before) if before == process => Ok(false),
        Some(before) => Err(format!("processes {before} and {process} lead in epoch {epoch}")),
    }
}
