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
    // The HTTP server tells of each of its threads; whoever wants to know says so in `log.level`.
    let filter = EnvFilter::try_new(format!("actix_server=warn,{level}"))
        .map_err(|error| StartError::LogFilter(error.to_string()))?;
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
