//! Keys: which offset or group a record is about.

use std::sync::Arc;

use bytes::Bytes;

use super::FormatError;
use super::reader::Reader;
use super::writer::Writer;

const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The committed offset of a group for one partition.
    Offset {
        /// The group.
        group: Arc<str>,
        /// Name of the topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// A group's generation and members.
    Group(Arc<str>),
    /// A kind of record that classic groups do not use: the number its key begins with.
    Other(i16),
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// When the bytes are no key.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let key = match reader.int16("version")? {
            0 | OFFSET_COMMIT => Self::Offset {
                group: reader.string("group")?.into(),
                topic: reader.string("topic")?.into(),
                partition: reader.int32("partition")?,
            },
            GROUP_METADATA => Self::Group(reader.string("group")?.into()),
            other if other > GROUP_METADATA => return Ok(Self::Other(other)),
            version => return Err(FormatError::UnknownVersion { schema: "key", version }),
        };
        reader.finish("key")?;
        Ok(key)
    }
}

/// The key of a committed offset.
pub(crate) fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut writer = Writer::new(OFFSET_COMMIT, 10 + group.len() + topic.len());
    writer.string(group);
    writer.string(topic);
    writer.int32(partition);
    writer.finish()
}

/// The key of a group's metadata.
pub(crate) fn group_key(group: &str) -> Bytes {
    let mut writer = Writer::new(GROUP_METADATA, 4 + group.len());
    writer.string(group);
    writer.finish()
}
