//! Typed settings of the clients, with Kafka's names in the doc comments and Kafka's defaults unless stated.

use std::time::Duration;

use crate::error::{ClientError, Result};
use crate::record::Codec;

/// Settings that every client has.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `bootstrap.servers`: addresses `host:port` to find the cluster by; IPv6 hosts in brackets.
    pub bootstrap: Vec<String>,
    /// `client.id`, sent with every request.
    pub client_id: String,
    /// `request.timeout.ms`: time until an unanswered request counts as lost and its connection is closed.
    pub request_timeout: Duration,
    /// Time beyond what a request may wait at its broker after which the broker counts as silent: another one is asked who
    /// leads, and when it names a new leader the silent broker's connection is given up.
    pub silence_timeout: Duration,
    /// `default.api.timeout.ms`: bound of one call of the application, retries included.
    pub api_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: bound of name resolution, connect and version negotiation.
    pub connect_timeout: Duration,
    /// `reconnect.backoff.ms`: first pause before a broker is connected to again; doubles with each failure.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`: longest such pause.
    pub reconnect_backoff_max: Duration,
    /// `retry.backoff.ms`: first pause before a failed request is sent again; doubles with each failure.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`: longest such pause.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`: age at which metadata is asked for again without a reason.
    pub metadata_max_age: Duration,
    /// `connections.max.idle.ms`: age without traffic at which a connection is closed.
    pub connections_max_idle: Duration,
    /// Largest answer accepted, in bytes; a longer length closes the connection.
    pub max_response_bytes: usize,
}

impl ClientConfig {
    /// The defaults for a cluster found by `bootstrap`, a comma-separated list of addresses.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.split(',').map(str::trim).filter(|a| !a.is_empty()).map(str::to_owned).collect(),
            client_id: "millrace-client".to_owned(),
            request_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_millis(500),
            api_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            connections_max_idle: Duration::from_secs(540),
            max_response_bytes: 128 << 20,
        }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`ClientError::Config`] names the setting that is wrong.
    pub fn validate(&self) -> Result<()> {
        if self.bootstrap.is_empty() {
            return Err(ClientError::config("bootstrap names no address; give one as host:port"));
        }
        for address in &self.bootstrap {
            let port = address
                .rsplit_once(':')
                .and_then(|(host, port)| port.parse::<u16>().ok().filter(|port| *port > 0 && !host.is_empty()));
            if port.is_none() {
                return Err(ClientError::config(format!("bootstrap address {address:?} is not host:port")));
            }
        }
        if self.request_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err(ClientError::config("request_timeout and connect_timeout must be above zero"));
        }
        if self.silence_timeout.is_zero() {
            return Err(ClientError::config("silence_timeout must be above zero"));
        }
        if self.max_response_bytes < 1024 || i32::try_from(self.max_response_bytes).is_err() {
            return Err(ClientError::config("max_response_bytes must be from 1024 to 2147483647"));
        }
        Ok(())
    }
}

/// How many replicas must have a record before the broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// No answer at all: records are lost silently when the connection breaks.
    None,
    /// The leader alone.
    Leader,
    /// All in-sync replicas.
    All,
}

impl Acks {
    /// The number on the wire.
    #[must_use]
    pub const fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Settings of a producer.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// The settings every client has.
    pub client: ClientConfig,
    /// `acks`. Anything but [`Acks::All`] needs `idempotence` switched off.
    pub acks: Acks,
    /// `compression.type`.
    pub codec: Codec,
    /// `linger.ms`: how long a batch waits for more records; default 5 ms, as Kafka's since 4.0.
    pub linger: Duration,
    /// `batch.size`: bytes of a batch before compression at which it is sent without waiting; default 16 KiB.
    pub batch_size: usize,
    /// `buffer.memory`: bytes of records that wait or are in flight; a full buffer holds `send` back.
    pub buffer_memory: usize,
    /// `max.request.size`: bytes of the largest request and so of the largest record.
    pub max_request_size: usize,
    /// `delivery.timeout.ms`: from `send` to the last try.
    pub delivery_timeout: Duration,
    /// `max.block.ms`: how long `send` waits for metadata or for room in the buffer.
    pub max_block: Duration,
    /// `enable.idempotence`: a retry cannot write a record twice (KIP-98). Default on.
    pub idempotence: bool,
    /// `max.in.flight.requests.per.connection`, 1 to 5 with idempotence.
    pub max_in_flight: usize,
    /// `partitioner.adaptive.partitioning.enable` (KIP-794): partitions with long queues get fewer keyless records.
    pub adaptive_partitioning: bool,
}

impl ProducerConfig {
    /// The defaults for a cluster found by `bootstrap`, a comma-separated list of addresses.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            client: ClientConfig::new(bootstrap),
            acks: Acks::All,
            codec: Codec::None,
            linger: Duration::from_millis(5),
            batch_size: 16 << 10,
            buffer_memory: 32 << 20,
            max_request_size: 1 << 20,
            delivery_timeout: Duration::from_secs(120),
            max_block: Duration::from_secs(60),
            idempotence: true,
            max_in_flight: 5,
            adaptive_partitioning: true,
        }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`ClientError::Config`] names the setting that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.client.validate()?;
        if self.idempotence && self.acks != Acks::All {
            return Err(ClientError::config("idempotence needs acks=all; switch idempotence off or set acks to all"));
        }
        if self.max_in_flight == 0 || (self.idempotence && self.max_in_flight > 5) {
            return Err(ClientError::config(
                "max_in_flight must be from 1 to 5 (any number above 0 without idempotence)",
            ));
        }
        if self.delivery_timeout < self.linger + self.client.request_timeout {
            return Err(ClientError::config("delivery_timeout must be at least linger + request_timeout"));
        }
        if self.max_request_size < 1024 || i32::try_from(self.max_request_size).is_err() {
            return Err(ClientError::config("max_request_size must be from 1024 to 2147483647"));
        }
        if self.buffer_memory < self.max_request_size.min(self.batch_size) || self.batch_size > i32::MAX as usize {
            return Err(ClientError::config("buffer_memory must hold at least one batch"));
        }
        Ok(())
    }
}

/// Where a consumer starts in a partition without a valid committed offset (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the log start offset.
    Earliest,
    /// At the log end offset.
    Latest,
    /// Nowhere: `poll` answers [`ClientError::NoPosition`].
    None,
}

/// Which records a consumer sees (`isolation.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All of them.
    ReadUncommitted,
    /// Those of committed transactions and those of no transaction.
    ReadCommitted,
}

/// How the leader of a group spreads partitions over its members (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Neighbouring partitions of each topic, by the order of the member ids.
    Range,
    /// One partition after the other, over all topics.
    RoundRobin,
    /// Balanced, moving as few partitions as possible, and only those stop (KIP-429).
    CooperativeSticky,
}

/// Settings of a consumer.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The settings every client has.
    pub client: ClientConfig,
    /// `group.id`; without one there is no subscribing and no committing.
    pub group_id: Option<String>,
    /// `group.instance.id`: a static member keeps its partitions over a restart (KIP-345).
    pub group_instance_id: Option<String>,
    /// `client.rack`: where the consumer stands; a leader may send it to a follower there (KIP-392).
    pub client_rack: Option<String>,
    /// `partition.assignment.strategy`, preferred first. All members of a group must share one.
    pub assignors: Vec<Assignor>,
    /// `auto.offset.reset`.
    pub offset_reset: OffsetReset,
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `enable.auto.commit`: commit what earlier calls of `poll` returned.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a consumer that does not poll for so long leaves its group.
    pub max_poll_interval: Duration,
    /// `max.poll.records`.
    pub max_poll_records: usize,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes`: bytes of one answer.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: i32,
    /// Bytes fetched and not yet returned at which no further fetch is sent.
    pub prefetch_max_bytes: usize,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `allow.auto.create.topics`.
    pub allow_auto_create_topics: bool,
}

impl ConsumerConfig {
    /// The defaults for a cluster found by `bootstrap`, a comma-separated list of addresses.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            client: ClientConfig::new(bootstrap),
            group_id: None,
            group_instance_id: None,
            client_rack: None,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            offset_reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            prefetch_max_bytes: 64 << 20,
            check_crcs: true,
            allow_auto_create_topics: true,
        }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// [`ClientError::Config`] names the setting that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.client.validate()?;
        if self.group_id.as_deref() == Some("") {
            return Err(ClientError::config("group_id must not be empty; leave it out to consume without a group"));
        }
        if self.assignors.is_empty() {
            return Err(ClientError::config("assignors must name at least one assignor"));
        }
        if self.heartbeat_interval * 2 > self.session_timeout {
            return Err(ClientError::config("heartbeat_interval must be at most half of session_timeout"));
        }
        if self.max_poll_records == 0 || self.fetch_max_bytes < 1 || self.max_partition_fetch_bytes < 1 {
            return Err(ClientError::config("max_poll_records and the fetch sizes must be above zero"));
        }
        if self.fetch_max_wait >= self.client.request_timeout {
            return Err(ClientError::config("fetch_max_wait must be below request_timeout"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(ProducerConfig::new("a:1,b:2").validate(), Ok(()));
        assert_eq!(ConsumerConfig::new("[::1]:9092").validate(), Ok(()));
        assert_eq!(ClientConfig::new(" a:1 ,b:2,").bootstrap, ["a:1", "b:2"]);
    }

    #[test]
    fn contradictions_are_refused() {
        for bootstrap in ["", "host", "host:", ":9092", "host:0", "host:99999"] {
            assert!(ClientConfig::new(bootstrap).validate().is_err(), "{bootstrap:?}");
        }
        let mut config = ProducerConfig::new("a:1");
        config.acks = Acks::Leader;
        assert!(config.validate().is_err(), "idempotence needs acks=all");
        config.idempotence = false;
        assert_eq!(config.validate(), Ok(()));
        let mut config = ConsumerConfig::new("a:1");
        config.heartbeat_interval = config.session_timeout;
        assert!(config.validate().is_err());
    }
}
