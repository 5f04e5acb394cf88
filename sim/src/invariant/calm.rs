//! I13: without faults the first leader that commits something stays; before it there may be split votes.

use crate::ghost::Ghost;

/// Looks at a partition of a run without faults.
///
/// # Errors
/// Leaders of more than one epoch have committed.
pub fn check(ghost: &Ghost) -> Result<(), String> {
    let epochs = ghost.commits.len();
    if epochs > 1 { Err(format!("{epochs} epochs without a fault")) } else { Ok(()) }
}
