//! The report for people: one page without any other file.

use std::fmt::Write;

use super::Report;
use super::svg::{Plot, Series, bars, escape, lines, number};
use crate::compare::Comparison;
use crate::run::RunResult;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}code,pre{background:#f4f4f4;padding:.1rem .3rem}pre{overflow-x:auto}\
svg{max-width:100%;height:auto;margin:.5rem 0}svg text{font:12px system-ui,sans-serif}svg .t{font-weight:600}\
svg .g{stroke:#ddd;fill:none}.fault{color:#b00020;font-weight:600}.plots{display:flex;flex-wrap:wrap;gap:1rem}";

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let name = report.runs.first().map_or("no run", |run| run.name);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>millrace-bench {name}</title>\n<style>{STYLE}</style>\n<h1>{name}</h1>\n"
    );
    setup(&mut out, report);
    if let Some(comparison) = &report.comparison {
        compare(&mut out, comparison);
    }
    plots(&mut out, &report.runs);
    runs(&mut out, &report.runs);
    settings(&mut out, &report.runs);
    out.push_str("</html>\n");
    out
}

fn setup(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let commit = report.commit.as_deref().unwrap_or("unknown");
    put(out, format_args!("<p>Commit <code>{}</code>, ", escape(commit)));
    put(out, format_args!("{}, {} cores, ", escape(&machine.cpu), machine.cores));
    put(out, format_args!("{} MiB memory, Linux {}.</p>\n", machine.memory_mib, escape(&machine.kernel)));
    put(out, format_args!("<pre>{}</pre>\n", escape(&report.command)));
}

fn compare(out: &mut String, comparison: &Comparison) {
    let (a, b) = (escape(&comparison.a), escape(&comparison.b));
    put(out, format_args!("<h2>{b} beside {a}</h2>\n<p>Medians of {} alternating runs, ", comparison.reps));
    out.push_str(
        "lowest to highest in parentheses; the last column is the range of runs that followed each other.</p>\n",
    );
    put(out, format_args!("<table><tr><th>figure<th>better<th>{a}<th>{b}<th>{b} / {a}<th>pairs\n"));
    for figure in &comparison.figures {
        let ratio = &figure.ratio;
        let better = if figure.lower_is_better { "lower" } else { "higher" };
        put(out, format_args!("<tr><td>{}<td>{better}", escape(&figure.name)));
        for spread in [ratio.a, ratio.b] {
            put(out, format_args!("<td>{} ({} to {})", number(spread.median), number(spread.min), number(spread.max)));
        }
        let by = ratio.b_by_a.map_or_else(|| "-".to_owned(), |by| format!("{by:.2}"));
        let pairs = ratio.pairs.map_or_else(|| "-".to_owned(), |(low, high)| format!("{low:.2} to {high:.2}"));
        put(out, format_args!("<td><b>{by}</b><td>{pairs}\n"));
    }
    out.push_str("</table>\n<div class=\"plots\">\n");
    for figure in &comparison.figures {
        let rows = [(&comparison.a, figure.ratio.a), (&comparison.b, figure.ratio.b)];
        let rows = rows.map(|(name, spread)| (name.clone(), spread.median, spread.min, spread.max));
        out.push_str(&bars(&figure.name, &rows));
    }
    out.push_str("</div>\n");
}

fn plots(out: &mut String, runs: &[RunResult]) {
    let rate = |read: fn(&(u64, u64)) -> f64| -> Vec<Series> {
        let points = |run: &RunResult| (0u32..).map(f64::from).zip(run.timeline.iter().map(read)).collect();
        runs.iter().map(|run| Series { name: run.label.clone(), points: points(run) }).collect()
    };
    let plot = |title| Plot { title, x_label: "second, warm-up included", x_marks: Vec::new(), is_log: false };
    out.push_str("<h2>Over time</h2>\n<div class=\"plots\">\n");
    out.push_str(&lines(&plot("MB per second"), &rate(|second| second.1 as f64 / 1e6)));
    out.push_str(&lines(&plot("records per second"), &rate(|second| second.0 as f64)));
    out.push_str("</div>\n<h2>Latencies</h2>\n<div class=\"plots\">\n");
    let kinds: Vec<&str> = runs.first().map(|run| run.latencies.keys().copied().collect()).unwrap_or_default();
    for kind in kinds {
        let series: Vec<Series> = runs.iter().filter_map(|run| percentiles(run, kind)).collect();
        let marks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999].map(|percent| (nines(percent), format!("{percent}")));
        let title = format!("{kind}, ms");
        let plot = Plot { title: &title, x_label: "percentile", x_marks: marks.to_vec(), is_log: true };
        out.push_str(&lines(&plot, &series));
    }
    out.push_str("</div>\n");
}

/// The distribution of a run's latencies; the maximum is in the table, since it has no place on this axis.
fn percentiles(run: &RunResult, kind: &str) -> Option<Series> {
    let curve = &run.latencies.get(kind)?.curve;
    let points = curve.iter().filter(|(percent, _)| *percent < 100.0);
    let points = points.map(|(percent, micros)| (nines(*percent), *micros as f64 / 1e3)).collect();
    Some(Series { name: run.label.clone(), points })
}

/// Where a percentile stands on an axis that counts nines: 90 at 1, 99 at 2, 99.9 at 3.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

fn runs(out: &mut String, runs: &[RunResult]) {
    out.push_str("<h2>Runs</h2>\n<table><tr><th>cluster<th>MB/s<th>records/s<th>broker CPU s/GB<th>us/record");
    out.push_str(
        "<th>MiB anonymous<th>MiB resident<th>client CPU s<th>stolen s<th>latency<th>p50<th>p99<th>p99.9<th>max ms\n",
    );
    let maybe = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    for run in runs {
        put(out, format_args!("<tr><td>{}<td>{:.1}<td>{:.0}", escape(&run.label), run.mb_per_s, run.records_per_s));
        put(out, format_args!("<td>{}<td>{}", maybe(run.broker_cpu_s_per_gb), maybe(run.broker_cpu_us_per_record)));
        let memory = run.broker.as_ref();
        put(out, format_args!("<td>{}", maybe(memory.map(|used| used.anonymous_mib))));
        put(out, format_args!("<td>{}", maybe(memory.map(|used| used.resident_mib))));
        put(out, format_args!("<td>{:.2}<td>{}", run.client_cpu_s, maybe(run.stolen_s)));
        for (index, (kind, latency)) in run.latencies.iter().enumerate() {
            let before = if index == 0 { String::new() } else { format!("<tr>{}", "<td>".repeat(9)) };
            let ms = [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(|us| us as f64 / 1e3);
            put(out, format_args!("{before}<td>{kind}"));
            for value in ms {
                put(out, format_args!("<td>{value:.3}"));
            }
        }
        out.push('\n');
        for (name, count) in &run.errors {
            put(out, format_args!("<tr><td class=\"fault\" colspan=\"14\">{}: {count}\n", escape(name)));
        }
    }
    out.push_str("</table>\n");
}

fn settings(out: &mut String, runs: &[RunResult]) {
    let Some(run) = runs.first() else { return };
    let text = serde_json::to_string_pretty(&run.workload).unwrap_or_default();
    put(out, format_args!("<h2>Settings</h2>\n<pre>{}</pre>\n", escape(&text)));
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string has no error.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_evenly_spaced() {
        for (percent, expected) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((nines(percent) - expected).abs() < 1e-9, "{percent}");
        }
    }
}
