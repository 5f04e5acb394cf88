//! The keys of a client metrics subscription (KIP-714).

use super::key::{Key, Kind, Number, Scope, Unit, Valid};

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key::new(name, kind, Scope::ClientMetrics, doc)
}

/// Every key of a client metrics subscription, sorted by name.
pub const CLIENT_METRICS_KEYS: &[Key] = &[
    key(
        "interval.ms",
        Kind::Int(Number { default: Some(300_000), min: 100, max: 3_600_000 }),
        "How often clients are to push the metrics.",
    )
    .unit(Unit::Millis),
    key(
        "match",
        Kind::List("", Valid::Any),
        "The clients that are to push, as selector=pattern; every selector must match, none means every client.",
    ),
    key("metrics", Kind::List("", Valid::Any), "Prefixes of the metrics to push; '*' for all of them, empty for none."),
];

/// The client metrics key `name`.
#[must_use]
pub fn client_metrics_key(name: &str) -> Option<&'static Key> {
    CLIENT_METRICS_KEYS.iter().find(|key| key.name == name)
}
