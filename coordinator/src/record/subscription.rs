//! The topics a member of the `consumer` protocol subscribes to.

use super::FormatError;
use super::reader::Reader;

/// A topic's name has at least its length field.
const TOPIC_MIN_BYTES: usize = 2;

/// Shows the topics of a `ConsumerProtocolSubscription` to `visit`, one after another.
///
/// Only the part that every version begins with is read: `version: int16, topics: [string]`.
///
/// # Errors
/// When the bytes do not begin with such a part; topics before the fault have been shown.
pub fn visit_topics(metadata: &[u8], mut visit: impl FnMut(&str)) -> Result<(), FormatError> {
    let mut reader = Reader::new(metadata);
    let version = reader.int16("version")?;
    if version < 0 {
        return Err(FormatError::UnknownVersion { schema: "ConsumerProtocolSubscription", version });
    }
    for _ in 0..reader.count(TOPIC_MIN_BYTES, "topics")? {
        visit(reader.string("topic")?);
    }
    Ok(())
}
