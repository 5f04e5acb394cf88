//! I2: an offset and an epoch name one record, and the record before it; an epoch begins at one offset.

use millrace_types::Offset;

use super::{Checked, Ghost};
use crate::host::Host;

pub(super) fn check(ghost: &mut Ghost, host: &Host, from: Offset, end: Offset) -> Checked {
    for offset in from..end {
        let Some(record) = host.log.get(offset) else { continue };
        let before = if offset == host.log.start { None } else { host.log.get(offset - 1).map(|before| before.epoch) };
        let before = before.or_else(|| (offset == 0).then_some(0));
        let known = ghost.records.get(&(offset, record.epoch)).copied();
        match (known, before) {
            (Some((value, _)), _) if value != record.value => {
                return Err(format!("two records at {offset} of epoch {}", record.epoch));
            }
            (Some((_, known)), Some(before)) if known != before => {
                let epoch = record.epoch;
                return Err(format!("record {offset} of epoch {epoch} follows epochs {known} and {before}"));
            }
            (None, Some(before)) => {
                ghost.records.insert((offset, record.epoch), (record.value, before));
            }
            _ => {}
        }
    }
    let Some(raft) = &host.raft else { return Ok(()) };
    for marker in raft.epochs().rev().take(2) {
        let start = *ghost.starts.entry(marker.epoch).or_insert(marker.start);
        if start != marker.start {
            return Err(format!("epoch {} begins at {start} and at {}", marker.epoch, marker.start));
        }
    }
    Ok(())
}
