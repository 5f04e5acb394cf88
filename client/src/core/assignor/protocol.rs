//! The consumer protocol inside JoinGroup and SyncGroup: subscriptions and assignments as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{ClientError, Result};
use crate::model::TopicPartition;

/// Version written: 1 brings owned partitions, 2 their generation (KIP-429, KIP-792). A reader of an older version
/// reads the fields it knows.
const VERSION: i16 = 2;

/// What a member tells the leader of its group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics it wants, in order.
    pub topics: Vec<Arc<str>>,
    /// The partitions it reads at the moment.
    pub owned: Vec<TopicPartition>,
    /// Generation in which it got them, -1 when unknown.
    pub generation: i32,
}

/// The bytes of a subscription. `sticky` adds the user data of Java's cooperative-sticky assignor.
#[must_use]
pub fn write_subscription(subscription: &Subscription, sticky: bool) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_count(&mut out, subscription.topics.len());
    for topic in &subscription.topics {
        put_text(&mut out, topic);
    }
    if sticky {
        out.put_i32(4);
        out.put_i32(subscription.generation);
    } else {
        out.put_i32(-1);
    }
    put_partitions(&mut out, &subscription.owned);
    out.put_i32(subscription.generation);
    out.freeze()
}

/// Reads a subscription of any version.
///
/// # Errors
/// The bytes end early or are no text where text belongs.
pub fn read_subscription(mut bytes: Bytes) -> Result<Subscription> {
    let version = get_i16(&mut bytes)?;
    let count = get_count(&mut bytes)?;
    let topics = (0..count).map(|_| get_text(&mut bytes)).collect::<Result<_>>()?;
    let user_data = get_i32(&mut bytes)?;
    let user_data = take(&mut bytes, usize::try_from(user_data).unwrap_or(0))?;
    let mut generation = user_data.get(..4).map_or(-1, |mut data| data.get_i32());
    let owned = if version >= 1 { get_partitions(&mut bytes)? } else { Vec::new() };
    if version >= 2 {
        generation = generation.max(get_i32(&mut bytes)?);
    }
    Ok(Subscription { topics, owned, generation })
}

/// The bytes of an assignment.
#[must_use]
pub fn write_assignment(partitions: &[TopicPartition]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    put_partitions(&mut out, partitions);
    out.put_i32(-1);
    out.freeze()
}

/// Reads an assignment of any version.
///
/// # Errors
/// The bytes end early or are no text where text belongs.
pub fn read_assignment(mut bytes: Bytes) -> Result<Vec<TopicPartition>> {
    get_i16(&mut bytes)?;
    let mut partitions = get_partitions(&mut bytes)?;
    partitions.sort();
    Ok(partitions)
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

fn put_text(out: &mut BytesMut, text: &str) {
    // Topic names have at most 249 characters.
    out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    out.put_slice(text.as_bytes());
}

fn put_partitions(out: &mut BytesMut, partitions: &[TopicPartition]) {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    put_count(out, topics.len());
    for (topic, numbers) in topics {
        put_text(out, topic);
        put_count(out, numbers.len());
        numbers.iter().for_each(|number| out.put_i32(*number));
    }
}

fn get_partitions(bytes: &mut Bytes) -> Result<Vec<TopicPartition>> {
    let mut partitions = Vec::new();
    for _ in 0..get_count(bytes)? {
        let topic = get_text(bytes)?;
        for _ in 0..get_count(bytes)? {
            partitions.push(TopicPartition::new(Arc::clone(&topic), get_i32(bytes)?));
        }
    }
    Ok(partitions)
}

/// A count; every element takes at least two bytes, which bounds what is reserved for it.
fn get_count(bytes: &mut Bytes) -> Result<usize> {
    let count = usize::try_from(get_i32(bytes)?.max(0)).unwrap_or(0);
    if count > bytes.remaining() / 2 { Err(truncated()) } else { Ok(count) }
}

fn get_text(bytes: &mut Bytes) -> Result<Arc<str>> {
    let length = usize::try_from(get_i16(bytes)?).map_err(|_| truncated())?;
    let text = take(bytes, length)?;
    let text =
        std::str::from_utf8(&text).map_err(|_| ClientError::protocol("consumer protocol", "a name is no text"))?;
    Ok(Arc::from(text))
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes> {
    if bytes.remaining() < length { Err(truncated()) } else { Ok(bytes.split_to(length)) }
}

fn get_i16(bytes: &mut Bytes) -> Result<i16> {
    if bytes.remaining() < 2 { Err(truncated()) } else { Ok(bytes.get_i16()) }
}

fn get_i32(bytes: &mut Bytes) -> Result<i32> {
    if bytes.remaining() < 4 { Err(truncated()) } else { Ok(bytes.get_i32()) }
}

fn truncated() -> ClientError {
    ClientError::protocol("consumer protocol", "the bytes end early")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription() -> Subscription {
        let owned = vec![TopicPartition::new("a", 0), TopicPartition::new("a", 2), TopicPartition::new("b", 1)];
        Subscription { topics: vec![Arc::from("a"), Arc::from("b")], owned, generation: 7 }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = write_subscription(&subscription(), true);
        assert_eq!(read_subscription(bytes.clone()), Ok(subscription()));
        for cut in 0..bytes.len() {
            assert!(read_subscription(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        let owned = subscription().owned;
        assert_eq!(read_assignment(write_assignment(&owned)), Ok(owned));
    }

    #[test]
    fn version_0_has_topics_alone() {
        let bytes = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
        let expected = Subscription { topics: vec![Arc::from("t")], owned: Vec::new(), generation: -1 };
        assert_eq!(read_subscription(bytes), Ok(expected));
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        assert!(read_assignment(Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])).is_err());
    }
}
