//! The records of `__consumer_offsets` in Apache Kafka's own binary format, so that its tools read them.
//!
//! A record's key begins with an `int16` that says what the record is about; its value begins with an `int16` that
//! is the version of the value's schema. All integers are big-endian.
//!
//! ```text
//! key 0, 1  group: string, topic: string, partition: int32           value: OffsetValue  versions 0 to 4
//! key 2     group: string                                            value: GroupValue   versions 0 to 4
//! key 3..   groups of KIP-848 and KIP-932                            skipped
//! ```
//!
//! Keys are written as 1 and 2, offsets as version 3 (as 1 when they carry an expiry of their own, which no later
//! version has), groups as version 3.

mod group;
mod key;
mod offset;
mod reader;
mod subscription;
#[cfg(test)]
mod tests;
mod writer;

pub use group::{GroupValue, MemberValue};
pub use key::Key;
pub(crate) use key::{group_key, offset_key};
pub use offset::OffsetValue;
pub use subscription::visit_topics;
pub(crate) use writer::MAX_STRING_BYTES;

/// Why bytes are not a record of `__consumer_offsets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the field does, or a length is negative or larger than the bytes that follow.
    #[error("the record ends within its field `{field}`, or the field's length is impossible")]
    Truncated {
        /// Name of the field.
        field: &'static str,
    },
    /// A string is not UTF-8.
    #[error("the field `{field}` is not UTF-8")]
    NotUtf8 {
        /// Name of the field.
        field: &'static str,
    },
    /// The schema has no such version.
    #[error("version {version} of `{schema}` is not known")]
    UnknownVersion {
        /// Name of the schema.
        schema: &'static str,
        /// The version found.
        version: i16,
    },
    /// Bytes follow the last field.
    #[error("{bytes} bytes follow the last field of `{schema}`")]
    TrailingBytes {
        /// Name of the schema.
        schema: &'static str,
        /// Their number.
        bytes: usize,
    },
}
