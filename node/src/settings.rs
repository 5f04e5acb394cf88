//! A broker's settings, typed, and the conversion of a topic's settings into those of its logs.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use millrace_metadata::Image;
use millrace_metadata::config::{
    self, BrokerConfig, RACK_AWARE_SELECTOR, TimestampType as TopicTimestamps, TopicSettings,
};
use millrace_raft::{AckPolicy, UncleanRecovery};
use millrace_storage::{LogConfig, TimestampType};
use millrace_types::{BrokerId, Incarnation};

use crate::peer::MAX_BATCH;

/// What a broker's cores need to know of its configuration and its surroundings.
///
/// The values are fixed while the process runs, but for [`Settings::limits`] and [`Settings::space`].
#[derive(Debug)]
pub struct Settings {
    /// Number of this broker.
    pub broker_id: BrokerId,
    /// Number of this start of the broker's data directory.
    pub incarnation: Incarnation,
    /// The data directory as DescribeLogDirs names it: an absolute path.
    pub log_dir: String,
    /// Whether a Metadata request may create topics (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Bytes of the largest request (`socket.request.max.bytes`).
    pub socket_request_max_bytes: usize,
    /// Requests of one connection taken before the first is answered (`connection.max.in.flight.requests`).
    pub max_in_flight_requests: usize,
    /// How long a connection may be silent (`connections.max.idle.ms`); `None` for no limit.
    pub connections_max_idle: Option<Duration>,
    /// Bytes of one Fetch response (`fetch.max.bytes`).
    pub fetch_max_bytes: usize,
    /// Whether consumers are sent to a follower in their rack (`replica.selector.class`).
    pub rack_aware_reads: bool,
    /// Fetch sessions remembered (`max.incremental.fetch.session.cache.slots`).
    pub max_incremental_fetch_session_cache_slots: usize,
    /// Partitions of one DescribeTopicPartitions response (`max.request.partition.size.limit`).
    pub max_request_partition_size_limit: usize,
    /// How often segments are checked for removal (`log.retention.check.interval.ms`).
    pub retention_check_interval: Duration,
    /// Bytes of all logs that are read per second to find what has rotted (`log.scrub.bytes.per.second`).
    pub scrub_bytes_per_second: u64,
    /// Connections with each other broker for partitions (`num.replica.fetchers`).
    pub replica_fetchers: u8,
    /// Bytes that go in a second to another broker whose replicas are far behind, 1 or more (`replica.catch.up.bytes.per.second`).
    pub catch_up_bytes_per_second: u64,
    /// How long another broker may be silent (`peer.session.timeout.ms`).
    pub peer_session_timeout: Duration,
    /// For how long the preferred leader is in sync before it asks to lead (`leader.imbalance.check.interval.seconds`); `None` when it
    /// does not ask (`auto.leader.rebalance.enable`).
    pub leader_patience: Option<Duration>,
    /// Settings of the group coordinators.
    pub group: GroupSettings,
    /// Settings of committed offsets.
    pub offsets: OffsetsSettings,
    /// Limits that can change while the broker runs.
    pub limits: Limits,
    /// Space of the disk that holds the data directory.
    pub space: DiskSpace,
}

/// `group.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSettings {
    /// The shortest session timeout (`group.min.session.timeout.ms`).
    pub min_session_timeout: Duration,
    /// The longest session timeout (`group.max.session.timeout.ms`).
    pub max_session_timeout: Duration,
    /// How long a first rebalance waits (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Duration,
    /// Members of one group (`group.max.size`).
    pub max_size: usize,
}

/// `offsets.*` and `offset.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetsSettings {
    /// How long offsets of an empty group are kept (`offsets.retention.minutes`).
    pub retention: Duration,
    /// How often they are checked for expiry (`offsets.retention.check.interval.ms`).
    pub retention_check_interval: Duration,
    /// Bytes of the text kept with an offset (`offset.metadata.max.bytes`).
    pub metadata_max_bytes: usize,
    /// How long a commit waits for its record (`offsets.commit.timeout.ms`).
    pub commit_timeout: Duration,
}

/// Limits that can change while the broker runs (KIP-226).
#[derive(Debug)]
pub struct Limits {
    max_connections: AtomicI32,
    max_connections_per_ip: AtomicI32,
}

impl Limits {
    /// Connections of the broker (`max.connections`).
    #[must_use]
    pub fn max_connections(&self) -> usize {
        usize::try_from(self.max_connections.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Connections from one address (`max.connections.per.ip`).
    #[must_use]
    pub fn max_connections_per_ip(&self) -> usize {
        usize::try_from(self.max_connections_per_ip.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// Space of the disk that holds the data directory. A core cannot ask the disk, so the host refreshes the figures from
/// a storage thread; they are as old as its interval.
#[derive(Debug, Default)]
pub struct DiskSpace {
    total: AtomicU64,
    free: AtomicU64,
}

impl DiskSpace {
    /// Publishes the figures, in bytes.
    pub fn refresh(&self, total: u64, free: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
    }

    /// Bytes of the disk in total; `None` before the first refresh.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0)
    }

    /// Bytes that can still be written; `None` before the first refresh.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        self.total().map(|_| self.free.load(Ordering::Relaxed))
    }
}

impl Settings {
    /// The settings of a broker whose process started with `config`.
    #[must_use]
    pub fn new(config: &BrokerConfig, incarnation: Incarnation, log_dir: String) -> Self {
        let size = |key: &str| usize::try_from(config.number(key)).unwrap_or(0);
        let millis = |key: &str| Duration::from_millis(u64::try_from(config.number(key)).unwrap_or(0));
        let limit = |key: &str| AtomicI32::new(int(config.number(key)));
        Self {
            broker_id: BrokerId(int(config.number("node.id"))),
            incarnation,
            log_dir,
            catch_up_bytes_per_second: u64::try_from(config.number("replica.catch.up.bytes.per.second"))
                .unwrap_or(1)
                .max(1),
            replica_fetchers: u8::try_from(config.number("num.replica.fetchers")).unwrap_or(u8::MAX),
            peer_session_timeout: millis("peer.session.timeout.ms"),
            leader_patience: config
                .flag("auto.leader.rebalance.enable")
                .then(|| millis("leader.imbalance.check.interval.seconds") * 1_000),
            auto_create_topics: config.flag("auto.create.topics.enable"),
            socket_request_max_bytes: size("socket.request.max.bytes"),
            max_in_flight_requests: size("connection.max.in.flight.requests"),
            connections_max_idle: u64::try_from(config.number("connections.max.idle.ms"))
                .ok()
                .map(Duration::from_millis),
            fetch_max_bytes: size("fetch.max.bytes"),
            rack_aware_reads: config.value("replica.selector.class").as_deref() == Some(RACK_AWARE_SELECTOR),
            max_incremental_fetch_session_cache_slots: size("max.incremental.fetch.session.cache.slots"),
            max_request_partition_size_limit: size("max.request.partition.size.limit"),
            retention_check_interval: millis("log.retention.check.interval.ms"),
            scrub_bytes_per_second: u64::try_from(config.number("log.scrub.bytes.per.second")).unwrap_or(0),
            group: GroupSettings {
                min_session_timeout: millis("group.min.session.timeout.ms"),
                max_session_timeout: millis("group.max.session.timeout.ms"),
                initial_rebalance_delay: millis("group.initial.rebalance.delay.ms"),
                max_size: size("group.max.size"),
            },
            offsets: OffsetsSettings {
                retention: millis("offsets.retention.minutes") * 60_000,
                retention_check_interval: millis("offsets.retention.check.interval.ms"),
                metadata_max_bytes: size("offset.metadata.max.bytes"),
                commit_timeout: millis("offsets.commit.timeout.ms"),
            },
            limits: Limits {
                max_connections: limit("max.connections"),
                max_connections_per_ip: limit("max.connections.per.ip"),
            },
            space: DiskSpace::default(),
        }
    }

    /// Takes over what an image says about limits that can change while the broker runs.
    pub fn refresh(&self, image: &Image) {
        let defaults = image.defaults();
        self.limits.max_connections.store(defaults.max_connections, Ordering::Relaxed);
        self.limits.max_connections_per_ip.store(defaults.max_connections_per_ip, Ordering::Relaxed);
    }
}

/// The settings of the logs of a topic's partitions on the broker that holds `image`. The bound on open segments is
/// the broker's, not the topic's: the host puts its own handle in.
#[must_use]
pub fn log_config(topic: &TopicSettings, image: &Image) -> LogConfig {
    let config = &image.local().config;
    let segment_bytes = u64::try_from(topic.segment_bytes).unwrap_or(0);
    LogConfig {
        segment_bytes,
        segment_index_bytes: u64::try_from(topic.segment_index_bytes).unwrap_or(0),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        // A compacted topic keeps every record until compaction decides: it has no retention.
        retention_ms: if topic.delete { topic.retention_ms } else { -1 },
        retention_bytes: if topic.delete { topic.retention_bytes } else { -1 },
        max_message_bytes: usize::try_from(topic.max_message_bytes).unwrap_or(0).min(MAX_BATCH),
        index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(0),
        flush_messages: u64::try_from(topic.flush_messages).unwrap_or(1),
        flush_ms: topic.flush_ms,
        timestamp_type: match topic.timestamp_type {
            TopicTimestamps::CreateTime => TimestampType::CreateTime,
            TopicTimestamps::LogAppendTime => TimestampType::LogAppendTime,
        },
        initial_segment_bytes: u64::try_from(config.number("log.segment.initial.bytes"))
            .map_or(segment_bytes, |first| first.min(segment_bytes)),
        file_delete_delay_ms: topic.file_delete_delay_ms,
        producer_expiration_ms: image.defaults().producer_expiration_ms,
        max_producers: usize::try_from(config.number("producer.ids.max.per.partition")).unwrap_or(1),
        ..LogConfig::default()
    }
}

/// What a topic and its broker say about the replication of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    /// Replicas that must hold a record that is acknowledged to acks=all (`min.insync.replicas`), at least 1.
    pub min_in_sync: usize,
    /// Which further ones it waits for (`ack.policy`).
    pub ack_policy: AckPolicy,
    /// What is done when too many may have lost what they acknowledged (`unclean.recovery.strategy`).
    pub unclean_recovery: UncleanRecovery,
    /// How long an in-sync replica may be behind (`replica.lag.time.max.ms`).
    pub lag_max: Duration,
}

impl Default for Replication {
    /// What holds where nothing is set.
    fn default() -> Self {
        let millrace_raft::Settings { min_in_sync, ack_policy, unclean_recovery, lag_max, .. } =
            millrace_raft::Settings::default();
        Self { min_in_sync, ack_policy, unclean_recovery, lag_max }
    }
}

impl Replication {
    /// Of a topic's partitions on the broker that holds `image`.
    #[must_use]
    pub fn of(topic: &TopicSettings, image: &Image) -> Self {
        Self {
            min_in_sync: usize::try_from(topic.min_insync_replicas).unwrap_or(1).max(1),
            ack_policy: match topic.ack_policy {
                config::AckPolicy::InSync => AckPolicy::InSync,
                config::AckPolicy::Quorum => AckPolicy::Quorum,
            },
            unclean_recovery: match topic.unclean_recovery {
                config::UncleanRecovery::Unanimous => UncleanRecovery::Unanimous,
                config::UncleanRecovery::Manual => UncleanRecovery::Manual,
            },
            lag_max: Duration::from_millis(u64::try_from(image.defaults().replica_lag_max_ms).unwrap_or(u64::MAX)),
        }
    }
}

fn int(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_metadata::config::DynamicConfigs;
    use millrace_metadata::{Change, Entry, Local, apply};
    use std::collections::BTreeMap;

    fn map(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn image(config: &[(&str, &str)]) -> Image {
        let config = BrokerConfig::new(config.iter().copied()).unwrap();
        Image::new(Local { broker: Some(BrokerId(1)), config })
    }

    fn logs(image: &Image, overrides: &[(&str, &str)]) -> LogConfig {
        log_config(&TopicSettings::resolve(&map(overrides), &image.layers()), image)
    }

    #[test]
    fn a_log_follows_its_topic() {
        let image = image(&[("log.roll.hours", "2"), ("producer.ids.max.per.partition", "3")]);
        let config = logs(&image, &[("retention.ms", "5"), ("message.timestamp.type", "LogAppendTime")]);
        assert_eq!((config.retention_ms, config.retention_bytes), (5, -1));
        assert_eq!(config.timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(
            (config.segment_index_bytes, logs(&image, &[("segment.index.bytes", "64")]).segment_index_bytes),
            (10 << 20, 64)
        );
        assert_eq!((config.segment_ms, config.segment_bytes), (7_200_000, 1 << 30));
        assert_eq!((config.flush_messages, config.flush_ms), (1, i64::MAX));
        assert_eq!((config.max_producers, config.producer_expiration_ms), (3, 86_400_000));
        assert_eq!(config.initial_segment_bytes, 65_536);
    }

    #[test]
    fn a_first_allocation_is_no_larger_than_the_segment() {
        let config = logs(&image(&[]), &[("segment.bytes", "8192")]);
        assert_eq!((config.segment_bytes, config.initial_segment_bytes), (8_192, 8_192));
    }

    #[test]
    fn a_compacted_topic_has_no_retention() {
        let overrides = [("cleanup.policy", "compact"), ("retention.ms", "5"), ("retention.bytes", "6")];
        let config = logs(&image(&[]), &overrides);
        assert_eq!((config.retention_ms, config.retention_bytes), (-1, -1));
    }

    #[test]
    fn replication_follows_the_topic_and_its_broker() {
        let replication = |config: &[(&str, &str)], overrides: &[(&str, &str)]| {
            let image = image(config);
            Replication::of(&TopicSettings::resolve(&map(overrides), &image.layers()), &image)
        };
        assert_eq!(replication(&[], &[]), Replication::default());
        let broker = [
            ("ack.policy", "quorum"),
            ("unclean.recovery.strategy", "manual"),
            ("replica.lag.time.max.ms", "700"),
            ("min.insync.replicas", "2"),
        ];
        let set = Replication {
            min_in_sync: 2,
            ack_policy: AckPolicy::Quorum,
            unclean_recovery: UncleanRecovery::Manual,
            lag_max: Duration::from_millis(700),
        };
        assert_eq!(replication(&broker, &[]), set);
        let topic = [("ack.policy", "isr"), ("unclean.recovery.strategy", "unanimous"), ("min.insync.replicas", "3")];
        let own = Replication { lag_max: Duration::from_millis(700), min_in_sync: 3, ..Replication::default() };
        assert_eq!(replication(&broker, &topic), own);
    }

    #[test]
    fn limits_change_while_the_broker_runs() {
        let config = BrokerConfig::new([("max.connections", "7"), ("connections.max.idle.ms", "-1")]).unwrap();
        let settings = Settings::new(&config, 1, "/data".to_owned());
        assert_eq!(settings.limits.max_connections(), 7);
        assert_eq!(settings.connections_max_idle, None);
        let mut image = image(&[("max.connections", "7")]);
        settings.refresh(&image);
        assert_eq!(settings.limits.max_connections(), 7);
        let overrides = map(&[("max.connections", "9"), ("max.connections.per.ip", "0")]);
        apply(&mut image, &Entry::new(vec![Change::SetBrokerConfig { broker: None, overrides }])).unwrap();
        assert_ne!(*image.broker_configs(), DynamicConfigs::default());
        settings.refresh(&image);
        assert_eq!((settings.limits.max_connections(), settings.limits.max_connections_per_ip()), (9, 0));
    }

    #[test]
    fn space_is_unknown_until_it_is_told() {
        let space = DiskSpace::default();
        assert_eq!((space.total(), space.free()), (None, None));
        space.refresh(10, 0);
        assert_eq!((space.total(), space.free()), (Some(10), Some(0)));
    }
}
