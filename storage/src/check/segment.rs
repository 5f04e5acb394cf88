//! One segment read from its first byte to its last, with its sidecar.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_types::Offset;

use crate::disk::{Disk, DiskError};
use crate::index::{Index, Summary, decode_sidecar};
use crate::recovery::{Bad, Epochs, Expected, scan};
use crate::segment::{Content, FileKind, file_name, read_whole};

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The file.
    pub(super) file: PathBuf,
    pub(super) base: Offset,
    /// The base offset of the next segment.
    pub(super) following: Option<Offset>,
    /// Position behind the last good batch.
    pub(super) position: u64,
    /// The offset behind it.
    pub(super) next: Offset,
    /// What lies behind it.
    pub(super) bad: Option<Bad>,
    pub(super) sidecar: Sidecar,
}

/// What the index sidecar of a segment is like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sidecar {
    /// It agrees with the segment.
    Good,
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable(String),
    /// It can be read, and says what is not so.
    Wrong(String),
}

/// Compares a sidecar with the batches as they come.
struct Comparison {
    summary: Summary,
    index: Index,
    /// Entries that were met.
    met: usize,
    content: Content,
}

impl Comparison {
    /// Notes that a batch begins where the content ends.
    fn meet(&mut self, base_offset: Offset) {
        let Some(entry) = self.index.entries().get(self.met) else { return };
        let here = u64::from(entry.position) == self.content.used()
            && i64::from(entry.relative) == base_offset - self.content.base()
            && entry.max_before == self.content.max_timestamp();
        self.met += usize::from(here);
    }

    fn verdict(self) -> Sidecar {
        let found = self.content.summary();
        if self.summary != found {
            let of = |summary: &Summary| {
                let Summary { base, next, used, max_timestamp, epochs } = summary;
                format!("offsets {base} to {next}, {used} bytes, max timestamp {max_timestamp}, epochs {epochs:?}")
            };
            return Sidecar::Wrong(format!("it says {}; the segment has {}", of(&self.summary), of(&found)));
        }
        match self.index.entries().get(self.met) {
            Some(entry) => Sidecar::Wrong(format!("no such batch begins at position {}", entry.position)),
            None => Sidecar::Good,
        }
    }
}

/// Reads the segment `base`.
pub(super) fn scan_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    base: Offset,
    following: Option<Offset>,
    has_sidecar: bool,
) -> Result<Scanned, DiskError> {
    let path = dir.join(file_name(base, FileKind::Log));
    let bytes = read_whole(disk, &path)?;
    let mut content = Content::new(base, u32::MAX);
    let mut comparison = None;
    let mut sidecar = Sidecar::Missing;
    if has_sidecar {
        match decode_sidecar(&read_whole(disk, &dir.join(file_name(base, FileKind::Index)))?) {
            Ok((summary, index)) => {
                comparison = Some(Comparison { summary, index, met: 0, content: Content::new(base, u32::MAX) });
            }
            Err(error) => sidecar = Sidecar::Unreadable(error.to_string()),
        }
    }
    let epochs = Epochs::default();
    let expected =
        Expected { offset: base, epoch: 0, epochs, trusted_below: base, whole_tail: false, upto: Offset::MAX, why: "" };
    let found = scan(&bytes, expected, |header| {
        content.add(header);
        if let Some(comparison) = &mut comparison {
            comparison.meet(header.base_offset);
            comparison.content.add(header);
        }
    });
    // Of a segment that is damaged itself the sidecar cannot be judged.
    if let Some(comparison) = comparison {
        sidecar = if found.bad.is_some() { Sidecar::Good } else { comparison.verdict() };
    }
    let (position, next) = (content.used(), content.next());
    Ok(Scanned { file: path, base, following, position, next, bad: found.bad, sidecar })
}
