//! The process's own log lines: plain or JSON, to standard error.

use std::io::IsTerminal;
use std::panic;

use millrace_metadata::config::BrokerConfig;
use tracing_subscriber::{EnvFilter, fmt};

use crate::error::StartError;

/// Begins to write log lines as `log.level` and `log.format` say.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(broker: &BrokerConfig) -> Result<(), StartError> {
    let level = broker.value("log.level").unwrap_or_default();
    let filter = filter(&level).map_err(StartError::LogFilter)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if broker.value("log.format").as_deref() == Some("json") {
        lines.json().try_init()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    if started.is_err() {
        // Whoever embeds the broker has a subscriber of its own.
        tracing::debug!("log lines go to the subscriber that is there already");
    }
    Ok(())
}

/// The levels that `log.level` knows.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The HTTP server tells of each of its threads, and, as of an error, of each request that is no HTTP, which is the
/// client's. Whoever wants to know says so in `log.level`.
const HTTP_SERVER: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// The filter that `log.level` describes.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    // The filter takes a lone word that is no level for the name of a target of which everything is logged: a slip in
    // the level would silence all the others. With a span in brackets a comma may stand between its fields.
    let slip = directives.iter().find_map(|directive| {
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        (!LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))).then_some(level)
    });
    if let Some(level) = slip.filter(|_| !text.contains('[')) {
        let levels = LEVELS.join(", ");
        return Err(format!(
            "`{level}` is no level; write one of {levels}, alone or as TARGET=LEVEL, such as info,millrace_node=debug"
        ));
    }
    EnvFilter::try_new(format!("{HTTP_SERVER},{}", directives.join(","))).map_err(|error| error.to_string())
}

/// Ends the process at a panic of any thread, after its message was logged: a core that panicked has lost its
/// invariants, and the other actors would wait for its answers for ever.
pub(crate) fn abort_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        tracing::error!(panic = %info, "the process ends");
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_read() {
        for text in
            ["info", "DEBUG", "off", "info,millrace_node=debug", "warn, millrace_broker=trace,", "info,[span]=debug"]
        {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_those_that_are() {
        for (text, word) in
            [("bogus", "bogus"), ("info,millrace_node", "millrace_node"), ("millrace_node=loud", "loud")]
        {
            let error = filter(text).expect_err(text);
            assert!(
                error.contains(&format!("`{word}` is no level; write one of off, error, warn, info, debug, trace")),
                "{error}"
            );
        }
    }
}
