//! The Kafka protocol over plain blocking TCP, with as little work per request as it takes.
//!
//! Requests are encoded by `kafka-protocol`; the answers on the hot path (Produce, Fetch) are walked in place. The API
//! versions are fixed to ones that every broker since Kafka 2.3 speaks and that name topics by name.

pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod fetch;
pub(crate) mod payload;
pub(crate) mod produce;
mod reader;

pub(crate) use cluster::{Cluster, Led};
pub(crate) use connection::{Connection, Receiver, Sender};

/// Keys and versions this tool speaks.
pub(crate) const VERSIONS: &[(i16, i16, &str)] = &[
    (0, PRODUCE, "Produce"),
    (1, FETCH, "Fetch"),
    (2, LIST_OFFSETS, "ListOffsets"),
    (3, METADATA, "Metadata"),
    (19, CREATE_TOPICS, "CreateTopics"),
    (20, DELETE_TOPICS, "DeleteTopics"),
];
/// ElectLeaders with a kind of election (KIP-460), without compact fields; asked for by `failover` alone.
pub(crate) const ELECT_LEADERS: i16 = 1;
/// The last version of Produce without compact fields but zstd.
pub(crate) const PRODUCE: i16 = 7;
/// The last version of Fetch without compact fields; it has sessions (KIP-227).
pub(crate) const FETCH: i16 = 11;
/// ListOffsets with leader epochs.
pub(crate) const LIST_OFFSETS: i16 = 5;
/// Metadata with compact fields, without topic ids.
pub(crate) const METADATA: i16 = 9;
/// CreateTopics with default partitions and replicas (KIP-464).
pub(crate) const CREATE_TOPICS: i16 = 5;
/// DeleteTopics by name.
pub(crate) const DELETE_TOPICS: i16 = 4;
