//! The value of a committed offset.

use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{LeaderEpoch, Offset, Timestamp};

use super::FormatError;
use super::reader::Reader;
use super::writer::Writer;

const SCHEMA: &str = "OffsetCommitValue";

/// A committed offset, Kafka's `OffsetCommitValue`.
///
/// ```text
/// offset: int64, leaderEpoch: int32 (3+), metadata: string, commitTimestamp: int64, expireTimestamp: int64 (1 only)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue {
    /// The offset to go on from.
    pub offset: Offset,
    /// Leader epoch of the last consumed record, `-1` for unknown.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires, if the commit said so itself.
    pub expire_timestamp: Option<Timestamp>,
}

impl OffsetValue {
    /// Reads a value of version 0 to 4.
    ///
    /// # Errors
    /// When the bytes are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.int16("version")?;
        if !(0..=4).contains(&version) {
            return Err(FormatError::UnknownVersion { schema: SCHEMA, version });
        }
        if version >= 4 {
            reader.set_flexible();
        }
        let value = Self {
            offset: reader.int64("offset")?,
            leader_epoch: if version >= 3 { reader.int32("leaderEpoch")? } else { -1 },
            metadata: reader.string("metadata")?.into(),
            commit_timestamp: reader.int64("commitTimestamp")?,
            expire_timestamp: match version {
                1 => Some(reader.int64("expireTimestamp")?).filter(|at| *at != -1),
                _ => None,
            },
        };
        reader.skip_tagged("tagged fields")?;
        reader.finish(SCHEMA)?;
        Ok(value)
    }

    /// Writes the value: version 1 with an expiry of its own, which costs the leader epoch as in Kafka, else 3.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let version = if self.expire_timestamp.is_some() { 1 } else { 3 };
        let mut writer = Writer::new(version, 32 + self.metadata.len());
        writer.int64(self.offset);
        if version == 3 {
            writer.int32(self.leader_epoch);
        }
        writer.string(&self.metadata);
        writer.int64(self.commit_timestamp);
        if let Some(at) = self.expire_timestamp {
            writer.int64(at);
        }
        writer.finish()
    }

    /// Length of what [`OffsetValue::encode`] writes.
    pub(crate) fn encoded_len(&self) -> usize {
        2 + 8 + if self.expire_timestamp.is_some() { 8 } else { 4 } + 2 + self.metadata.len() + 8
    }
}
