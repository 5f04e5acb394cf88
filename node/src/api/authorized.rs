//! The operations a client may do, as bit fields (KIP-430). There are no ACLs, so every operation that a resource has
//! is allowed.

/// Not asked for.
pub(super) const UNKNOWN: i32 = i32::MIN;
/// On a topic: read, write, create, delete, alter, describe, describe and alter its configuration.
pub(super) const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// On a group: read, delete, describe, describe and alter its configuration.
pub(super) const GROUP: i32 = bits(&[3, 6, 8, 10, 11]);
/// On the cluster: create, alter, describe, cluster action, describe and alter its configuration, idempotent write.
pub(super) const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

/// The field that holds these operations, by their numbers on the wire.
const fn bits(operations: &[u8]) -> i32 {
    let mut field = 0;
    let mut at = 0;
    while at < operations.len() {
        field |= 1 << operations[at];
        at += 1;
    }
    field
}
