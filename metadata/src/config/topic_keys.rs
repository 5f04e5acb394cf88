//! The keys that can be set on a topic.

use super::key::{Key, Kind, Number, Scope, Synonym, Unit, Valid, range};

const INT: i64 = i32::MAX as i64;

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, kind, Scope::Topic, doc)
}

const fn long(min: i64, default: i64) -> Kind {
    Kind::Long(range(default, min, i64::MAX))
}

const fn int(min: i64, default: i64) -> Kind {
    Kind::Int(Number { default: Some(default), min, max: INT })
}

/// Codecs a topic can order, and `producer` to keep what the producer chose.
pub(super) const CODECS: Valid = Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
/// The two clocks a record's timestamp can come from.
pub(super) const TIMESTAMP_TYPES: Valid = Valid::OneOf(&["CreateTime", "LogAppendTime"]);
/// What can happen to old segments.
pub(super) const POLICIES: Valid = Valid::OneOf(&["delete", "compact"]);
/// The smallest segment: the first allocation of a log fits.
pub(super) const SEGMENT_BYTES_MIN: i64 = 4096;
/// The smallest offset index, as in Kafka.
pub(super) const INDEX_BYTES_MIN: i64 = 4;

/// When the high watermark passes a record.
pub(super) const ACK_POLICIES: Valid = Valid::OneOf(&["isr", "quorum"]);
/// What is done when too many replicas may have lost what they acknowledged.
pub(super) const UNCLEAN_RECOVERIES: Valid = Valid::OneOf(&["unanimous", "manual"]);

/// The level of gzip, and -1 for the library's own.
pub(super) const GZIP_LEVEL: Kind = Kind::IntOrDefault(Number { default: Some(-1), min: 1, max: 9 });
/// The level of Zstandard.
pub(super) const ZSTD_LEVEL: Kind = Kind::Int(Number { default: Some(3), min: -131_072, max: 22 });

/// Every key of a topic, sorted by name.
pub const TOPIC_KEYS: &[Key] = &[
    key(
        "ack.policy",
        Kind::Text(Some("isr"), ACK_POLICIES),
        "Which replicas a record that is acknowledged to acks=all waits for, beside a majority and as many as \
         min.insync.replicas: 'isr' all that are in sync, as in Kafka, 'quorum' no further ones, so that the slowest does \
         not count.",
    )
    .synonyms(&[Synonym { key: "ack.policy", factor: 1 }]),
    key(
        "cleanup.policy",
        Kind::List("delete", POLICIES),
        "What happens to old segments: 'delete' removes them by time and size. 'compact' is accepted for the cluster's \
         internal topics only.",
    )
    .synonyms(&[Synonym { key: "log.cleanup.policy", factor: 1 }]),
    key(
        "compression.gzip.level",
        GZIP_LEVEL,
        "Level at which the broker compresses with gzip, where compression.type asks for it and the producer has sent \
         something else; -1 for the codec's own.",
    )
    .synonyms(&[Synonym { key: "compression.gzip.level", factor: 1 }]),
    key(
        "compression.type",
        Kind::Text(Some("producer"), CODECS),
        "Codec of the batches as they are stored: a codec's name, 'uncompressed', or 'producer' to keep what the \
         producer sent.",
    )
    .synonyms(&[Synonym { key: "compression.type", factor: 1 }]),
    key(
        "compression.zstd.level",
        ZSTD_LEVEL,
        "Level at which the broker compresses with Zstandard, where compression.type asks for it and the producer has \
         sent something else.",
    )
    .synonyms(&[Synonym { key: "compression.zstd.level", factor: 1 }]),
    key(
        "file.delete.delay.ms",
        long(0, 60_000),
        "How long a removed segment's file stays on disk after no reader can find it any more.",
    )
    .unit(Unit::Millis)
    .synonyms(&[Synonym { key: "log.segment.delete.delay.ms", factor: 1 }]),
    key(
        "flush.messages",
        long(1, 1),
        "After how many records the log is flushed to the disk. 1, the default here, acknowledges after the flush; a \
         larger value acknowledges from the page cache and flushes behind.",
    )
    .unit(Unit::Records)
    .synonyms(&[Synonym { key: "log.flush.interval.messages", factor: 1 }]),
    key(
        "flush.ms",
        long(0, i64::MAX),
        "How long records may wait for a flush when flush.messages is greater than 1.",
    )
    .unit(Unit::Millis)
    .synonyms(&[Synonym { key: "log.flush.interval.ms", factor: 1 }]),
    key(
        "index.interval.bytes",
        int(0, 4096),
        "How many bytes of batches lie between two entries of a segment's offset index.",
    )
    .unit(Unit::Bytes)
    .synonyms(&[Synonym { key: "log.index.interval.bytes", factor: 1 }]),
    key(
        "max.message.bytes",
        int(0, 1_048_588),
        "The largest record batch accepted, after compression; never more than 104857600, which is what brokers send each other.",
    )
    .unit(Unit::Bytes)
    .synonyms(&[Synonym { key: "message.max.bytes", factor: 1 }]),
    key(
        "message.timestamp.after.max.ms",
        long(0, 3_600_000),
        "How far a record's timestamp may be after the broker's clock, with CreateTime.",
    )
    .unit(Unit::Millis)
    .synonyms(&[Synonym { key: "log.message.timestamp.after.max.ms", factor: 1 }]),
    key(
        "message.timestamp.before.max.ms",
        long(0, i64::MAX),
        "How far a record's timestamp may be before the broker's clock, with CreateTime.",
    )
    .unit(Unit::Millis)
    .synonyms(&[Synonym { key: "log.message.timestamp.before.max.ms", factor: 1 }]),
    key(
        "message.timestamp.type",
        Kind::Text(Some("CreateTime"), TIMESTAMP_TYPES),
        "Whose time records carry: the producer's (CreateTime) or the broker's at the append (LogAppendTime).",
    )
    .synonyms(&[Synonym { key: "log.message.timestamp.type", factor: 1 }]),
    key(
        "min.insync.replicas",
        int(1, 1),
        "How many replicas must hold a record before a produce with acks=all is acknowledged; never more than the \
         partition has.",
    )
    .synonyms(&[Synonym { key: "min.insync.replicas", factor: 1 }]),
    key(
        "retention.bytes",
        long(-1, -1),
        "How large a partition may grow before its oldest segments are removed; -1 for no limit.",
    )
    .unit(Unit::Bytes)
    .synonyms(&[Synonym { key: "log.retention.bytes", factor: 1 }]),
    key(
        "retention.ms",
        long(-1, 604_800_000),
        "How old the newest record of a segment may grow before the segment is removed; -1 for no limit.",
    )
    .unit(Unit::Millis)
    .synonyms(&[
        Synonym { key: "log.retention.ms", factor: 1 },
        Synonym { key: "log.retention.minutes", factor: 60_000 },
        Synonym { key: "log.retention.hours", factor: 3_600_000 },
    ]),
    key(
        "segment.bytes",
        int(SEGMENT_BYTES_MIN, 1_073_741_824),
        "The size at which a segment is closed and the next one begun.",
    )
    .unit(Unit::Bytes)
    .synonyms(&[Synonym { key: "log.segment.bytes", factor: 1 }]),
    key(
        "segment.index.bytes",
        int(INDEX_BYTES_MIN, 10_485_760),
        "The size of a segment's offset index, at 8 bytes an entry as in Kafka, at which the segment is closed and the \
         next one begun.",
    )
    .unit(Unit::Bytes)
    .synonyms(&[Synonym { key: "log.index.size.max.bytes", factor: 1 }]),
    key(
        "segment.jitter.ms",
        long(0, 0),
        "Upper limit of the random time taken from segment.ms, so that segments of many partitions do not close at once.",
    )
    .unit(Unit::Millis)
    .synonyms(&[
        Synonym { key: "log.roll.jitter.ms", factor: 1 },
        Synonym { key: "log.roll.jitter.hours", factor: 3_600_000 },
    ]),
    key(
        "segment.ms",
        long(1, 604_800_000),
        "The age at which a segment that is not full is closed, so that retention can remove it.",
    )
    .unit(Unit::Millis)
    .synonyms(&[
        Synonym { key: "log.roll.ms", factor: 1 },
        Synonym { key: "log.roll.hours", factor: 3_600_000 },
    ]),
    key(
        "unclean.recovery.strategy",
        Kind::Text(Some("unanimous"), UNCLEAN_RECOVERIES),
        "What follows when so many replicas may have lost acknowledged records that no majority is sure of them: \
         'unanimous' waits until all of them answer, and who holds most leads; 'manual' waits for the operator \
         (millrace partition force), or for replicas that have lost nothing.",
    )
    .synonyms(&[Synonym { key: "unclean.recovery.strategy", factor: 1 }]),
];
