//! The keys of a broker's process: identity, listeners, limits, coordinators, and Millrace's own.

use super::key::{Key, Kind, Number, Scope, Synonym, Unit, Update, Valid, optional, range};

const INT: i64 = i32::MAX as i64;
const SHORT: i64 = i16::MAX as i64;

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, kind, Scope::Broker(Update::ReadOnly), doc)
}

const fn dynamic(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, kind, Scope::Broker(Update::ClusterWide), doc)
}

const fn int(min: i64, default: i64) -> Kind {
    Kind::Int(Number { default: Some(default), min, max: INT })
}

const fn long(min: i64, default: i64) -> Kind {
    Kind::Long(range(default, min, i64::MAX))
}

const fn short(min: i64, default: i64) -> Kind {
    Kind::Short(Number { default: Some(default), min, max: SHORT })
}

/// The value of `replica.selector.class` by which consumers read from their own rack: the name of Kafka's class.
pub const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Every key of a broker's process, sorted by name.
pub const BROKER_KEYS: &[Key] = &[
    key(
        "admin.listener",
        Kind::Text(Some("127.0.0.1:9644"), Valid::Any),
        "Address of the HTTP admin interface, loopback only; empty for none.",
    )
    .decided_at_start(),
    key(
        "advertised.listeners",
        Kind::List("", Valid::Any),
        "The addresses clients are told to connect to, as NAME://host:port; empty for those of 'listeners'.",
    )
    .decided_at_start(),
    key(
        "auto.create.topics.enable",
        Kind::Boolean(true),
        "Whether a Metadata request for an unknown topic may create it.",
    ),
    key(
        "auto.leader.rebalance.enable",
        Kind::Boolean(true),
        "Whether a broker asks for the partitions that it is the preferred leader of.",
    ),
    key("broker.id", int(0, 1), "The broker's number in its cluster; 'node.id' comes before it."),
    key(
        "broker.rack",
        Kind::Text(None, Valid::NotEmpty),
        "Where the broker stands; replicas of a partition are spread over racks.",
    ),
    key(
        "cluster.file",
        Kind::Text(None, Valid::NotEmpty),
        "A TOML file that names the cluster and every broker in it; without it the broker is alone.",
    )
    .decided_at_start(),
    key(
        "connection.max.in.flight.requests",
        int(1, 64),
        "How many requests of one connection are taken before the first of them is answered.",
    ),
    key(
        "connections.max.idle.ms",
        long(-1, 600_000),
        "How long a connection may be silent before it is closed; -1 for no limit.",
    )
    .unit(Unit::Millis),
    key(
        "default.replication.factor",
        short(1, 1),
        "Replicas of a topic that is created automatically or without a replication factor.",
    ),
    key("delete.topic.enable", Kind::Boolean(true), "Whether topics can be deleted."),
    key(
        "fetch.max.bytes",
        int(1024, 57_671_680),
        "The most bytes one Fetch answers, but for one batch larger than that.",
    )
    .unit(Unit::Bytes),
    key(
        "group.initial.rebalance.delay.ms",
        int(0, 3_000),
        "How long a group's first rebalance waits for more members.",
    )
    .unit(Unit::Millis),
    key("group.max.session.timeout.ms", int(1, 1_800_000), "The longest session timeout a group member may ask for.")
        .unit(Unit::Millis),
    key("group.max.size", int(1, INT), "The most members of one group."),
    key("group.min.session.timeout.ms", int(1, 6_000), "The shortest session timeout a group member may ask for.")
        .unit(Unit::Millis),
    key(
        "leader.imbalance.check.interval.seconds",
        Kind::Long(range(60, 1, 86_400)),
        "For how long a preferred leader is in sync before it asks to lead; every broker looks six times as often, once in 10 s at least.",
    )
    .unit(Unit::Seconds),
    key(
        "listener.security.protocol.map",
        Kind::List("PLAINTEXT:PLAINTEXT", Valid::Any),
        "The protocol of each listener name, as NAME:PROTOCOL; PLAINTEXT is the only protocol.",
    )
    .decided_at_start(),
    key(
        "listeners",
        Kind::List("PLAINTEXT://127.0.0.1:9092", Valid::Any),
        "The addresses the broker binds, as NAME://host:port; an empty host binds every interface, port 0 any free port. The default is reached from this machine only, since there is no authentication.",
    )
    .decided_at_start(),
    key("log.dir", Kind::Text(Some("millrace-data"), Valid::NotEmpty), "The broker's data directory.")
        .decided_at_start(),
    key(
        "log.format",
        Kind::Text(Some("plain"), Valid::OneOf(&["plain", "json"])),
        "Form of the process's own log lines.",
    ),
    key(
        "log.level",
        Kind::Text(Some("info"), Valid::NotEmpty),
        "Which of the process's own log lines are written: a level, or a filter such as 'info,millrace_node=debug'.",
    ),
    key(
        "log.retention.check.interval.ms",
        long(1, 300_000),
        "How often segments are checked for removal by time and size.",
    )
    .unit(Unit::Millis),
    key(
        "log.scrub.bytes.per.second",
        long(0, 4_194_304),
        "How fast everything that is flushed is read over and over, all logs together, to find bytes that have rotted before someone needs them; 0 for not at all. What is found is fetched again from another replica.",
    )
    .unit(Unit::Bytes),
    key(
        "log.segment.initial.bytes",
        int(4096, 65_536),
        "The first allocation of a segment; it doubles up to segment.bytes as the segment fills.",
    )
    .unit(Unit::Bytes),
    dynamic("max.connections", int(0, INT), "The most connections the broker keeps; further ones are closed."),
    dynamic(
        "max.connections.per.ip",
        int(0, INT),
        "The most connections the broker keeps from one address; further ones are closed.",
    ),
    key(
        "max.incremental.fetch.session.cache.slots",
        int(0, 1_000),
        "The most fetch sessions (KIP-227) the broker remembers.",
    ),
    key(
        "max.request.partition.size.limit",
        int(1, 2_000),
        "The most partitions one DescribeTopicPartitions answers; the client asks for the rest by the cursor it gets.",
    ),
    key("node.id", Kind::Int(optional(0, INT)), "The broker's number in its cluster.")
        .synonyms(&[Synonym { key: "broker.id", factor: 1 }])
        .decided_at_start(),
    key("num.network.threads", int(0, 0), "Threads that serve connections and partitions; 0 for about one per CPU."),
    key("num.partitions", int(1, 1), "Partitions of a topic that is created automatically or without a number."),
    key(
        "num.replica.fetchers",
        Kind::Int(Number { default: Some(2), min: 1, max: 64 }),
        "Connections for records with each other broker, beside one for everything else they say and one for replicas that are far behind; of two brokers the one with the smaller number decides.",
    ),
    key("offset.metadata.max.bytes", int(0, 4_096), "The longest text a client may keep with a committed offset.")
        .unit(Unit::Bytes),
    key(
        "offsets.commit.timeout.ms",
        int(1, 5_000),
        "How long a commit of offsets waits for its record to be replicated.",
    )
    .unit(Unit::Millis),
    key("offsets.retention.check.interval.ms", long(1, 600_000), "How often committed offsets are checked for expiry.")
        .unit(Unit::Millis),
    key(
        "offsets.retention.minutes",
        int(1, 10_080),
        "How long committed offsets are kept after their group has become empty.",
    )
    .unit(Unit::Minutes),
    key("offsets.topic.num.partitions", int(1, 50), "Partitions of __consumer_offsets; read when it is created."),
    key(
        "offsets.topic.replication.factor",
        short(1, 3),
        "Replicas of __consumer_offsets; read when it is created, which waits until so many brokers are registered. A \
         broker alone keeps one.",
    ),
    key(
        "offsets.topic.segment.bytes",
        int(4096, 104_857_600),
        "The topic key segment.bytes of __consumer_offsets; read when it is created.",
    )
    .unit(Unit::Bytes),
    key(
        "peer.listener",
        Kind::Text(None, Valid::NotEmpty),
        "The address other brokers reach this one at, as host:port; it is the one that 'cluster.file' says, or an empty host with its port.",
    )
    .decided_at_start(),
    key(
        "peer.session.timeout.ms",
        Kind::Int(Number { default: Some(400), min: 100, max: 60_000 }),
        "How long nothing may come from another broker before its partitions get other leaders; a quarter of it is how often each says that it lives. Part of a long message counts as well.",
    )
    .unit(Unit::Millis),
    key(
        "producer.ids.max.per.partition",
        int(1, 100_000),
        "The most idempotent producers one partition remembers; the one that has been idle longest goes first.",
    ),
    key(
        "replica.catch.up.bytes.per.second",
        long(65_536, 104_857_600),
        "How fast records go to each other broker whose replicas are far behind, since they were away or are being moved there, and for repairs.",
    )
    .unit(Unit::Bytes),
    dynamic(
        "replica.lag.time.max.ms",
        long(1, 10_000),
        "How long a replica may be behind the leader before it is in sync no longer, so that no acknowledgement waits for \
         it. One whose broker is not heard leaves at once.",
    )
    .unit(Unit::Millis),
    key(
        "replica.selector.class",
        Kind::Text(None, Valid::OneOf(&[RACK_AWARE_SELECTOR])),
        "Which replica consumers are sent to: unset the leader, with the one class there is an in-sync follower in the \
         rack that the consumer names.",
    ),
    key(
        "socket.request.max.bytes",
        int(1, 104_857_600),
        "The largest request; a connection that announces a larger one is closed.",
    )
    .unit(Unit::Bytes),
    key("storage.flush.threads", int(1, 4), "Threads that flush logs to the disk."),
    dynamic(
        "witness.placement",
        Kind::Text(Some("dedicated"), Valid::OneOf(&["dedicated", "any"])),
        "Which brokers hold the witnesses of partitions with an even number of replicas: 'dedicated' those with the role \
         'witness' in 'cluster.file', 'any' also a broker that holds records, if it holds no replica of the partition. \
         Read when partitions are created. 'any' has been simulated less than what is the default.",
    ),
];
