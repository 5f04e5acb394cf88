//! A progress bar on standard error, hidden when that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{self, Window};
use crate::tally::Tally;

/// How often the bar moves, in nanoseconds.
const STEP_NS: u64 = 200_000_000;

/// Shows the progress of a run until `until`, a moment of the clock, or until the run is done before.
pub(crate) fn watch(tally: &Tally, until: u64, title: &str, quiet: bool, is_done: &dyn Fn() -> bool) {
    let Window { start, until: end, .. } = tally.window;
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new((end - start) / 1_000_000) };
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:40}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(title.to_owned());
    loop {
        let now = clock::now_ns();
        bar.set_position(now.saturating_sub(start) / 1_000_000);
        bar.set_message(message(tally, now));
        if now >= until || is_done() {
            break;
        }
        clock::sleep_until(until.min(now + STEP_NS));
    }
    bar.finish_and_clear();
}

fn message(tally: &Tally, now: u64) -> String {
    let Some(counted) = now.checked_sub(tally.window.from).filter(|nanos| *nanos > 0) else {
        return "warming up".to_owned();
    };
    let seconds = counted as f64 / 1e9;
    let (records, bytes) = (tally.records() as f64 / seconds, tally.bytes() as f64 / seconds);
    format!("{records:.0} records/s, {:.1} MB/s", bytes / 1e6)
}
