//! The configuration a broker's process starts with: its file, environment and flags, checked against the table.

use std::collections::BTreeMap;
use std::fmt;

use super::broker_key;
use super::key::ConfigError;
use super::layers::Layers;

/// A broker's start configuration; every key is in the table and every value valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    values: BTreeMap<String, String>,
}

/// Everything that is wrong with a start configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BrokerConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for BrokerConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl BrokerConfig {
    /// Checks the values of a start configuration.
    ///
    /// # Errors
    /// Names every unknown key, every value that its key refuses, and values that contradict each other.
    pub fn new<K, V>(values: impl IntoIterator<Item = (K, V)>) -> Result<Self, BrokerConfigErrors>
    where
        K: Into<String>,
        V: AsRef<str>,
    {
        let mut checked = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, value) in values {
            let name = name.into();
            match Self::check_value(&name, value.as_ref()) {
                Ok(value) => {
                    checked.insert(name, value);
                }
                Err(error) => errors.push(error),
            }
        }
        let config = Self { values: checked };
        errors.extend(config.contradictions());
        if errors.is_empty() { Ok(config) } else { Err(BrokerConfigErrors(errors)) }
    }

    /// Checks one value by itself, and returns it in the form in which it is kept.
    ///
    /// # Errors
    /// When the table has no such key, or the key refuses the value.
    pub fn check_value(name: &str, value: &str) -> Result<String, ConfigError> {
        let key = broker_key(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
        let value = key.normalize(value)?;
        if name == "log.cleanup.policy" && value != "delete" {
            let text = "log.cleanup.policy: compaction is supported for the cluster's internal topics only";
            return Err(ConfigError::Conflict(text.to_owned()));
        }
        Ok(value)
    }

    /// Settings that are valid by themselves and do not fit each other.
    fn contradictions(&self) -> Option<ConfigError> {
        const SHORTEST: &str = "group.min.session.timeout.ms";
        const LONGEST: &str = "group.max.session.timeout.ms";
        let (shortest, longest) = (self.number(SHORTEST), self.number(LONGEST));
        let text =
            || format!("{SHORTEST} is {shortest}, more than the {longest} of {LONGEST}: nobody could join a group");
        (shortest > longest).then(|| ConfigError::Conflict(text()))
    }

    /// The value set for `name`; `None` when the configuration does not mention it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value in effect at the start: what is set, or the table's default; `None` for a null.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        self.layers().broker_value(name)
    }

    /// The number in effect at the start; 0 for a null.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        self.layers().broker_number(name)
    }

    /// The truth in effect at the start.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.layers().broker_flag(name)
    }

    /// Every key that is set, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn layers(&self) -> Layers<'_> {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        Layers { broker: None, default: &NOTHING, fixed: self }
    }
}
