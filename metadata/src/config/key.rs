//! One row of the table of configuration keys, and the check of a value against it.

/// One configuration key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Type, default and valid values.
    pub kind: Kind,
    /// What its number counts.
    pub unit: Unit,
    /// Where it can be set, and how it is changed.
    pub scope: Scope,
    /// Broker keys that give the value when this one is not set, the first that is set wins.
    pub synonyms: &'static [Synonym],
    /// What it does, one or two sentences.
    pub doc: &'static str,
    /// Whether its value is a secret that no answer may show.
    pub sensitive: bool,
    /// Whether every process start decides its value, be it by what it finds: it is never shown as a default.
    pub decided_at_start: bool,
}

/// Another key that gives a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// Its name.
    pub key: &'static str,
    /// How many of this key's units one unit of the synonym is.
    pub factor: i64,
}

/// Type of a key with its default and its valid values; the default `None` is Kafka's null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean(bool),
    /// A 16-bit number.
    Short(Number),
    /// A 32-bit number.
    Int(Number),
    /// A 32-bit number in the range, or the default, which stands outside of it.
    IntOrDefault(Number),
    /// A 64-bit number.
    Long(Number),
    /// A text.
    Text(Option<&'static str>, Valid),
    /// Texts separated by commas.
    List(&'static str, Valid),
}

/// Default and range of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The default.
    pub default: Option<i64>,
    /// The lowest valid value.
    pub min: i64,
    /// The highest valid value.
    pub max: i64,
}

/// The valid texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Valid {
    /// Any text.
    Any,
    /// Any but the empty one.
    NotEmpty,
    /// One of these (each element of a list).
    OneOf(&'static [&'static str]),
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number, or no number.
    None,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Records.
    Records,
}

/// Where a key can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On a topic.
    Topic,
    /// On a broker.
    Broker(Update),
    /// On a client metrics subscription (KIP-714).
    ClientMetrics,
}

/// How a broker key is changed (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// In the configuration file, the environment or a flag; read at start.
    ReadOnly,
    /// Also while the broker runs, for one broker or for all of them.
    ClusterWide,
}

/// Why a value is refused; the texts are those of Kafka's `ConfigDef`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The table has no such key.
    #[error("Unknown config name: {0}")]
    Unknown(String),
    /// The value is outside the type or the valid values.
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two settings that are valid by themselves do not fit each other.
    #[error("{0}")]
    Conflict(String),
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, scope: Scope, doc: &'static str) -> Self {
        Self { name, kind, unit: Unit::None, scope, synonyms: &[], doc, sensitive: false, decided_at_start: false }
    }

    pub(super) const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    pub(super) const fn decided_at_start(mut self) -> Self {
        self.decided_at_start = true;
        self
    }

    pub(super) const fn synonyms(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    /// The default as a text; `None` for Kafka's null.
    #[must_use]
    pub fn default_text(&self) -> Option<String> {
        match self.kind {
            Kind::Boolean(value) => Some(value.to_string()),
            Kind::Short(number) | Kind::Int(number) | Kind::IntOrDefault(number) | Kind::Long(number) => {
                number.default.map(|value| value.to_string())
            }
            Kind::Text(default, _) => default.map(str::to_owned),
            Kind::List(default, _) => Some(default.to_owned()),
        }
    }

    /// Whether the key's value is a list, so that elements can be appended and subtracted (KIP-339).
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(..))
    }

    /// Whether the key can be changed while the broker runs.
    #[must_use]
    pub const fn is_dynamic(&self) -> bool {
        matches!(self.scope, Scope::Topic | Scope::ClientMetrics | Scope::Broker(Update::ClusterWide))
    }

    /// The value in the form in which it is kept: without the spaces around it that Kafka ignores.
    ///
    /// # Errors
    /// When the value is outside the key's type or valid values.
    pub fn normalize(&self, value: &str) -> Result<String, ConfigError> {
        let value = value.trim();
        match self.kind {
            Kind::Boolean(_) => {
                let text = value.to_ascii_lowercase();
                if text == "true" || text == "false" {
                    Ok(text)
                } else {
                    Err(self.invalid(value, "Expected value to be either true or false"))
                }
            }
            Kind::Short(number) => self.number(value, number, "SHORT", i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Int(number) => self.number(value, number, "INT", i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::IntOrDefault(number) => self.number_or_default(value, number),
            Kind::Long(number) => self.number(value, number, "LONG", i64::MIN, i64::MAX),
            Kind::Text(_, valid) => {
                self.text(value, valid)?;
                Ok(value.to_owned())
            }
            Kind::List(_, valid) => {
                let elements = list(value);
                for element in &elements {
                    self.text(element, valid)?;
                }
                Ok(elements.join(","))
            }
        }
    }

    fn number(&self, value: &str, range: Number, name: &str, low: i64, high: i64) -> Result<String, ConfigError> {
        let number = value.parse::<i64>().ok().filter(|number| (low..=high).contains(number));
        let Some(number) = number else {
            return Err(self.invalid(value, &format!("Not a number of type {name}")));
        };
        if number < range.min {
            return Err(self.invalid(value, &format!("Value must be at least {}", range.min)));
        }
        if number > range.max {
            return Err(self.invalid(value, &format!("Value must be no more than {}", range.max)));
        }
        Ok(number.to_string())
    }

    fn number_or_default(&self, value: &str, range: Number) -> Result<String, ConfigError> {
        let anything = Number { min: i64::MIN, max: i64::MAX, ..range };
        let text = self.number(value, anything, "INT", i64::from(i32::MIN), i64::from(i32::MAX))?;
        let number = text.parse::<i64>().ok();
        if number == range.default || number.is_some_and(|number| (range.min..=range.max).contains(&number)) {
            return Ok(text);
        }
        let default = self.default_text().unwrap_or_default();
        let (min, max) = (range.min, range.max);
        Err(self.invalid(value, &format!("Value must be between {min} and {max} or equal to {default}")))
    }

    fn text(&self, value: &str, valid: Valid) -> Result<(), ConfigError> {
        match valid {
            Valid::Any => Ok(()),
            Valid::NotEmpty if value.is_empty() => Err(self.invalid(value, "String must be non-empty")),
            Valid::NotEmpty => Ok(()),
            Valid::OneOf(values) if values.contains(&value) => Ok(()),
            Valid::OneOf(values) => Err(self.invalid(value, &format!("String must be one of: {}", values.join(", ")))),
        }
    }

    pub(crate) fn invalid(&self, value: &str, reason: &str) -> ConfigError {
        ConfigError::Invalid { key: self.name.to_owned(), value: value.to_owned(), reason: reason.to_owned() }
    }
}

/// The elements of a list's text; empty elements are dropped.
pub(crate) fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty()).collect()
}

/// A number with a default and a range.
pub(super) const fn range(default: i64, min: i64, max: i64) -> Number {
    Number { default: Some(default), min, max }
}

/// A number whose default is Kafka's null.
pub(super) const fn optional(min: i64, max: i64) -> Number {
    Number { default: None, min, max }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CLIENT_METRICS_KEYS, TOPIC_KEYS, broker_key, broker_keys, topic_key};

    #[test]
    fn every_default_is_valid_and_every_name_unique() {
        let mut names = std::collections::BTreeSet::new();
        for key in TOPIC_KEYS {
            assert!(names.insert(key.name), "{} twice", key.name);
            assert_eq!(key.scope, Scope::Topic, "{}", key.name);
        }
        names.clear();
        for key in broker_keys() {
            assert!(names.insert(key.name), "{} twice", key.name);
            assert_ne!(key.scope, Scope::Topic, "{}", key.name);
        }
        for key in TOPIC_KEYS.iter().chain(broker_keys()).chain(CLIENT_METRICS_KEYS) {
            if let Some(default) = key.default_text() {
                assert_eq!(key.normalize(&default).as_deref(), Ok(default.as_str()), "{}", key.name);
            }
            assert!(key.doc.ends_with('.'), "{} has no full sentence", key.name);
            for synonym in key.synonyms {
                assert!(broker_key(synonym.key).is_some(), "{} names {}", key.name, synonym.key);
            }
        }
    }

    #[test]
    fn values_are_refused_in_kafkas_words() {
        let error = |name: &str, value: &str| topic_key(name).unwrap().normalize(value).unwrap_err().to_string();
        assert_eq!(
            error("retention.ms", "abc"),
            "Invalid value abc for configuration retention.ms: Not a number of type LONG"
        );
        assert_eq!(
            error("retention.ms", "-2"),
            "Invalid value -2 for configuration retention.ms: Value must be at least -1"
        );
        assert_eq!(
            error("segment.bytes", "2147483648"),
            "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT"
        );
        let level = "for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1";
        assert_eq!(error("compression.gzip.level", "0"), format!("Invalid value 0 {level}"));
        assert_eq!(error("compression.gzip.level", "10"), format!("Invalid value 10 {level}"));
        assert_eq!(
            error("compression.zstd.level", "23"),
            "Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22"
        );
        assert_eq!(
            error("compression.type", "lzma"),
            "Invalid value lzma for configuration compression.type: String must be one of: uncompressed, zstd, lz4, \
             snappy, gzip, producer"
        );
    }

    #[test]
    fn values_are_kept_without_the_spaces_around_them() {
        let normal = |name: &str, value: &str| topic_key(name).unwrap().normalize(value).unwrap();
        assert_eq!(normal("retention.ms", " 5 "), "5");
        assert_eq!(normal("cleanup.policy", "compact, delete,"), "compact,delete");
    }
}
