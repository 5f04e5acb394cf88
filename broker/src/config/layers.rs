//! Values with the places they come from.

use std::collections::BTreeMap;

use millrace_metadata::config::{BrokerConfig, BrokerConfigErrors, broker_key, broker_keys};

use crate::error::StartError;

/// The values set so far; a later one takes the place of an earlier one.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, (String, String)>);

impl Values {
    /// Sets a key.
    pub(super) fn set(&mut self, key: &str, value: &str, place: String) -> Result<(), StartError> {
        let Some(known) = broker_key(key) else {
            return Err(StartError::UnknownKey { place, key: key.to_owned(), similar: similar(key) });
        };
        if let Err(error) = BrokerConfig::check_value(known.name, value) {
            return Err(StartError::InvalidValue { place, source: BrokerConfigErrors(vec![error]) });
        }
        self.0.insert(known.name, (value.to_owned(), place));
        Ok(())
    }

    /// The values as a configuration.
    pub(super) fn check(self) -> Result<BrokerConfig, StartError> {
        BrokerConfig::new(self.0.into_iter().map(|(key, (value, _))| (key, value)))
            .map_err(|source| StartError::InvalidValue { place: "configuration".to_owned(), source })
    }
}

/// The key that is most like a text, if one is so like it that a slip is likely.
fn similar(text: &str) -> Option<String> {
    let limit = text.len() / 4 + 1;
    broker_keys()
        .map(|key| (distance(text, key.name), key.name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// The number of bytes to insert, delete or change to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let changed = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in
            [("", "", 0), ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("flaw", "lawn", 2), ("x", "x", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        assert_eq!(similar("num.partition").as_deref(), Some("num.partitions"));
        assert_eq!(similar("log.segment.byte").as_deref(), Some("log.segment.bytes"));
        assert_eq!(similar("quux"), None);
    }
}
