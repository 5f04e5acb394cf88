//! Every metric of the broker: its name, what it says, and its cached handle.
//!
//! A handle is looked up once, here; the serving path only adds to it. Figures that somebody else keeps (queue depths,
//! sizes) are read when `/metrics` is rendered, by the HTTP admin.

use std::collections::VecDeque;

use kafka_protocol::messages::ApiKey;
use metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use millrace_node::peer::Refusal;
use millrace_node::wire::Frame;
use millrace_types::Instant;

use crate::error::StartError;

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric, as the documentation lists it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// Its labels, separated by commas.
    pub labels: &'static str,
    /// What it says.
    pub doc: &'static str,
}

const fn metric(name: &'static str, kind: Kind, unit: Unit, labels: &'static str, doc: &'static str) -> Metric {
    Metric { name, kind, unit, labels, doc }
}

/// Upper bounds of the buckets of request times, in seconds.
const REQUEST_BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident, $labels:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $constant: &str = $name;)*

        /// Every metric, in the order of the names.
        pub const METRICS: &[Metric] = &[$(metric($name, Kind::$kind, Unit::$unit, $labels, $doc)),*];
    };
}

metrics! {
    ARBITER_EVENTS_BOUND = "millrace_arbiter_actor_calls_bound", Gauge, Count, "",
        "Events that wait for one actor above which calls to it are refused.";
    ARBITER_CALLS_REFUSED = "millrace_arbiter_calls_refused_total", Counter, Count, "",
        "Calls between actors refused because the callee's queue was full or the callee is not there.";
    ARBITER_COMPLETIONS = "millrace_arbiter_completions", Gauge, Count, "arbiter",
        "Completions of storage threads that wait for an arbiter.";
    ARBITER_COMPLETIONS_BOUND = "millrace_arbiter_completions_bound", Gauge, Count, "",
        "Completions above which storage threads wait.";
    ARBITER_CONNECTIONS = "millrace_arbiter_connections", Gauge, Count, "arbiter",
        "Connections served by an arbiter.";
    ARBITER_EVENTS = "millrace_arbiter_events", Gauge, Count, "arbiter",
        "Events that wait for the actors of an arbiter.";
    ARBITER_PARCELS = "millrace_arbiter_parcels", Gauge, Count, "arbiter",
        "Messages from other arbiters that wait for an arbiter.";
    ARBITER_PARCELS_BOUND = "millrace_arbiter_parcels_bound", Gauge, Count, "",
        "Messages above which calls to an arbiter are refused.";
    ARBITER_TIMERS = "millrace_arbiter_timers", Gauge, Count, "arbiter",
        "Timers that are set on an arbiter.";
    ARBITERS_HUNG = "millrace_arbiters_hung", Gauge, Count, "",
        "Arbiters that have not got on for a second, as with a disk that hangs: other brokers lead meanwhile.";
    BROKER_READY = "millrace_broker_ready", Gauge, Count, "",
        "1 while clients are served, 0 during start and stop, and while the disk hangs.";
    CONNECTIONS = "millrace_connections", Gauge, Count, "",
        "Connections of clients.";
    CONNECTIONS_ACCEPTED = "millrace_connections_accepted_total", Counter, Count, "",
        "Connections accepted.";
    CONNECTIONS_BOUND = "millrace_connections_bound", Gauge, Count, "",
        "The most connections there may be (max.connections).";
    CONNECTIONS_IDLE = "millrace_connections_idle_closed_total", Counter, Count, "",
        "Connections closed after connections.max.idle.ms of silence.";
    CONNECTIONS_REFUSED = "millrace_connections_refused_total", Counter, Count, "limit",
        "Connections closed at once because of max.connections or max.connections.per.ip.";
    DISK_FREE = "millrace_disk_free_bytes", Gauge, Bytes, "",
        "Free bytes of the disk that holds the data directory.";
    DISK_TOTAL = "millrace_disk_total_bytes", Gauge, Bytes, "",
        "Bytes of the disk that holds the data directory.";
    ELECTIONS_BEGUN = "millrace_elections_begun_total", Counter, Count, "",
        "Epochs that replicas hosted here have begun as candidates.";
    ELECTIONS_WON = "millrace_elections_won_total", Counter, Count, "",
        "Elections won by replicas hosted here; a single replica elects itself at each start.";
    FETCH_WAITING = "millrace_fetch_waiting_requests", Gauge, Count, "",
        "Fetch requests that wait for records or for the disk; a connection has one at most.";
    FRAMES_INVALID = "millrace_frames_invalid_total", Counter, Count, "",
        "Connections closed because their bytes were no frames, or a frame was above socket.request.max.bytes.";
    GROUP_MEMBERS = "millrace_group_members", Gauge, Count, "",
        "Members of all groups coordinated here.";
    GROUP_OFFSETS = "millrace_group_offsets", Gauge, Count, "",
        "Committed offsets of all groups coordinated here.";
    GROUP_QUEUED_BYTES = "millrace_group_queued_bytes", Gauge, Bytes, "",
        "Bytes of records of coordinators that wait for the log; a coordinator with 64 MiB of them refuses requests.";
    GROUP_WAITING = "millrace_group_waiting_requests", Gauge, Count, "",
        "Requests to coordinators that are not answered yet; a coordinator with 200,000 of them refuses further ones.";
    GROUPS = "millrace_groups", Gauge, Count, "",
        "Groups coordinated here.";
    IN_SYNC_EXPANSIONS = "millrace_in_sync_expansions_total", Counter, Count, "",
        "Times that replicas have joined the in-sync set of a partition led here.";
    IN_SYNC_SHRINKS = "millrace_in_sync_shrinks_total", Counter, Count, "",
        "Times that replicas have left the in-sync set of a partition led here; with what a new leader leaves out nothing shrinks.";
    LOG_DAMAGE_FOUND_BYTES = "millrace_log_damage_found_bytes_total", Counter, Bytes, "cause",
        "Bytes of records found damaged; of what a start cuts the extent is not known.";
    LOG_DAMAGE_FOUND = "millrace_log_damage_found_total", Counter, Count, "cause",
        "Ranges of records found damaged: when a log was opened (start), by the scrub, or on the way to another replica (replication).";
    LOG_DAMAGE_GIVEN_UP = "millrace_log_damage_given_up_total", Counter, Count, "cause",
        "Ranges of damaged records that were deleted or cut before they were repaired, or that no replica had any more.";
    LOG_DAMAGE_REPAIRED_BYTES = "millrace_log_damage_repaired_bytes_total", Counter, Bytes, "cause",
        "Bytes of damaged records that were replaced by those of another replica.";
    LOG_DAMAGE_REPAIRED = "millrace_log_damage_repaired_total", Counter, Count, "cause",
        "Ranges of damaged records that were replaced by those of another replica, by how they were found.";
    LOG_DAMAGED_RANGES = "millrace_log_damaged_ranges", Gauge, Count, "",
        "Ranges of damaged records that wait for their repair.";
    LOG_SCRUBBED_BYTES = "millrace_log_scrubbed_bytes_total", Counter, Bytes, "",
        "Bytes of records whose checksums the scrub has compared.";
    LOGS_DAMAGED = "millrace_logs_damaged_total", Counter, Count, "",
        "Logs found with bad bytes below what was known to be flushed.";
    MAPPED_FILES = "millrace_mapped_files", Gauge, Count, "",
        "Files mapped into memory.";
    METADATA_COMMANDS = "millrace_metadata_commands", Gauge, Count, "",
        "Changes of topics and settings that wait for the metadata journal.";
    METADATA_COMMANDS_BOUND = "millrace_metadata_commands_bound", Gauge, Count, "",
        "Changes that wait for the metadata journal above which further ones are refused.";
    METADATA_EPOCH = "millrace_metadata_epoch", Gauge, Count, "",
        "Number of metadata entries applied.";
    NETWORK_RECEIVED = "millrace_network_received_bytes_total", Counter, Bytes, "",
        "Bytes of requests received.";
    NETWORK_SENT = "millrace_network_sent_bytes_total", Counter, Bytes, "",
        "Bytes of responses sent.";
    PARTITIONS_AT_MIN_IN_SYNC = "millrace_partitions_at_min_in_sync", Gauge, Count, "",
        "Partitions led here, of more than one replica, with exactly min.insync.replicas in sync.";
    PARTITIONS_LEADERLESS = "millrace_partitions_leaderless", Gauge, Count, "",
        "Partitions of the cluster that nobody leads, as far as this broker knows.";
    PARTITIONS_LED = "millrace_partitions_led", Gauge, Count, "",
        "Partitions led here.";
    PARTITIONS_LED_ELSEWHERE = "millrace_partitions_led_elsewhere", Gauge, Count, "",
        "Partitions that this broker is the preferred leader of, and does not lead.";
    PARTITIONS_REASSIGNING = "millrace_partitions_reassigning", Gauge, Count, "",
        "Partitions of the cluster whose replicas are being moved.";
    PARTITIONS_UNDER_MIN_IN_SYNC = "millrace_partitions_under_min_in_sync", Gauge, Count, "",
        "Partitions led here with fewer replicas in sync than min.insync.replicas: acks=all is refused.";
    PARTITIONS_UNDER_REPLICATED = "millrace_partitions_under_replicated", Gauge, Count, "",
        "Partitions led here with fewer replicas in sync than they have.";
    PEER_ARRIVALS = "millrace_peer_arrivals", Gauge, Count, "",
        "Events of the sockets to other brokers that their sessions have not taken; a socket with 4 MiB of them is not read.";
    PEER_CONNECTIONS = "millrace_peer_connections", Gauge, Count, "",
        "Connections with other brokers.";
    PEER_CONNECTIONS_GIVEN_UP = "millrace_peer_connections_given_up_total", Counter, Count, "",
        "Connections with other brokers reset because the queue to the sockets was full.";
    PEER_CONNECTIONS_REFUSED = "millrace_peer_connections_refused_total", Counter, Count, "",
        "Connections to the peer listener closed because they brought no hello, not in time, or were too many.";
    PEER_DROPPED = "millrace_peer_dropped_messages_total", Counter, Count, "broker",
        "Messages to a broker given up, with a connection or for want of a session; replicas ask again.";
    PEER_HELLOS_REFUSED = "millrace_peer_hellos_refused_total", Counter, Count, "reason",
        "Hellos not accepted, by this broker or by the other one.";
    PEER_ORDERS = "millrace_peer_orders", Gauge, Count, "",
        "Frames and the like that wait for the thread of the sockets to other brokers.";
    PEER_ORDERS_BOUND = "millrace_peer_orders_bound", Gauge, Count, "",
        "Frames and the like above which a connection with a broker is given up.";
    PEER_OVERFLOWS = "millrace_peer_overflows_total", Counter, Count, "broker",
        "Times a queue of messages to a broker was full and was given up.";
    PEER_QUEUED_BYTES = "millrace_peer_queued_bytes", Gauge, Bytes, "broker",
        "Bytes of messages that wait for a connection with a broker; with 256 MiB, 256 bytes for each message counted in, its queue is given up.";
    PEER_QUEUED = "millrace_peer_queued_messages", Gauge, Count, "broker",
        "Messages that wait for a connection with a broker.";
    PEER_RECEIVED = "millrace_peer_received_bytes_total", Counter, Bytes, "",
        "Bytes received from other brokers.";
    PEER_RESETS = "millrace_peer_resets_total", Counter, Count, "broker",
        "Connections with a broker that carried messages and were lost or given up.";
    PEER_SENT = "millrace_peer_sent_bytes_total", Counter, Bytes, "",
        "Bytes sent to other brokers, those that only say that this one lives apart.";
    PEER_SESSIONS = "millrace_peer_sessions_total", Counter, Count, "broker",
        "Sessions with a broker that have begun.";
    PEER_UP = "millrace_peer_up", Gauge, Count, "broker",
        "1 while a broker is heard.";
    PEER_WAITING_REPLICAS = "millrace_peer_waiting_replicas", Gauge, Count, "",
        "Replicas without a leader that wait for their turn to elect one.";
    PRODUCE_WAITING_BYTES = "millrace_produce_waiting_bytes", Gauge, Bytes, "",
        "Bytes of the produce requests that wait to be acknowledged; a partition with 256 MiB of them refuses more.";
    PRODUCE_WAITING = "millrace_produce_waiting_requests", Gauge, Count, "",
        "Produce requests that wait to be acknowledged; a partition with 20,000 of them refuses more.";
    RECOVERY_CUTS = "millrace_recovery_cuts_total", Counter, Count, "",
        "Logs from whose end an incomplete part was cut at the start.";
    RECOVERY_LOSSES = "millrace_recovery_losses_total", Counter, Count, "",
        "Logs whose last acknowledged records may be lost, since they were acknowledged from a lost page cache.";
    REPLICA_MAX_LAG = "millrace_replica_max_lag_records", Gauge, Count, "",
        "Records that a follower of a partition led here lacks, of the follower that lacks most; one that was not heard of since the leader began is not counted.";
    REPLICAS = "millrace_replicas", Gauge, Count, "",
        "Replicas hosted.";
    REPLICAS_FAILED = "millrace_replicas_failed_total", Counter, Count, "",
        "Replicas that are offline because their log could not be opened.";
    REPLICAS_HUNG = "millrace_replicas_hung", Gauge, Count, "",
        "Replicas that have waited for 3 s for a flush or a write of the disk: they do not lead where another can.";
    REPLICAS_FULL = "millrace_replicas_without_room", Gauge, Count, "",
        "Replicas that refuse records since the disk is full: they do not lead where another can.";
    REQUEST_SECONDS = "millrace_request_seconds", Histogram, Seconds, "api",
        "Time from a request's arrival to its response being handed to the socket.";
    REQUESTS_IN_FLIGHT = "millrace_requests_in_flight", Gauge, Count, "",
        "Requests not answered yet; a connection with connection.max.in.flight.requests of them is not read.";
    REQUESTS_IN_FLIGHT_BYTES = "millrace_requests_in_flight_bytes", Gauge, Bytes, "",
        "Bytes of the requests not answered yet; a connection with 32 MiB of them is not read.";
    REQUESTS_REFUSED = "millrace_requests_refused_total", Counter, Count, "",
        "Connections closed because of a request that cannot be read or is not served.";
    STORAGE_COMMITS = "millrace_storage_commits_total", Counter, Count, "",
        "Flushes of the write-ahead store.";
    STORAGE_FLUSH_GROUPS_FAILED = "millrace_storage_flush_groups_failed_total", Counter, Count, "",
        "Groups of logs whose flush failed; each log in them takes no more writes.";
    STORAGE_FLUSH_GROUPS = "millrace_storage_flush_groups_total", Counter, Count, "",
        "Groups of logs flushed together.";
    STORAGE_FLUSH_MICROS = "millrace_storage_flush_microseconds_total", Counter, Microseconds, "",
        "Time spent in flushing groups of logs.";
    STORAGE_FLUSHED_FILES = "millrace_storage_flushed_files_total", Counter, Count, "",
        "Files flushed, each counted once per group.";
    STORAGE_FLUSHES = "millrace_storage_flushes_total", Counter, Count, "",
        "Flushes that replicas asked for.";
    STORAGE_PARKED = "millrace_storage_parked", Gauge, Count, "",
        "Pieces of work that wait until a queue of the storage threads takes them.";
    STORAGE_QUEUE = "millrace_storage_queue", Gauge, Count, "queue",
        "Jobs that wait for, or are done by, the storage threads.";
    STORAGE_QUEUE_BOUND = "millrace_storage_queue_bound", Gauge, Count, "",
        "Jobs above which a queue of the storage threads takes no more.";
    STORAGE_STORE_CLOSED = "millrace_storage_store_closed", Gauge, Count, "",
        "1 when the write-ahead store takes no more writes, since a flush of it failed.";
    TOPIC_LOG_BYTES = "millrace_topic_log_bytes", Gauge, Bytes, "topic",
        "Bytes of record batches in a topic's partitions on this broker, for the first thousand topics.";
    TOPICS = "millrace_topics", Gauge, Count, "",
        "Topics of the cluster.";
    UNCLEAN_RECOVERY = "millrace_unclean_recovery_total", Counter, Count, "",
        "Leaders elected here by the votes of all since too few replicas were sure to hold all that they acknowledged: records may be lost.";
    WITNESSES = "millrace_witnesses", Gauge, Count, "",
        "Witnesses hosted: voters of partitions that hold no records.";
}

/// The cached handles of what the serving path counts.
#[derive(Debug)]
pub(crate) struct Meters {
    /// [`CONNECTIONS_ACCEPTED`].
    pub(crate) connections_accepted: Counter,
    /// [`CONNECTIONS_IDLE`].
    pub(crate) connections_idle: Counter,
    /// [`CONNECTIONS_REFUSED`] by `max.connections`.
    pub(crate) refused_in_all: Counter,
    /// [`CONNECTIONS_REFUSED`] by `max.connections.per.ip`.
    pub(crate) refused_per_ip: Counter,
    /// [`FRAMES_INVALID`].
    pub(crate) frames_invalid: Counter,
    /// [`REQUESTS_REFUSED`].
    pub(crate) requests_refused: Counter,
    /// [`NETWORK_RECEIVED`].
    pub(crate) bytes_in: Counter,
    /// [`NETWORK_SENT`].
    pub(crate) bytes_out: Counter,
    /// [`ARBITER_CALLS_REFUSED`].
    pub(crate) calls_refused: Counter,
    /// [`STORAGE_PARKED`].
    pub(crate) storage_parked: Gauge,
    /// [`WITNESSES`].
    pub(crate) witnesses: Gauge,
    /// [`GROUPS`].
    pub(crate) groups: Gauge,
    /// [`GROUP_MEMBERS`].
    pub(crate) group_members: Gauge,
    /// [`GROUP_OFFSETS`].
    pub(crate) group_offsets: Gauge,
    /// [`GROUP_WAITING`].
    pub(crate) group_waiting: Gauge,
    /// [`GROUP_QUEUED_BYTES`].
    pub(crate) group_queued_bytes: Gauge,
    /// [`METADATA_COMMANDS`].
    pub(crate) metadata_commands: Gauge,
    /// [`RECOVERY_CUTS`].
    pub(crate) recovery_cuts: Counter,
    /// [`RECOVERY_LOSSES`].
    pub(crate) recovery_losses: Counter,
    /// [`LOGS_DAMAGED`].
    pub(crate) logs_damaged: Counter,
    /// [`REPLICAS_FAILED`].
    pub(crate) replicas_failed: Counter,
    /// What the sessions with other brokers and their sockets count.
    pub(crate) peers: PeerMeters,
    /// [`REQUEST_SECONDS`], by API key.
    request_seconds: Vec<Histogram>,
}

/// The cached handles of what the sessions with other brokers and their sockets count.
#[derive(Debug, Clone)]
pub(crate) struct PeerMeters {
    /// [`PEER_CONNECTIONS`].
    pub(crate) connections: Gauge,
    /// [`PEER_CONNECTIONS_GIVEN_UP`].
    pub(crate) given_up: Counter,
    /// [`PEER_CONNECTIONS_REFUSED`].
    pub(crate) refused: Counter,
    /// [`PEER_RECEIVED`].
    pub(crate) bytes_in: Counter,
    /// [`PEER_SENT`].
    pub(crate) bytes_out: Counter,
}

impl PeerMeters {
    /// As [`Meters::new`].
    pub(crate) fn new() -> Self {
        Self {
            connections: metrics::gauge!(PEER_CONNECTIONS),
            given_up: metrics::counter!(PEER_CONNECTIONS_GIVEN_UP),
            refused: metrics::counter!(PEER_CONNECTIONS_REFUSED),
            bytes_in: metrics::counter!(PEER_RECEIVED),
            bytes_out: metrics::counter!(PEER_SENT),
        }
    }

    /// [`PEER_HELLOS_REFUSED`] for a reason; they are few.
    #[allow(clippy::unused_self, reason = "all that is counted is reached the same way")]
    pub(crate) fn hellos_refused(&self, reason: Refusal) -> Counter {
        metrics::counter!(PEER_HELLOS_REFUSED, "reason" => reason.name())
    }
}

impl Meters {
    /// The handles of the recorder that is installed; they count nothing when there is none.
    pub(crate) fn new() -> Self {
        let refused = |limit: &'static str| metrics::counter!(CONNECTIONS_REFUSED, "limit" => limit);
        let highest = millrace_node::api::APIS.iter().map(|api| api.key as i16).max().unwrap_or(0);
        let api = |key: i16| match ApiKey::try_from(key) {
            Ok(name) if millrace_node::api::api(key).is_some() => {
                metrics::histogram!(REQUEST_SECONDS, "api" => format!("{name:?}"))
            }
            _ => Histogram::noop(),
        };
        Self {
            connections_accepted: metrics::counter!(CONNECTIONS_ACCEPTED),
            connections_idle: metrics::counter!(CONNECTIONS_IDLE),
            refused_in_all: refused("max.connections"),
            refused_per_ip: refused("max.connections.per.ip"),
            frames_invalid: metrics::counter!(FRAMES_INVALID),
            requests_refused: metrics::counter!(REQUESTS_REFUSED),
            bytes_in: metrics::counter!(NETWORK_RECEIVED),
            bytes_out: metrics::counter!(NETWORK_SENT),
            calls_refused: metrics::counter!(ARBITER_CALLS_REFUSED),
            storage_parked: metrics::gauge!(STORAGE_PARKED),
            witnesses: metrics::gauge!(WITNESSES),
            groups: metrics::gauge!(GROUPS),
            group_members: metrics::gauge!(GROUP_MEMBERS),
            group_offsets: metrics::gauge!(GROUP_OFFSETS),
            group_waiting: metrics::gauge!(GROUP_WAITING),
            group_queued_bytes: metrics::gauge!(GROUP_QUEUED_BYTES),
            metadata_commands: metrics::gauge!(METADATA_COMMANDS),
            recovery_cuts: metrics::counter!(RECOVERY_CUTS),
            recovery_losses: metrics::counter!(RECOVERY_LOSSES),
            logs_damaged: metrics::counter!(LOGS_DAMAGED),
            replicas_failed: metrics::counter!(REPLICAS_FAILED),
            peers: PeerMeters::new(),
            request_seconds: (0..=highest).map(api).collect(),
        }
    }

    fn served(&self, key: i16, seconds: f64) {
        if let Some(histogram) = usize::try_from(key).ok().and_then(|key| self.request_seconds.get(key)) {
            histogram.record(seconds);
        }
    }
}

/// Installs the recorder that `/metrics` is rendered from, once per process.
///
/// # Errors
/// When the process has a recorder already.
pub(crate) fn install() -> Result<PrometheusHandle, StartError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(REQUEST_SECONDS.to_owned()), &REQUEST_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| StartError::Metrics(error.to_string()))?;
    for Metric { name, kind, unit, doc, .. } in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, *doc),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, *doc),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, *doc),
        }
    }
    Ok(recorder)
}

/// A count as gauges take it.
#[allow(clippy::cast_precision_loss, reason = "a figure above 2^53 is off by less than anybody can see")]
pub(crate) fn figure(count: usize) -> f64 {
    count as f64
}

/// The most requests a connection's times are kept for; a request without a response keeps its entry until one with a
/// response overtakes it.
const TIMED_REQUESTS: usize = 128;

/// The arrival times of one connection's requests.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// Correlation id, API key and arrival, in the order of arrival.
    pending: VecDeque<(i32, i16, Instant)>,
}

impl Latencies {
    /// A request has arrived.
    pub(crate) fn begin(&mut self, frame: &[u8], now: Instant) {
        let Some([key_high, key_low, _, _, id @ ..]) = frame.first_chunk::<8>() else { return };
        if self.pending.len() == TIMED_REQUESTS {
            self.pending.pop_front();
        }
        self.pending.push_back((i32::from_be_bytes(*id), i16::from_be_bytes([*key_high, *key_low]), now));
    }

    /// A response, whose frame begins with length and correlation id, is handed to the socket.
    pub(crate) fn end(&mut self, frame: &Frame, now: Instant, meters: &Meters) {
        let head = frame.chunks().first().and_then(|chunk| chunk.get(4..8));
        let Some(id) = head.and_then(|id| id.try_into().ok()).map(i32::from_be_bytes) else { return };
        while let Some((request, key, begun)) = self.pending.pop_front() {
            if request == id {
                return meters.served(key, now.since(begun).as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_named_by_kind() {
        assert!(METRICS.is_sorted_by_key(|metric| metric.name), "in the order of the names");
        for metric in METRICS {
            assert!(metric.name.starts_with("millrace_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.doc.ends_with('.'), "{} has no full sentence", metric.name);
        }
    }

    #[test]
    fn requests_without_a_response_do_not_pile_up() {
        let mut latencies = Latencies::default();
        for id in 0..1_000i32 {
            latencies.begin(&[&[0, 0, 0, 9][..], &id.to_be_bytes()].concat(), Instant::ZERO);
        }
        assert_eq!(latencies.pending.len(), TIMED_REQUESTS);
        let head = [&[0, 0, 0, 4][..], &998i32.to_be_bytes()].concat();
        latencies.end(&Frame::from(bytes::Bytes::from(head)), Instant::ZERO, &Meters::new());
        assert_eq!(latencies.pending.len(), 1, "what the response overtook is gone");
    }
}
