//! What of a file differs from the file below, range by range.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

/// Contents of a changed file.
///
/// Invariant: patches neither overlap nor reach beyond `len`; every byte that the file below has not is covered by one.
#[derive(Debug, Default)]
pub(super) struct Content {
    len: u64,
    /// Patches by their first byte.
    patches: BTreeMap<u64, Patch>,
}

/// A changed range.
#[derive(Debug, Clone)]
struct Patch {
    len: u64,
    /// What is there; `None` for zeros.
    bytes: Option<Bytes>,
}

impl Patch {
    /// The part of the patch at `start` that lies in `range`.
    fn part(&self, start: u64, range: &Range<u64>) -> (u64, Self) {
        let (from, to) = (start.max(range.start), (start + self.len).min(range.end));
        let (skip, len) = (from - start, to - from);
        let bytes = self.bytes.as_ref().map(|bytes| bytes.slice(skip as usize..(skip + len) as usize));
        (from, Self { len, bytes })
    }
}

impl Content {
    /// An unchanged file of `len` bytes.
    pub(super) const fn of_base(len: u64) -> Self {
        Self { len, patches: BTreeMap::new() }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Grows to `len` by zeros.
    pub(super) fn grow(&mut self, len: u64) {
        if len > self.len {
            let grown = self.len..len;
            self.len = len;
            self.put(grown, None);
        }
    }

    /// Cuts to `len`.
    pub(super) fn cut(&mut self, len: u64) {
        if len < self.len {
            self.clear(&(len..self.len));
            self.len = len;
        }
    }

    /// Notes that `range`, which is inside the length, holds these bytes; `None` for zeros.
    pub(super) fn put(&mut self, range: Range<u64>, bytes: Option<Bytes>) {
        if range.is_empty() {
            return;
        }
        self.clear(&range);
        self.patches.insert(range.start, Patch { len: range.end - range.start, bytes });
    }

    /// Whether `range` is as below.
    pub(super) fn is_base(&self, range: &Range<u64>) -> bool {
        self.overlapping(range).is_empty()
    }

    /// Lays the patches over `bytes`, the contents of `range` below.
    pub(super) fn lay_over(&self, range: &Range<u64>, bytes: &mut [u8]) {
        for start in self.overlapping(range) {
            let Some((from, part)) = self.patches.get(&start).map(|patch| patch.part(start, range)) else { continue };
            let at = (from - range.start) as usize;
            let Some(place) = bytes.get_mut(at..at + part.len as usize) else { continue };
            match &part.bytes {
                Some(bytes) => place.copy_from_slice(bytes),
                None => place.fill(0),
            }
        }
    }

    /// The first bytes of the patches that overlap `range`.
    fn overlapping(&self, range: &Range<u64>) -> Vec<u64> {
        let before = self.patches.range(..range.start).next_back().filter(|(at, patch)| *at + patch.len > range.start);
        let inside = self.patches.range(range.clone());
        before.into_iter().chain(inside).map(|(start, _)| *start).collect()
    }

    /// Takes `range` out of all patches.
    fn clear(&mut self, range: &Range<u64>) {
        for start in self.overlapping(range) {
            let Some(patch) = self.patches.remove(&start) else { continue };
            let end = start + patch.len;
            for rest in [start..range.start.max(start), range.end.min(end)..end] {
                if !rest.is_empty() {
                    let (at, part) = patch.part(start, &rest);
                    self.patches.insert(at, part);
                }
            }
        }
    }
}
