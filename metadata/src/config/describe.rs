//! What DescribeConfigs answers: every key of a resource with its value, source and synonyms.

use std::collections::BTreeMap;

use super::key::Key;
use super::layers::{Candidate, DynamicConfigs, Layers, Source};
use super::{CLIENT_METRICS_KEYS, TOPIC_KEYS, broker_keys};

/// One key of a resource as DescribeConfigs answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The key's row in the table.
    pub key: &'static Key,
    /// The value in effect; `None` for a null or a secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether the value cannot be changed while the broker runs.
    pub read_only: bool,
    /// Every value set in any layer, the one in effect first.
    pub synonyms: Vec<DescribedSynonym>,
}

/// One value set for a key or a synonym of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The key that is set.
    pub name: &'static str,
    /// Its value in its own unit; `None` for a secret.
    pub value: Option<String>,
    /// The layer.
    pub source: Source,
}

/// Every key of a topic with these `overrides`.
#[must_use]
pub fn describe_topic(overrides: &BTreeMap<String, String>, layers: &Layers<'_>) -> Vec<Described> {
    let describe = |key: &'static Key| {
        let mut candidates = layers.topic_candidates(key);
        if let Some(value) = overrides.get(key.name) {
            let own = Candidate { name: key.name, value: value.clone(), factor: 1, source: Source::Topic };
            candidates.insert(0, own);
        }
        row(key, candidates, false)
    };
    TOPIC_KEYS.iter().map(describe).collect()
}

/// Every key of a broker.
#[must_use]
pub fn describe_broker(layers: &Layers<'_>) -> Vec<Described> {
    let describe = |key: &'static Key| {
        let mut candidates = layers.broker_candidates(key);
        // The process runs with this value, whether its configuration spelled it out or not, and Kafka's clients
        // expect the keys that make a broker what it is to be set.
        if key.decided_at_start && candidates.first().is_some_and(|first| first.source == Source::Default) {
            let decided = candidates.iter().take(1).map(|first| Candidate { source: Source::Static, ..first.clone() });
            let decided: Vec<Candidate> = decided.collect();
            candidates.splice(0..0, decided);
        }
        row(key, candidates, !key.is_dynamic())
    };
    broker_keys().map(describe).collect()
}

/// Every key of a client metrics subscription with these `overrides`.
#[must_use]
pub fn describe_client_metrics(overrides: &BTreeMap<String, String>) -> Vec<Described> {
    let candidate = |key: &'static Key, value: String, source| Candidate { name: key.name, value, factor: 1, source };
    let describe = |key: &'static Key| {
        let set = overrides.get(key.name).map(|value| candidate(key, value.clone(), Source::ClientMetrics));
        let default = key.default_text().map(|value| candidate(key, value, Source::Default));
        row(key, set.into_iter().chain(default).collect(), false)
    };
    CLIENT_METRICS_KEYS.iter().map(describe).collect()
}

/// What is set for all brokers while they run; Kafka lists nothing else for this resource.
#[must_use]
pub fn describe_cluster_default(dynamic: &DynamicConfigs) -> Vec<Described> {
    let describe = |key: &'static Key| {
        let value = dynamic.default.get(key.name)?.clone();
        let set = Candidate { name: key.name, value, factor: 1, source: Source::DynamicDefault };
        Some(row(key, vec![set], !key.is_dynamic()))
    };
    broker_keys().filter_map(describe).collect()
}

fn row(key: &'static Key, candidates: Vec<Candidate>, read_only: bool) -> Described {
    let shown = |value: String| if key.sensitive { None } else { Some(value) };
    let first = candidates.first();
    let value = first.map(Candidate::scaled).or_else(|| key.default_text()).and_then(shown);
    let source = first.map_or(Source::Default, |candidate| candidate.source);
    let synonym = |candidate: Candidate| DescribedSynonym {
        name: candidate.name,
        value: shown(candidate.value),
        source: candidate.source,
    };
    Described { key, value, source, read_only, synonyms: candidates.into_iter().map(synonym).collect() }
}
