//! The group that the members of a run are in.

/// The group of all members.
pub const GROUP: &str = "readers";

/// The partition of `__consumer_offsets` that holds [`GROUP`]: by the hash of Java's strings, as in Kafka.
#[must_use]
pub fn group_partition(partitions: u64) -> i32 {
    let hash = GROUP.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    hash.wrapping_abs().max(0) % i32::try_from(partitions).unwrap_or(1).max(1)
}
