//! The summary on standard output.

use std::fmt::Write;

use super::Report;
use crate::compare::Comparison;
use crate::run::RunResult;

/// The summary, a few lines for each run.
pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    for run in &report.runs {
        describe(&mut out, run);
    }
    if let Some(comparison) = &report.comparison {
        compare(&mut out, comparison);
    }
    let machine = &report.machine;
    let commit = report.commit.as_deref().unwrap_or("unknown");
    line(&mut out, format_args!("commit {commit}; {}, {} cores, {}", machine.cpu, machine.cores, machine.kernel));
    out
}

fn describe(out: &mut String, run: &RunResult) {
    let rate = format!("{:.1} MB/s, {:.0} records/s", run.mb_per_s, run.records_per_s);
    line(out, format_args!("{} {}: {rate} over {:.1} s", run.label, run.name, run.seconds));
    for (what, latency) in &run.latencies {
        let ms = |micros: u64| micros as f64 / 1e3;
        line(
            out,
            format_args!(
                "  {what}: p50 {:.3} p90 {:.3} p99 {:.3} p99.9 {:.3} max {:.3} ms, {} samples",
                ms(latency.p50_us),
                ms(latency.p90_us),
                ms(latency.p99_us),
                ms(latency.p999_us),
                ms(latency.max_us),
                latency.count
            ),
        );
    }
    if let Some(used) = &run.broker {
        let per_gb = run.broker_cpu_s_per_gb.unwrap_or(0.0);
        let per_record = run.broker_cpu_us_per_record.unwrap_or(0.0);
        let cpu = format!("{:.2} CPU s, {per_gb:.2} s/GB, {per_record:.2} us/record", used.cpu_s);
        let memory =
            format!("{:.0} MiB without mapped files, {:.0} MiB resident", used.anonymous_mib, used.resident_mib);
        line(out, format_args!("  broker: {cpu}; {memory}"));
    }
    let stolen = run.stolen_s.unwrap_or(0.0);
    line(out, format_args!("  client: {:.2} CPU s; stolen by the hypervisor: {stolen:.2} s", run.client_cpu_s));
    for (name, count) in &run.errors {
        line(out, format_args!("  FAULT {name}: {count}"));
    }
}

fn compare(out: &mut String, comparison: &Comparison) {
    let Comparison { a, b, reps, figures } = comparison;
    line(out, format_args!("{b} beside {a}, medians of {reps} alternating runs (lowest to highest):"));
    for figure in figures {
        let ratio = &figure.ratio;
        let by = ratio.b_by_a.map_or_else(|| "-".to_owned(), |by| format!("{by:.2}"));
        line(
            out,
            format_args!(
                "  {:40} {:>10.2} ({:.2} to {:.2})  {:>10.2} ({:.2} to {:.2})  {b}/{a} {by}",
                figure.name, ratio.a.median, ratio.a.min, ratio.a.max, ratio.b.median, ratio.b.min, ratio.b.max
            ),
        );
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string has no error.
    let _ = writeln!(out, "{text}");
}
