//! I7: who may have lost what it has acknowledged leads nothing (rule R11).

use millrace_raft::{RoleKind, Status};

/// The state of a replica.
///
/// # Errors
/// It leads, and recovers.
pub fn check(status: &Status) -> Result<(), String> {
    if status.role == RoleKind::Leader && status.recovering {
        return Err(format!("it leads epoch {} and recovers", status.epoch));
    }
    Ok(())
}
