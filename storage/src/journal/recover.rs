//! Finding a journal's files and reading the newest one back.

use std::path::PathBuf;

use bytes::Bytes;

use super::error::{JournalError, JournalOptions, JournalReport};
use super::file::{self, Writer};
use super::frame::{BadHeader, Frame, HEADER_LEN, Header, Kind, VERSION, padded_len, tag};
use crate::disk::{Disk, DiskError, FileRef};
use crate::mutation::{Mutation, broken};

const SUFFIX: &str = ".journal";

/// What a journal's files are called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) dir: PathBuf,
    pub(super) name: String,
}

/// What reading a journal found.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) next_sequence: u64,
    pub(super) records: Vec<Bytes>,
    pub(super) report: JournalReport,
}

impl Names {
    pub(super) fn file(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("{}-{generation:020}{SUFFIX}", self.name))
    }

    fn spare_path(&self) -> PathBuf {
        self.dir.join(format!("{}.spare", self.name))
    }

    fn generation(&self, file: &str) -> Option<u64> {
        let digits = file.strip_prefix(self.name.as_str())?.strip_prefix('-')?.strip_suffix(SUFFIX)?;
        if digits.len() == 20 { digits.parse().ok() } else { None }
    }

    fn generations(&self, disk: &dyn Disk) -> Result<Vec<u64>, DiskError> {
        Ok(disk.list(&self.dir)?.iter().filter_map(|entry| self.generation(&entry.name)).collect())
    }

    /// The greatest generation there is a file of. Its name was given when it was complete, so it is never passed over
    /// for an older one.
    pub(super) fn newest(&self, disk: &dyn Disk) -> Result<Option<u64>, DiskError> {
        Ok(self.generations(disk)?.into_iter().max())
    }

    /// The spare file, grown to `wanted` bytes or, on a full disk, at least `least`.
    pub(super) fn spare(&self, disk: &dyn Disk, least: u64, wanted: u64) -> Result<FileRef, DiskError> {
        let path = self.spare_path();
        let file = match disk.open(&path, 0) {
            Err(error) if error.is_not_found() => match disk.create(&path, wanted, wanted) {
                Err(error) if error.is_full() => return disk.create(&path, least, wanted),
                result => return result,
            },
            result => result?,
        };
        match file.allocate(wanted) {
            Err(error) if error.is_full() && file.len() >= least => Ok(file),
            Err(error) if error.is_full() => file.allocate(least).map(|()| file),
            result => result.map(|()| file),
        }
    }

    pub(super) fn discard_spare(&self, disk: &dyn Disk) {
        let path = self.spare_path();
        if let Err(error) = disk.remove_file(&path) {
            tracing::warn!(%error, "the file of a failed snapshot could not be removed");
        }
    }

    /// Gives the spare file the name of `generation`, durably, and opens it under that name.
    pub(super) fn publish(&self, disk: &dyn Disk, generation: u64) -> Result<FileRef, DiskError> {
        let path = self.file(generation);
        disk.rename(&self.spare_path(), &path)?;
        if !broken(Mutation::SnapshotNameNotSynced) {
            disk.sync_dir(&self.dir)?;
        }
        disk.open(&path, 0)
    }

    /// Makes the file of a replaced generation the next spare. A failure costs only its space, until the next start.
    pub(super) fn recycle(&self, disk: &dyn Disk, generation: u64) {
        if let Err(error) = disk.rename(&self.file(generation), &self.spare_path()) {
            tracing::warn!(%error, "a replaced journal file could not be kept as spare");
        }
    }

    /// Sees after a start that there is one file beside the current one: the spare.
    pub(super) fn keep_a_spare(
        &self,
        disk: &dyn Disk,
        current: u64,
        options: &JournalOptions,
    ) -> Result<(), DiskError> {
        for generation in self.generations(disk)?.into_iter().filter(|generation| *generation < current) {
            disk.rename(&self.file(generation), &self.spare_path())?;
        }
        let len = HEADER_LEN + options.room;
        match self.spare(disk, len, len) {
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "no room for a journal's spare file; its snapshots wait for space");
                Ok(())
            }
            result => result.map(drop),
        }
    }
}

/// Makes the first generation, empty, durably.
pub(super) fn create(disk: &dyn Disk, names: &Names, options: &JournalOptions) -> Result<Opened, JournalError> {
    let mut writer = file::write_snapshot(disk, names, 1, 0, &[], options)?;
    writer.file = names.publish(disk, 1)?;
    let report = JournalReport { created: true, generation: 1, ..JournalReport::default() };
    Ok(Opened { writer, next_sequence: 0, records: Vec::new(), report })
}

/// Reads the file of `generation` and cuts a torn tail, durably.
pub(super) fn open(disk: &dyn Disk, names: &Names, generation: u64) -> Result<Opened, JournalError> {
    let found = read(disk, names, generation)?;
    // Whole records behind the first bad one would follow a new record of the bad one's length: they go for good.
    if let Some(last) = found.beyond.end
        && !broken(Mutation::JournalTailNotZeroed)
    {
        found.file.zero(found.scan.end..last)?;
        found.file.flush()?;
    }
    found.rewrite()?;
    let report = found.report(generation);
    let Found { file, header, scan, .. } = found;
    let writer = Writer::new(file, generation, header.snapshot_end, scan.end);
    Ok(Opened { writer, next_sequence: scan.next_sequence, records: scan.records, report })
}

/// What is in a journal's file.
pub(super) struct Found {
    file: FileRef,
    header: Header,
    pub(super) scan: Scan,
    beyond: Beyond,
    torn: bool,
}

impl Found {
    pub(super) fn report(&self, generation: u64) -> JournalReport {
        JournalReport {
            created: false,
            generation,
            snapshot_records: self.scan.snapshot_records,
            tail_records: self.scan.records.len() as u64 - self.scan.snapshot_records,
            cut_at: self.torn.then_some(self.scan.end),
        }
    }

    /// Writes again what no frame calls durable, so that the flush that follows has something to write. Had a flush
    /// failed in the process before, these pages could be clean in the cache, missing on the disk, and beyond the reach
    /// of any later flush (consensus rules, 2.2).
    fn rewrite(&self) -> Result<(), DiskError> {
        let from = self.scan.durable.max(self.header.snapshot_end);
        let Some(len) = self.scan.end.checked_sub(from).filter(|len| *len > 0) else { return Ok(()) };
        let bytes = self.file.read(from, usize::try_from(len).unwrap_or(usize::MAX))?.to_vec();
        self.file.write_at(from, &[&bytes])
    }
}

/// Reads the file of `generation`, which must be whole as far as it was ever durable.
pub(super) fn read(disk: &dyn Disk, names: &Names, generation: u64) -> Result<Found, JournalError> {
    let path = names.file(generation);
    let file = disk.open(&path, 0)?;
    let len = usize::try_from(file.len()).unwrap_or(usize::MAX);
    let bytes = file.read(0, len)?;
    let damaged = |position, what| JournalError::Damaged { path: path.clone(), position, what };
    let header = Header::decode(&bytes).map_err(|bad| match bad {
        BadHeader::Damaged => damaged(0, "the header fails its checksum"),
        BadHeader::Version(found) => JournalError::UnknownVersion { path: path.clone(), found, known: VERSION },
    })?;
    if header.generation != generation {
        return Err(damaged(16, "the header is of another generation"));
    }
    let scan = Scan::run(&bytes, &header);
    if scan.end < header.snapshot_end || scan.snapshot_records != header.snapshot_records {
        return Err(damaged(scan.end, "a record of the snapshot fails its checksum"));
    }
    let beyond = Beyond::search(&bytes, generation, scan.end);
    if beyond.durable > scan.end && !broken(Mutation::JournalRotIsCut) {
        return Err(damaged(scan.end, "a record that was durable fails its checksum"));
    }
    let torn = beyond.end.is_some() || Frame::has_tag(&bytes, generation, scan.end);
    Ok(Found { file, header, scan, beyond, torn })
}

/// The unbroken run of frames from the start of a file.
pub(super) struct Scan {
    pub(super) records: Vec<Bytes>,
    snapshot_records: u64,
    next_sequence: u64,
    end: u64,
    /// The greatest position any of them calls durable.
    durable: u64,
}

impl Scan {
    fn run(bytes: &[u8], header: &Header) -> Self {
        let mut scan = Self {
            records: Vec::new(),
            snapshot_records: 0,
            next_sequence: header.first_sequence,
            end: HEADER_LEN,
            durable: 0,
        };
        while let Some(frame) = Frame::decode(bytes, header.generation, scan.end) {
            let in_snapshot = scan.end < header.snapshot_end;
            match frame.kind {
                Kind::Snapshot if in_snapshot && frame.sequence == scan.snapshot_records => scan.snapshot_records += 1,
                Kind::Record if !in_snapshot && frame.sequence == scan.next_sequence => scan.next_sequence += 1,
                Kind::Mark if !in_snapshot && frame.sequence == scan.next_sequence => {}
                _ => break,
            }
            if frame.kind != Kind::Mark {
                scan.records.push(Bytes::copy_from_slice(frame.payload));
            }
            scan.end += padded_len(frame.payload.len());
            scan.durable = scan.durable.max(frame.durable);
        }
        scan
    }
}

/// Whole frames behind the first bad one.
struct Beyond {
    /// The greatest position any of them calls durable; 0 if there is none.
    durable: u64,
    /// Where the last of them ends.
    end: Option<u64>,
}

impl Beyond {
    fn search(bytes: &[u8], generation: u64, from: u64) -> Self {
        let mut beyond = Self { durable: 0, end: None };
        let tag = tag(generation).to_le_bytes();
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
        for (position, chunk) in (from..).step_by(8).zip(bytes[start..].chunks(8)) {
            if !chunk.starts_with(&tag) {
                continue;
            }
            if let Some(frame) = Frame::decode(bytes, generation, position) {
                beyond.durable = beyond.durable.max(frame.durable);
                beyond.end = Some(position + padded_len(frame.payload.len()));
            }
        }
        beyond
    }
}

impl Frame<'_> {
    /// Whether a frame of the generation was begun at `position`.
    fn has_tag(bytes: &[u8], generation: u64, position: u64) -> bool {
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        bytes[start..].starts_with(&tag(generation).to_le_bytes())
    }
}
