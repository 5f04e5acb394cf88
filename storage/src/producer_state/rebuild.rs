//! The producer state of a log from its newest snapshot and the batches behind it.

use std::sync::Arc;

use millrace_types::Offset;

use super::{ProducerState, decode_snapshot};
use crate::disk::DiskError;
use crate::record_batch::HEADER_LEN;
use crate::segment::{FileKind, Home, Segment, Walk, file_name, parse_file_name, read_whole};

/// The state at offset `upto`, the end of `segments`. A snapshot that cannot be read is passed over for an older one.
/// One from below the first segment is of no use: what its producers wrote between was deleted, and to remember an old
/// sequence is worse than to know nothing of a producer.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn rebuild(
    home: &Home,
    segments: &[Arc<Segment>],
    upto: Offset,
    max_producers: usize,
) -> Result<ProducerState, DiskError> {
    let first = segments.first().map_or(0, |segment| segment.base());
    let (mut state, from) = newest_snapshot(home, first, upto);
    for segment in segments.iter().filter(|segment| segment.next() > from && segment.used() > 0) {
        let bytes = segment.file()?.read(0, usize::try_from(segment.used()).unwrap_or(usize::MAX))?;
        for walked in Walk::new(&bytes).filter(|walked| walked.header.base_offset >= from) {
            let payload = bytes.get(walked.position + HEADER_LEN..walked.end()).unwrap_or_default();
            state.update(&walked.header, payload, max_producers);
        }
    }
    Ok(state)
}

/// Whether there is a good snapshot of the state at `offset`.
pub(crate) fn has_snapshot(home: &Home, offset: Offset) -> bool {
    let path = home.dir.join(file_name(offset, FileKind::Snapshot));
    read_whole(&home.disk, &path).is_ok_and(|bytes| decode_snapshot(offset, &bytes).is_ok())
}

fn newest_snapshot(home: &Home, first: Offset, upto: Offset) -> (ProducerState, Offset) {
    let entries = home.disk.list(&home.dir).unwrap_or_default();
    let snapshot = |name: &str| parse_file_name(name).filter(|(_, kind)| *kind == FileKind::Snapshot);
    let offsets = entries.iter().filter_map(|entry| Some(snapshot(&entry.name)?.0));
    let mut offsets: Vec<Offset> = offsets.filter(|offset| (first..=upto).contains(offset)).collect();
    offsets.sort_unstable();
    for offset in offsets.into_iter().rev() {
        let path = home.dir.join(file_name(offset, FileKind::Snapshot));
        match read_whole(&home.disk, &path).map(|bytes| decode_snapshot(offset, &bytes)) {
            Ok(Ok(state)) => return (state, offset),
            Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "a producer snapshot is not used"),
            Err(error) => tracing::warn!(%error, "a producer snapshot cannot be read"),
        }
    }
    (ProducerState::default(), 0)
}
