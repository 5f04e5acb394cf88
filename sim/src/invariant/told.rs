//! I6: once a leader tells the latest offset, it is at least what the leaders before it have told (KIP-207).

use millrace_types::{LeaderEpoch, Offset};

use crate::ghost::Ghost;

/// The leader of `epoch` tells `latest`.
///
/// # Errors
/// An earlier one has told more.
pub fn check(ghost: &Ghost, epoch: LeaderEpoch, latest: Offset) -> Result<(), String> {
    let before = ghost.high_watermarks.range(..epoch).map(|(_, told)| *told).max().unwrap_or(0);
    if latest >= before { Ok(()) } else { Err(format!("{latest} is told in epoch {epoch}, {before} was told before")) }
}
