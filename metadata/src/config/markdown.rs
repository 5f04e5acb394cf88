//! The table of keys as the documentation shows it.

use std::fmt::Write as _;

use super::key::{Key, Kind, Number, Scope, Unit, Update, Valid};
use super::{BROKER_KEYS, CLIENT_METRICS_KEYS, LOG_KEYS, TOPIC_KEYS};

/// Every key as Markdown: one table each for topics, for the topics' defaults, for the process, and for client
/// metrics subscriptions.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    let parts = [
        ("Topics", TOPIC_KEYS),
        ("Defaults for topics", LOG_KEYS),
        ("Broker", BROKER_KEYS),
        ("Client metrics subscriptions", CLIENT_METRICS_KEYS),
    ];
    for (title, keys) in parts {
        let _ = write!(text, "## {title}\n\n");
        text.push_str("| Key | Type | Default | Valid | Change | What it does |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for key in keys {
            let default = key.default_text().map_or_else(|| "unset".to_owned(), |value| format!("`{value}`"));
            let (name, kind, valid) = (key.name, kind(key), valid(key));
            let _ = writeln!(text, "| `{name}` | {kind} | {default} | {valid} | {} | {} |", change(key), key.doc);
        }
        text.push('\n');
    }
    text
}

fn kind(key: &Key) -> String {
    let name = match key.kind {
        Kind::Boolean(_) => "boolean",
        Kind::Short(_) => "short",
        Kind::Int(_) | Kind::IntOrDefault(_) => "int",
        Kind::Long(_) => "long",
        Kind::Text(..) => "string",
        Kind::List(..) => "list",
    };
    let unit = match key.unit {
        Unit::None => return name.to_owned(),
        Unit::Bytes => "bytes",
        Unit::Millis => "ms",
        Unit::Seconds => "seconds",
        Unit::Minutes => "minutes",
        Unit::Hours => "hours",
        Unit::Records => "records",
    };
    format!("{name}, {unit}")
}

fn valid(key: &Key) -> String {
    match key.kind {
        Kind::Boolean(_) => "true, false".to_owned(),
        Kind::Short(Number { min, max, .. })
        | Kind::Int(Number { min, max, .. })
        | Kind::Long(Number { min, max, .. }) => {
            format!("{min} to {max}")
        }
        Kind::IntOrDefault(Number { min, max, .. }) => {
            format!("{}, {min} to {max}", key.default_text().unwrap_or_default())
        }
        Kind::Text(_, valid) | Kind::List(_, valid) => match valid {
            Valid::Any => "any".to_owned(),
            Valid::NotEmpty => "not empty".to_owned(),
            Valid::OneOf(values) => values.join(", "),
        },
    }
}

fn change(key: &Key) -> &'static str {
    match key.scope {
        Scope::Topic => "per topic",
        Scope::ClientMetrics => "per subscription",
        Scope::Broker(Update::ReadOnly) => "at start",
        Scope::Broker(Update::ClusterWide) => "while running",
    }
}
