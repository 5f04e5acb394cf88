//! The broker keys that are defaults for topics: a topic's own setting comes before them.

use super::key::{Key, Kind, Number, Scope, Unit, Update, optional, range};
use super::topic_keys::{
    ACK_POLICIES, CODECS, GZIP_LEVEL, INDEX_BYTES_MIN, POLICIES, SEGMENT_BYTES_MIN, TIMESTAMP_TYPES,
    UNCLEAN_RECOVERIES, ZSTD_LEVEL,
};

const INT: i64 = i32::MAX as i64;

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, kind, Scope::Broker(Update::ClusterWide), doc)
}

const fn fixed(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, kind, Scope::Broker(Update::ReadOnly), doc)
}

const fn int(min: i64, default: i64) -> Kind {
    Kind::Int(Number { default: Some(default), min, max: INT })
}

const fn long(min: i64, default: i64) -> Kind {
    Kind::Long(range(default, min, i64::MAX))
}

const fn long_or_null(min: i64) -> Kind {
    Kind::Long(optional(min, i64::MAX))
}

const fn int_or_null(min: i64) -> Kind {
    Kind::Int(optional(min, INT))
}

/// Every broker key that is a default for topics, sorted by name.
pub const LOG_KEYS: &[Key] = &[
    key("ack.policy", Kind::Text(Some("isr"), ACK_POLICIES), "Default of the topic key ack.policy."),
    key("compression.gzip.level", GZIP_LEVEL, "Default of the topic key compression.gzip.level."),
    key("compression.type", Kind::Text(Some("producer"), CODECS), "Default of the topic key compression.type."),
    key("compression.zstd.level", ZSTD_LEVEL, "Default of the topic key compression.zstd.level."),
    key("log.cleanup.policy", Kind::List("delete", POLICIES), "Default of the topic key cleanup.policy."),
    key("log.flush.interval.messages", long(1, 1), "Default of the topic key flush.messages.").unit(Unit::Records),
    key("log.flush.interval.ms", long_or_null(0), "Default of the topic key flush.ms; unset for no bound.")
        .unit(Unit::Millis),
    key("log.index.interval.bytes", int(0, 4096), "Default of the topic key index.interval.bytes.").unit(Unit::Bytes),
    key("log.index.size.max.bytes", int(INDEX_BYTES_MIN, 10_485_760), "Default of the topic key segment.index.bytes.")
        .unit(Unit::Bytes),
    key(
        "log.message.timestamp.after.max.ms",
        long(0, 3_600_000),
        "Default of the topic key message.timestamp.after.max.ms.",
    )
    .unit(Unit::Millis),
    key(
        "log.message.timestamp.before.max.ms",
        long(0, i64::MAX),
        "Default of the topic key message.timestamp.before.max.ms.",
    )
    .unit(Unit::Millis),
    key(
        "log.message.timestamp.type",
        Kind::Text(Some("CreateTime"), TIMESTAMP_TYPES),
        "Default of the topic key message.timestamp.type.",
    ),
    key("log.retention.bytes", long(-1, -1), "Default of the topic key retention.bytes.").unit(Unit::Bytes),
    fixed("log.retention.hours", int(-1, 168), "Default of the topic key retention.ms, in hours.").unit(Unit::Hours),
    fixed(
        "log.retention.minutes",
        int_or_null(-1),
        "Default of the topic key retention.ms, in minutes; comes before log.retention.hours.",
    )
    .unit(Unit::Minutes),
    key(
        "log.retention.ms",
        long_or_null(-1),
        "Default of the topic key retention.ms; comes before log.retention.minutes and log.retention.hours.",
    )
    .unit(Unit::Millis),
    fixed("log.roll.hours", int(1, 168), "Default of the topic key segment.ms, in hours.").unit(Unit::Hours),
    fixed("log.roll.jitter.hours", int(0, 0), "Default of the topic key segment.jitter.ms, in hours.")
        .unit(Unit::Hours),
    key(
        "log.roll.jitter.ms",
        long_or_null(0),
        "Default of the topic key segment.jitter.ms; comes before log.roll.jitter.hours.",
    )
    .unit(Unit::Millis),
    key("log.roll.ms", long_or_null(1), "Default of the topic key segment.ms; comes before log.roll.hours.")
        .unit(Unit::Millis),
    key("log.segment.bytes", int(SEGMENT_BYTES_MIN, 1_073_741_824), "Default of the topic key segment.bytes.")
        .unit(Unit::Bytes),
    key("log.segment.delete.delay.ms", long(0, 60_000), "Default of the topic key file.delete.delay.ms.")
        .unit(Unit::Millis),
    key(
        "message.max.bytes",
        int(0, 1_048_588),
        "Default of the topic key max.message.bytes, which says what is never exceeded.",
    )
    .unit(Unit::Bytes),
    key("min.insync.replicas", int(1, 1), "Default of the topic key min.insync.replicas."),
    key(
        "producer.id.expiration.ms",
        int(1, 86_400_000),
        "How long a partition remembers an idempotent producer that writes nothing.",
    )
    .unit(Unit::Millis),
    key(
        "unclean.recovery.strategy",
        Kind::Text(Some("unanimous"), UNCLEAN_RECOVERIES),
        "Default of the topic key unclean.recovery.strategy.",
    ),
];
