//! I9: the incarnation of a directory grows with each start.

use super::{Checked, Ghost};
use crate::host::Host;

pub(super) fn check(ghost: &mut Ghost, host: &Host) -> Checked {
    match ghost.incarnations.insert(host.key, host.incarnation) {
        Some(before) if before >= host.incarnation => {
            Err(format!("{} starts as {} after {before}", host.key, host.incarnation))
        }
        _ => Ok(()),
    }
}
