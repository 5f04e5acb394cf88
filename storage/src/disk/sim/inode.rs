//! One simulated file: what the page cache shows, what the disk holds, and what is between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::random::Random;

pub(super) const PAGE: u64 = 4096;
const SECTOR: usize = 512;
type Page = Box<[u8; PAGE as usize]>;
/// Contents by page number; an absent page is all zeros.
type Pages = BTreeMap<u64, Page>;

/// Invariant: a page that is not dirty and differs between `cache` and `disk` was lost by a failed flush, or waits for
/// a length in `lengths`.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    len: u64,
    cache: Pages,
    disk_len: u64,
    disk: Pages,
    dirty: BTreeSet<u64>,
    /// Lengths the file was given since the last successful flush, in order: a journalling filesystem keeps a prefix of
    /// them.
    lengths: Vec<u64>,
    /// A write-back failed in a sync of the whole disk; the file's own next flush reports it, once.
    unreported: bool,
    /// Names in the directory tree as processes see it.
    pub(super) links: u32,
    /// Open handles.
    pub(super) open: u32,
}

/// Cuts `pages` at `len`, zeroing the rest of the last page; whether that page had to change.
fn cut(pages: &mut Pages, len: u64) -> bool {
    pages.split_off(&len.div_ceil(PAGE));
    let within = (len % PAGE) as usize;
    match pages.get_mut(&(len / PAGE)) {
        Some(page) if within > 0 && page[within..].iter().any(|byte| *byte != 0) => {
            page[within..].fill(0);
            true
        }
        _ => false,
    }
}

fn blank() -> Page {
    Box::new([0; PAGE as usize])
}

impl Inode {
    /// A named, open file of `len` zero bytes.
    pub(super) fn new(len: u64) -> Self {
        Self { len, lengths: vec![len], links: 1, open: 1, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the disk the file takes: whole pages.
    pub(super) fn allocated(&self) -> u64 {
        self.len.next_multiple_of(PAGE)
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.lengths.is_empty()
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            if cut(&mut self.cache, len) {
                self.dirty.insert(len / PAGE);
            }
            self.dirty.split_off(&len.div_ceil(PAGE));
        }
        self.len = len;
        self.lengths.push(len);
    }

    /// Writes `bytes` at `pos`, which is inside the length.
    pub(super) fn write(&mut self, mut pos: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = (pos % PAGE) as usize;
            let len = bytes.len().min(PAGE as usize - within);
            let page = self.cache.entry(pos / PAGE).or_insert_with(blank);
            page[within..within + len].copy_from_slice(&bytes[..len]);
            self.dirty.insert(pos / PAGE);
            pos += len as u64;
            bytes = &bytes[len..];
        }
    }

    /// Zeroes `range`; pages that are zero in the cache and on the disk stay clean.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        let mut touched: BTreeSet<u64> = self.disk.range(pages.clone()).map(|(number, _)| *number).collect();
        touched.extend(self.cache.range(pages).map(|(number, _)| *number));
        for number in touched {
            let start = range.start.max(number * PAGE) - number * PAGE;
            let end = range.end.min((number + 1) * PAGE) - number * PAGE;
            if start == 0 && end == PAGE {
                self.cache.remove(&number);
            } else if let Some(page) = self.cache.get_mut(&number) {
                page[start as usize..end as usize].fill(0);
            }
            self.dirty.insert(number);
        }
    }

    pub(super) fn read(&self, mut pos: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let within = (pos % PAGE) as usize;
            let part = (len - bytes.len()).min(PAGE as usize - within);
            match self.cache.get(&(pos / PAGE)) {
                Some(page) => bytes.extend_from_slice(&page[within..within + part]),
                None => bytes.resize(bytes.len() + part, 0),
            }
            pos += part as u64;
        }
        bytes
    }

    /// Rot: the bit changes on the disk and in what is read from it.
    pub(super) fn flip(&mut self, pos: u64, bit: u8) {
        for pages in [&mut self.cache, &mut self.disk] {
            pages.entry(pos / PAGE).or_insert_with(blank)[(pos % PAGE) as usize] ^= 1 << (bit % 8);
        }
    }

    fn apply_length(&mut self, len: u64) {
        if len < self.disk_len {
            cut(&mut self.disk, len);
        }
        self.disk_len = len;
    }

    fn write_back(&mut self, number: u64) {
        match self.cache.get(&number) {
            Some(page) => self.disk.insert(number, page.clone()),
            None => self.disk.remove(&number),
        };
    }

    /// The kernel writes one dirty page back by itself; the lengths go before, since a page has its place by them.
    pub(super) fn write_back_one(&mut self, random: &mut Random) {
        for len in std::mem::take(&mut self.lengths) {
            self.apply_length(len);
        }
        let chosen = random.below(self.dirty.len());
        if let Some(number) = self.dirty.iter().copied().nth(chosen) {
            self.dirty.remove(&number);
            self.write_back(number);
        }
    }

    /// Marks a failure for the next flush of the file.
    pub(super) fn owe_error(&mut self) {
        self.unreported = true;
    }

    /// Whether the flush that is about to happen must report an earlier failure.
    pub(super) fn take_error(&mut self) -> bool {
        std::mem::take(&mut self.unreported)
    }

    pub(super) fn flush(&mut self) {
        for len in std::mem::take(&mut self.lengths) {
            self.apply_length(len);
        }
        for number in std::mem::take(&mut self.dirty) {
            self.write_back(number);
        }
    }

    /// A flush that fails: lengths and pages may have arrived. No page is tried again; the other lengths stay in the
    /// filesystem's journal, which gives up for good or not at all.
    pub(super) fn fail_flush(&mut self, random: &mut Random) {
        let mut lengths = std::mem::take(&mut self.lengths);
        self.lengths = lengths.split_off(random.below(lengths.len() + 1));
        for len in lengths {
            self.apply_length(len);
        }
        for number in std::mem::take(&mut self.dirty) {
            if random.chance(50) {
                self.write_back(number);
            }
        }
    }

    /// Loses power: a prefix of the lengths and `keep` percent of the dirty pages, or of their sectors, arrived.
    pub(super) fn lose_power(&mut self, keep: u8, random: &mut Random) {
        let lengths = std::mem::take(&mut self.lengths);
        let kept = if keep == 100 { lengths.len() } else { random.below(lengths.len() + 1) };
        for len in lengths.into_iter().take(kept) {
            self.apply_length(len);
        }
        for number in std::mem::take(&mut self.dirty) {
            if random.chance(25) {
                self.tear(number, keep, random);
            } else if random.chance(keep) {
                self.write_back(number);
            }
        }
        cut(&mut self.disk, self.disk_len);
        self.cache = self.disk.clone();
        self.len = self.disk_len;
        // The kernel that would have told of it is gone.
        self.take_error();
    }

    fn tear(&mut self, number: u64, keep: u8, random: &mut Random) {
        let cached = self.cache.get(&number).cloned().unwrap_or_else(blank);
        let page = self.disk.entry(number).or_insert_with(blank);
        for at in (0..PAGE as usize).step_by(SECTOR) {
            if random.chance(keep) {
                page[at..at + SECTOR].copy_from_slice(&cached[at..at + SECTOR]);
            }
        }
    }
}
