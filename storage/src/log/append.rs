//! Appends: a header patched on the stack, one gathered write, and then the memory that follows the bytes.

use bytes::Bytes;
use millrace_types::{LeaderEpoch, Now, Offset, Timestamp};

use super::{AppendError, Log};
use crate::disk::DiskError;
use crate::producer_state::Sequence;
use crate::record_batch::{BatchError, BatchHeader, HEADER_LEN, ValidBatches};
use crate::recovery::Rot;
use crate::segment::{Content, Segment};

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// The leader's time that was stamped, -1 with CreateTime.
    pub log_append_time: Timestamp,
    /// Whether the batch was in the log already: the offsets are those of the first time.
    pub duplicate: bool,
}

impl Log {
    /// Appends the batch of a producer as the leader of `epoch`: gives it its offsets and the epoch, stamps the
    /// leader's time where the topic wants it, and writes it into the page cache. All or nothing.
    ///
    /// # Errors
    /// See [`AppendError`]. After [`AppendError::Full`] the log is as before.
    pub fn append(&mut self, mut batches: ValidBatches, epoch: LeaderEpoch, now: Now) -> Result<Appended, AppendError> {
        self.check_writable()?;
        if epoch < self.latest_epoch {
            return Err(AppendError::FencedEpoch { epoch, current: self.latest_epoch });
        }
        let size = batches.size() as u64;
        let limit = self.config.segment_limit();
        if size > limit {
            return Err(AppendError::RecordListTooLarge { size, limit });
        }
        if let Sequence::Duplicate { base_offset, last_offset, timestamp } = self.producers.check(batches.header())? {
            let log_append_time = if batches.is_stamped() { timestamp } else { -1 };
            return Ok(Appended { base_offset, last_offset, log_append_time, duplicate: true });
        }
        self.make_room(batches.header(), size, now)?;
        batches.stamp(now.wall);
        let base_offset = self.log_end();
        let header = BatchHeader { base_offset, leader_epoch: epoch, ..*batches.header() };
        self.write(&[&header.to_bytes(), batches.payload()], size)?;
        self.commit(&header, batches.payload(), now);
        let log_append_time = if batches.is_stamped() { now.wall } else { -1 };
        Ok(Appended { base_offset, last_offset: header.last_offset(), log_append_time, duplicate: false })
    }

    /// Appends batches that another replica has given offsets and epochs, as they are. Of several batches those in
    /// front of a failure stay in the log. The first batch of an empty log may begin below the log start offset and reach
    /// beyond it: records below stay unread.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_replicated(&mut self, batches: &Bytes, now: Now) -> Result<Appended, AppendError> {
        self.check_writable()?;
        let checked = self.check_replicated(batches)?;
        let base_offset = self.log_end();
        let Some((first, _)) = checked.first() else { return Err(BatchError::Empty.into()) };
        if first.base_offset < base_offset {
            self.begin_at(first.base_offset, now);
        }
        let limit = self.config.segment_limit();
        let together = batches.len() as u64 <= limit;
        if together {
            self.make_room(first, batches.len() as u64, now)?;
            self.write(&[batches], batches.len() as u64)?;
        }
        let mut last_offset = base_offset - 1;
        for (header, batch) in &checked {
            let size = batch.len() as u64;
            if !together {
                self.make_room(header, size, now)?;
                self.write(&[batch], size)?;
            }
            self.commit(header, batch.get(HEADER_LEN..).unwrap_or_default(), now);
            last_offset = header.last_offset();
        }
        Ok(Appended { base_offset, last_offset, log_append_time: -1, duplicate: false })
    }

    /// The batches, if each is whole and they continue the log without a gap and without a falling epoch.
    fn check_replicated(&self, batches: &Bytes) -> Result<Vec<(BatchHeader, Bytes)>, AppendError> {
        let (mut rest, mut checked) = (batches.clone(), Vec::new());
        let (mut due, mut epoch): (Offset, LeaderEpoch) = (self.log_end(), self.latest_epoch);
        let limit = self.config.segment_limit();
        while !rest.is_empty() {
            let header = BatchHeader::parse(&rest).map_err(BatchError::from)?;
            let (size, available) = (header.size(), rest.len());
            if size > available {
                return Err(BatchError::Truncated { size, available }.into());
            }
            let batch = rest.split_to(size);
            if !header.crc_holds(&batch) {
                let actual = crate::record_batch::crc32c(batch.get(21..).unwrap_or_default());
                return Err(BatchError::Crc { expected: header.crc, actual }.into());
            }
            let is_first = checked.is_empty() && self.log_start() == self.log_end();
            let holds_start = is_first && header.base_offset < due && header.last_offset() >= due;
            if (header.base_offset != due && !holds_start) || header.last_offset_delta < 0 {
                return Err(AppendError::NotContiguous { offset: header.base_offset, log_end: due });
            }
            if header.leader_epoch < epoch {
                return Err(AppendError::FencedEpoch { epoch: header.leader_epoch, current: epoch });
            }
            if size as u64 > limit {
                return Err(AppendError::RecordListTooLarge { size: size as u64, limit });
            }
            (due, epoch) = (header.last_offset() + 1, header.leader_epoch);
            checked.push((header, batch));
        }
        Ok(checked)
    }

    /// The empty log takes its first batch at `base`, below its start: in a segment that begins there.
    fn begin_at(&mut self, base: Offset, now: Now) {
        let content = Content::new(base, self.config.index_interval_bytes);
        self.active = Segment::new(&self.home, content, self.config.segment_limit(), false, now.wall);
        self.shared.set_segments(vec![self.active.clone()]);
    }

    fn check_writable(&self) -> Result<(), AppendError> {
        if let Some(cause) = self.poison.cause() {
            return Err(AppendError::Poisoned(cause.clone()));
        }
        match &*self.shared.damage.load() {
            Some(rot) => Err(AppendError::Damaged(Box::new(Rot::clone(rot)))),
            None => Ok(()),
        }
    }

    /// Writes `size` bytes behind the last batch. Room has been made, so a failure is one of the device: what reached
    /// the page cache is unknown, and the log takes no more.
    fn write(&mut self, parts: &[&[u8]], size: u64) -> Result<(), AppendError> {
        let position = self.active.used();
        let file = self.active.file().map_err(AppendError::disk)?;
        let Err(error) = file.write_at(position, parts) else { return Ok(()) };
        let undone = error.is_full() && file.zero(position..position + size).is_ok();
        if !undone {
            self.poison.set(&error);
        }
        Err(if undone { AppendError::Full(error) } else { AppendError::Storage(as_failure(error)) })
    }

    /// Takes a written batch into memory and publishes the log end offset behind it.
    fn commit(&mut self, header: &BatchHeader, payload: &[u8], now: Now) {
        self.active.content().write().add(header);
        self.shared.add_size(header.size() as u64);
        self.note_epoch(header.leader_epoch, header.base_offset);
        self.producers.update(header, payload, self.config.max_producers);
        if header.is_transactional() || header.is_control() {
            self.shared.set_first_undecided(self.producers.first_undecided());
        }
        self.flush.appended(&self.active, now.instant);
        self.shared.set_end(header.last_offset() + 1);
    }
}

/// A full disk met while writing into allocated space is a failure of the device.
fn as_failure(error: DiskError) -> DiskError {
    match error {
        DiskError::Full { path } => {
            DiskError::io(&path, "write into allocated space", std::io::Error::other("no space left"))
        }
        other => other,
    }
}
