//! Configuration: one table of keys for topics, brokers and the process, and how its layers come to a value.
//!
//! Kafka's names, units and defaults unless a key's text says otherwise. What DescribeConfigs answers, what a
//! configuration file may hold and what the documentation lists are all read from [`TOPIC_KEYS`], [`BROKER_KEYS`],
//! [`LOG_KEYS`] and [`CLIENT_METRICS_KEYS`]: a key that is in none of them does not exist, a key that is in one works.

mod broker_config;
mod broker_keys;
mod client_metrics;
mod describe;
mod key;
mod layers;
mod log_keys;
mod markdown;
mod settings;
mod topic_keys;

pub use broker_config::{BrokerConfig, BrokerConfigErrors};
pub use broker_keys::{BROKER_KEYS, RACK_AWARE_SELECTOR};
pub use client_metrics::{CLIENT_METRICS_KEYS, client_metrics_key};
pub use describe::{
    Described, DescribedSynonym, describe_broker, describe_client_metrics, describe_cluster_default, describe_topic,
};
pub(crate) use key::list;
pub use key::{ConfigError, Key, Kind, Number, Scope, Synonym, Unit, Update, Valid};
pub use layers::{Candidate, DynamicConfigs, Layers, Source};
pub use log_keys::LOG_KEYS;
pub use markdown::markdown;
pub use settings::{AckPolicy, Compression, Defaults, TimestampType, TopicSettings, UncleanRecovery, WitnessPlacement};
pub use topic_keys::TOPIC_KEYS;

/// The topic key `name`.
#[must_use]
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// The broker key `name`: of the process ([`BROKER_KEYS`]) or a default for topics ([`LOG_KEYS`]).
#[must_use]
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().find(|key| key.name == name)
}

/// Every broker key.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    BROKER_KEYS.iter().chain(LOG_KEYS)
}

#[cfg(test)]
mod tests;
