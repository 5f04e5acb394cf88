//! Typed settings: what the layers of configuration come to.

use super::key::list;
use super::layers::Layers;
use std::collections::BTreeMap;

/// A topic's configuration, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Old segments are compacted (`cleanup.policy` holds `compact`).
    pub compact: bool,
    /// Old segments are removed by time and size (`cleanup.policy` holds `delete`).
    pub delete: bool,
    /// Codec of the stored batches.
    pub compression: Compression,
    /// Level of gzip; -1 for the codec's own.
    pub gzip_level: i32,
    /// Level of Zstandard.
    pub zstd_level: i32,
    /// Milliseconds a removed segment's file stays.
    pub file_delete_delay_ms: i64,
    /// Records after which the log is flushed; 1 acknowledges after the flush.
    pub flush_messages: i64,
    /// Milliseconds records may wait for a flush.
    pub flush_ms: i64,
    /// Bytes between two entries of an offset index.
    pub index_interval_bytes: i32,
    /// Bytes of the largest record batch.
    pub max_message_bytes: i32,
    /// Milliseconds a timestamp may be after the broker's clock.
    pub timestamp_after_max_ms: i64,
    /// Milliseconds a timestamp may be before the broker's clock.
    pub timestamp_before_max_ms: i64,
    /// Whose time records carry.
    pub timestamp_type: TimestampType,
    /// Replicas that must hold a record before acks=all is acknowledged.
    pub min_insync_replicas: i32,
    /// Which further replicas an acknowledgement waits for.
    pub ack_policy: AckPolicy,
    /// What is done when too many replicas may have lost what they acknowledged.
    pub unclean_recovery: UncleanRecovery,
    /// Bytes of a partition before its oldest segments go; -1 for no limit.
    pub retention_bytes: i64,
    /// Milliseconds before a segment goes; -1 for no limit.
    pub retention_ms: i64,
    /// Bytes at which a segment is closed.
    pub segment_bytes: i32,
    /// Bytes of an offset index at which its segment is closed.
    pub segment_index_bytes: i32,
    /// Upper limit, in milliseconds, of what is taken from `segment_ms`.
    pub segment_jitter_ms: i64,
    /// Milliseconds after which a segment is closed.
    pub segment_ms: i64,
}

/// `compression.type` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent it.
    Producer,
    /// No compression.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// `ack.policy` of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckPolicy {
    /// All in-sync replicas hold the record.
    InSync,
    /// As many as `min.insync.replicas` do, and a majority.
    Quorum,
}

/// `unclean.recovery.strategy` of a topic (KIP-966).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncleanRecovery {
    /// All replicas answer, and the one that holds most leads.
    Unanimous,
    /// The operator decides.
    Manual,
}

/// `message.timestamp.type` of a topic (KIP-32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's time.
    CreateTime,
    /// The broker's time at the append.
    LogAppendTime,
}

/// `witness.placement`: which brokers hold the witnesses of partitions with an even number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WitnessPlacement {
    /// Those whose role it is.
    Dedicated,
    /// Those, and where there is none any other broker without a replica of the partition.
    Any,
}

impl TopicSettings {
    /// The settings of a topic with these `overrides` on a broker with these `layers`.
    #[must_use]
    pub fn resolve(overrides: &BTreeMap<String, String>, layers: &Layers<'_>) -> Self {
        let long = |key: &str| layers.topic_number(overrides, key);
        let int = |key: &str| i32::try_from(layers.topic_number(overrides, key)).unwrap_or(i32::MAX);
        let text = |key: &str| layers.topic_value(overrides, key).unwrap_or_default();
        let policy = text("cleanup.policy");
        Self {
            compact: list(&policy).contains(&"compact"),
            delete: list(&policy).contains(&"delete"),
            compression: Compression::parse(&text("compression.type")),
            gzip_level: int("compression.gzip.level"),
            zstd_level: int("compression.zstd.level"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            index_interval_bytes: int("index.interval.bytes"),
            max_message_bytes: int("max.message.bytes"),
            timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            timestamp_type: TimestampType::parse(&text("message.timestamp.type")),
            min_insync_replicas: int("min.insync.replicas"),
            ack_policy: AckPolicy::parse(&text("ack.policy")),
            unclean_recovery: UncleanRecovery::parse(&text("unclean.recovery.strategy")),
            retention_bytes: long("retention.bytes"),
            retention_ms: long("retention.ms").max(-1),
            segment_bytes: int("segment.bytes"),
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
        }
    }
}

impl Compression {
    /// The value of a text that has passed the table's check.
    fn parse(text: &str) -> Self {
        match text {
            "uncompressed" => Self::Uncompressed,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => Self::Producer,
        }
    }
}

impl AckPolicy {
    /// The value of a text that has passed the table's check.
    fn parse(text: &str) -> Self {
        if text == "quorum" { Self::Quorum } else { Self::InSync }
    }
}

impl UncleanRecovery {
    /// The value of a text that has passed the table's check.
    fn parse(text: &str) -> Self {
        if text == "manual" { Self::Manual } else { Self::Unanimous }
    }
}

impl WitnessPlacement {
    /// The value of a text that has passed the table's check.
    fn parse(text: &str) -> Self {
        if text == "any" { Self::Any } else { Self::Dedicated }
    }
}

impl TimestampType {
    /// The value of a text that has passed the table's check.
    fn parse(text: &str) -> Self {
        if text == "LogAppendTime" { Self::LogAppendTime } else { Self::CreateTime }
    }
}

/// What the metadata's own rules need of a broker's configuration, and the settings of a topic without overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Partitions of a topic whose creator leaves the number to the broker.
    pub num_partitions: i32,
    /// Replicas of a topic whose creator leaves the number to the broker.
    pub replication_factor: i16,
    /// Whether topics can be deleted.
    pub delete_topic_enable: bool,
    /// Partitions of `__consumer_offsets`.
    pub offsets_topic_partitions: i32,
    /// Replicas of `__consumer_offsets`; a broker alone keeps one.
    pub offsets_topic_replication_factor: i16,
    /// `segment.bytes` of `__consumer_offsets`.
    pub offsets_topic_segment_bytes: i32,
    /// Milliseconds an in-sync replica may be behind.
    pub replica_lag_max_ms: i64,
    /// Where witnesses go.
    pub witness_placement: WitnessPlacement,
    /// Milliseconds a partition remembers an idle idempotent producer.
    pub producer_expiration_ms: i64,
    /// Connections of the broker.
    pub max_connections: i32,
    /// Connections from one address.
    pub max_connections_per_ip: i32,
    /// Settings of a topic without overrides.
    pub topic: TopicSettings,
}

impl Defaults {
    /// The defaults on a broker with these `layers`.
    #[must_use]
    pub fn resolve(layers: &Layers<'_>) -> Self {
        let int = |key: &str| i32::try_from(layers.broker_number(key)).unwrap_or(i32::MAX);
        let short = |key: &str| i16::try_from(layers.broker_number(key)).unwrap_or(i16::MAX);
        Self {
            num_partitions: int("num.partitions"),
            replication_factor: short("default.replication.factor"),
            delete_topic_enable: layers.broker_flag("delete.topic.enable"),
            offsets_topic_partitions: int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: short("offsets.topic.replication.factor"),
            offsets_topic_segment_bytes: int("offsets.topic.segment.bytes"),
            replica_lag_max_ms: layers.broker_number("replica.lag.time.max.ms"),
            witness_placement: WitnessPlacement::parse(&layers.broker_value("witness.placement").unwrap_or_default()),
            producer_expiration_ms: layers.broker_number("producer.id.expiration.ms"),
            max_connections: int("max.connections"),
            max_connections_per_ip: int("max.connections.per.ip"),
            topic: TopicSettings::resolve(&BTreeMap::new(), layers),
        }
    }
}
