//! The layers a value can come from, and which of them wins (KIP-226).

use std::collections::BTreeMap;

use millrace_types::BrokerId;

use super::broker_config::BrokerConfig;
use super::key::{Key, Synonym};
use super::{broker_key, topic_key};

/// Configuration of brokers that was set while they run; part of the replicated state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DynamicConfigs {
    /// Set for all brokers.
    pub default: BTreeMap<String, String>,
    /// Set for one broker.
    pub brokers: BTreeMap<BrokerId, BTreeMap<String, String>>,
}

/// Where a value comes from; the numbers are those of the wire (KIP-133, KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set for this broker while it runs.
    DynamicBroker = 2,
    /// Set for all brokers while they run.
    DynamicDefault = 3,
    /// From the broker's file, environment or flags.
    Static = 4,
    /// Built in.
    Default = 5,
    /// Set on the client metrics subscription (KIP-714).
    ClientMetrics = 7,
}

/// One value a key can have, with the key and the layer it was found in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The key or synonym that is set.
    pub name: &'static str,
    /// Its value in its own unit.
    pub value: String,
    /// How many units of the asked key one unit of `value` is.
    pub factor: i64,
    /// The layer.
    pub source: Source,
}

/// The broker's layers, the strongest first.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Set for this broker while it runs.
    pub broker: Option<&'a BTreeMap<String, String>>,
    /// Set for all brokers while they run.
    pub default: &'a BTreeMap<String, String>,
    /// From the broker's file, environment and flags.
    pub fixed: &'a BrokerConfig,
}

impl<'a> Layers<'a> {
    /// The layers of `broker`.
    #[must_use]
    pub fn of(dynamic: &'a DynamicConfigs, broker: BrokerId, fixed: &'a BrokerConfig) -> Self {
        Self { broker: dynamic.brokers.get(&broker), default: &dynamic.default, fixed }
    }

    /// Every value the broker key can have, the one that holds first. Within a layer the order of `names` decides.
    fn candidates(&self, names: &[Synonym]) -> Vec<Candidate> {
        let keys: Vec<(&'static Key, i64)> =
            names.iter().filter_map(|name| Some((broker_key(name.key)?, name.factor))).collect();
        let sources = [Source::DynamicBroker, Source::DynamicDefault, Source::Static, Source::Default];
        let mut found = Vec::new();
        for source in sources {
            for (key, factor) in &keys {
                if let Some(value) = self.value_in(source, key) {
                    found.push(Candidate { name: key.name, value, factor: *factor, source });
                }
            }
        }
        found
    }

    fn value_in(&self, source: Source, key: &Key) -> Option<String> {
        match source {
            Source::Topic | Source::ClientMetrics => None,
            Source::DynamicBroker => self.broker?.get(key.name).cloned(),
            Source::DynamicDefault => self.default.get(key.name).cloned(),
            Source::Static => self.fixed.get(key.name).map(str::to_owned),
            Source::Default => key.default_text(),
        }
    }

    /// The values a broker key can have, the one that holds first; empty for a null.
    #[must_use]
    pub fn broker_candidates(&self, key: &Key) -> Vec<Candidate> {
        let own = Synonym { key: key.name, factor: 1 };
        let names: Vec<Synonym> = std::iter::once(own).chain(key.synonyms.iter().copied()).collect();
        self.candidates(&names)
    }

    /// The values a topic key can have below the topic itself, the one that holds first.
    #[must_use]
    pub fn topic_candidates(&self, key: &Key) -> Vec<Candidate> {
        self.candidates(key.synonyms)
    }

    /// The value of a topic key in its own unit.
    #[must_use]
    pub fn topic_value(&self, overrides: &BTreeMap<String, String>, name: &str) -> Option<String> {
        if let Some(value) = overrides.get(name) {
            return Some(value.clone());
        }
        let key = topic_key(name)?;
        let first = self.topic_candidates(key).into_iter().next();
        first.map(|candidate| candidate.scaled()).or_else(|| key.default_text())
    }

    /// The value of a broker key.
    #[must_use]
    pub fn broker_value(&self, name: &str) -> Option<String> {
        let key = broker_key(name)?;
        self.broker_candidates(key).into_iter().next().map(|candidate| candidate.scaled())
    }

    /// The number of a topic key; values were checked when they were set, so a text that is no number cannot occur
    /// and reads as 0.
    #[must_use]
    pub fn topic_number(&self, overrides: &BTreeMap<String, String>, name: &str) -> i64 {
        self.topic_value(overrides, name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The number of a broker key; 0 for a null.
    #[must_use]
    pub fn broker_number(&self, name: &str) -> i64 {
        self.broker_value(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The truth of a broker key.
    #[must_use]
    pub fn broker_flag(&self, name: &str) -> bool {
        self.broker_value(name).as_deref() == Some("true")
    }
}

impl Candidate {
    /// The value in the unit of the key that was asked for. A negative number means "no limit" in every unit.
    #[must_use]
    pub fn scaled(&self) -> String {
        match self.value.parse::<i64>() {
            Ok(number) if self.factor != 1 && number >= 0 => number.saturating_mul(self.factor).to_string(),
            _ => self.value.clone(),
        }
    }
}
